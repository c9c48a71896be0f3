//! Money: what a call can cost is reserved before it is sent, what it did cost is settled after it, and no cap can be
//! passed by any number of calls at once. Counts tokens and amounts; never keeps or changes a word of what goes by.
//!
//! For a request to a model: [`Bill`] says what its route costs, [`Charge::reserve`] reserves, [`Metered`] settles. For a
//! skill's request to a host: [`Ledger::admit_call`], and its [`Toll`] is settled, by [`Metered`] too if the answer tells.

mod book;
mod caps;
mod door;
mod ledger;
mod meter;
mod period;
mod prices;
mod reported;
mod request;
mod slots;
mod store;
mod usage;

use std::sync::Arc;

use http::HeaderMap;
use http_body::Body as _;
use hyper::body::Incoming;
use openclaw_wire::{
    config::{Api, Model},
    egress::{Refusal, RefusalKind},
    money::Usd,
    spend::CHAT,
};
use smol_str::SmolStr;
use tokio::sync::{Semaphore, SemaphorePermit};
use url::{Host, Url};

pub use self::{
    ledger::{Asked, Ledger},
    meter::{Charge, Metered},
    prices::Prices,
    reported::Toll,
};
use self::{
    prices::Tariff,
    request::{Bound, Limit, Terms},
    slots::Account,
};
use crate::{
    address::Reach,
    dial,
    mask::Masks,
    proxy,
    refuse::{refusal, shown},
};

/// Longest name of a chat; a bot's name and a number are shorter.
const LONGEST_CHAT: usize = 96;
/// Longest name in the ledger; four of them fit into a place of the slots.
const LONGEST_NAME: usize = 128;
/// Input tokens of a request whose bytes don't bound them, to a model of unknown context.
const LARGEST_CONTEXT: u64 = 2_000_000;
/// Bytes of large requests that are held at the same time; further ones wait.
const LARGE_BODIES: u64 = 64 << 20;

/// What the requests of a model's route cost.
#[derive(Debug, Clone)]
pub struct Bill {
    api: Api,
    model: String,
    max_output: u32,
    limit: Limit,
    /// `None`: nothing.
    tariff: Option<Tariff>,
}

impl Bill {
    /// Of a route to this server. A model without a price is free at a private address, and refused elsewhere.
    pub fn new(prices: &Prices, model: &Model, base: &Url, reach: Reach) -> Result<Self, Refusal> {
        let host = base.host_str().unwrap_or_default();
        let tariff = prices.of_model(host, &model.model);
        if tariff.is_none() && !is_private(base, reach) {
            return Err(not_priced(&model.model, host));
        }
        let limit = Limit::of(model.api, host);
        Ok(Self { api: model.api, model: model.model.clone(), max_output: model.max_output, limit, tariff })
    }

    /// Finds out what a request can cost at most, and gives its body as it is to be sent. A request with a price is read
    /// whole, because its most stands in it. Nothing is reserved yet: which key pays is not known.
    pub async fn charge(
        &self,
        ledger: &Ledger,
        headers: &HeaderMap,
        body: Incoming,
        masks: &Arc<Masks>,
    ) -> Result<(dial::Body, Option<Charge>), Refusal> {
        let day = ledger.today();
        let chat = chat(headers)?;
        let (body, bound, most, room) = match &self.tariff {
            None => (proxy::outgoing(body, masks).await?, Bound::default(), Usd::ZERO, None),
            Some(tariff) => {
                let room = room(&body).await;
                let terms = Terms {
                    api: self.api,
                    model: &self.model,
                    max_output: self.max_output,
                    vendor: tariff.shipped,
                    limit: self.limit,
                };
                let (body, bound) = request::bound(&terms, proxy::whole(body, masks).await?)?;
                let input = bound.input.or(tariff.context(day)).unwrap_or(LARGEST_CONTEXT);
                let most = tariff.most(day, input, bound.output, bound.cached);
                (body.into(), bound, most, room)
            }
        };
        let who = Account { model: name(&self.model), chat, ..Account::default() };
        let charge = Charge {
            api: self.api,
            tariff: self.tariff.clone(),
            bound,
            day,
            most,
            who,
            ledger: ledger.clone(),
            reservation: None,
            _room: room,
        };
        Ok((body, Some(charge)))
    }
}

/// Room for a body that is read whole; small ones need none.
async fn room(body: &Incoming) -> Option<SemaphorePermit<'static>> {
    static ROOM: Semaphore = Semaphore::const_new(LARGE_BODIES as usize >> 10);
    let length = body.size_hint().exact().unwrap_or(proxy::MAX_BODY).min(proxy::MAX_BODY);
    if length <= proxy::SMALL {
        return None;
    }
    ROOM.acquire_many(u32::try_from(length >> 10).unwrap_or(u32::MAX)).await.ok()
}

