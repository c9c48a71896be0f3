use std::io::Write;

use openclaw_wire::file::{END, FILE, MORE, write};
use tokio::net::UnixStream;

use super::{Made, receive};
use crate::{files::Shelf, store::Store};

struct Bench {
    dir: tempfile::TempDir,
    store: Store,
    shelf: Shelf,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("dir");
        let store = Store::open(&dir.path().join("db"), &[crate::files::MIGRATION]).expect("store");
        let shelf = Shelf::open(&dir.path().join("files")).expect("shelf");
        Self { dir, store, shelf }
    }

    /// What comes of these bytes, and then the end of the jail.
    async fn of(&self, bytes: Vec<u8>, most: u64) -> std::io::Result<(Vec<Made>, bool)> {
        let (near, mut far) = std::os::unix::net::UnixStream::pair().expect("pair");
        // Whoever reads may have given up.
        let writes = std::thread::spawn(move || drop(far.write_all(&bytes)));
        near.set_nonblocking(true).expect("nonblocking");
        let near = UnixStream::from_std(near).expect("socket");
        let made = receive(near, &self.store, &self.shelf, 1, most).await;
        tokio::task::spawn_blocking(|| writes.join()).await.expect("joined").expect("wrote");
        made
    }

    fn files(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.dir.path().join("files/1")).into_iter().flatten().flatten();
        let mut names: Vec<_> =
            entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn files(all: &[(&str, &[u8])], end: u8) -> Vec<u8> {
    let mut bytes = Vec::new();
    all.iter().for_each(|(name, file)| write(&mut bytes, name.as_bytes(), *file).expect("writes"));
    bytes.push(end);
    bytes
}

/// Incident 76: a skill's name for a file is a word to show; where it lies is decided here.
#[tokio::test]
async fn what_a_skill_made_gets_names_of_ours() {
    let bench = Bench::new();
    let png = [b"\x89PNG\r\n\x1a\n".as_slice(), &[7; 150_000]].concat();
    let all: [(&str, &[u8]); 5] = [
        ("../../../etc/passwd", b"text"),
        ("pot.exe", &png),
        ("letter.DOCX", b"PK\x03\x04..."),
        ("\u{202e}a\nb", b"OggS...."),
        ("empty.txt", b""),
    ];
    let (made, more) = bench.of(files(&all, END), 1 << 20).await.expect("received");
    assert!(!more);
    let told: Vec<_> =
        made.iter().map(|one| (one.name.as_str(), one.shown.as_str(), one.media, one.written.size)).collect();
    assert_eq!(
        told,
        [
            ("1.bin", "passwd", "application/octet-stream", 4),
            ("2.png", "pot.exe", "image/png", 150_008),
            ("3.docx", "letter.DOCX", "application/zip", 7),
            ("4.ogg", "\u{202e}a b", "audio/ogg", 8),
        ]
    );
    assert_eq!(bench.files(), ["1.bin", "2.png", "3.docx", "4.ogg"]);
    assert!(std::fs::read(bench.dir.path().join("files/1/2.png")).expect("reads") == png);
    drop(made);
    assert!(bench.files().is_empty(), "without a row nothing stays");
}

/// What is not whole is nothing, and no stream makes more than it may.
#[tokio::test]
async fn a_hostile_jail_makes_no_more_than_it_may() {
    let bench = Bench::new();
    let whole = files(&[("a", b"12345"), ("b", b"678")], END);
    for length in 0..whole.len() {
        assert!(bench.of(whole[..length].to_vec(), 100).await.is_err(), "cut after {length}");
        assert!(bench.files().is_empty());
    }
    assert_eq!(bench.of(whole.clone(), 8).await.expect("fits").0.len(), 2);
    assert!(bench.of(whole, 7).await.is_err(), "one byte more than both may have");
    let many = vec![("x", b"1".as_slice()); 9];
    assert!(bench.of(files(&many, END), 100).await.is_err(), "one file more than may be");
    let (made, more) = bench.of(files(&many[..8], MORE), 100).await.expect("as many as may be");
    assert!(more && made.len() == 8);
    drop(made);
    for odd in [vec![9], vec![FILE, 1, b'x', 0xff, 0xff, 0xff, 0xff], vec![FILE, 1, b'x', 0, 1, 0, 1, 5]] {
        assert!(bench.of(odd.clone(), 100).await.is_err(), "{odd:?}");
    }
    assert!(bench.files().is_empty());
}
