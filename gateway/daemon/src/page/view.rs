//! What is answered: the page to log in, which everybody gets who is not, and the status page. One file of style and one of script
//! stand in the page itself and are named by their digests, so that no other script runs and nothing is fetched from anywhere.

use std::sync::LazyLock;

use askama::Template;
use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{
        CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
        X_FRAME_OPTIONS,
    },
};
use http_body_util::Full;
use openclaw_wire::{
    admin::Status,
    audit::{self, Audit, Outcome},
    config::{Profile, Updates},
    drill::{Cell, Drill, Mark},
    spend::{CapState, Span},
};
use sha2::{Digest, Sha256};

use super::{
    checklist::{self, Point},
    drill::{Drills, State},
};
use crate::{
    admin::Admin,
    command::{
        doctor::{Finding, Severity, service::running},
        status::{duration, rehearsing, reports},
    },
};

const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// Nothing but our own style and script, and no connection but to where the page came from (incidents 33, 108).
static POLICY: LazyLock<HeaderValue> = LazyLock::new(|| {
    let hash = |text: &str| BASE64_STANDARD.encode(Sha256::digest(text));
    let policy = format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(SCRIPT),
        hash(STYLE)
    );
    HeaderValue::try_from(policy).expect("base64 is fit for a header")
});

/// The headers of every answer.
pub fn harden(headers: &mut HeaderMap) {
    headers.insert(CONTENT_SECURITY_POLICY, POLICY.clone());
    let fixed = HeaderValue::from_static;
    headers.insert(X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    headers.insert(X_FRAME_OPTIONS, fixed("DENY"));
    headers.insert(REFERRER_POLICY, fixed("no-referrer"));
    headers.insert(CACHE_CONTROL, fixed("no-store"));
    headers.insert("cross-origin-opener-policy", fixed("same-origin"));
    headers.insert("cross-origin-resource-policy", fixed("same-origin"));
}

/// A status without words.
pub fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::default());
    *answer.status_mut() = status;
    answer
}

#[derive(Template)]
#[template(path = "login.html")]
struct LogIn {
    style: &'static str,
    script: &'static str,
}

/// For whoever is not logged in, whatever was asked: the same bytes, which say nothing of this machine (incident 47).
pub fn log_in() -> Response<Full<Bytes>> {
    static PAGE: LazyLock<Bytes> =
        LazyLock::new(|| LogIn { style: STYLE, script: SCRIPT }.render().unwrap_or_default().into());
    html(StatusCode::UNAUTHORIZED, PAGE.clone())
}

fn html(status: StatusCode, text: Bytes) -> Response<Full<Bytes>> {
    let mut answer = Response::new(Full::from(text));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    answer
}

#[derive(Template)]
#[template(path = "page.html")]
struct StatusPage<'a> {
    style: &'static str,
    script: &'static str,
    status: &'a Status,
    production: bool,
    rehearsing: bool,
    running: String,
    findings: Vec<Finding>,
    /// How many of them are more than a note.
    wrong: usize,
    models: Vec<Line>,
    bots: Vec<Line>,
    caps: Vec<Spent>,
    processes: Vec<openclaw_confine::Report>,
    /// The ten.
    points: Vec<Point>,
    /// The others.
    checks: Vec<Point>,
    /// When the last audit was.
    audit: String,
    drill: DrillView,
}

/// A name, what it is, and what is wrong with it.
struct Line {
    name: String,
    what: String,
    problem: String,
}

/// A cap, for a meter from 0 to 100.
struct Spent {
    what: String,
    spent: String,
    limit: String,
    percent: u64,
    near: bool,
}

/// The last drill and the one that runs.
struct DrillView {
    busy: bool,
    words: String,
    problem: String,
    columns: Vec<String>,
    rows: Vec<Probe>,
    failed: Vec<String>,
}

/// A line of its table.
struct Probe {
    name: String,
    cells: Vec<&'static str>,
}

