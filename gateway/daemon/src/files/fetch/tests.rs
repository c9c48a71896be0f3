use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    sync::Mutex,
    time::Duration,
};

use bytes::Bytes;
use openclaw_wire::{
    door::{self, Door, Entry},
    file::FileName,
    id::BotName,
};
use serde_json::{Value, json};

use super::{Fetch, Pace, Trouble};
use crate::{
    egress::Egress,
    files::Shelf,
    telegram::method::{Answer, BotApi, Posting, Upload},
};

/// Says where the file is, however often it is asked.
struct Api(u16, Value);

impl BotApi for Api {
    fn post<'a>(&'a self, _: &'a BotName, method: &'static str, _: Bytes) -> Posting<'a> {
        assert_eq!(method, "getFile");
        let answer = Answer { status: self.0, body: self.1.to_string().into(), ..Answer::default() };
        Box::pin(async move { Ok(answer) })
    }

    fn upload<'a>(&'a self, _: &'a BotName, _: Upload) -> Posting<'a> {
        unreachable!("nothing is sent here")
    }
}

fn found(path: &str, size: u64) -> Api {
    Api(200, json!({ "ok": true, "result": { "file_id": "f", "file_path": path, "file_size": size } }))
}

/// What egress does with each connection: writes some pieces with a pause before each, then closes.
struct Far {
    pieces: Vec<Vec<u8>>,
    pause: Duration,
}

fn answers(head: &str, pieces: &[&[u8]]) -> Far {
    let mut all = vec![head.as_bytes().to_vec()];
    all.extend(pieces.iter().map(|piece| piece.to_vec()));
    Far { pieces: all, pause: Duration::ZERO }
}

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";

fn chunk(bytes: &[u8]) -> Vec<u8> {
    [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat()
}

/// Egress as a script; each request line is kept.
fn egress(far: Vec<Far>) -> (Egress, std::sync::Arc<Mutex<Vec<String>>>) {
    let (near, entry) = door::pair().expect("pair");
    let entry = Entry::from_fd(entry).expect("entry");
    let (seen, far) = (std::sync::Arc::new(Mutex::new(Vec::new())), Mutex::new(VecDeque::from(far)));
    let lines = seen.clone();
    std::thread::spawn(move || {
        while let Ok(mut stream) = entry.accept() {
            lines.lock().expect("lock").push(line(&mut stream));
            let Some(far) = far.lock().expect("lock").pop_front() else { return };
            for piece in far.pieces {
                std::thread::sleep(far.pause);
                if stream.write_all(&piece).is_err() {
                    break;
                }
            }
        }
    });
    (Egress::new(Door::Pair(near)), seen)
}

fn line(stream: &mut UnixStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") && stream.read_exact(&mut byte).is_ok() {
        head.push(byte[0]);
    }
    String::from_utf8_lossy(&head).lines().next().unwrap_or_default().to_owned()
}

struct Bench {
    dir: tempfile::TempDir,
    shelf: Shelf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let shelf = Shelf::open(&dir.path().join("files")).expect("shelf");
        Self { dir, shelf }
    }

    async fn fetch(&self, api: &Api, egress: &Egress, most: u64) -> Result<Vec<u8>, Trouble> {
        let bot = "main".parse().expect("name");
        let pace = Pace { window: Duration::from_millis(150), least: 1000, whole: Duration::from_secs(20) };
        let fetch = Fetch { egress, api, bot: &bot, shelf: &self.shelf, pace };
        let name = FileName::new(1, "ogg").expect("name");
        let (draft, written) = fetch.file("f", (1, &name), most).await?;
        draft.keep();
        let bytes = io::read_to_string(self.shelf.whole(1, &name, &written.digest)?)?.into_bytes();
        assert_eq!(bytes.len() as u64, written.size);
        Ok(bytes)
    }

    fn nothing_is_left(&self) -> bool {
        !self.dir.path().join("files/1/1.ogg").exists()
    }
}

