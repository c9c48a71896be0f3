//! A document: one text, or the pages of a PDF, read whole within a bound.
//! Decides by what is in the file, not by its name.

use std::{fs::File, io::Read};

use crate::{docx, folder::Folder, pdf::Pages, text};

/// Largest file that is read, in bytes; it stands in memory besides what is made of it.
pub const LARGEST: u64 = 32 << 20;

/// What can be read.
pub enum Document {
    /// Plain text, Markdown, CSV and the like; the text of a DOCX.
    Text(String),
    /// A PDF.
    Pages(Box<Pages>),
}

/// Opens and reads a document.
pub fn open(folder: &Folder, path: &str) -> Result<Document, String> {
    let place = folder.resolve(path)?;
    let mut file = File::open(&place).map_err(|error| match error.kind() {
        std::io::ErrorKind::NotFound => format!("there is no document {path}"),
        other => format!("{path} cannot be opened: {other}"),
    })?;
    let data = file.metadata().map_err(|error| format!("{path} cannot be read: {}", error.kind()))?;
    if data.is_dir() {
        return Err(format!("{path} is a folder; list it"));
    }
    if data.len() > LARGEST {
        return Err(format!("{path} is larger than {} MiB", LARGEST >> 20));
    }
    let mut bytes = Vec::with_capacity(data.len() as usize);
    let read = Read::by_ref(&mut file).take(LARGEST).read_to_end(&mut bytes);
    read.map_err(|error| format!("{path} cannot be read: {}", error.kind()))?;
    if Pages::recognises(&bytes) {
        return Pages::open(&bytes)
            .map(|pages| Document::Pages(Box::new(pages)))
            .map_err(|error| format!("{path}: {error}"));
    }
    if docx::recognises(&bytes) {
        return docx::text(&bytes).map(Document::Text).map_err(|error| format!("{path}: {error}"));
    }
    match text::decode(bytes) {
        Some(text) => Ok(Document::Text(text)),
        None => Err(format!("{path} is neither text, PDF nor DOCX")),
    }
}
