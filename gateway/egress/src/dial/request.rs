//! A request as it leaves: method, address, headers, and a body that is whole or comes in pieces.

use std::{
    error::Error,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Uri, header};
use http_body::{Frame, SizeHint};
use http_body_util::{BodyExt, Full, combinators::UnsyncBoxBody};
use url::Url;

/// What every request says that its sender is: the same for every installation.
pub const AGENT: HeaderValue = HeaderValue::from_static("openclaw");

/// Errors of bodies, and of what connects.
pub type Fault = Box<dyn Error + Send + Sync>;

/// A request.
#[derive(Debug)]
pub struct Request {
    /// How.
    pub method: Method,
    /// Where to. It may contain a token.
    pub url: Url,
    /// Only these, and `User-Agent`, `Accept` and what belongs to the connection.
    pub headers: HeaderMap,
    /// What follows.
    pub body: Body,
}

/// The body of a request.
#[derive(Debug)]
pub enum Body {
    /// In memory as a whole, so that it can be sent twice; empty for none.
    Whole(Full<Bytes>),
    /// As it comes.
    Pieces(UnsyncBoxBody<Bytes, Fault>),
}

impl Request {
    /// One without headers and body.
    pub fn new(method: Method, url: Url) -> Self {
        Self { method, url, headers: HeaderMap::with_capacity(8), body: Body::default() }
    }

    /// The same once more, if its body is whole.
    pub fn again(&self) -> Option<Self> {
        let Body::Whole(body) = &self.body else { return None };
        Some(Self {
            method: self.method.clone(),
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Body::Whole(body.clone()),
        })
    }

    /// As the HTTP client wants it. An address that HTTP has no form for is an error.
    pub fn finish(self) -> Result<http::Request<Body>, http::Error> {
        let mut request = http::Request::new(self.body);
        *request.method_mut() = self.method;
        *request.uri_mut() = Uri::try_from(self.url.as_str())?;
        *request.headers_mut() = self.headers;
        request.headers_mut().entry(header::USER_AGENT).or_insert(AGENT);
        request.headers_mut().entry(header::ACCEPT).or_insert(HeaderValue::from_static("*/*"));
        Ok(request)
    }
}

impl Body {
    /// One that goes on piece by piece.
    pub fn pieces<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Fault>,
    {
        Self::Pieces(body.map_err(Into::into).boxed_unsync())
    }
}

impl Default for Body {
    fn default() -> Self {
        Bytes::new().into()
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        Self::Whole(Full::new(bytes))
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Fault;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Fault>>> {
        match self.get_mut() {
            Self::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            Self::Pieces(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(body) => body.is_end_stream(),
            Self::Pieces(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(body) => body.size_hint(),
            Self::Pieces(body) => body.size_hint(),
        }
    }
}
