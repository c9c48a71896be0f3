//! The calls under way, each in a place of a small file, written before the call is sent and not waited for: what was
//! written survives this process, however it ends. What a loss of power takes is the ledger's `high` water mark's matter.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read},
    os::unix::fs::{FileExt, OpenOptionsExt},
    path::Path,
};

use openclaw_wire::spend::Used;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::period::Day;

/// Bytes of one place: a record with the longest names, on one page.
const PLACE: usize = 1024;
/// Largest file that is read back. There are never more calls under way than the doors have connections.
const MOST: u64 = 16 << 20;

/// What is written of a call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Names the call; no two have the same.
    pub id: u64,
    /// When it began, in days since 1970.
    pub day: i64,
    /// Who pays for what.
    pub who: Account,
    /// What it cost, or its most while it is under way.
    pub used: Used,
    /// It is over.
    pub over: bool,
}

/// Who pays for what: names, empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Account {
    /// The key.
    pub key: SmolStr,
    /// The vendor's model, or a host.
    pub model: SmolStr,
    /// `bot/number`.
    pub chat: SmolStr,
    /// The skill.
    pub skill: SmolStr,
}

impl Record {
    /// The day on which it began.
    pub fn day(&self) -> Day {
        Day(self.day)
    }
}

/// The file.
#[derive(Debug)]
pub struct Slots {
    file: File,
}

impl Slots {
    /// Opens or makes the file and reads what a former process left in it.
    pub fn open(path: &Path) -> io::Result<(Self, Vec<(usize, Record)>)> {
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        let mut bytes = Vec::new();
        (&mut file).take(MOST).read_to_end(&mut bytes)?;
        // A place that was never used is zeros; one that a loss of power tore is no JSON. Neither says anything.
        let read = |(at, place): (usize, &[u8])| {
            let end = place.iter().position(|byte| *byte == b'\n')?;
            Some((at, serde_json::from_slice(&place[..end]).ok()?))
        };
        Ok((Self { file }, bytes.chunks(PLACE).enumerate().filter_map(read).collect()))
    }

    /// Everything in it is in the ledger by now.
    pub fn clear(&self) -> io::Result<()> {
        self.file.set_len(0)
    }

    /// Writes a record into a place.
    pub fn write(&self, place: usize, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        if line.len() > PLACE {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the names of a call are too long"));
        }
        self.file.write_all_at(&line, (place * PLACE) as u64)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{money::Usd, spend::Used};

    use super::{Account, PLACE, Record, Slots};

    #[test]
    fn what_was_written_is_read_back_and_torn_places_say_nothing() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("calls");
        let (slots, found) = Slots::open(&path).expect("opens");
        assert!(found.is_empty());
        let record = |id: u64, chat: &str| Record {
            id,
            day: 20_000,
            who: Account { chat: chat.into(), ..Account::default() },
            used: Used { cost: Usd::nano(id), ..Used::default() },
            over: false,
        };
        slots.write(2, &record(7, "main/1")).expect("writes");
        slots.write(0, &record(8, "a longer name that stood here before")).expect("writes");
        slots.write(0, &record(9, "x")).expect("writes");
        slots.write(3, &record(10, "torn")).expect("writes");
        slots.file.set_len((3 * PLACE + 10) as u64).expect("cut");
        assert!(slots.write(1, &record(1, &"x".repeat(PLACE))).is_err());
        let (slots, found) = Slots::open(&path).expect("opens");
        assert_eq!(found, [(0, record(9, "x")), (2, record(7, "main/1"))]);
        slots.clear().expect("clears");
        assert!(Slots::open(&path).expect("opens").1.is_empty());
    }
}
