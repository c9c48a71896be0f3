use std::{
    fs, io,
    os::unix::fs::symlink,
    path::Path,
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
};

use openclaw_wire::file::FileName;

use super::{Draft, Shelf, Written};

fn name(number: i64) -> FileName {
    FileName::new(number, "ogg").expect("name")
}

async fn store(
    shelf: &Shelf,
    session: i64,
    number: i64,
    bytes: &'static [u8],
) -> io::Result<(Draft, Written)> {
    shelf.create(session, &name(number), 100)?.add(bytes).await?.finish().await
}

#[tokio::test]
async fn a_file_is_there_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("dir");
    let shelf = Shelf::open(&dir.path().join("files")).expect("shelf");
    let (draft, written) = store(&shelf, 3, 1, b"sound").await.expect("stored");
    draft.keep();
    assert_eq!(written.size, 5);
    let open = shelf.whole(3, &name(1), &written.digest).expect("whole");
    assert_eq!(io::read_to_string(open).expect("reads"), "sound");
    assert!(store(&shelf, 3, 1, b"other").await.is_err(), "never in the place of another");
    assert_eq!(fs::read(dir.path().join("files/3/1.ogg")).expect("there"), b"sound");
    let too_much =
        shelf.create(3, &name(2), 4).expect("draft").add("12345").await.expect_err("one byte more");
    assert_eq!(too_much.kind(), io::ErrorKind::FileTooLarge);
    drop(store(&shelf, 4, 1, b"given up").await.expect("stored"));
    assert!(!dir.path().join("files/3/2.ogg").exists() && !dir.path().join("files/4/1.ogg").exists());
    // Incident 90: what is not what was stored is not given.
    fs::write(dir.path().join("files/3/1.ogg"), "other").expect("write");
    assert!(shelf.whole(3, &name(1), &written.digest).is_err());
    shelf.remove(&[(3, name(1)), (3, name(7)), (9, name(1))]);
    assert!(!dir.path().join("files/3").exists(), "nothing is left of it");
}

/// What a crash leaves: a file without a row, half a file, a row without its file, and things that nobody put there.
#[tokio::test]
async fn what_a_crash_left_is_swept_up() {
    let dir = tempfile::tempdir().expect("dir");
    let shelf = Shelf::open(&dir.path().join("files")).expect("shelf");
    let at = |path: &str| dir.path().join("files").join(path);
    for (session, number) in [(1, 1), (1, 2), (2, 1), (3, 1)] {
        store(&shelf, session, number, b"sound").await.expect("stored").0.keep();
    }
    fs::write(at("2/1.ogg"), "so").expect("half");
    fs::write(dir.path().join("secret"), "abcde").expect("file");
    fs::remove_file(at("3/1.ogg")).expect("removed");
    symlink("../../secret", at("3/1.ogg")).expect("link");
    fs::write(at("odd"), "odd").expect("file");
    let rows = [(10, 1, 1), (11, 2, 1), (12, 4, 1), (13, 3, 1)]
        .map(|(id, session, number)| (id, (session, name(number)), 5));
    assert_eq!(shelf.sweep(&rows).expect("swept"), [11, 12, 13]);
    assert!(at("1/1.ogg").exists() && !at("1/2.ogg").exists() && !at("odd").exists());
    assert!(
        !at("3").exists() && dir.path().join("secret").exists(),
        "the link went, and not what it points to"
    );
    assert!(!at("2").exists(), "half a file is none");
    assert_eq!(shelf.sweep(&rows[..1]).expect("swept"), Vec::<i64>::new());
    assert!(at("1/1.ogg").exists());
}

/// Incident 69: somebody swaps the folder of a conversation for a link and back, and a file's name for a link, while files
/// are stored, read and deleted. No byte is written, read or deleted outside.
#[test]
fn no_race_leads_out_of_the_folder() {
    const SWAPS: usize = 20_000;
    let dir = tempfile::tempdir().expect("dir");
    let (files, outside) = (dir.path().join("files"), dir.path().join("outside"));
    let shelf = Shelf::open(&files).expect("shelf");
    fs::create_dir(&outside).expect("folder");
    fs::create_dir(files.join("1")).expect("folder");
    let secret = |number: i64| outside.join(name(number).as_str());
    (1..=3).for_each(|number| fs::write(secret(number), "secret").expect("file"));
    // Without that care the same act gets there.
    symlink(&outside, files.join("5")).expect("link");
    assert_eq!(fs::read_to_string(files.join("5").join(name(1).as_str())).expect("reads"), "secret");
    assert!(shelf.read(5, &name(1)).is_err() && shelf.create(5, &name(9), 9).is_err());

    let (stop, swaps, good) = (AtomicBool::new(false), AtomicUsize::new(0), AtomicUsize::new(0));
    let swap = |one: &Path, other: &Path| {
        rustix::fs::renameat_with(
            rustix::fs::CWD,
            one,
            rustix::fs::CWD,
            other,
            rustix::fs::RenameFlags::EXCHANGE,
        )
    };
    symlink(&outside, files.join("2")).expect("link");
    symlink(secret(2), files.join("1/7.ogg")).expect("link");
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                // The folder and a link to the outside take each other's place; so do a file and a link.
                let _any = swap(&files.join("1"), &files.join("2"));
                let _any = swap(&files.join("1").join(name(2).as_str()), &files.join("1/7.ogg"));
                swaps.fetch_add(1, Ordering::Relaxed);
            }
        });
        while swaps.load(Ordering::Relaxed) < SWAPS {
            if let Ok(mut draft) = shelf.create(1, &name(2), 100) {
                let _any = draft.write(b"ours");
                draft.keep();
                good.fetch_add(1, Ordering::Relaxed);
            }
            for number in 1..=3 {
                if let Ok(file) = shelf.read(1, &name(number)) {
                    assert_ne!(io::read_to_string(file).unwrap_or_default(), "secret", "read outside");
                }
            }
            shelf.remove(&[(1, name(2))]);
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(good.load(Ordering::Relaxed) > 0, "it was written as well");
    let mut left: Vec<_> =
        fs::read_dir(&outside).expect("list").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["1.ogg", "2.ogg", "3.ogg"], "nothing was made or deleted outside");
    (1..=3).for_each(|number| assert_eq!(fs::read_to_string(secret(number)).expect("reads"), "secret"));
}
