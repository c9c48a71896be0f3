//! A model server's stream: any bytes, cut anywhere, give the same events or the same error, and no event is larger
//! than its bound. The first byte says where to cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw::model::sse::{Event, MAX_EVENT, Parser, TooLarge};

fn events<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Event>, TooLarge> {
    let mut parser = Parser::default();
    let mut events = Vec::new();
    for chunk in chunks {
        parser.feed(chunk, |event| {
            // Bytes that are no text become three each.
            assert!(event.data.len() <= 3 * MAX_EVENT);
            events.push(event);
        })?;
    }
    Ok(events)
}

fuzz_target!(|input: &[u8]| {
    let Some((cut, bytes)) = input.split_first() else { return };
    let whole = events([bytes]);
    let size = usize::from(*cut) % 16 + 1;
    assert_eq!(whole, events(bytes.chunks(size)));
    let (head, tail) = bytes.split_at(usize::from(*cut).min(bytes.len()));
    assert_eq!(whole, events([head, tail]));
});
