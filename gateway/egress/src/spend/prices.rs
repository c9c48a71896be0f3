//! What things cost: the operator's `[[price]]` before the table of this release. A model has rows by day and by length
//! of the input; a request has one row's prices as a whole. Sums are exact, and rounded up once, to a nano-dollar.

use std::sync::Arc;

use openclaw_wire::{
    config::{Config, Price},
    money::Usd,
};

use super::period::Day;

/// The table of this release; its head names source, date and licence.
const TABLE: &str = include_str!("prices.toml");
/// What requests of the bundled skills cost; each row names its source.
const CALLS: &str = include_str!("calls.toml");
/// Tokens that a price of tokens is for.
const MILLION: u128 = 1_000_000;
/// Bytes that a price of what is sent is for.
const MIB: u128 = 1 << 20;

/// All prices.
#[derive(Debug)]
pub struct Prices {
    own: Vec<Price>,
    shipped: Vec<Price>,
}

/// The prices of one model.
#[derive(Debug, Clone)]
pub struct Tariff {
    /// Earlier days first, then shorter inputs.
    rows: Arc<[Row]>,
    /// It is in the table of this release, so the host is the vendor's own.
    pub shipped: bool,
}

#[derive(Debug)]
struct Row {
    from: Day,
    price: Price,
}

/// What was used, in the classes that have prices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// Input tokens that were in no cache.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cache_read: u64,
    /// Input tokens written to a cache.
    pub cache_write: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_1h: u64,
    /// Output tokens, reasoning among them.
    pub output: u64,
    /// Searches that the vendor made.
    pub searches: u64,
    /// Bytes that a skill's request sends.
    pub sent: u64,
    /// Seconds of sound.
    pub seconds: u64,
}

impl Amounts {
    /// All input tokens.
    pub fn whole_input(&self) -> u64 {
        let classes = [self.input, self.cache_read, self.cache_write, self.cache_write_1h];
        classes.into_iter().fold(0, u64::saturating_add)
    }
}

impl Prices {
    /// The table of this release and the operator's own prices.
    pub fn new(config: &Config) -> Self {
        // It is part of the program, and a test reads it: with a table that can't be read everything is unpriced.
        let table = |text| Config::parse(text, "the table of prices".as_ref()).map(|table| table.price);
        let shipped = [TABLE, CALLS].into_iter().flat_map(|text| table(text).unwrap_or_default());
        Self { own: config.price.clone(), shipped: shipped.collect() }
    }

    /// The prices of a model at a host, if it has any.
    pub fn of_model(&self, host: &str, model: &str) -> Option<Tariff> {
        let fits = |price: &&Price| {
            price.input.is_some()
                && price.host.as_deref().is_none_or(|only| only == host)
                && price.model.as_deref().is_some_and(|known| is_model(model, known))
        };
        self.tariff(fits)
    }

    /// The price of a skill's request to a path of a host.
    pub fn of_request(&self, host: &str, path: &str) -> Option<Tariff> {
        let covers = |price: &Price| price.path.as_ref().is_none_or(|prefix| prefix.covers(path));
        self.tariff(|price| is_of(price, host) && covers(price))
    }

    /// Whether any request to a host costs something.
    pub fn costs(&self, host: &str) -> bool {
        let own = || self.own.iter().filter(|price| is_of(price, host));
        // One for all paths goes before the whole of what is shipped.
        let shipped = match own().any(|price| price.path.is_none()) {
            true => &[],
            false => self.shipped.as_slice(),
        };
        let all = own().chain(shipped.iter().filter(|price| is_of(price, host)));
        all.into_iter().any(|price| price.call.unwrap_or_default().max(price.sent_mib) > Usd::ZERO)
    }

