//! The body of an answer on its way through: what it says it used is read, and when it ends, however it ends, the call
//! is settled. Changes no byte and holds none back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use openclaw_wire::{config::Api, spend::Used};
use tokio::sync::SemaphorePermit;

use super::{
    ledger::Reservation,
    period::Day,
    prices::{Amounts, Tariff},
    request::Bound,
    usage::{Known, Reader},
};

/// A call that was let through and is not settled.
pub struct Charge {
    pub(super) api: Api,
    /// `None` for a model that costs nothing.
    pub(super) tariff: Option<Tariff>,
    pub(super) bound: Bound,
    pub(super) day: Day,
    pub(super) reservation: Reservation,
    /// Held as long as the request's body may be.
    pub(super) _room: Option<SemaphorePermit<'static>>,
}

impl Charge {
    /// Nothing was sent, or the far end says that it did nothing.
    pub fn failed(self) {
        self.reservation.settle(Used { failed: 1, ..Used::default() });
    }

    /// As far as it is known; what can't be known counts with its most.
    fn settle(self, known: Known) {
        let (amounts, cut) = match known {
            Known::All(amounts) => (amounts, false),
            Known::Input(amounts) => {
                (Amounts { output: self.bound.output.max(amounts.output), ..amounts }, true)
            }
            Known::Nothing if self.tariff.is_none() => (Amounts::default(), false),
            // Dropped, it counts with its most.
            Known::Nothing => return,
        };
        let cost = self.tariff.as_ref().map(|tariff| tariff.cost(self.day, &amounts)).unwrap_or_default();
        self.reservation.settle(Used {
            cut: cut.into(),
            input: amounts.whole_input(),
            cached: amounts.cache_read,
            output: if cut { 0 } else { amounts.output },
            cost,
            ..Used::default()
        });
    }
}

/// A body that is metered, or not.
pub struct Metered<B> {
    body: B,
    meter: Option<(Charge, Reader)>,
}

impl<B> Metered<B> {
    /// Of a call without a price.
    pub fn free(body: B) -> Self {
        Self { body, meter: None }
    }

    /// Of a call that was let through. An answer that says "failed" costs nothing.
    pub fn new(body: B, charge: Charge, status: StatusCode, headers: &HeaderMap) -> Self {
        if !status.is_success() {
            charge.failed();
            return Self::free(body);
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let reader = Reader::new(charge.api, !kind.starts_with("application/json"));
        Self { body, meter: Some((charge, reader)) }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Metered<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let (Some((_, reader)), Some(Ok(frame))) = (&mut this.meter, &frame)
            && let Some(data) = frame.data_ref()
        {
            reader.feed(data);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<B> Drop for Metered<B> {
    fn drop(&mut self) {
        if let Some((charge, mut reader)) = self.meter.take() {
            charge.settle(reader.known());
        }
    }
}