/// Whether this can be the name of a chat; empty for none.
pub fn is_chat(name: &str) -> bool {
    name.len() <= LONGEST_CHAT && name.bytes().all(plain)
}

/// The chat that a request is for, as its header says.
fn chat(headers: &HeaderMap) -> Result<SmolStr, Refusal> {
    let Some(name) = headers.get(CHAT) else { return Ok(SmolStr::default()) };
    name.to_str().ok().filter(|name| is_chat(name)).map(SmolStr::new).ok_or_else(|| {
        refusal(RefusalKind::BadRequest, format!("the header {CHAT} names no chat"), "write bot/number")
    })
}

fn plain(byte: u8) -> bool {
    byte.is_ascii_graphic() && byte != b'"' && byte != b'\\'
}

/// A name as it stands in the ledger.
fn name(text: &str) -> SmolStr {
    let short = text.bytes().take(LONGEST_NAME);
    short.map(|byte| if plain(byte) { char::from(byte) } else { '?' }).collect()
}

/// The operator vouches for the server, and what can be told of its address says that it is his own. Plain http reaches
/// private addresses alone.
fn is_private(base: &Url, reach: Reach) -> bool {
    const OWN: [&str; 5] = [".local", ".lan", ".internal", ".home.arpa", ".localhost"];
    match (reach, base.host()) {
        (Reach::VouchedPlain, _) => true,
        (Reach::Public, _) | (_, None) => false,
        (Reach::Vouched, Some(Host::Ipv4(address))) => Reach::VouchedPlain.allows(address.into()),
        (Reach::Vouched, Some(Host::Ipv6(address))) => Reach::VouchedPlain.allows(address.into()),
        (Reach::Vouched, Some(Host::Domain(name))) => {
            !name.contains('.') || OWN.iter().any(|end| name.ends_with(end))
        }
    }
}

fn not_priced(model: &str, host: &str) -> Refusal {
    let name = shown(model);
    let mend = format!(
        "add its price in dollars for a million tokens (0 if it costs nothing) to openclaw.toml and start again:\n\
         [[price]]\nmodel = {name}\nhost = \"{host}\"\ninput = \noutput = "
    );
    refusal(RefusalKind::NotPriced, format!("the price of the model {name} at {host} is not known"), mend)
}

/// Why a route can't be used; a missing price with the lines that add it.
pub fn problem(refusal: &Refusal) -> String {
    match refusal.kind {
        RefusalKind::NotPriced => format!("{}; {}", refusal.message, refusal.mend),
        _ => refusal.message.clone(),
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{config::Config, egress::RefusalKind};

    use super::{Bill, Prices};
    use crate::address::Reach;

    #[test]
    fn only_what_is_surely_the_operators_own_is_free_without_a_price() {
        let bill = |url: &str, reach, model: &str, more: &str| {
            let text = format!(
                "[[model]]\nname='m'\napi='openai'\nmodel='{model}'\nprivate=true\nurl='{url}'\n{more}"
            );
            let config = Config::parse(&text, "t".as_ref()).expect("good");
            let url = url.parse().expect("an address");
            Bill::new(&Prices::new(&config), &config.model[0], &url, reach).map(|bill| bill.tariff.is_some())
        };
        for url in
            ["https://localhost:1", "https://10.1.2.3", "https://box", "https://box.lan", "https://[::1]/v1"]
        {
            assert_eq!(bill(url, Reach::Vouched, "x", ""), Ok(false), "{url}");
        }
        assert_eq!(bill("http://ollama.example", Reach::VouchedPlain, "x", ""), Ok(false));
        for url in [
            "https://api.openai.com/v1",
            "https://router.example",
            "https://1.2.3.4",
            "https://x.local.example",
        ] {
            let refusal = bill(url, Reach::Vouched, "x", "").expect_err(url);
            assert_eq!(refusal.kind, RefusalKind::NotPriced);
            assert!(refusal.mend.contains("[[price]]\nmodel = \"x\"\nhost = "), "{}", refusal.mend);
        }
        assert_eq!(
            bill("https://api.openai.com/v1", Reach::Vouched, "gpt-6-luna", ""),
            Ok(true),
            "vouched or not"
        );
        assert_eq!(
            bill("https://router.example", Reach::Vouched, "x", "[[price]]\nmodel='x'\ninput=0\noutput=0"),
            Ok(true)
        );
        assert_eq!(
            bill("https://localhost", Reach::Vouched, "x", "[[price]]\nmodel='x'\ninput=1\noutput=1"),
            Ok(true)
        );
    }
}