    fn tariff(&self, fits: impl Fn(&&Price) -> bool) -> Option<Tariff> {
        let (found, shipped) = match self.own.iter().any(|price| fits(&price)) {
            true => (&self.own, false),
            false => (&self.shipped, true),
        };
        let row = |price: &Price| Row {
            from: price.from.as_deref().and_then(Day::parse).unwrap_or_default(),
            price: price.clone(),
        };
        let length = |price: &Price| price.path.as_ref().map_or(0, |path| path.as_str().len());
        let longest = found.iter().filter(&fits).map(length).max();
        let fit = found.iter().filter(|price| fits(price) && Some(length(price)) == longest);
        let mut rows: Vec<Row> = fit.map(row).collect();
        rows.sort_by_key(|row| (row.from, row.price.above));
        (!rows.is_empty()).then(|| Tariff { rows: rows.into(), shipped })
    }
}

/// For requests of skills to this host.
fn is_of(price: &Price, host: &str) -> bool {
    price.model.is_none() && price.host.as_deref() == Some(host)
}

/// `claude-x-20260131`, `gpt-x-2026-01-31` and `x-latest` are `claude-x`, `gpt-x` and `x`.
fn is_model(model: &str, known: &str) -> bool {
    let date = |text: &str| {
        let digits = text.bytes().filter(u8::is_ascii_digit).count();
        digits == 8 && (text.len() == 8 || (text.len() == 10 && text.split('-').count() == 3))
    };
    match model.strip_prefix(known).map(|rest| rest.strip_prefix('-')) {
        Some(Some(rest)) => date(rest) || rest == "latest",
        Some(None) => model == known,
        None => false,
    }
}

impl Tariff {
    /// What was used costs.
    pub fn cost(&self, day: Day, used: &Amounts) -> Usd {
        self.row(day, used.whole_input()).map_or(Usd::ZERO, |row| cost(&row.price, used))
    }

    /// The most that a skill's request can cost that sends so many bytes.
    pub fn most_of_request(&self, day: Day, sent: u64) -> Usd {
        self.cost(day, &Amounts { sent, ..Amounts::default() })
    }

    /// What a skill's request cost by what its answer says that it used; `None` where there is no price for that.
    pub fn reported(&self, day: Day, used: &Amounts) -> Option<Usd> {
        let price = &self.row(day, 0)?.price;
        let tokens = used.input > 0 && price.input.is_some();
        let sound = used.seconds > 0 && price.second > Usd::ZERO;
        let price = Price { call: None, sent_mib: Usd::ZERO, ..price.clone() };
        (tokens || sound).then(|| cost(&price, used))
    }

    /// Whether answers to skills' requests say what they cost.
    pub fn is_reported(&self) -> bool {
        self.rows.iter().any(|row| row.price.input.is_some() || row.price.second > Usd::ZERO)
    }

    /// The most that a request can cost: so many input tokens at most, each in the dearest class that is possible
    /// (`cached`: those of caches too), at the dearest row that a request of at most this length can have.
    pub fn most(&self, day: Day, input: u64, output: u64, cached: bool) -> Usd {
        let input = self.context(day).map_or(input, |context| context.min(input));
        let today = self.today(day).filter(|row| row.price.above == 0 || row.price.above < input);
        let one = |row: &Row| {
            let price = &row.price;
            let plain = price.input.unwrap_or_default().max(price.cache_read.unwrap_or_default());
            let write = price.cache_write.unwrap_or_default();
            let dearest = match (cached, price.cache_write_1h) {
                (true, long) => plain.max(write).max(long.unwrap_or_default()),
                (false, Some(_)) => plain,
                // A vendor with one class of writing caches unasked.
                (false, None) => plain.max(write),
            };
            let price = Price { input: Some(dearest), ..price.clone() };
            cost(&price, &Amounts { input, output, ..Amounts::default() })
        };
        today.map(one).max().unwrap_or_default()
    }

    /// Most input tokens that the model takes, as far as it is known.
    pub fn context(&self, day: Day) -> Option<u64> {
        self.today(day).filter_map(|row| row.price.context).max()
    }

    /// The rows of the latest start that is not after this day; before the first start, those of the first.
    fn today(&self, day: Day) -> impl Iterator<Item = &Row> {
        let begun = self.rows.iter().map(|row| row.from).filter(|from| *from <= day).max();
        let from = begun.or(self.rows.first().map(|row| row.from));
        self.rows.iter().filter(move |row| Some(row.from) == from)
    }

