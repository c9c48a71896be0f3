//! The files on the disk: a folder for each conversation, and in it `7.ogg`. Every act is on one name below an open folder
//! and follows no link, so nobody who swaps one for another is ever followed out of here (incidents 69, 72). A file appears
//! under its name at once, and goes with [`Draft`] unless it was finished.

use std::{
    fs::File as Open,
    io::{self, Read, Seek, Write},
    os::fd::{AsFd, OwnedFd},
    path::Path,
    sync::Arc,
};

use openclaw_wire::file::FileName;
use rustix::{
    fs::{AtFlags, CWD, Dir, Mode, OFlags, mkdirat, openat, unlinkat},
    io::Errno,
};
use sha2::{Digest, Sha256};

use super::rows::Gone;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// How often a folder may vanish while a file is made in it.
const TRIES: usize = 3;
const FILE: OFlags = OFlags::NOFOLLOW.union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);

/// The folder of all files. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Shelf(Arc<OwnedFd>);

/// A file that is being written.
#[derive(Debug)]
pub struct Draft {
    folder: OwnedFd,
    name: FileName,
    file: Open,
    hash: Sha256,
    size: u64,
    most: u64,
    finished: bool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Bytes.
    pub size: u64,
    /// SHA-256, in hex.
    pub digest: String,
}

impl Shelf {
    /// Opens the folder, and makes it when it is not there.
    pub fn open(path: &Path) -> io::Result<Self> {
        made(mkdirat(CWD, path, Mode::RWXU))?;
        Ok(Self(Arc::new(openat(CWD, path, FOLDER, Mode::empty())?)))
    }

    /// Begins a file of at most so many bytes, which must be the first of its name.
    pub fn create(&self, session: i64, name: &FileName, most: u64) -> io::Result<Draft> {
        let mut tries = 0..TRIES;
        let (folder, file) = loop {
            match self.begin(&session.to_string(), name) {
                // The folder was empty, and went with the last file of it that another turn deleted.
                Err(error) if error.kind() == io::ErrorKind::NotFound && tries.next().is_some() => {}
                other => break other?,
            }
        };
        Ok(Draft {
            folder,
            name: name.clone(),
            file: file.into(),
            hash: Sha256::new(),
            size: 0,
            most,
            finished: false,
        })
    }

    fn begin(&self, folder: &str, name: &FileName) -> io::Result<(OwnedFd, OwnedFd)> {
        if made(mkdirat(&self.0, folder, Mode::RWXU))? {
            rustix::fs::fsync(&self.0)?;
        }
        let folder = openat(&self.0, folder, FOLDER, Mode::empty())?;
        let flags = FILE.union(OFlags::CREATE).union(OFlags::EXCL).union(OFlags::WRONLY);
        let file = openat(&folder, name.as_str(), flags, Mode::RUSR | Mode::WUSR)?;
        Ok((folder, file))
    }

    /// Opens a file to read.
    pub fn read(&self, session: i64, name: &FileName) -> io::Result<Open> {
        let folder = openat(&self.0, session.to_string(), FOLDER, Mode::empty())?;
        let file = Open::from(openat(&folder, name.as_str(), FILE | OFlags::RDONLY, Mode::empty())?);
        match file.metadata()?.is_file() {
            true => Ok(file),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is no file")),
        }
    }

