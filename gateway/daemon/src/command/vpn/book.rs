//! What this machine knows of its VPN: its private key, where it is reached, its peers. One file, replaced as a whole, open to
//! its owner alone. A peer's private key is never in it.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, File},
    io::{self, Write},
    net::IpAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt, fchown},
    path::{Path, PathBuf},
};

use openclaw_wire::{config::without_values, facts::FACTS};
use rustix::{
    fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, openat, renameat, unlinkat},
    io::Errno,
    process::geteuid,
};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::key::{Private, Public};
use crate::command::{fault::Fault, place::Place};

const HEAD: &str =
    "# Made by `openclaw vpn`. The private key of this machine's end is in here: show it to nobody.\n";

/// The whole file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Book {
    /// This machine's own.
    pub private_key: Private,
    /// Where peers reach it: `host:port`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Who may come.
    #[serde(default, rename = "peer")]
    pub peers: Vec<Peer>,
}

/// Somebody's device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// What the operator calls it.
    pub name: String,
    /// Its own.
    pub public_key: Public,
    /// Its only address in the VPN.
    pub address: IpAddr,
}

impl Book {
    /// The lowest address of the network that nobody has.
    pub fn free_address(&self) -> Option<IpAddr> {
        let taken = |address: &IpAddr| {
            *address == FACTS.vpn.address || self.peers.iter().any(|peer| peer.address == *address)
        };
        FACTS.vpn.network.hosts().find(|address| !taken(address))
    }

    /// As `wg syncconf` takes it (wg(8), configuration file format).
    pub fn for_wg(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(format!(
            "[Interface]\nPrivateKey = {}\nListenPort = {}\n",
            self.private_key.expose(),
            FACTS.vpn.port
        ));
        for peer in &self.peers {
            let own = ipnet::IpNet::from(peer.address);
            text.push_str(&format!("\n[Peer]\nPublicKey = {}\nAllowedIPs = {own}\n", peer.public_key));
        }
        text
    }
}

/// The file's folder: whoever holds it is the only one that changes the file. Everything goes by its descriptor, so that root,
/// who may change another user's file, is led nowhere else.
pub struct Shelf {
    path: PathBuf,
    folder: File,
}

/// Where the file is.
pub fn path(place: &Place) -> PathBuf {
    place.state.join(&FACTS.state.vpn)
}

/// Reads it; an absent one says how it is made.
pub fn read(place: &Place) -> Result<Book, Fault> {
    let path = path(place);
    let missing =
        || Fault::new(format!("read {}: this machine has no VPN yet", path.display()), "openclaw vpn init");
    let folder = path.parent().unwrap_or(Path::new("/"));
    if fs::symlink_metadata(folder).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Err(missing());
    }
    Shelf::at(path.clone())?.read()?.ok_or_else(missing)
}

impl Shelf {
    /// Makes the folder if it is not there, and waits until nobody else changes the file.
    pub fn open(place: &Place) -> Result<Self, Fault> {
        let path = path(place);
        let folder = path.parent().unwrap_or(Path::new("/"));
        match DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(unusable(folder, error));
            }
            _ => {}
        }
        let shelf = Self::at(path.clone())?;
        flock(&shelf.folder, FlockOperation::LockExclusive).map_err(|error| unusable(folder, error))?;
        Ok(shelf)
    }

    /// A folder that is there, is no link, and is open to its owner alone.
    fn at(path: PathBuf) -> Result<Self, Fault> {
        let folder = path.parent().unwrap_or(Path::new("/"));
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = openat(CWD, folder, flags, Mode::empty()).map_err(|error| unusable(folder, error))?;
        let mode = fstat(&opened).map_err(|error| unusable(folder, error))?.st_mode;
        if mode & 0o077 != 0 {
            let what = format!("use the folder {}: others may look into it", folder.display());
            return Err(Fault::new(what, format!("chmod 700 {}", folder.display())));
        }
        Ok(Self { folder: opened.into(), path })
    }

    /// What is there: a file that is nobody else's. Never a word of what stands in it goes into an error.
    pub fn read(&self) -> Result<Option<Book>, Fault> {
        let wrong =
            |what: &str, mend: &str| Fault::new(format!("read {}: {what}", self.path.display()), mend);
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let mut file = match openat(&self.folder, self.name(), flags, Mode::empty()) {
            Ok(file) => File::from(file),
            Err(Errno::NOENT) => return Ok(None),
            Err(error) => return Err(wrong(&io::Error::from(error).to_string(), OWNER)),
        };
        let facts = file.metadata().map_err(|error| wrong(&error.to_string(), OWNER))?;
        if !facts.is_file() || facts.mode() & 0o077 != 0 {
            let mend = format!("chmod 600 {}", self.path.display());
            return Err(wrong("it is not a file that its owner alone may read", &mend));
        }
        let mut text = Zeroizing::new(String::new());
        io::Read::read_to_string(&mut file, &mut text).map_err(|error| wrong(&error.to_string(), OWNER))?;
        toml::from_str(&text).map(Some).map_err(|error| {
            let mend = "put a copy back, or remove it and run `openclaw vpn init`";
            wrong(&without_values(error.message()), mend)
        })
    }

    /// Puts the whole in the place of what was there; when this returns it is on the disk. Root writes for the folder's
    /// owner, so that whoever made the VPN keeps it.
    pub fn write(&self, book: &Book) -> Result<(), Fault> {
        let text = toml::to_string(book).map(Zeroizing::new).map_err(|_| {
            Fault::new(
                "write the VPN's file: it can't be encoded",
                "this is a mistake in the program, please report it",
            )
        })?;
        const NEW: &str = "vpn.new";
        let written = || -> io::Result<()> {
            let _left_over = unlinkat(&self.folder, NEW, AtFlags::empty());
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let mut file = File::from(openat(&self.folder, NEW, flags, Mode::RUSR | Mode::WUSR)?);
            file.write_all(HEAD.as_bytes())?;
            file.write_all(text.as_bytes())?;
            let owner = self.folder.metadata()?;
            if geteuid().is_root() && owner.uid() != 0 {
                fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
            }
            file.sync_all()?;
            renameat(&self.folder, NEW, &self.folder, self.name())?;
            self.folder.sync_all()
        };
        written().map_err(|error| {
            let _left_over = unlinkat(&self.folder, NEW, AtFlags::empty());
            Fault::new(
                format!("write {}: {error}", self.path.display()),
                "look at the folder's owner and the free space",
            )
        })
    }

    fn name(&self) -> &OsStr {
        self.path.file_name().expect("the facts name a file")
    }
}