    fn row(&self, day: Day, input: u64) -> Option<&Row> {
        self.today(day)
            .filter(|row| row.price.above == 0 || row.price.above < input)
            .last()
            .or(self.today(day).next())
    }
}

fn cost(price: &Price, used: &Amounts) -> Usd {
    let input = price.input.unwrap_or_default();
    let write = price.cache_write.unwrap_or(input);
    let tokens = [
        (used.input, input),
        (used.cache_read, price.cache_read.unwrap_or(input)),
        (used.cache_write, write),
        (used.cache_write_1h, price.cache_write_1h.unwrap_or(write)),
        (used.output, price.output.unwrap_or_default()),
    ];
    let product = |(count, price): (u64, Usd)| u128::from(count) * u128::from(price.as_nano());
    let tokens: u128 = tokens.into_iter().map(product).sum();
    let sent = product((used.sent, price.sent_mib));
    // A row has a price of the one or of the other, so nothing is rounded twice.
    let parts = tokens.div_ceil(MILLION).saturating_add(sent.div_ceil(MIB));
    let pieces =
        [(1, price.call.unwrap_or_default()), (used.searches, price.search), (used.seconds, price.second)];
    let whole = pieces.into_iter().map(product).fold(0, u128::saturating_add);
    Usd::nano(u64::try_from(parts.saturating_add(whole)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{config::Config, money::Usd};

    use super::{Amounts, Prices, is_model};
    use crate::spend::period::Day;

    fn prices(own: &str) -> Prices {
        Prices::new(&Config::parse(own, "t".as_ref()).expect("good"))
    }

    fn day(text: &str) -> Day {
        Day::parse(text).expect(text)
    }

    fn usd(text: &str) -> Usd {
        text.parse().expect(text)
    }

    #[test]
    fn the_shipped_table_can_be_read_and_knows_the_models_that_are_used_by_default() {
        let prices = prices("");
        assert!(prices.shipped.len() > 50);
        for (host, model) in [("api.anthropic.com", "claude-sonnet-5-5"), ("api.openai.com", "gpt-6.1-terra")]
        {
            assert!(prices.of_model(host, model).is_some_and(|tariff| tariff.shipped), "{model}");
        }
        assert!(prices.of_model("api.openai.com", "claude-sonnet-5-5").is_none(), "another vendor's");
        assert!(prices.of_model("api.openai.com", "gpt-6.2-sol").is_none(), "newer than the table");
        assert!(prices.of_model("api.openai.com", "whisper-1").is_none(), "has no price of tokens");
        for price in &prices.shipped {
            assert!(price.host.is_some(), "{price:?}");
            assert!(price.from.as_deref().is_none_or(|from| Day::parse(from).is_some()), "{price:?}");
        }
    }

    /// Hundreds of sums that another program made (`tests/peers/prices.py`), for each model of the table.
    #[test]
    fn sums_are_those_of_another_calculator() {
        #[derive(serde::Deserialize)]
        struct Case {
            host: String,
            model: String,
            day: String,
            input: u64,
            cache_read: u64,
            cache_write: u64,
            cache_write_1h: u64,
            output: u64,
            searches: u64,
            nano: u64,
        }
        let prices = prices("");
        let mut count = 0;
        for line in include_str!("prices.jsonl").lines() {
            let case: Case = serde_json::from_str(line).expect(line);
            let tariff = prices.of_model(&case.host, &case.model).expect(line);
            let used = Amounts {
                input: case.input,
                cache_read: case.cache_read,
                cache_write: case.cache_write,
                cache_write_1h: case.cache_write_1h,
                output: case.output,
                searches: case.searches,
                ..Amounts::default()
            };
            assert_eq!(tariff.cost(day(&case.day), &used), Usd::nano(case.nano), "{line}");
            let most = tariff.most(day(&case.day), used.whole_input(), case.output, true);
            let searches = Amounts { searches: case.searches, ..Amounts::default() };
            let searches = tariff.cost(day(&case.day), &searches);
            let fits = tariff.context(day(&case.day)).is_none_or(|context| context >= used.whole_input());
            assert!(!fits || most.plus(searches) >= Usd::nano(case.nano), "the most is the most: {line}");
            count += 1;
        }
        assert!(count > 300, "{count}");
    }

    /// From the vendors' pages, by hand: 1,000 tokens at $2 for a million are $0.002.
    #[test]
    fn classes_tiers_and_dates_have_their_own_prices() {
        let prices = prices("");
        let cost = |host, model, at, used: &Amounts| {
            prices.of_model(host, model).expect("priced").cost(day(at), used).to_string()
        };
        let (anthropic, openai, google) =
            ("api.anthropic.com", "api.openai.com", "generativelanguage.googleapis.com");
        let used = Amounts {
            input: 1000,
            cache_read: 2000,
            cache_write: 3000,
            cache_write_1h: 4000,
            output: 500,
            searches: 2,
            ..Amounts::default()
        };
        // 0.002 + 0.0002 + 0.0075 + 0.016 + 0.005, and two searches at a cent.
        assert_eq!(cost(anthropic, "claude-sonnet-5-5", "2026-11-22", &used), "0.0507");
        assert_eq!(cost(anthropic, "claude-sonnet-5-5-20260930", "2026-11-22", &used), "0.0507");
        let long = |input| Amounts { input, output: 1000, ..Amounts::default() };
        // Exactly at the threshold the lower price holds, for the whole request; one more, and it is the higher one.
        assert_eq!(cost(openai, "gpt-6.1-terra", "2026-11-22", &long(272_000)), "0.277");
        assert_eq!(cost(openai, "gpt-6.1-terra", "2026-11-22", &long(272_001)), "0.551502");
        assert_eq!(cost(google, "gemini-4-argon", "2026-11-30", &long(1000)), "0.012");
        assert_eq!(cost(google, "gemini-4-argon", "2026-12-01", &long(1000)), "0.024");
    }

    #[test]
    fn the_operators_price_goes_first_and_the_most_is_the_dearest_case() {
        let prices = prices(
            "[[price]]\nmodel='claude-sonnet-5-5'\ninput=1\noutput=2\ncall='0.01'\n\
             [[price]]\nmodel='claude-sonnet-5-5'\nabove=10\ninput=3\noutput=2\ncache_write_1h=9\n\
             [[price]]\nhost='search.example'\ncall='0.005'\n\
             [[price]]\nhost='search.example'\npath='/deep'\ncall='0.02'\nsent_mib='0.5'\n\
             [[price]]\nhost='sound.example'\ncall=0\nsent_mib='0.1'\nsecond='0.0001'\n\
             [[price]]\nhost='picture.example'\ncall='0.3'\ninput=5\noutput=30\n\
             [[price]]\nhost='free.example'\ncall=0",
        );
        let tariff = prices.of_model("anywhere.example", "claude-sonnet-5-5").expect("priced");
        assert!(!tariff.shipped);
        let today = day("2026-11-22");
        let used = |input| Amounts { input, output: 1_000_000, ..Amounts::default() };
        assert_eq!(tariff.cost(today, &used(10)), usd("2.01001"));
        assert_eq!(tariff.cost(today, &used(11)), usd("2.000033"));
        assert_eq!(tariff.most(today, 10, 1_000_000, false), usd("2.01001"));
        assert_eq!(tariff.most(today, 1_000_000, 0, false), usd("3"));
        assert_eq!(tariff.most(today, 1_000_000, 0, true), usd("9"));
        let call = |path, sent| {
            let used = Amounts { sent, ..Amounts::default() };
            prices.of_request("search.example", path).expect("priced").cost(today, &used)
        };
        assert_eq!(call("/", 9 << 20), usd("0.005"));
        assert_eq!(call("/deeper", 0), usd("0.005"));
        assert_eq!(call("/deep/x", 0), usd("0.02"), "the longest path counts");
        assert_eq!(call("/deep", (3 << 20) + 1), usd("1.520000477"));
        assert!(prices.of_request("other.example", "/").is_none());
        let free = prices.of_request("free.example", "/").expect("on purpose");
        assert_eq!(free.cost(today, &Amounts::default()), Usd::ZERO);
        let reported = |seconds, input, output| {
            let tariff = prices.of_request("sound.example", "/").expect("priced");
            tariff.reported(today, &Amounts { seconds, input, output, ..Amounts::default() })
        };
        assert_eq!(reported(61, 0, 0), Some(usd("0.0061")));
        assert_eq!((reported(0, 7, 7), reported(0, 0, 0)), (None, None), "it has no price of tokens");
        let picture = prices.of_request("picture.example", "/").expect("priced");
        let used = Amounts { input: 1000, output: 2000, ..Amounts::default() };
        assert_eq!(picture.reported(today, &used), Some(usd("0.065")));
        assert_eq!(picture.cost(today, &Amounts::default()), usd("0.3"), "the most");
        for (host, costs) in [
            ("search.example", true),
            ("sound.example", true),
            ("free.example", false),
            ("other.example", false),
            ("api.openai.com", true),
        ] {
            assert_eq!(prices.costs(host), costs, "{host}");
        }
        let own = super::Prices::new(
            &Config::parse("[[price]]\nhost='api.openai.com'\ncall=0", "t".as_ref()).expect("good"),
        );
        assert!(!own.costs("api.openai.com"), "the operator's goes first");
    }

    /// What a bundled skill asks with a key of the operator has a price, and what OpenAI bills is not free.
    #[test]
    fn requests_of_bundled_skills_that_carry_a_key_have_a_price() {
        use openclaw_wire::skill::Reach;
        let (prices, mut found) = (prices(""), Vec::new());
        let skills = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../skills");
        for folder in std::fs::read_dir(skills).expect("the skills").flatten() {
            if !folder.path().join("skill.toml").exists() {
                continue;
            }
            let skill = openclaw_wire::skill::load(&folder.path()).expect("a good skill");
            for grant in skill.manifest.expect("a manifest").permissions.hosts {
                let (Reach::Host(host), Some(_)) = (&grant.reach, &grant.secret) else { continue };
                for path in &grant.paths {
                    let tariff =
                        prices.of_request(host.as_str(), path.as_str()).unwrap_or_else(|| panic!("{host:?}"));
                    let used = Amounts { sent: 1 << 20, ..Amounts::default() };
                    let cost = tariff.cost(day("2026-11-22"), &used);
                    found.push((host.as_str().to_owned(), cost.to_string()));
                }
            }
        }
        found.sort();
        let found: Vec<_> = found.iter().map(|(host, cost)| (host.as_str(), cost.as_str())).collect();
        assert_eq!(
            found,
            [
                ("api.openai.com", "0.1095"),
                ("api.openai.com", "0.30"),
                ("api.openweathermap.org", "0.00"),
                ("api.search.brave.com", "0.009")
            ]
        );
    }

    #[test]
    fn sums_are_rounded_up_once() {
        let prices = prices("[[price]]\nmodel='m'\ninput='0.000000001'\noutput='0.000000001'");
        let tariff = prices.of_model("h", "m").expect("priced");
        let used = Amounts { input: 1, output: 1, ..Amounts::default() };
        assert_eq!(tariff.cost(Day(0), &used), Usd::nano(1));
        assert_eq!(
            tariff.cost(Day(0), &Amounts { input: u64::MAX, output: u64::MAX, ..used }),
            Usd::nano(u64::MAX / 500_000 + 1)
        );
    }

    #[test]
    fn a_date_behind_a_name_is_the_same_model() {
        for (model, same) in [
            ("gpt-6", true),
            ("gpt-6-2026-10-01", true),
            ("gpt-6-20261001", true),
            ("gpt-6-latest", true),
            ("gpt-6-mini", false),
            ("gpt-60", false),
            ("gpt-6-", false),
            ("gpt-", false),
            ("gpt-6-2026", false),
        ] {
            assert_eq!(is_model(model, "gpt-6"), same, "{model}");
        }
    }
}
