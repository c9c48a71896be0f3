//! The files of a call: attachments of the conversation that it names, and what it makes for it.

use std::{fs::File, io, io::Read, path::Path};

use openclaw_wire::file::{FileName, MADE};

/// Reads the attachment of this path, such as `/attached/7.ogg`, of at most so many bytes.
pub fn read(path: &str, most: u64) -> Result<(FileName, Vec<u8>), String> {
    let name = FileName::at(path)
        .ok_or_else(|| format!("{path:?} is not the path of an attachment, which is like /attached/7.ogg"))?;
    let failed = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => format!("there is no attachment {path}"),
        _ => format!("read {path}: {error}"),
    };
    let mut bytes = Vec::new();
    File::open(name.path()).map_err(failed)?.take(most + 1).read_to_end(&mut bytes).map_err(failed)?;
    match bytes.len() as u64 > most {
        true => Err(format!("{path} is larger than {} MiB", most >> 20)),
        false => Ok((name, bytes)),
    }
}

/// Makes a file for the conversation; the user gets it with the answer. `name` is a word to show.
pub fn make(name: &str, bytes: &[u8]) -> Result<(), String> {
    std::fs::write(Path::new(MADE).join(name), bytes).map_err(|error| format!("keep {name}: {error}"))
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_attachments_are_read() {
        for path in
            ["/etc/passwd", "/attached/../etc/passwd", "../x.ogg", "7.ogg", "/attached/", "/attached/a.ogg"]
        {
            let error = super::read(path, 10).expect_err(path);
            assert!(error.contains("is not the path of an attachment"), "{error}");
        }
        assert!(super::read("/attached/7.ogg", 10).expect_err("none").contains("there is no attachment"));
    }
}
