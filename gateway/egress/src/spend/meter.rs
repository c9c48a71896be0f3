//! The body of an answer on its way through: what it says it used is read, and when it ends, however it ends, the call
//! is settled. Changes no byte and holds none back.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body::{Body, Frame, SizeHint};
use openclaw_wire::{config::Api, egress::Refusal, money::Usd, spend::Used};
use tokio::sync::SemaphorePermit;

use super::{
    ledger::{Ledger, Reservation},
    period::Day,
    prices::{Amounts, Tariff},
    reported::{Reported, Toll},
    request::Bound,
    slots::Account,
    usage::{Known, Reader},
};

/// What a call can cost, and what is reserved for it.
pub struct Charge {
    pub(super) api: Api,
    /// `None` for a model that costs nothing.
    pub(super) tariff: Option<Tariff>,
    pub(super) bound: Bound,
    pub(super) day: Day,
    pub(super) most: Usd,
    /// Without its key, until something is reserved.
    pub(super) who: Account,
    pub(super) ledger: Ledger,
    pub(super) reservation: Option<Reservation>,
    /// Held as long as the request's body may be.
    pub(super) _room: Option<SemaphorePermit<'static>>,
}

impl Charge {
    /// Reserves the most, on the account of a key. What was reserved with another one is free again: that one's server
    /// has refused the request.
    pub async fn reserve(&mut self, key: &str) -> Result<(), Refusal> {
        if self.reservation.is_some() && self.who.key == key {
            return Ok(());
        }
        self.release();
        self.who.key = key.into();
        self.reservation = Some(self.ledger.reserve(self.who.clone(), self.most).await?);
        Ok(())
    }

    /// Nothing was sent, or the far end says that it did nothing.
    pub fn failed(mut self) {
        self.release();
    }

    fn release(&mut self) {
        if let Some(reservation) = self.reservation.take() {
            reservation.settle(Used { failed: 1, ..Used::default() });
        }
    }

    /// As far as it is known; what can't be known counts with its most.
    fn settle(mut self, known: Known) {
        let (amounts, cut) = match known {
            Known::All(amounts) => (amounts, false),
            Known::Input(amounts) => {
                (Amounts { output: self.bound.output.max(amounts.output), ..amounts }, true)
            }
            Known::Nothing if self.tariff.is_none() => (Amounts::default(), false),
            // Dropped, it counts with its most.
            Known::Nothing => return,
        };
        let Some(reservation) = self.reservation.take() else { return };
        let cost = self.tariff.as_ref().map(|tariff| tariff.cost(self.day, &amounts)).unwrap_or_default();
        reservation.settle(Used {
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
    meter: Option<Meter>,
}

#[allow(clippy::large_enum_variant, reason = "nearly all are of models, and none outlives its answer")]
enum Meter {
    Model(Charge, Reader),
    Skill(Toll, Reported),
}

impl<B> Metered<B> {
    /// Of a call without a price.
    pub fn free(body: B) -> Self {
        Self { body, meter: None }
    }

    /// The answer to a skill's request, which counts unless the far end refused it.
    pub fn toll(body: B, toll: Toll, status: StatusCode) -> Self {
        match status.as_u16() < 400 {
            true if toll.is_reported() => Self { body, meter: Some(Meter::Skill(toll, Reported::default())) },
            true => {
                toll.settle(None);
                Self::free(body)
            }
            false => {
                toll.failed();
                Self::free(body)
            }
        }
    }

    /// Of a call that was let through. An answer that says "failed" costs nothing.
    pub fn new(body: B, charge: Charge, status: StatusCode, headers: &HeaderMap) -> Self {
        if !status.is_success() {
            charge.failed();
            return Self::free(body);
        }
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let reader = Reader::new(charge.api, !kind.starts_with("application/json"));
        Self { body, meter: Some(Meter::Model(charge, reader)) }
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
        if let Some(data) = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()) {
            match &mut this.meter {
                Some(Meter::Model(_, reader)) => reader.feed(data),
                Some(Meter::Skill(_, reported)) => reported.feed(data),
                None => {}
            }
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
        match self.meter.take() {
            Some(Meter::Model(charge, mut reader)) => charge.settle(reader.known()),
            Some(Meter::Skill(toll, reported)) => toll.settle(reported.amounts()),
            None => {}
        }
    }
}