/// A connection that breaks is tried again, and what had come of it is not kept.
#[tokio::test]
async fn a_file_comes_through_egress_piece_by_piece() {
    let bench = Bench::new();
    let (egress, seen) = egress(vec![
        answers(CHUNKED, &[&chunk(b"half")]),
        answers("HTTP/1.1 502 x\r\ncontent-length: 0\r\n\r\n", &[]),
        answers(CHUNKED, &[&chunk(b"OggS"), &chunk(&[b'x'; 300_000]), b"0\r\n\r\n"]),
    ]);
    let bytes = bench.fetch(&found("voice/file_1.oga", 3), &egress, 1 << 20).await.expect("fetched");
    assert_eq!(bytes, [b"OggS".as_slice(), &[b'x'; 300_000]].concat(), "whatever size was told");
    let seen = seen.lock().expect("lock");
    assert!(
        seen.iter().all(|line| line == "GET /r/telegram/main/file/voice/file_1.oga HTTP/1.1"),
        "{seen:?}"
    );
    assert_eq!(seen.len(), 3);
}

/// Incident 115: a size that lies is no size; what counts are the bytes that come.
#[tokio::test]
async fn a_file_that_says_it_is_small_ends_at_its_limit() {
    let bench = Bench::new();
    let endless = std::iter::repeat_n(chunk(&[0; 50_000]), 1000).collect::<Vec<_>>();
    let pieces: Vec<&[u8]> = endless.iter().map(Vec::as_slice).collect();
    let (egress, _) = egress(vec![answers(CHUNKED, &pieces)]);
    let error = bench.fetch(&found("documents/a.bin", 10), &egress, 100_000).await.expect_err("too large");
    assert!(matches!(error, Trouble::TooLarge(100_000)), "{error}");
    assert_eq!(error.to_string(), "it is larger than 98 KiB");
    assert!(bench.nothing_is_left());
    // As much as it may have, it gets.
    let (egress, _) = self::egress(vec![answers(CHUNKED, &[&chunk(&[b'a'; 100_000]), b"0\r\n\r\n"])]);
    let bytes = bench.fetch(&found("documents/a.bin", 9_999_999), &egress, 100_000).await.expect("fits");
    assert_eq!(bytes.len(), 100_000);
}

/// Incident 129: what drips is given up, and what only hesitates is not.
#[tokio::test]
async fn a_file_that_drips_is_given_up() {
    let bench = Bench::new();
    let drip: Vec<Vec<u8>> = std::iter::once(CHUNKED.into()).chain((0..600).map(|_| chunk(b"x"))).collect();
    let (slow, _) = egress(vec![Far { pieces: drip, pause: Duration::from_millis(20) }]);
    let error = bench.fetch(&found("v/a.oga", 600), &slow, 1 << 20).await.expect_err("drips");
    assert!(matches!(error, Trouble::Slow), "{error}");
    assert!(bench.nothing_is_left());
    let mut steady: Vec<Vec<u8>> = std::iter::once(CHUNKED.into()).collect();
    steady.extend((0..20).map(|_| chunk(&[b'x'; 2000])));
    steady.push(b"0\r\n\r\n".to_vec());
    let (steady, _) = egress(vec![Far { pieces: steady, pause: Duration::from_millis(20) }]);
    assert_eq!(bench.fetch(&found("v/a.oga", 600), &steady, 1 << 20).await.expect("steady").len(), 40_000);
}

#[tokio::test]
async fn what_telegram_does_not_give_is_told_in_words() {
    let bench = Bench::new();
    let (nobody, seen) = egress(Vec::new());
    let refused = |text: &str| Api(400, json!({ "ok": false, "error_code": 400, "description": text }));
    for (api, words) in [
        (refused("Bad Request: file is too big"), "it is larger than 5 bytes"),
        (
            refused("Bad Request: wrong file_id or the file is temporarily unavailable"),
            "does not have it any more",
        ),
        (Api(200, json!({ "ok": true, "result": { "file_id": "f" } })), "does not have it any more"),
        (found("a b\r\nx: y", 1), "does not have it any more"),
    ] {
        let error = bench.fetch(&api, &nobody, 5).await.expect_err(words).to_string();
        assert!(error.contains(words), "{error}");
    }
    assert!(seen.lock().expect("lock").is_empty());
    let (missing, _) = egress(vec![answers("HTTP/1.1 404 x\r\ncontent-length: 0\r\n\r\n", &[])]);
    let error = bench.fetch(&found("v/a.oga", 1), &missing, 5).await.expect_err("404");
    assert!(matches!(error, Trouble::Gone) && bench.nothing_is_left());
}
