//! Files that other people's programs wrote, read by the bundled skill in its jail.

use std::process::Command;

use openclaw_tests::{broker::Setup, peers};
use serde_json::json;

#[test]
fn a_letter_of_python_docx_is_read() {
    let setup = Setup::new().bundled("read-documents", &[]);
    let written = Command::new(peers::path("venv/bin/python"))
        .arg(peers::driver("letter.py"))
        .arg(setup.path("home/documents/letter.docx"))
        .output()
        .expect("python starts");
    assert!(written.status.success(), "{}", String::from_utf8_lossy(&written.stderr));
    let broker = setup.start();
    let (said, _) = broker.bundled("read-documents", "read_document", json!({ "path": "letter.docx" }));
    let text = said.expect("reads");
    for part in [
        "The blue pot\n",
        "It stands in the cellar & is größer than the red one.",
        "colour | price",
        "blue | 12 €",
        "first",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let (found, _) = broker.bundled("read-documents", "search_documents", json!({ "query": "CELLAR" }));
    assert!(found.expect("searches").contains("letter.docx"));
}
