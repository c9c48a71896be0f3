//! What the answer to a skill's request says that it used: the tokens of a picture, the seconds of a sound. Such answers are
//! one JSON value with a picture in it, so long texts are left out before the rest is read.

use bytes::{BufMut, BytesMut};
use serde::Deserialize;

use super::{
    ledger::Reservation,
    period::Day,
    prices::{Amounts, Tariff},
};

/// Longest text that is kept; no name of a field is longer.
const TEXT: usize = 64;
/// Most of an answer that is kept, in bytes; a larger one counts as unknown.
const MOST: usize = 64 << 10;
/// No answer reports more of anything; a larger number is a mistake of the server's and counts as this.
const LARGEST: f64 = 1e9;

/// What a skill's request can cost, reserved. Dropped, it costs its most.
pub struct Toll {
    pub(super) reservation: Reservation,
    pub(super) tariff: Tariff,
    pub(super) day: Day,
}

impl Toll {
    /// It was not sent, or the far end refused it: it costs nothing.
    pub fn failed(self) {
        self.reservation.settle_call(false);
    }

    /// Whether the answer says what it costs.
    pub fn is_reported(&self) -> bool {
        self.tariff.is_reported()
    }

    /// It is over: what the answer said, else its most.
    pub fn settle(self, used: Option<Amounts>) {
        let cost = used.and_then(|used| Some((used, self.tariff.reported(self.day, &used)?)));
        match cost {
            Some((used, cost)) => self.reservation.settle_reported(&used, cost),
            None => self.reservation.settle_call(true),
        }
    }
}

/// Reads one answer as it goes by.
#[derive(Default)]
pub struct Reported {
    kept: BytesMut,
    /// Where in it a text begins that has not ended.
    text: Option<usize>,
    /// That text is left out.
    long: bool,
    escaped: bool,
    /// More came than is kept.
    full: bool,
}

#[derive(Deserialize)]
struct Answer {
    usage: Usage,
}

/// <https://platform.openai.com/docs/api-reference/images/object>, and of transcriptions `type` "duration".
#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage {
    input_tokens: f64,
    output_tokens: f64,
    seconds: f64,
}

impl Reported {
    /// Takes the next piece.
    pub fn feed(&mut self, piece: &[u8]) {
        for byte in piece {
            if self.kept.len() >= MOST {
                self.full = true;
                return;
            }
            let Some(begin) = self.text else {
                self.kept.put_u8(*byte);
                if *byte == b'"' {
                    self.text = Some(self.kept.len());
                }
                continue;
            };
            let ends = *byte == b'"' && !self.escaped;
            self.escaped = *byte == b'\\' && !self.escaped;
            if ends {
                (self.text, self.long) = (None, false);
                self.kept.put_u8(*byte);
            } else if !self.long {
                self.kept.put_u8(*byte);
                if self.kept.len() - begin > TEXT {
                    self.long = true;
                    self.kept.truncate(begin);
                }
            }
        }
    }

    /// What it said, if it did.
    pub fn amounts(&self) -> Option<Amounts> {
        let Answer { usage } = serde_json::from_slice(&self.kept).ok().filter(|_| !self.full)?;
        // The fraction of a second is paid as a whole one.
        let number = |given: f64| given.clamp(0.0, LARGEST).ceil() as u64;
        let [input, output, seconds] = [usage.input_tokens, usage.output_tokens, usage.seconds].map(number);
        Some(Amounts { input, output, seconds, ..Amounts::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::{Amounts, MOST, Reported};

    fn read(text: &str, size: usize) -> Option<Amounts> {
        let mut reported = Reported::default();
        text.as_bytes().chunks(size).for_each(|piece| reported.feed(piece));
        reported.amounts()
    }

    #[test]
    fn pictures_and_sounds_tell_it_in_whatever_pieces_they_come() {
        // As in OpenAI's API reference, with a picture's length of base64.
        let picture = format!(
            r#"{{"created":1713833628,"data":[{{"b64_json":"{}"}}],"usage":{{"total_tokens":100,"input_tokens":50,"output_tokens":50,"input_tokens_details":{{"text_tokens":10,"image_tokens":40}}}}}}"#,
            "iVBORw0KGgo/".repeat(20_000)
        );
        let sound = r#"{"text":"He said: \"usage\": {\"seconds\": 1}, \\","usage":{"type":"duration","seconds":41.2}}"#;
        for size in [1, 7, 64, 4096, 1 << 20] {
            let want = Amounts { input: 50, output: 50, ..Amounts::default() };
            assert_eq!(read(&picture, size), Some(want), "{size}");
            assert_eq!(read(sound, size), Some(Amounts { seconds: 42, ..Amounts::default() }), "{size}");
        }
    }

    #[test]
    fn what_is_odd_tells_nothing_and_costs_no_memory() {
        for text in
            ["", "[]", "{}", r#"{"usage":null}"#, r#"{"usage":{"seconds":"1"}}"#, r#"{"usage":{"seconds":1}"#]
        {
            assert_eq!(read(text, 64), None, "{text}");
        }
        assert_eq!(read(&"[".repeat(2 * MOST), 4096), None);
        assert_eq!(read(&format!(r#"{{"a":[{}1],"usage":{{"seconds":1}}}}"#, "1,".repeat(MOST)), 4096), None);
        let mad = read(r#"{"usage":{"seconds":1e300,"input_tokens":-5}}"#, 64).expect("numbers");
        assert_eq!((mad.seconds, mad.input), (1_000_000_000, 0));
    }
}
