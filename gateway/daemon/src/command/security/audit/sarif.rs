//! An audit as SARIF 2.1.0 (Static Analysis Results Interchange Format, OASIS), as far as we have something to say in it. Each check
//! is a rule, and each rule has one result; what is not a failure says so by its `kind`, as the format wants it.

use openclaw_wire::audit::{Audit, Checked, Outcome, Severity};
use serde::Serialize;

/// Where the format is written down for machines.
const SCHEMA: &str =
    "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json";

/// A whole file.
#[derive(Serialize)]
pub struct Log<'a> {
    #[serde(rename = "$schema")]
    schema: &'static str,
    version: &'static str,
    runs: [Run<'a>; 1],
}

#[derive(Serialize)]
struct Run<'a> {
    tool: Tool<'a>,
    invocations: [Invocation; 1],
    results: Vec<Found<'a>>,
    properties: RunProperties,
}

#[derive(Serialize)]
struct RunProperties {
    place: openclaw_wire::audit::Place,
}

#[derive(Serialize)]
struct Tool<'a> {
    driver: Driver<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Driver<'a> {
    name: &'static str,
    full_name: &'static str,
    semantic_version: &'a str,
    rules: Vec<Rule<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Rule<'a> {
    id: &'a str,
    short_description: Text<'a>,
    default_configuration: Configuration,
    properties: RuleProperties<'a>,
}

#[derive(Serialize)]
struct Configuration {
    level: Level,
}

#[derive(Serialize)]
struct RuleProperties<'a> {
    tags: [&'a str; 2],
    /// From 0 to 10, as code hosts sort by it.
    #[serde(rename = "security-severity")]
    security_severity: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    point: Option<u8>,
}

#[derive(Serialize)]
struct Text<'a> {
    text: &'a str,
}

#[derive(Serialize)]
struct Message {
    text: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Invocation {
    execution_successful: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    end_time_utc: Option<String>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Found<'a> {
    rule_id: &'a str,
    rule_index: usize,
    kind: Kind,
    level: Level,
    message: Message,
    locations: [Location<'a>; 1],
    partial_fingerprints: Fingerprints<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Location<'a> {
    logical_locations: [Logical<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Logical<'a> {
    name: &'a str,
    fully_qualified_name: String,
    kind: &'static str,
}

#[derive(Serialize)]
struct Fingerprints<'a> {
    #[serde(rename = "check/v1")]
    check: &'a str,
}

/// `result.kind`, section 3.27.9.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "camelCase")]
enum Kind {
    Pass,
    Fail,
    /// Somebody has to look.
    Review,
    /// The tool has no answer.
    Open,
    NotApplicable,
}

/// `result.level`, section 3.27.10: anything but a failure has none.
#[derive(Serialize, Clone, Copy)]
#[serde(rename_all = "lowercase")]
enum Level {
    None,
    Note,
    Warning,
    Error,
}

fn level(severity: Severity) -> Level {
    match severity {
        Severity::Low => Level::Note,
        Severity::Medium => Level::Warning,
        Severity::High | Severity::Critical => Level::Error,
    }
}

fn score(severity: Severity) -> &'static str {
    match severity {
        Severity::Low => "3.0",
        Severity::Medium => "5.5",
        Severity::High => "8.0",
        Severity::Critical => "9.5",
    }
}

impl<'a> Log<'a> {
    /// Of an audit.
    pub fn of(audit: &'a Audit) -> Self {
        let rule = |check: &'a Checked| Rule {
            id: &check.id,
            short_description: Text { text: &check.title },
            default_configuration: Configuration { level: level(check.severity) },
            properties: RuleProperties {
                tags: ["security", &check.area],
                security_severity: score(check.severity),
                point: check.point,
            },
        };
        let driver = Driver {
            name: "openclaw",
            full_name: "openclaw security audit",
            semantic_version: &audit.version,
            rules: audit.checks.iter().map(rule).collect(),
        };
        let end_time_utc = jiff::Timestamp::from_second(audit.at).ok().map(|at| at.to_string());
        Self {
            schema: SCHEMA,
            version: "2.1.0",
            runs: [Run {
                tool: Tool { driver },
                invocations: [Invocation { execution_successful: true, end_time_utc }],
                results: audit.checks.iter().enumerate().map(|(at, check)| found(at, check)).collect(),
                properties: RunProperties { place: audit.place },
            }],
        }
    }
}

fn found(at: usize, check: &Checked) -> Found<'_> {
    let kind = match check.outcome {
        Outcome::Pass => Kind::Pass,
        Outcome::Fail => Kind::Fail,
        Outcome::Attested => Kind::Review,
        Outcome::Unknown => Kind::Open,
        Outcome::NotApplicable => Kind::NotApplicable,
    };
    let level = if check.outcome == Outcome::Fail { level(check.severity) } else { Level::None };
    let mend = if check.mend.is_empty() { String::new() } else { format!("\nMend: {}", check.mend) };
    Found {
        rule_id: &check.id,
        rule_index: at,
        kind,
        level,
        message: Message { text: format!("{}: {}{mend}", check.title, check.evidence) },
        locations: [Location {
            logical_locations: [Logical {
                name: &check.area,
                fully_qualified_name: format!("openclaw/{}/{}", check.area, check.id),
                kind: "resource",
            }],
        }],
        partial_fingerprints: Fingerprints { check: &check.id },
    }
}
