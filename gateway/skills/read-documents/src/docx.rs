//! DOCX (ECMA-376, part 1): the paragraphs of its main part, out of a zip archive. What a small file unpacks to is bounded;
//! macros, links to other files and everything but text is left alone.

use std::io::{Cursor, Read};

use quick_xml::{Reader, events::Event};
use zip::ZipArchive;

/// Most bytes of XML that are unpacked and read.
const UNPACKED: u64 = 32 << 20;
/// The main part, where every program writes it.
const MAIN: &str = "word/document.xml";
/// Most files of an archive: a letter has some twenty.
const FILES: usize = 10_000;

/// A zip archive (APPNOTE.TXT, 4.3.7) whose first name is one that office programs write, or that names the main part.
pub fn recognises(bytes: &[u8]) -> bool {
    bytes.starts_with(b"PK\x03\x04") && bytes.windows(MAIN.len()).any(|window| window == MAIN.as_bytes())
}

/// The text.
pub fn text(bytes: &[u8]) -> Result<String, String> {
    let broken = |error: &dyn std::fmt::Display| format!("this DOCX cannot be read ({error})");
    let mut archive = ZipArchive::new(Cursor::new(bytes)).map_err(|error| broken(&error))?;
    if archive.len() > FILES {
        return Err("this DOCX holds too many files".into());
    }
    let main = archive.by_name(MAIN).map_err(|error| broken(&error))?;
    let mut xml = Vec::new();
    main.take(UNPACKED + 1).read_to_end(&mut xml).map_err(|error| broken(&error))?;
    if xml.len() as u64 > UNPACKED {
        return Err(format!("this DOCX unpacks to more than {} MiB", UNPACKED >> 20));
    }
    paragraphs(&xml).map_err(|error| broken(&error))
}

/// `w:t` is text, `w:tab` and `w:br` what they say, `w:p` a line; cells of a table have a bar between them. What was deleted
/// (`w:delText`) and what fields are made of (`w:instrText`) is no text.
fn paragraphs(xml: &[u8]) -> Result<String, quick_xml::Error> {
    let mut reader = Reader::from_reader(xml);
    let (mut text, mut inside) = (String::new(), false);
    loop {
        match reader.read_event()? {
            Event::Start(tag) if tag.local_name().as_ref() == b"t" => inside = true,
            Event::Empty(tag) => match tag.local_name().as_ref() {
                b"tab" => text.push('\t'),
                b"br" | b"cr" | b"p" => text.push('\n'),
                _ => {}
            },
            Event::End(tag) => match tag.local_name().as_ref() {
                b"t" => inside = false,
                b"p" => text.push('\n'),
                b"tc" => {
                    // The paragraph of the cell has ended its line.
                    text.truncate(text.trim_end_matches('\n').len());
                    text.push_str(" | ");
                }
                b"tr" => {
                    text.truncate(text.trim_end_matches(" | ").len());
                    text.push('\n');
                }
                _ => {}
            },
            Event::Text(part) if inside => text.push_str(&part.decode()?),
            // `&amp;` and numbers; no other entity exists without a DTD, and a DTD is not read.
            Event::GeneralRef(name) if inside => {
                let bytes: &[u8] = &name;
                let named = match bytes {
                    b"amp" => Some('&'),
                    b"lt" => Some('<'),
                    b"gt" => Some('>'),
                    b"quot" => Some('"'),
                    b"apos" => Some('\''),
                    _ => name.resolve_char_ref().ok().flatten(),
                };
                text.extend(named);
            }
            Event::CData(part) if inside => text.push_str(&part.decode()?),
            Event::Eof => return Ok(text.trim_end().to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

    use super::{MAIN, UNPACKED, recognises, text};

    fn docx(name: &str, xml: &[u8]) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        // Stored: a test needs no compressor; unpacking what others compressed is shown with a real program's file.
        let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
        zip.start_file("[Content_Types].xml", options).expect("file");
        zip.write_all(b"<Types/>").expect("write");
        zip.start_file(name, options).expect("file");
        zip.write_all(xml).expect("write");
        zip.finish().expect("zip").into_inner()
    }

    #[test]
    fn paragraphs_tables_and_marks_become_lines() {
        let xml = "<?xml version=\"1.0\"?><w:document xmlns:w=\"w\"><w:body>\
            <w:p><w:r><w:t>Dear </w:t></w:r><w:r><w:t xml:space=\"preserve\">Anna &amp; Bert &#228;</w:t></w:r></w:p>\
            <w:p><w:r><w:t>a</w:t><w:tab/><w:t>b</w:t><w:br/><w:t>c</w:t></w:r><w:del><w:delText>gone</w:delText></w:del></w:p>\
            <w:tbl><w:tr><w:tc><w:p><w:r><w:t>1</w:t></w:r></w:p></w:tc><w:tc><w:p><w:r><w:t>2</w:t></w:r></w:p></w:tc></w:tr></w:tbl>\
            <w:p><w:r><w:instrText>DDEAUTO c:\\x</w:instrText><w:t>end</w:t></w:r></w:p></w:body></w:document>";
        let bytes = docx(MAIN, xml.as_bytes());
        assert!(recognises(&bytes) && !recognises(b"PK\x03\x04") && !recognises(b"text"));
        assert_eq!(text(&bytes).expect("reads"), "Dear Anna & Bert ä\na\tb\nc\n1 | 2\nend");
    }

    /// Incidents 74 and 75: what an archive names and unpacks to. Nothing of it becomes a file, whatever its name.
    #[test]
    fn broken_and_bloated_files_are_errors() {
        assert!(text(&docx("word/other.xml", b"<x/>")).is_err());
        let whole = docx(MAIN, b"<w:document><w:p><w:t>x</w:t></w:p></w:document>");
        for length in 0..whole.len() {
            let _any = text(&whole[..length]);
        }
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0xff;
            let _any = text(&bytes);
        }
        let beside = docx("../../word/document.xml", b"<w:p><w:t>x</w:t></w:p>");
        assert!(text(&beside).is_err(), "another name is another file");
        let bloated = docx(MAIN, &vec![b' '; UNPACKED as usize + 10]);
        assert!(text(&bloated).expect_err("too much").contains("unpacks to more than"));
        // An entity that would grow is not one that is known.
        let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaaaaaaaa\">]><w:p><w:t>&a;&a;</w:t></w:p>";
        assert_eq!(text(&docx(MAIN, bomb.as_bytes())).expect("reads"), "");
    }
}
