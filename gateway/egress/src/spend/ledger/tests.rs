use std::{
    future::{Future, poll_fn},
    pin::{Pin, pin},
    task::Poll,
};

use openclaw_wire::{
    config::Config,
    egress::RefusalKind,
    spend::{Raise, Span, Whose},
};

use super::{Ledger, Prepared, Store};

/// A ledger whose writer is the test.
fn prepared(dir: &tempfile::TempDir) -> (Ledger, Store) {
    let config = Config::parse("[spend]\nday = 1", "t".as_ref()).expect("good");
    let Prepared { shared, store } = Ledger::prepare(&dir.path().join("ledger.db"), &config).expect("opens");
    (Ledger { shared }, store)
}

async fn once<F: Future>(future: &mut Pin<&mut F>) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await
}

/// A commit that was under way before the tap does not answer it; one that failed tells so, and the next tap is written.
#[tokio::test]
async fn a_raise_is_answered_by_the_commit_that_holds_it() {
    let dir = tempfile::tempdir().expect("dir");
    let (ledger, mut store) = prepared(&dir);
    let state = ledger.shared.desk().book.state(&Whose::All, Span::Day).expect("a limit");
    let wish = Raise { cap: state.cap, raised: 0 };
    let ends = |batch, done: Result<_, &str>| {
        let mut desk = ledger.shared.desk();
        match done {
            Ok(loaded) => desk.book.committed(batch, loaded),
            Err(error) => desk.book.failed(batch, error.into()),
        }
        ledger.shared.commits.send_modify(|count| *count += 1);
    };
    let take = || ledger.shared.desk().book.take(false);

    let older = take();
    let (mut first, mut second) = (pin!(ledger.raise(&wish)), pin!(ledger.raise(&wish)));
    assert!(once(&mut first).await.is_pending() && once(&mut second).await.is_pending());
    let done = store.commit(&older).expect("commits");
    ends(older, Ok(done));
    assert!(once(&mut first).await.is_pending(), "that was not its commit");
    assert!(once(&mut second).await.is_pending(), "nor that of a second tap");
    let failing = take();
    assert_eq!(failing.raised.len(), 1);
    ends(failing, Err("the disk is full"));
    for lost in [&mut first, &mut second] {
        let Poll::Ready(Err(refused)) = once(lost).await else { panic!("it is lost and nobody is told") };
        assert!(refused.message.contains("the disk is full"), "{}", refused.message);
    }

    let mut again = pin!(ledger.raise(&wish));
    assert!(once(&mut again).await.is_pending());
    let batch = take();
    let mut late = pin!(ledger.raise(&wish));
    assert!(once(&mut late).await.is_pending(), "while it is being written");
    let done = store.commit(&batch).expect("commits");
    ends(batch, Ok(done));
    for raise in [&mut again, &mut late] {
        let Poll::Ready(Ok(state)) = once(raise).await else { panic!("it is on the disk") };
        assert_eq!((state.raised, state.limit.to_string().as_str()), (1, "1.50"), "once");
    }
}

/// A read that fails is told as such: the ledger goes on.
#[tokio::test]
async fn a_report_that_cannot_be_read_says_so() {
    let dir = tempfile::tempdir().expect("dir");
    let (ledger, store) = prepared(&dir);
    let ledger = Prepared { shared: ledger.shared, store }.start().expect("a thread");
    ledger.report().await.expect("reads");
    let other = rusqlite::Connection::open(dir.path().join("ledger.db")).expect("opens");
    other.execute_batch("ALTER TABLE spent RENAME TO gone").expect("renames");
    let refused = ledger.report().await.expect_err("there is no such table");
    assert_eq!(refused.kind, RefusalKind::NoLedger);
    assert!(refused.message.contains("read what was spent"), "{}", refused.message);
    other.execute_batch("ALTER TABLE gone RENAME TO spent").expect("renames");
    ledger.report().await.expect("reads again");
    ledger.end();
}
