//! A stream of events: the same at whatever borders its bytes come, and never larger than it may be.
#![no_main]

mod pieces;

use libfuzzer_sys::fuzz_target;
use openclaw::model::sse::{Event, MAX_EVENT, Parser};

/// The events, and whether one was too large.
fn read(pieces: &[&[u8]]) -> (Vec<Event>, bool) {
    let mut events = Vec::new();
    let mut parser = Parser::default();
    for piece in pieces {
        if parser.feed(piece, |event| events.push(event)).is_err() {
            return (events, true);
        }
    }
    (events, false)
}

fuzz_target!(|data: &[u8]| {
    let whole = read(&[data]);
    assert_eq!(read(&pieces::pieces(data)), whole);
    let (events, too_large) = whole;
    // A byte that is no text becomes three.
    let size: usize = events.iter().map(|event| event.name.len() + event.data.len()).sum();
    assert!(size <= 3 * data.len());

    // In a stream as large as this, however it goes on, no event is larger than it may be.
    if !too_large && (4096..65_536).contains(&data.len()) {
        let mut parser = Parser::default();
        for _ in 0..=MAX_EVENT / data.len() {
            let fed = parser.feed(data, |event| assert!(event.data.len() <= 3 * MAX_EVENT));
            if fed.is_err() {
                break;
            }
        }
    }
});
