//! Which addresses in an answer may be clickable. In a conversation that holds nothing but the owner's words, all; once
//! anything untrusted is in it, only those that the owner wrote: a model can be talked into carrying data away in an
//! address (incident 114).

use std::sync::atomic::{AtomicBool, Ordering};

use crate::{
    model::message::{Content, Turn},
    policy::{Integrity, Label},
};

/// The owner's words of a conversation, and whether anything else is in it.
#[derive(Debug, Default)]
pub struct Vouched {
    words: String,
    tainted: AtomicBool,
}

impl Vouched {
    /// Of a conversation as it was stored, with the turn at hand.
    pub fn new(words: String, tainted: bool) -> Self {
        Self { words, tainted: tainted.into() }
    }

    /// Something untrusted was read while the answer was made.
    pub fn taint(&self) {
        self.tainted.store(true, Ordering::Relaxed);
    }

    /// Whether an address may be clickable.
    pub fn allows(&self, address: &str) -> bool {
        let bare = address.split_once("://").map_or(address, |(_, rest)| rest).trim_end_matches('/');
        !self.tainted.load(Ordering::Relaxed) || (!bare.is_empty() && self.words.contains(bare))
    }
}

/// Adds the owner's words of a turn.
pub fn owners_words(turn: &Turn, labels: &[Label], into: &mut String) {
    let Turn::User { content } = turn else { return };
    for (part, label) in content.iter().zip(labels) {
        if let (Content::Text { text }, Integrity::Owner) = (part, &label.integrity) {
            into.push_str(text);
            into.push('\n');
        }
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::UserId;

    use super::{Vouched, owners_words};
    use crate::{
        model::message::{Content, Turn},
        policy::{Integrity, Label},
    };

    #[test]
    fn after_untrusted_words_only_the_owners_addresses_are_clickable() {
        let turn = Turn::User {
            content: vec![
                Content::text("see https://good.example/a?b=1"),
                Content::text("and https://evil.example/x"),
            ],
        };
        let labels = [Label::said(Integrity::Owner), Label::said(Integrity::Known(UserId(2)))];
        let mut words = String::new();
        owners_words(&turn, &labels, &mut words);
        let vouched = Vouched::new(words, false);
        assert!(vouched.allows("https://any.example/"), "a clean conversation");
        vouched.taint();
        assert!(vouched.allows("https://good.example/a?b=1") && vouched.allows("good.example/a"));
        for address in ["https://evil.example/x", "https://good.example/a?b=12", "https://", ""] {
            assert!(!vouched.allows(address), "{address}");
        }
    }
}
