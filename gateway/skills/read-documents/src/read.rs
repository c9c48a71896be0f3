//! `read_document`: a window of the text, and how to go on when it was cut.

use serde::Deserialize;

use crate::{
    document::{self, Document},
    folder::Folder,
    pdf::Pages,
    text::{Part, WINDOW, part},
};

/// Arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    path: String,
    #[serde(default)]
    page: Option<u32>,
    #[serde(default)]
    offset: Option<usize>,
}

/// The text from there on.
pub fn read(folder: &Folder, wanted: &Wanted) -> Result<String, String> {
    let offset = wanted.offset.unwrap_or(0);
    match document::open(folder, &wanted.path)? {
        Document::Pages(pages) => pages_from(&pages, wanted.page.unwrap_or(1), offset),
        Document::Text(_) if wanted.page.is_some_and(|page| page > 1) => {
            Err(format!("{} has no pages; use offset", wanted.path))
        }
        Document::Text(text) => {
            let Part { text: shown, next, of } = part(&text, offset, WINDOW);
            match (shown.is_empty(), next) {
                (true, _) if of == 0 => Ok("[the document is empty]".into()),
                (true, _) => {
                    Err(format!("offset {offset} is past the end; the document has {of} characters"))
                }
                (_, None) => Ok(shown.to_owned()),
                (_, Some(next)) => Ok(format!(
                    "{shown}\n[cut: characters {offset} to {next} of {of}; continue with offset {next}]"
                )),
            }
        }
    }
}

fn pages_from(pages: &Pages, first: u32, mut offset: usize) -> Result<String, String> {
    let count = pages.count();
    if first == 0 || first > count {
        return Err(format!("page {first} does not exist; the document has {count}"));
    }
    let mut text = String::new();
    let mut left = WINDOW;
    for number in first..=count {
        let page = match pages.page(number) {
            Ok(page) if page.trim().is_empty() => "[no text on this page; it may be a picture]\n".to_owned(),
            Ok(page) => page,
            Err(error) => format!("[{error}]\n"),
        };
        let Part { text: shown, next, .. } = part(&page, offset, left);
        text += &format!("[page {number} of {count}]\n{shown}");
        match next {
            Some(next) => {
                text += &format!("\n[cut: continue with page {number}, offset {next}]");
                return Ok(text);
            }
            None if !text.ends_with('\n') => text += "\n",
            None => {}
        }
        left -= shown.chars().count();
        offset = 0;
        if left < WINDOW / 50 && number < count {
            text += &format!("[cut: continue with page {}]", number + 1);
            return Ok(text);
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::{Folder, WINDOW, Wanted, read};
    use crate::pdf::tests::pdf;

    fn wanted(path: &str, page: Option<u32>, offset: Option<usize>) -> Wanted {
        Wanted { path: path.into(), page, offset }
    }

    #[test]
    fn a_long_text_is_read_in_parts() {
        let dir = tempfile::tempdir().expect("dir");
        let whole = "a line of some words\n".repeat(3 * WINDOW / 21);
        std::fs::write(dir.path().join("long.txt"), &whole).expect("file");
        let folder = Folder::new(dir.path());
        let (mut offset, mut together, mut calls) = (0, String::new(), 0);
        loop {
            calls += 1;
            let text = read(&folder, &wanted("long.txt", None, Some(offset))).expect("reads");
            assert!(text.len() < WINDOW + 200);
            match text.rsplit_once("\n[cut: ") {
                Some((part, note)) => {
                    together += part;
                    let next = note.rsplit_once("offset ").expect("says how").1.trim_end_matches(']');
                    offset = next.parse().expect("a number");
                }
                None => {
                    together += &text;
                    break;
                }
            }
        }
        assert_eq!(together, whole);
        assert!(calls > 2);
        let error = read(&folder, &wanted("long.txt", None, Some(1 << 40))).expect_err("past the end");
        assert!(error.contains("past the end"));
    }

    #[test]
    fn a_pdf_is_read_by_pages() {
        let dir = tempfile::tempdir().expect("dir");
        let long = "words ".repeat(WINDOW / 5);
        std::fs::write(dir.path().join("a.pdf"), pdf(&["One", "Two", &long, "Four"])).expect("file");
        let folder = Folder::new(dir.path());
        let text = read(&folder, &wanted("a.pdf", None, None)).expect("reads");
        assert!(text.starts_with("[page 1 of 4]\nOne"), "{}", &text[..40]);
        assert!(text.contains("[cut: continue with page 3, offset "));
        let text = read(&folder, &wanted("a.pdf", Some(4), None)).expect("reads");
        assert_eq!(text.trim(), "[page 4 of 4]\nFour");
        assert!(read(&folder, &wanted("a.pdf", Some(9), None)).expect_err("no page").contains("has 4"));
    }
}