    /// The same, if it still has this digest (incident 90). It stands at its beginning.
    pub fn whole(&self, session: i64, name: &FileName, digest: &str) -> io::Result<Open> {
        let mut open = self.read(session, name)?;
        let mut hash = Sha256::new();
        let mut piece = vec![0; 64 << 10];
        loop {
            match open.read(&mut piece)? {
                0 => break,
                read => hash.update(&piece[..read]),
            }
        }
        open.rewind()?;
        match hex(hash) == digest {
            true => Ok(open),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "it is not what was stored")),
        }
    }

    /// Deletes files whose rows are gone, and folders with nothing in them. What can't be deleted goes at the next start.
    pub fn remove(&self, gone: &[Gone]) {
        for (session, name) in gone {
            let number = session.to_string();
            let removed = openat(&self.0, &number, FOLDER, Mode::empty())
                .and_then(|folder| unlinkat(folder, name.as_str(), AtFlags::empty()));
            if let Err(error) = removed
                && error != Errno::NOENT
            {
                tracing::warn!(%error, session, name = name.as_str(), "could not delete a file; the next start does");
            }
            // Only an empty one goes.
            let _kept = unlinkat(&self.0, &number, AtFlags::REMOVEDIR);
        }
    }

    /// What a crash left: files without a row are deleted, and the ids of rows without their file are given. Before
    /// anything is stored.
    pub fn sweep(&self, rows: &[(i64, Gone, u64)]) -> io::Result<Vec<i64>> {
        let mut there = std::collections::HashMap::new();
        for session in names(&self.0)? {
            let Ok(folder) = openat(&self.0, &session, FOLDER, Mode::empty()) else {
                let _odd = unlinkat(&self.0, &session, AtFlags::empty());
                continue;
            };
            for name in names(&folder)? {
                let data = rustix::fs::statat(&folder, &name, AtFlags::SYMLINK_NOFOLLOW)?;
                // Of a link it is the length of what it points to; a file of ours is a file.
                let size = (data.st_mode & 0o170_000 == 0o100_000).then_some(data.st_size.max(0) as u64);
                there.insert((session.clone(), name), size);
            }
        }
        let mut lost = Vec::new();
        for (id, (session, name), size) in rows {
            let key = (session.to_string(), name.as_str().to_owned());
            match there.get(&key) == Some(&Some(*size)) {
                true => drop(there.remove(&key)),
                false => lost.push(*id),
            }
        }
        let count = there.len();
        for (session, name) in there.into_keys() {
            let folder = openat(&self.0, &session, FOLDER, Mode::empty())?;
            // What can't be deleted, such as a folder that somebody made, stays and is no file of anybody's.
            let _stays = unlinkat(&folder, &name, AtFlags::empty());
        }
        for session in names(&self.0)? {
            let _kept = unlinkat(&self.0, &session, AtFlags::REMOVEDIR);
        }
        if count + lost.len() > 0 {
            tracing::info!(files = count, rows = lost.len(), "swept up files that were never finished");
        }
        Ok(lost)
    }
}

impl Draft {
    /// Adds to it. One byte more than it may have is an error.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.size += bytes.len() as u64;
        if self.size > self.most {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }

    /// Bytes so far.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// The same on a thread that may wait for the disk.
    pub async fn add(mut self, bytes: impl AsRef<[u8]> + Send + 'static) -> io::Result<Self> {
        aside(move || self.write(bytes.as_ref()).map(|()| self)).await
    }

    /// Makes it durable, with its name. It goes unless it is kept.
    pub async fn finish(mut self) -> io::Result<(Self, Written)> {
        aside(move || {
            self.file.sync_all()?;
            rustix::fs::fsync(self.folder.as_fd())?;
            let written = Written { size: self.size, digest: hex(std::mem::take(&mut self.hash)) };
            Ok((self, written))
        })
        .await
    }

    /// It has a row now.
    pub fn keep(mut self) {
        self.finished = true;
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.finished
            && let Err(error) = unlinkat(&self.folder, self.name.as_str(), AtFlags::empty())
        {
            tracing::warn!(%error, name = self.name.as_str(), "could not delete half a file; the next start does");
        }
    }
}

async fn aside<T: Send + 'static>(act: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(act).await.map_err(io::Error::other)?
}

fn hex(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether it was made now.
fn made(result: Result<(), Errno>) -> io::Result<bool> {
    match result {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn names(folder: &OwnedFd) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name != "." && name != ".." {
            names.push(name);
        }
    }
    Ok(names)
}

#[cfg(test)]
mod tests;
