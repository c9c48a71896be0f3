//! MCP servers as skills: what the client in a jail is asked, and a server's tools as they travel on our sockets. Whatever a
//! server says of itself is a stranger's word; nothing here gives it a right.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// Most tools of one server that are looked at.
pub const TOOLS: usize = 128;

/// What the client reads on its standard input, as one JSON document. It answers with a [`crate::runner::Answer`].
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Ask {
    /// Which tools the server offers.
    Tools,
    /// Call one of them.
    Call {
        /// As the server names it.
        tool: String,
        /// [`Offered::digest`] of the tool that the call was made for. Another tool of the same name is not called.
        definition: String,
        /// Its arguments.
        arguments: Value,
    },
}

/// A tool as its server offers it: what a model is shown of it, and nothing else.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offered {
    /// The server's name for it: anything.
    pub name: String,
    /// For the model. A stranger's words.
    pub description: String,
    /// JSON schema of the arguments.
    pub schema: Value,
}

impl Offered {
    /// SHA-256 over all of it, in hex. What a call is bound to.
    pub fn digest(&self) -> String {
        // Keys of objects are sorted in here (`serde_json::Map` is a tree), so the order of a server's does not matter.
        let text = serde_json::to_vec(self).expect("plain data");
        Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Offered;

    #[test]
    fn the_digest_sees_every_word_and_no_order() {
        let tool = |text: &str| -> Offered { serde_json::from_str(text).expect("a tool") };
        let one = tool(r#"{"name":"a","description":"d","schema":{"type":"object","properties":{}}}"#);
        let same = tool(r#"{"schema":{"properties":{},"type":"object"},"description":"d","name":"a"}"#);
        assert_eq!(one.digest(), same.digest());
        for other in [
            Offered { name: "b".into(), ..one.clone() },
            Offered { description: "d ".into(), ..one.clone() },
            Offered { schema: json!({ "type": "object" }), ..one.clone() },
        ] {
            assert_ne!(other.digest(), one.digest(), "{other:?}");
        }
    }
}
