//! Identifiers. Each is its own type, parsed at the edge; a blank or odd one is an error, never a wildcard
//! (incidents 72, 122).

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{what} {text:?} must be 1 to 64 characters of a-z, 0-9 and '-', starting with a letter or digit")]
pub struct IdError {
    what: &'static str,
    text: String,
}

fn parse(what: &'static str, text: &str) -> Result<Arc<str>, IdError> {
    let good = !text.is_empty()
        && text.len() <= 64
        && !text.starts_with('-')
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if good { Ok(text.into()) } else { Err(IdError { what, text: text.chars().take(80).collect() }) }
}

/// Copies share the text: each message carries several.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident, $what:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(test, derive(schemars::JsonSchema))]
        #[serde(try_from = "String", into = "String")]
        #[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[a-z0-9][a-z0-9-]{0,63}$")))]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text, known to be `[a-z0-9][a-z0-9-]{0,63}`.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                parse($what, text).map(Self)
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0.as_ref().to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type!(
    /// A bot, as the configuration names it; part of the webhook path.
    BotName, "bot name"
);
name_type!(
    /// A configured model, as the configuration names it; also its route at egress.
    ModelName, "model name"
);
name_type!(
    /// A skill: the name of its folder.
    SkillId, "skill name"
);
name_type!(
    /// An interpreter that the operator lets skills use, as the configuration names it.
    RuntimeName, "runtime name"
);

macro_rules! number_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number_type!(
    /// Telegram's id of a chat: positive for private chats, negative for groups and channels.
    ChatId
);
number_type!(
    /// Telegram's id of a user: the only thing that identifies a sender (names are mutable).
    UserId
);

#[cfg(test)]
mod tests {
    use super::SkillId;

    #[test]
    fn odd_identifiers_are_errors() {
        let long = "a".repeat(65);
        for bad in ["", " ", "..", "a/b", "A", "a\0", "-a", "é", "a b", long.as_str(), "a\u{2215}b"] {
            assert!(bad.parse::<SkillId>().is_err(), "{bad:?}");
        }
        assert_eq!("read-documents".parse::<SkillId>().expect("good").as_str(), "read-documents");
    }
}
