//! `search_documents`: where some words stand, in names, lines and pages.

use serde::Deserialize;

use crate::{
    document::{self, Document},
    folder::{Entry, Folder},
    pdf::Pages,
};

/// Most places of one answer, and of one document.
const PLACES: usize = 50;
const PLACES_EACH: usize = 5;
/// Bytes that are read in one search; a PDF counts for more, because it takes longer.
const BYTES: u64 = 256 << 20;
const PDF_FACTOR: u64 = 8;
/// Characters around a place.
const AROUND: usize = 80;

/// Arguments.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wanted {
    query: String,
}

/// One line for each place.
pub fn search(folder: &Folder, wanted: &Wanted) -> Result<String, String> {
    let query = wanted.query.trim().to_lowercase();
    if query.is_empty() {
        return Err("the query is empty".into());
    }
    let (files, mut all) = folder.files();
    let mut found = Vec::new();
    let mut budget = BYTES;
    for entry in &files {
        if found.len() >= PLACES {
            all = false;
            break;
        }
        if entry.path.to_lowercase().contains(&query) {
            found.push(format!("{} (its name)", entry.path));
        }
        let pdf = entry.path.to_lowercase().ends_with(".pdf");
        let cost = entry.size * if pdf { PDF_FACTOR } else { 1 };
        if cost > budget || entry.size > document::LARGEST {
            all = false;
            continue;
        }
        budget -= cost;
        look(folder, entry, &query, &mut found);
    }
    found.truncate(PLACES);
    let mut text = match found.is_empty() {
        true => format!("Nothing in {} documents.\n", files.len()),
        false => found.join("\n") + "\n",
    };
    if !all {
        text += "[cut: not every document was searched to its end; use rarer words]\n";
    }
    Ok(text)
}

fn look(folder: &Folder, entry: &Entry, query: &str, found: &mut Vec<String>) {
    // What is no document, or broken, has no places; read_document says why.
    match document::open(folder, &entry.path) {
        Ok(Document::Text(text)) => {
            let lines =
                text.lines().enumerate().map(|(at, line)| (format!("line {}", at + 1), line.to_owned()));
            found.extend(places(&entry.path, query, lines));
        }
        Ok(Document::Pages(pages)) => found.extend(places(&entry.path, query, of(&pages))),
        Err(_) => {}
    }
}

fn of(pages: &Pages) -> impl Iterator<Item = (String, String)> + '_ {
    (1..=pages.count()).map(|number| {
        // A sentence goes over several lines of a page.
        let text = pages.page(number).unwrap_or_default();
        (format!("page {number}"), text.split_whitespace().collect::<Vec<_>>().join(" "))
    })
}

fn places(path: &str, query: &str, texts: impl Iterator<Item = (String, String)>) -> Vec<String> {
    texts
        .filter_map(|(place, text)| {
            let at = text.to_lowercase().find(query)?;
            Some(format!("{path}, {place}: {}", around(&text, at, query.len())))
        })
        .take(PLACES_EACH)
        .collect()
}

/// The text around a place. Lower case may have another length, so the place is only nearly right: bounds are kept.
fn around(text: &str, at: usize, length: usize) -> String {
    let before = text.floor_char_boundary(at.saturating_sub(AROUND));
    let after = text.ceil_char_boundary((at + length + AROUND).min(text.len()));
    let cut = |is: bool| if is { "…" } else { "" };
    format!("{}{}{}", cut(before > 0), text[before..after].trim(), cut(after < text.len()))
}

#[cfg(test)]
mod tests {
    use super::{Folder, PLACES, Wanted, search};
    use crate::pdf::tests::pdf;

    #[test]
    fn words_are_found_in_names_lines_and_pages() {
        let dir = tempfile::tempdir().expect("dir");
        let write = |name: &str, bytes: &[u8]| std::fs::write(dir.path().join(name), bytes).expect("file");
        write("a.txt", "nothing\nthe Straße to the house\n".as_bytes());
        write("b.pdf", &pdf(&["nothing", "a House by the sea"]));
        write("house.csv", b"1,2\n");
        write("broken.pdf", b"%PDF-1.7 house");
        write("picture.png", b"\x89PNG\0house");
        let folder = Folder::new(dir.path());
        let look = |query: &str| search(&folder, &Wanted { query: query.into() }).expect("searches");
        let found = look("HOUSE");
        assert_eq!(
            found,
            "a.txt, line 2: the Straße to the house\nb.pdf, page 2: a House by the sea\nhouse.csv (its name)\n"
        );
        assert!(look("straße TO").contains("line 2"));
        assert_eq!(look("absent"), "Nothing in 5 documents.\n");
        assert!(search(&folder, &Wanted { query: "  ".into() }).is_err());
    }

    #[test]
    fn many_places_are_cut_and_odd_lengths_do_no_harm() {
        let dir = tempfile::tempdir().expect("dir");
        for number in 0..PLACES {
            std::fs::write(dir.path().join(format!("{number}.txt")), "word\nword\nword\n").expect("file");
        }
        // `İ` is longer in lower case: places shift.
        std::fs::write(dir.path().join("0.md"), format!("{}word é", "İ".repeat(500))).expect("file");
        let text = search(&Folder::new(dir.path()), &Wanted { query: "word".into() }).expect("searches");
        assert_eq!(text.lines().count(), PLACES + 1);
        assert!(text.ends_with("use rarer words]\n"));
    }
}
