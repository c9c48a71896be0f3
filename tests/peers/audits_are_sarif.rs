//! What `openclaw security audit --sarif` prints is SARIF 2.1.0, by the schema of the format as Microsoft's SDK ships it.

use openclaw_tests::{gateway::Setup, peers};
use serde_json::Value;

#[tokio::test]
async fn an_audit_is_sarif() {
    let schema = peers::path("node_modules/@microsoft/jest-sarif/lib/schemas/sarif-2.1.0-rtm.5.json");
    let schema = std::fs::read_to_string(schema).expect("readable");
    // This release has a pattern that is no regular expression; the errata of the standard say it like this.
    let broken = "^[a-zA-Z]{2}|^[a-zA-Z]{2}-[a-zA-Z]{2}]?$";
    let schema = schema.replace(broken, "^[a-zA-Z]{2}(-[a-zA-Z]{2})?$");
    let schema: Value = serde_json::from_str(&schema).expect("JSON");
    let validator = jsonschema::validator_for(&schema).expect("a schema");
    let setup = Setup::new();
    setup.write();
    let done = setup.command(&["security", "audit", "--sarif"]).output().await.expect("openclaw starts");
    let mut log: Value = serde_json::from_slice(&done.stdout).expect("JSON");
    let wrong: Vec<_> =
        validator.iter_errors(&log).map(|error| format!("{error} at {}", error.instance_path())).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    let results = log["runs"][0]["results"].as_array().expect("results");
    let kinds = |kind: &str| results.iter().filter(|result| result["kind"] == kind).count();
    assert!(results.len() >= 60 && kinds("pass") > 0 && kinds("open") > 0, "{}", results.len());
    // It does refuse what is none.
    log["runs"][0]["results"][0]["level"] = "bad".into();
    assert!(!validator.is_valid(&log));
}
