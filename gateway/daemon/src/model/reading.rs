//! The bytes of an answer, at whatever borders they come: a stream of events, or one JSON value from a server that does
//! not stream. Waits for nothing and asks nobody, so that any bytes can be tried.

use openclaw_wire::config::Api;
use serde_json::Value;

use super::{
    Event, anthropic,
    draft::Draft,
    fault::{Fault, Kind},
    message::{Part, Stop},
    openai, sse,
    wire::{Reader, Show},
};

/// Largest answer that comes as one JSON value.
const WHOLE_BODY: usize = 8 << 20;

/// Reads an answer that is here already, in the pieces in which it came.
pub fn answer<'a>(
    api: Api,
    chunks: impl IntoIterator<Item = &'a [u8]>,
    on_event: &mut (dyn FnMut(Event<'_>) + Send),
) -> Result<(Vec<Part>, Stop), Kind> {
    let mut reader = reader(api);
    let mut reading = Reading::new(&mut *reader);
    let mut last = false;
    for chunk in chunks {
        last = reading.chunk(chunk, on_event).map_err(|fault| fault.kind)?;
        if last {
            break;
        }
    }
    if !last {
        reading.end(on_event).map_err(|fault| fault.kind)?;
    }
    std::mem::take::<Draft>(reader.draft()).finish().map_err(|fault| fault.kind)
}

/// What reads the answers of this protocol.
pub(super) fn reader(api: Api) -> Box<dyn Reader> {
    match api {
        Api::Anthropic => Box::new(anthropic::Stream::default()),
        Api::Openai | Api::Rehearsal => Box::new(openai::Stream::default()),
    }
}

/// An answer while its bytes arrive.
pub(super) struct Reading<'a> {
    reader: &'a mut dyn Reader,
    events: sse::Parser,
    whole: Option<Vec<u8>>,
    begun: bool,
}

impl<'a> Reading<'a> {
    /// Nothing has arrived yet.
    pub fn new(reader: &'a mut dyn Reader) -> Self {
        Self { reader, events: sse::Parser::default(), whole: None, begun: false }
    }

    /// Takes the next bytes; `true` after the last event.
    pub fn chunk(&mut self, chunk: &[u8], show: &mut Show<'_>) -> Result<bool, Fault> {
        // What the answer is shows in its first character; the content type is often wrong.
        let first = chunk.iter().find(|byte| !byte.is_ascii_whitespace());
        if let (false, Some(first)) = (self.begun, first) {
            self.begun = true;
            self.whole = (*first == b'{').then(Vec::new);
        }
        match &mut self.whole {
            Some(text) if text.len() + chunk.len() > WHOLE_BODY => Err(Kind::Oversized.into()),
            Some(text) => {
                text.extend_from_slice(chunk);
                Ok(false)
            }
            None => self.feed(chunk, show),
        }
    }

    fn feed(&mut self, chunk: &[u8], show: &mut Show<'_>) -> Result<bool, Fault> {
        let mut done = Ok(false);
        let fed = self.events.feed(chunk, |event| {
            if matches!(done, Ok(false)) {
                done = self.reader.event(&event, show);
            }
        });
        if matches!(done, Ok(false)) {
            fed.map_err(|_| Kind::Oversized)?;
        }
        done
    }

    /// The body ends here.
    pub fn end(self, show: &mut Show<'_>) -> Result<(), Fault> {
        match self.whole {
            Some(text) => {
                let value: Value = serde_json::from_slice(&text).map_err(|_| Kind::Malformed)?;
                self.reader.whole(value, show)
            }
            None if !self.begun => Err(Kind::Empty.into()),
            None => self.reader.at_end(),
        }
    }

    /// Whether all but the last event is here, so that silence may be taken for the end.
    pub fn may_end(&self) -> bool {
        self.reader.may_end()
    }
}
