//! Calls that carry a file: `multipart/form-data` (RFC 7578) whose file is read from the disk while it is sent, so that no
//! file is ever held whole in memory.
//! Source of every field: <https://core.telegram.org/bots/api#sending-files>.

use std::{fs::File, io::Read, time::Duration};

use bytes::Bytes;
use futures_util::{
    Stream, StreamExt,
    stream::{once, poll_fn},
};
use hyper::body::Frame;
use openclaw_wire::id::BotName;
use tokio::sync::mpsc;

use super::{ApiError, BotApi, Delivery, Sent, error};

/// One read.
const PIECE: usize = 64 << 10;
/// Pieces that are read ahead.
const AHEAD: usize = 2;
/// An upload gets so much longer than another call as this many bytes in a second would take (incident 129).
const SLOWEST: u64 = 32 << 10;

/// As what a file is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SentAs {
    /// `sendPhoto`: Telegram makes it smaller and shows it.
    Photo,
    /// `sendVoice`: OGG with Opus, shown as speech.
    Voice,
    /// `sendDocument`: as it is.
    Document,
}

impl SentAs {
    /// For what has this media type, by its first bytes. Telegram takes photos of at most 10 MB.
    pub fn of(media: &str, size: u64) -> Self {
        match media {
            "image/png" | "image/jpeg" | "image/webp" if size <= 10_000_000 => Self::Photo,
            "audio/ogg" => Self::Voice,
            _ => Self::Document,
        }
    }

    /// Name of the method.
    pub fn method(self) -> &'static str {
        match self {
            Self::Photo => "sendPhoto",
            Self::Voice => "sendVoice",
            Self::Document => "sendDocument",
        }
    }

    fn field(self) -> &'static str {
        match self {
            Self::Photo => "photo",
            Self::Voice => "voice",
            Self::Document => "document",
        }
    }
}

/// A call with a file.
#[derive(Debug)]
pub struct Upload {
    /// As what.
    pub sent_as: SentAs,
    /// The other fields; those of more than a word as JSON.
    pub fields: Vec<(&'static str, String)>,
    /// What people see as its name.
    pub name: String,
    /// Media type.
    pub media: String,
    /// The file, from where it stands to its end.
    pub file: File,
    /// Bytes.
    pub size: u64,
}

/// Sends it, and gives it up after `limit` and the time that its size may take.
pub async fn upload_within(
    api: &dyn BotApi,
    bot: &BotName,
    upload: Upload,
    limit: Duration,
) -> Result<Sent, ApiError> {
    let method = upload.sent_as.method();
    let limit = limit + Duration::from_secs(upload.size / SLOWEST);
    match tokio::time::timeout(limit, api.upload(bot, upload)).await {
        Ok(Ok(answer)) => error::read(&answer),
        Ok(Err(lost)) => Err(ApiError::Network { delivery: lost.delivery, message: lost.message }),
        Err(_) => Err(ApiError::Network {
            delivery: Delivery::Unknown,
            message: format!("{method}: no answer within {} s", limit.as_secs()),
        }),
    }
}

impl Upload {
    /// The value of `Content-Type`, and the body. `boundary` is nothing that a file holds: random.
    pub fn body(
        self,
        boundary: &str,
    ) -> (String, impl Stream<Item = std::io::Result<Frame<Bytes>>> + Send + Unpin + 'static) {
        let mut head = String::new();
        for (name, value) in &self.fields {
            head += &format!(
                "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
            );
        }
        // Nobody's name ends a quoted text or a line.
        let plain = |text: &str| text.replace(['"', '\\', '\r', '\n'], "_");
        head += &format!(
            "--{boundary}\r\nContent-Disposition: form-data; name=\"{}\"; filename=\"{}\"\r\nContent-Type: {}\r\n\r\n",
            self.sent_as.field(),
            plain(&self.name),
            plain(&self.media),
        );
        let tail = format!("\r\n--{boundary}--\r\n");
        let file = pieces(self.file);
        let around = |text: String| once(std::future::ready(Ok(Bytes::from(text))));
        let body = around(head).chain(file).chain(around(tail)).map(|piece| piece.map(Frame::data));
        (format!("multipart/form-data; boundary={boundary}"), Box::pin(body))
    }
}

/// A file as a stream, read on a thread that may wait for the disk, no faster than somebody takes it.
pub fn pieces(mut file: File) -> impl Stream<Item = std::io::Result<Bytes>> + Send + 'static {
    let (give, mut taken) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        loop {
            let mut piece = vec![0; PIECE];
            let read = match file.read(&mut piece) {
                Ok(0) => return,
                Ok(read) => Ok(read),
                Err(error) => Err(error),
            };
            let failed = read.is_err();
            let piece = read.map(|read| Bytes::from(piece).slice(..read));
            if give.blocking_send(piece).is_err() || failed {
                return;
            }
        }
    });
    poll_fn(move |context| taken.poll_recv(context))
}

#[cfg(test)]
mod tests {
    use futures_util::StreamExt;

    use super::{SentAs, Upload};

    #[tokio::test]
    async fn a_form_has_its_fields_and_its_file() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("1.png");
        let bytes: Vec<u8> = (0..200_000u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).expect("file");
        let upload = Upload {
            sent_as: SentAs::Photo,
            fields: vec![("chat_id", "5".into()), ("caption", "a".into())],
            name: "a\"\r\nb.png".into(),
            media: "image/png".into(),
            file: std::fs::File::open(&path).expect("open"),
            size: 200_000,
        };
        let (kind, body) = upload.body("xyz");
        assert_eq!(kind, "multipart/form-data; boundary=xyz");
        let pieces: Vec<_> =
            body.map(|piece| piece.expect("piece").into_data().expect("data")).collect().await;
        assert!(pieces.iter().all(|piece| piece.len() <= super::PIECE));
        let head = "--xyz\r\nContent-Disposition: form-data; name=\"chat_id\"\r\n\r\n5\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"caption\"\r\n\r\na\r\n\
            --xyz\r\nContent-Disposition: form-data; name=\"photo\"; filename=\"a___b.png\"\r\nContent-Type: image/png\r\n\r\n";
        let expected = [head.as_bytes(), &bytes, b"\r\n--xyz--\r\n"].concat();
        assert!(pieces.concat() == expected);
        assert_eq!(SentAs::of("image/png", 11_000_000), SentAs::Document);
    }
}
