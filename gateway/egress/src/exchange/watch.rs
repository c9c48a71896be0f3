//! Notices that the key file was changed: inotify on its folder, because editors replace files instead of writing them.
//! Begun before the lock-down, so that no further system call is needed; besides, it looks every half minute.

use std::{
    ffi::OsString,
    os::{fd::OwnedFd, unix::ffi::OsStrExt},
    path::Path,
    sync::Arc,
    time::Duration,
};

use anyhow::Context;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use tokio::io::unix::AsyncFd;

use super::{Exchange, reload::AGAIN};
use crate::keys::KeyFile;

/// An editor writes in several steps.
const SETTLES: Duration = Duration::from_millis(200);
/// How often to look without being told: the folder itself may have been replaced.
const LOOK: Duration = Duration::from_secs(30);

/// A folder that is watched.
pub struct Watch {
    events: OwnedFd,
    name: OsString,
}

impl Watch {
    /// Begins to watch for a file.
    pub fn begin(file: &KeyFile) -> anyhow::Result<Self> {
        file.check_folders()?;
        let file = file.path();
        let events =
            inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).context("begin to watch files")?;
        let folder = file.parent().unwrap_or(Path::new("/"));
        let what = WatchFlags::CLOSE_WRITE
            | WatchFlags::MOVED_TO
            | WatchFlags::MOVED_FROM
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB;
        inotify::add_watch(&events, folder, what).with_context(|| format!("watch {}", folder.display()))?;
        Ok(Self { events, name: file.file_name().unwrap_or_default().to_owned() })
    }

    /// Reloads the keys after each change.
    #[expect(
        deprecated,
        reason = "the replacement is `unsafe`; all it asks is that the descriptor stays what it is"
    )]
    pub async fn run(self, exchange: Arc<Exchange>) {
        let events = match AsyncFd::new(self.events) {
            Ok(events) => events,
            Err(error) => {
                tracing::warn!("changes of the key file are not noticed: {error}");
                return;
            }
        };
        let mut again = false;
        loop {
            let pause = if again { AGAIN } else { LOOK };
            let changed = tokio::select! {
                changed = touched(&events, &self.name) => changed,
                () = tokio::time::sleep(pause) => true,
            };
            if changed {
                tokio::time::sleep(SETTLES).await;
                again = exchange.reload().await;
            }
        }
    }
}

/// Waits for events; says whether one was about the file.
async fn touched(events: &AsyncFd<OwnedFd>, name: &OsString) -> bool {
    let Ok(mut ready) = events.readable().await else { return false };
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut reader = inotify::Reader::new(events.get_ref(), &mut buffer);
    let mut about_it = false;
    while let Ok(event) = reader.next() {
        about_it |= event.file_name().is_none_or(|file| file.to_bytes() == name.as_bytes());
    }
    ready.clear_ready();
    about_it
}
