//! From the bytes of a page to text for reading, by html2text: headings, paragraphs, lists, tables, links. Of a page that
//! marks its main part that part alone.

use html2text::{Handle, config};

/// Columns of a line: models do not care, so only tables are laid out by it.
const WIDTH: usize = 120;
/// Elements on the way to the main part. A page that is deeper is read whole.
const LOOKED_AT: usize = 200_000;

/// The text of a page of this media type.
pub fn text(kind: &str, bytes: &[u8]) -> Result<String, String> {
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let text = decode(bytes);
    match kind.as_str() {
        "text/html" | "application/xhtml+xml" | "" => html(&text),
        "application/json" | "application/xml" => Ok(text),
        other if other.starts_with("text/") => Ok(text),
        other => Err(format!("the page is no text but {other:?}")),
    }
}

/// UTF-8, or else one character for each byte, which is right for the Latin alphabets of old pages.
fn decode(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.iter().map(|byte| char::from(*byte)).collect(),
    }
}

fn html(page: &str) -> Result<String, String> {
    let broken = |error: html2text::Error| format!("the page cannot be read: {error}");
    let config = || config::plain().link_footnotes(true).max_wrap_width(WIDTH).allow_width_overflow();
    let dom = config().parse_html(page.as_bytes()).map_err(broken)?;
    let main = ["main", "article"].iter().find_map(|name| find(&dom.document, name));
    if let (Some(main), Some(body)) = (main, find(&dom.document, "body")) {
        *body.children.borrow_mut() = vec![main];
    }
    let tree = config().dom_to_render_tree(&dom).map_err(broken)?;
    let text = config().render_to_string(tree, WIDTH).map_err(broken)?;
    match text.trim() {
        "" => Err("the page has no text without its scripts".into()),
        text => Ok(text.to_owned()),
    }
}

/// The only element of this name. Of several articles none is the page's.
fn find(document: &Handle, name: &str) -> Option<Handle> {
    let (mut open, mut found) = (vec![document.clone()], None);
    let mut seen = 0;
    while let Some(node) = open.pop() {
        seen += 1;
        if seen > LOOKED_AT {
            return None;
        }
        if node.element_name().is_some_and(|element| element == name) {
            if found.is_some() {
                return None;
            }
            found = Some(node.clone());
            continue;
        }
        open.extend(node.children.borrow().iter().cloned());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::text;

    const PAGE: &str = "<!doctype html><html><head><title>Pots</title><style>p{color:red}</style><script>alert(1)</script></head>\
        <body><nav><a href=\"/\">Home</a></nav><main><h1>Blue pots</h1><p>They stand in the <a href=\"https://example.com/c\">cellar</a>.</p>\
        <ul><li>one</li><li>two</li></ul></main><footer>Imprint</footer></body></html>";

    #[test]
    fn the_main_part_is_read_without_scripts_and_menus() {
        let said = text("text/html; charset=utf-8", PAGE.as_bytes()).expect("reads");
        for part in ["Blue pots", "They stand in the", "https://example.com/c", "one", "two"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        for part in ["alert", "color", "Home", "Imprint"] {
            assert!(!said.contains(part), "{part}: {said}");
        }
        let two = PAGE.replace("<ul>", "</main><main><ul>");
        assert!(
            text("text/html", two.as_bytes()).expect("reads").contains("Imprint"),
            "two main parts: all of it"
        );
    }

    #[test]
    fn other_kinds_and_hostile_pages() {
        assert_eq!(text("text/plain", b"as it is <b>").expect("reads"), "as it is <b>");
        assert_eq!(text("text/plain", b"caf\xe9").expect("reads"), "café");
        assert!(text("application/pdf", b"%PDF").expect_err("no text").contains("application/pdf"));
        assert!(text("text/html", b"<script>only()</script>").expect_err("empty").contains("no text"));
        let deep = format!("{}deep{}", "<div>".repeat(2_000), "</div>".repeat(2_000));
        let _any = text("text/html", deep.as_bytes());
        let wide = "<table>".to_owned() + &"<tr><td>x<td>y".repeat(2_000);
        assert!(text("text/html", wide.as_bytes()).is_ok());
    }
}
