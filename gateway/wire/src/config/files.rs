//! Section `[files]`: what people attach to their messages and skills make, and how much of it is kept.

use serde::{Deserialize, Serialize};

/// How much is kept, and for how long.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Files {
    /// Largest attachment, in bytes.
    pub largest: u64,
    /// Bytes of all files of one conversation.
    pub per_chat: u64,
    /// Bytes of all files of all conversations.
    pub total: u64,
    /// Days after which a file is deleted.
    pub days: u32,
}

impl Default for Files {
    fn default() -> Self {
        Self { largest: 20 << 20, per_chat: 200 << 20, total: 2 << 30, days: 30 }
    }
}

/// Telegram gives a bot no larger file.
const LARGEST: u64 = 20 << 20;

impl Files {
    /// Bounds that make sense together; otherwise what is wrong and what mends it.
    pub(super) fn coherent(&self) -> Result<(), (String, String)> {
        let good = (1..=LARGEST).contains(&self.largest)
            && self.largest <= self.per_chat
            && self.per_chat <= self.total
            && (1..=3650).contains(&self.days);
        match good {
            true => Ok(()),
            false => Err((
                "[files] largest, per_chat, total or days is out of range".into(),
                "largest: 1 to 20971520 bytes; per_chat at least as much; total at least as much as per_chat; days: 1 to 3650"
                    .into(),
            )),
        }
    }
}
