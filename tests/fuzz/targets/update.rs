//! What Telegram sends, and what somebody sends who pretends to be Telegram: it is parsed or refused, and a refusal
//! repeats nothing of it.
#![no_main]

use libfuzzer_sys::fuzz_target;
use openclaw::telegram::update::{Kind, Update};

/// The only words of a refusal; numbers are places.
const REFUSALS: [&str; 4] = [
    "not an update: a field has the wrong type (line , column )",
    "not an update: it ends too early (line , column )",
    "not an update: it is not JSON (line , column )",
    "not an update: `update_id` is missing or out of range",
];

fuzz_target!(|data: &[u8]| {
    let update = match Update::parse(data) {
        Ok(update) => update,
        Err(error) => {
            let said: String = error.to_string().chars().filter(|c| !c.is_ascii_digit()).collect();
            assert!(REFUSALS.contains(&said.as_str()), "{said}");
            return;
        }
    };
    assert!(update.id >= 0);
    let lane = update.lane();
    match &update.kind {
        Kind::Message(message) | Kind::Edited(message) => {
            assert_eq!(lane, Some((message.chat.id, message.topic())));
            let quoted = message.reply_to_message.as_ref().and_then(|quoted| quoted.attachment());
            for attachment in quoted.into_iter().chain(message.attachment()) {
                // What goes into a call and a row is bounded and plain.
                assert!((1..=512).contains(&attachment.media.file_id.len()));
                assert!(attachment.usual_ending().bytes().all(|b| b.is_ascii_alphanumeric()));
            }
            let words = message.words().encode_utf16().count();
            let marked = message.marked();
            assert!(marked.len() <= 100);
            for (_, text) in &marked {
                assert!(text.encode_utf16().count() <= words);
            }
        }
        Kind::Other(name) => {
            assert_eq!(lane, None);
            assert!(name.len() <= 40 && name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'));
        }
        Kind::Callback(_) | Kind::Stopped(_) | Kind::Membership { .. } | Kind::Moved { .. } => {}
    }
});