const OWNER: &str = "use the account that owns it (on the appliance: root)";

fn unusable(folder: &Path, error: impl Into<io::Error>) -> Fault {
    let error = error.into();
    let mend = match error.kind() {
        io::ErrorKind::PermissionDenied => OWNER,
        io::ErrorKind::NotFound => {
            "start OpenClaw once, which makes the state folder, or name it with --state"
        }
        _ => "choose another --state",
    };
    Fault::new(format!("use the folder {}: {error}", folder.display()), mend)
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt, path::Path};

    use super::{Book, Peer, Shelf, path, read};
    use crate::command::{place::Place, vpn::key::Private};

    fn book() -> Book {
        Book { private_key: Private::new().expect("a key"), endpoint: None, peers: Vec::new() }
    }

    fn place(folder: &Path) -> Place {
        Place::new(Some(folder), None).expect("place")
    }

    #[test]
    fn each_peer_gets_the_lowest_address_that_nobody_has() {
        let mut book = book();
        for (name, expected) in [("a", "10.77.0.2"), ("b", "10.77.0.3"), ("c", "10.77.0.4")] {
            let address = book.free_address().expect("free");
            assert_eq!(address.to_string(), expected);
            let public_key = Private::new().expect("a key").public().expect("its public key");
            book.peers.push(Peer { name: name.into(), public_key, address });
        }
        book.peers.remove(1);
        assert_eq!(book.free_address().expect("free").to_string(), "10.77.0.3");
        let text = book.for_wg();
        assert!(text.contains("ListenPort = 51820\n") && text.contains("AllowedIPs = 10.77.0.4/32\n"));
        assert_eq!(text.matches("[Peer]").count(), 2);
    }

    #[test]
    fn the_file_is_private_whole_and_its_mistakes_say_no_secret() {
        let folder = tempfile::tempdir().expect("folder");
        let place = place(folder.path());
        assert!(read(&place).expect_err("none yet").to_string().contains("openclaw vpn init"));
        let book = book();
        let secret = book.private_key.expose().to_owned();
        let shelf = Shelf::open(&place).expect("opens");
        shelf.write(&book).expect("writes");
        shelf.write(&book).expect("writes again");
        let file = path(&place);
        let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
        assert_eq!((mode(&file), mode(file.parent().expect("folder"))), (0o600, 0o700));
        assert_eq!(
            fs::read_dir(file.parent().expect("folder")).expect("lists").count(),
            1,
            "nothing is left over"
        );
        assert_eq!(read(&place).expect("reads").private_key.expose(), secret);
        for wrong in [
            format!("private_key = \"{secret}\"\nname = 1"),
            format!("private = \"{secret}\""),
            secret.clone(),
        ] {
            fs::write(&file, wrong).expect("write");
            let error = read(&place).expect_err("wrong").to_string();
            assert!(!error.contains(&secret[..20]), "{error}");
        }
        fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("mode");
        assert!(read(&place).expect_err("open").to_string().contains("chmod 600"));
        fs::remove_file(&file).expect("remove");
        std::os::unix::fs::symlink("/etc/passwd", &file).expect("link");
        assert!(read(&place).is_err(), "no link is followed");
    }
}
