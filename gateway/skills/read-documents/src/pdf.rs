//! PDF: the text of each page. Every stream has a bound, so that a small file cannot unpack into a large one.
//! Whatever else a hostile file does to the parser, the jail ends it.

use lopdf::{Document, LoadOptions};

/// Most bytes that one stream or page unpacks to.
const UNPACKED: usize = 32 << 20;
/// Stack for the parser: nested objects are read by recursion.
const STACK: usize = 16 << 20;

/// An opened PDF.
pub struct Pages {
    document: Document,
    count: u32,
}

impl Pages {
    /// `%PDF-` stands within the first 1,024 bytes (ISO 32000-1, note 13 of annex H).
    pub fn recognises(bytes: &[u8]) -> bool {
        bytes[..bytes.len().min(1024)].windows(5).any(|window| window == b"%PDF-")
    }

    /// Parses it.
    pub fn open(bytes: &[u8]) -> Result<Self, String> {
        deep(|| {
            let document =
                Document::load_mem_with_options(bytes, LoadOptions::with_max_decompressed_size(UNPACKED))
                    .map_err(|error| format!("this PDF cannot be read ({error})"))?;
            if document.is_encrypted() {
                return Err("this PDF is locked with a password".to_owned());
            }
            let count = document.get_pages().len() as u32;
            match count {
                0 => Err("this PDF has no pages".to_owned()),
                _ => Ok(Self { document, count }),
            }
        })?
    }

    /// How many pages.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The text of a page, from 1; what cannot be read of it is left out.
    pub fn page(&self, number: u32) -> Result<String, String> {
        deep(|| {
            let chunks = self.document.extract_text_chunks_with_limit(&[number], UNPACKED);
            let broken = !chunks.is_empty() && chunks.iter().all(Result::is_err);
            match broken {
                true => Err(format!("page {number} cannot be read")),
                false => Ok(tidy(&chunks.into_iter().flatten().collect::<String>())),
            }
        })?
    }
}

/// Runs on a stack of its own; a panic becomes an error where the build unwinds.
fn deep<T: Send>(work: impl FnOnce() -> T + Send) -> Result<T, String> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(|error| format!("a thread for the PDF cannot be started: {error}"))?;
        thread.join().map_err(|_| "this PDF is broken in a way that cannot be read".to_owned())
    })
}

/// At most one empty line in a row, no blanks at the end of a line, no control characters.
fn tidy(text: &str) -> String {
    let mut tidy = String::with_capacity(text.len());
    let mut empty = true;
    for line in text.lines() {
        let line: String = line.chars().filter(|c| !c.is_control() || *c == '\t').collect();
        let line = line.trim_end();
        if !(line.is_empty() && empty) {
            tidy += line;
            tidy += "\n";
        }
        empty = line.is_empty();
    }
    tidy
}

#[cfg(test)]
pub mod tests {
    use lopdf::{
        Document, Object, Stream,
        content::{Content, Operation},
        dictionary,
    };

    use super::Pages;

    /// A real PDF with one line of text on each page.
    pub fn pdf(lines: &[&str]) -> Vec<u8> {
        let mut document = Document::with_version("1.5");
        let pages = document.new_object_id();
        let font = document.add_object(dictionary! {
            "Type" => "Font", "Subtype" => "Type1", "BaseFont" => "Courier",
        });
        let resources = document.add_object(dictionary! { "Font" => dictionary! { "F1" => font } });
        let mut kids: Vec<Object> = Vec::new();
        for line in lines {
            let content = Content {
                operations: vec![
                    Operation::new("BT", vec![]),
                    Operation::new("Tf", vec!["F1".into(), 12.into()]),
                    Operation::new("Td", vec![50.into(), 700.into()]),
                    Operation::new("Tj", vec![Object::string_literal(*line)]),
                    Operation::new("ET", vec![]),
                ],
            };
            let stream = document.add_object(Stream::new(dictionary! {}, content.encode().expect("encodes")));
            let page = document
                .add_object(dictionary! { "Type" => "Page", "Parent" => pages, "Contents" => stream });
            kids.push(page.into());
        }
        let tree = dictionary! {
            "Type" => "Pages", "Count" => lines.len() as i64, "Kids" => kids, "Resources" => resources,
            "MediaBox" => vec![0.into(), 0.into(), 595.into(), 842.into()],
        };
        document.objects.insert(pages, Object::Dictionary(tree));
        let catalog = document.add_object(dictionary! { "Type" => "Catalog", "Pages" => pages });
        document.trailer.set("Root", catalog);
        document.compress();
        let mut bytes = Vec::new();
        document.save_to(&mut bytes).expect("saves");
        bytes
    }

    #[test]
    fn pages_are_read_in_order() {
        let bytes = pdf(&["The first page", "The second page"]);
        assert!(Pages::recognises(&bytes));
        let pages = Pages::open(&bytes).expect("opens");
        assert_eq!(pages.count(), 2);
        assert_eq!(pages.page(1).expect("reads").trim(), "The first page");
        assert_eq!(pages.page(2).expect("reads").trim(), "The second page");
        assert!(pages.page(3).is_err());
    }

    #[test]
    fn broken_files_are_errors_and_never_panics() {
        let bytes = pdf(&["Some text that is long enough to be compressed, compressed, compressed"]);
        let look = |bytes: &[u8]| {
            if let Ok(pages) = Pages::open(bytes) {
                for number in 1..=pages.count().min(3) {
                    let _any = pages.page(number);
                }
            }
        };
        for cut in (0..bytes.len()).step_by(7) {
            look(&bytes[..cut]);
        }
        for at in (0..bytes.len()).step_by(3) {
            let mut broken = bytes.clone();
            broken[at] ^= 0x15;
            look(&broken);
        }
        look(&[b"%PDF-1.5\n".as_slice(), &b"[".repeat(200_000)].concat());
        look(&[b"%PDF-1.5\n".as_slice(), &b"<<".repeat(200_000)].concat());
        look(&[b"%PDF-1.5\n".as_slice(), &b"(".repeat(200_000)].concat());
    }
}
