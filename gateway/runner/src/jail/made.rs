//! What a skill made for the conversation: the plain files that lie in `/made` when it has ended well, handed out through a
//! socket that the gateway made. What names them in the gateway is the gateway's; the skill's own word goes along as data
//! (incident 76).

use std::{
    ffi::OsString,
    fs::{File, OpenOptions},
    io::{self, Write},
    os::{
        fd::OwnedFd,
        unix::{ffi::OsStrExt, fs::OpenOptionsExt},
    },
    path::Path,
};

use openclaw_wire::file::{END, MADE, MORE, MOST_MADE, write};
use rustix::{fs::OFlags, mount::MountFlags};

use crate::root::{Root, folder, tmpfs};

/// Names that are looked at, in no particular order; a folder of more is not sorted.
const LOOKED_AT: usize = 1000;

/// Makes the empty folder.
pub fn mount(most: u64, base: &Path, root: &mut Root) -> anyhow::Result<()> {
    tmpfs(&folder(base, MADE)?, MountFlags::NOEXEC, &format!("size={most},nr_inodes=256,mode=700"))?;
    root.write.push(MADE.into());
    Ok(())
}

/// Hands out what is in it. Hidden files are not meant for anybody; links and devices are no files.
pub fn hand_out(to: OwnedFd) -> io::Result<()> {
    let mut to = File::from(to);
    let names = std::fs::read_dir(MADE)?.take(LOOKED_AT).flatten();
    let plain = names.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_file()));
    let mut names: Vec<OsString> =
        plain.map(|entry| entry.file_name()).filter(|name| !name.as_bytes().starts_with(b".")).collect();
    names.sort();
    // A process that the skill left behind may still change what lies there.
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    for name in names.iter().take(MOST_MADE) {
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(Path::new(MADE).join(name))?;
        if file.metadata()?.is_file() {
            write(&mut to, name.as_bytes(), file)?;
        }
    }
    to.write_all(&[if names.len() > MOST_MADE { MORE } else { END }])
}