/// The page of whoever is logged in.
pub fn page(status: &Status, admin: &Admin, drills: &Drills) -> Response<Full<Bytes>> {
    let now = jiff::Timestamp::now().as_second();
    let report = admin.engine.drill_report().ok().flatten();
    let findings = running(status, &admin.keys);
    let last = admin.engine.last_audit().ok().flatten();
    let uid = rustix::process::geteuid().as_raw();
    let (points, checks) =
        checklist::points(status, uid, last.as_ref(), now).into_iter().partition(|point| point.number > 0);
    let page = StatusPage {
        style: STYLE,
        script: SCRIPT,
        status,
        production: status.profile == Profile::Production,
        rehearsing: rehearsing(status),
        running: duration(now.unsigned_abs().saturating_sub(status.started)),
        wrong: findings.iter().filter(|finding| finding.severity != Severity::Note).count(),
        findings,
        models: models(status),
        bots: bots(status),
        caps: status.caps.iter().map(spent).collect(),
        processes: reports(status),
        points,
        checks,
        audit: audited(last.as_ref(), now),
        drill: drill(status, report, &drills.state(), now),
    };
    match page.render() {
        Ok(text) => html(StatusCode::OK, text.into()),
        Err(_) => plain(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

fn audited(last: Option<&Audit>, now: i64) -> String {
    match last {
        None => {
            "No audit was held yet: openclaw security audit looks at what the gateway does not see.".into()
        }
        Some(last) => {
            let ago = duration(now.saturating_sub(last.at).max(0).unsigned_abs());
            let failed = last.count(Outcome::Fail, audit::Severity::Low);
            format!(
                "The last openclaw security audit was {ago} ago: {failed} of {} checks failed.",
                last.checks.len()
            )
        }
    }
}

fn models(status: &Status) -> Vec<Line> {
    let line = |model: &openclaw_wire::egress::ModelRoute| Line {
        name: model.name.to_string(),
        what: format!("{} at {}", model.model, model.host),
        problem: model.problem.clone().unwrap_or_default(),
    };
    status.models.iter().map(line).collect()
}

fn bots(status: &Status) -> Vec<Line> {
    let line = |bot: &openclaw_wire::egress::BotRoute| Line {
        name: bot.name.to_string(),
        what: match bot.updates {
            Updates::Poll => "polling".into(),
            Updates::Webhook => "webhook".into(),
        },
        problem: bot.problem.clone().unwrap_or_default(),
    };
    status.bots.iter().map(line).collect()
}

fn spent(cap: &CapState) -> Spent {
    let (spent, limit) = (cap.spent.as_nano(), cap.limit.as_nano().max(1));
    let span = match cap.cap.span {
        Span::Day => "today",
        Span::Month => "this month",
    };
    Spent {
        what: format!("{span}, {}", cap.cap.whose),
        spent: cap.spent.shown(),
        limit: cap.limit.shown(),
        percent: (u128::from(spent) * 100 / u128::from(limit)).min(100) as u64,
        near: cap.is_near(),
    }
}

fn drill(status: &Status, report: Option<Drill>, state: &State, now: i64) -> DrillView {
    let ago = |at: i64| duration(now.saturating_sub(at).max(0).unsigned_abs());
    let words = match &status.last_drill {
        None => "No drill was held yet.".to_owned(),
        Some(last) if last.failed == 0 => {
            format!(
                "{} ago: the jail held, also with any one barrier missing ({} probes).",
                ago(last.at),
                last.probes
            )
        }
        Some(last) => format!("{} ago: FAILED, {} of {} probes.", ago(last.at), last.failed, last.probes),
    };
    let (busy, problem) = match state {
        State::Idle => (false, String::new()),
        State::Running(since) => {
            (true, format!("A drill is being held, for {} s now.", since.elapsed().as_secs()))
        }
        State::Failed(why) => (false, format!("No drill was held: {why}")),
    };
    let failed = report.as_ref().map(Drill::failed).unwrap_or_default();
    let mut view = DrillView { busy, words, problem, columns: Vec::new(), rows: Vec::new(), failed };
    let Some(report) = report else { return view };
    view.columns = report.barriers.iter().map(|name| format!("no {name}")).collect();
    for row in &report.probes {
        let outside = if row.proven() { "works" } else { "-" };
        let cells = [outside, word(&row.whole)].into_iter().chain(row.without.iter().map(word)).collect();
        view.rows.push(Probe { name: format!("{}: {}", row.group, row.name), cells });
    }
    view
}

fn word(cell: &Cell) -> &'static str {
    match cell.mark {
        Mark::Held => "held",
        Mark::Open => "OPEN",
        Mark::Alone => "alone",
        Mark::Untried => "",
    }
}
