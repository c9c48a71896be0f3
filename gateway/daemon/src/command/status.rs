//! `openclaw status`: what the gateway tells of itself and of the two others, for people or as JSON. Reads only.

use std::{
    process::ExitCode,
    time::{SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use clap::Args;
use comfy_table::{Table, presets};
use http::Method;
use openclaw_confine::Report;
use openclaw_wire::{
    admin::{PageStatus, Scope, Status},
    config::{Api, Profile, Updates},
    spend::Whose,
};

use super::{
    fault,
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// Options of `openclaw status`.
#[derive(Args)]
pub struct StatusArgs {
    /// For each process what it asked of the kernel and what is in force; exit code 1 when that is less in `production`
    #[arg(long)]
    confinement: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// The processes that must report, in the order of the walk.
const PROCESSES: [&str; 3] = ["gateway", "egress", "runner"];

/// Asks the gateway and prints what it says.
pub fn status(args: &StatusArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let status: Status =
        block_on(async { Socket::gateway(place).ask(Method::GET, "/status", None::<&()>).await })?;
    let text = match (args.confinement, args.json) {
        (true, true) => serde_json::to_string_pretty(&status.processes).context("encode the reports")?,
        (false, true) => serde_json::to_string_pretty(&status).context("encode the status")?,
        (true, false) => confinement(&status),
        (false, false) => overview(&status, now()?),
    };
    println!("{}", clean(text.trim_end()));
    let bad = args.confinement && status.profile == Profile::Production && !missing(&status).is_empty();
    Ok(ExitCode::from(if bad { fault::FAILED } else { 0 }))
}

/// Every process's barriers that are not wholly in force, and every process that did not report.
pub fn missing(status: &Status) -> Vec<String> {
    let reports = reports(status);
    let incomplete = reports.iter().flat_map(|report| {
        let missing = report.layers.iter().filter(|layer| !layer.complete);
        missing.map(|layer| format!("{}: {}: {}", report.process, layer.name, layer.enforced))
    });
    let silent = PROCESSES.iter().filter(|name| !reports.iter().any(|report| report.process == **name));
    incomplete.chain(silent.map(|name| format!("{name}: no report"))).collect()
}

/// Only the rehearsal answers: no model can be used, or egress knows none at all and the gateway falls back to it.
pub fn rehearsing(status: &Status) -> bool {
    let egress_answered = reports(status).iter().any(|report| report.process == "egress");
    let mut usable = status.models.iter().filter(|model| model.problem.is_none()).peekable();
    match usable.peek() {
        Some(_) => usable.all(|model| model.api == Api::Rehearsal),
        None => status.models.is_empty() && egress_answered,
    }
}

/// Those of the processes that report in a form that this release knows.
pub fn reports(status: &Status) -> Vec<Report> {
    let known = |value: &serde_json::Value| serde_json::from_value(value.clone()).ok();
    status.processes.iter().filter_map(known).collect()
}

fn now() -> anyhow::Result<u64> {
    Ok(SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?.as_secs())
}

/// A table without lines, as all commands print.
pub fn table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

fn confinement(status: &Status) -> String {
    let mut text = String::new();
    for report in reports(status) {
        let mut table = table();
        for layer in &report.layers {
            let mark = if layer.complete { "ok" } else { "LESS" };
            let both = format!("asked:    {}\nin force: {}", layer.asked, layer.enforced);
            table.add_row([mark, layer.name.as_str(), &both]);
        }
        text += &format!("{}\n{}\n\n", report.process, table.trim_fmt());
    }
    let missing = missing(status);
    match missing.is_empty() {
        true => text += "Everything that was asked is in force.",
        false => text += &format!("Less than was asked:\n  {}", missing.join("\n  ")),
    }
    text
}

fn overview(status: &Status, now: u64) -> String {
    let mut table = table();
    let mut row = |name: &str, value: String| {
        table.add_row([name.to_owned(), value]);
    };
    let profile = match status.profile {
        Profile::Production => "production",
        Profile::Development => {
            "development (starts with fewer barriers than production asks for, if it must)"
        }
    };
    row("profile", profile.into());
    row("running", format!("{} (release {})", duration(now.saturating_sub(status.started)), status.version));
    if status.models.is_empty() && rehearsing(status) {
        row("model", "REHEARSAL: scripted, offline".into());
    }
    for model in &status.models {
        let name = match model.api {
            Api::Rehearsal => format!("{}: REHEARSAL, scripted, offline", model.name),
            Api::Anthropic | Api::Openai => format!("{}: {} at {}", model.name, model.model, model.host),
        };
        row("model", with_problem(name, model.problem.as_deref()));
    }
    for bot in &status.bots {
        let way = match bot.updates {
            Updates::Poll => "polling",
            Updates::Webhook => "webhook",
        };
        row("bot", with_problem(format!("{}: {way}", bot.name), bot.problem.as_deref()));
    }
    row("owner", if status.owner_paired { "known".into() } else { "nobody yet: openclaw pair".to_owned() });
    for state in &status.caps {
        let mark = if state.is_near() { " (!)" } else { "" };
        let whose = match &state.cap.whose {
            Whose::All => String::new(),
            whose => format!(", {whose}"),
        };
        let (period, spent, limit) = (&state.cap.period, state.spent.shown(), state.limit.shown());
        row("spent", format!("{period}{whose}: {spent} of {limit}{mark}"));
    }
    if status.page.on {
        row("page", page(&status.page));
    }
    if let Some(drill) = &status.last_drill {
        let ago = duration(now.saturating_sub(drill.at.unsigned_abs()));
        let came = match drill.failed {
            0 => "the jail held".to_owned(),
            failed => format!("{failed} of {} probes got through", drill.probes),
        };
        row("drill", format!("{ago} ago: {came}"));
    }
    let queues = &status.queues;
    row(
        "waiting",
        format!(
            "{} messages, {} turns running, {} answers to send, {} given up",
            queues.inbox_waiting, queues.running_turns, queues.outbox_waiting, queues.dead_letters
        ),
    );
    if let Some(reason) = &status.skills_off {
        row("skills", format!("OFF: {reason}"));
    }
    for skill in &status.skills {
        let tools = match skill.tools.as_slice() {
            [] => "instructions only".to_owned(),
            tools => tools.join(", "),
        };
        row("skill", with_problem(format!("{}: {tools}", skill.id), skill.problem.as_deref()));
    }
    let missing = missing(status);
    row(
        "confinement",
        match missing.len() {
            0 => "complete on gateway, egress and runner".into(),
            1 => format!("LESS than asked: {}", missing[0]),
            n => format!("LESS than asked at {n} places: openclaw status --confinement"),
        },
    );
    let mut text = table.trim_fmt();
    for warning in &status.warnings {
        text += &format!("\nwarning: {warning}");
    }
    text
}

fn page(page: &PageStatus) -> String {
    let at = match page.listens.as_slice() {
        [] => "listens nowhere: the VPN's interface is not there".to_owned(),
        all => all.join(", "),
    };
    match page.tokens.contains(&Scope::Operator) {
        true => at,
        false => format!("{at} (no token yet: openclaw admin token)"),
    }
}

fn with_problem(text: String, problem: Option<&str>) -> String {
    match problem {
        Some(problem) => format!("{text} (can't be used: {problem})"),
        None => text,
    }
}

/// For people.
pub fn duration(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        _ => format!("{days} d {hours} h"),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use openclaw_wire::admin::Status;
    use serde_json::json;

    pub fn status(profile: &str, complete: bool) -> Status {
        let report = |process: &str| {
            json!({"process": process, "layers": [
                {"name": "seccomp", "asked": "allowlist", "enforced": "mode 2", "complete": complete}]})
        };
        serde_json::from_value(json!({
            "profile": profile, "started": 1000, "version": "0.1.0",
            "models": [{"name": "anthropic", "api": "anthropic", "model": "big", "max_output": 1,
                        "host": "api.example", "problem": null}],
            "bots": [{"name": "main", "updates": "poll", "webhook_secret_sha256": "", "problem": "401"}],
            "caps": [{"of": "all", "span": "day", "period": "2026-11-22", "spent": "4.5", "reserved": "0",
                      "limit": "5", "ceiling": "10", "next": "7.5", "raised": 0}],
            "queues": {"inbox_waiting": 1, "running_turns": 2, "outbox_waiting": 3, "dead_letters": 4},
            "owner_paired": false,
            "skills": [{"id": "read-documents", "digest": "00", "tools": ["list"], "problem": null}],
            "skills_off": null,
            "last_drill": {"at": 1000, "probes": 120, "failed": 0},
            "page": {"on": true, "listens": ["http://10.77.0.1:8788/ on wg-openclaw"], "tokens": ["operator"]},
            "processes": [report("gateway"), report("egress"), report("runner")],
            "warnings": ["mind the gap"]
        }))
        .expect("a status")
    }

    #[test]
    fn the_overview_says_it_all() {
        let text = super::overview(&status("development", true), 1000 + 3_700);
        for part in [
            "1 h 1 min",
            "anthropic: big at api.example",
            "main: polling (can't be used: 401)",
            "openclaw pair",
            "2026-11-22: $4.50 of $5.00 (!)",
            "1 messages, 2 turns running, 3 answers to send, 4 given up",
            "read-documents: list",
            "http://10.77.0.1:8788/",
            "1 h 1 min ago: the jail held",
            "complete on gateway, egress and runner",
            "warning: mind the gap",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }

    #[test]
    fn a_rehearsal_is_known_with_and_without_an_entry() {
        let mut status = status("development", true);
        assert!(!super::rehearsing(&status));
        status.models[0].api = super::Api::Rehearsal;
        assert!(super::rehearsing(&status));
        status.models.clear();
        assert!(super::rehearsing(&status));
        assert!(super::overview(&status, 0).contains("REHEARSAL"));
        status.processes.clear();
        assert!(!super::rehearsing(&status), "egress has not answered yet");
    }

    #[test]
    fn what_is_missing_is_named_and_so_is_who_is_silent() {
        let mut less = status("production", false);
        less.processes.pop();
        let missing = super::missing(&less);
        assert_eq!(missing, ["gateway: seccomp: mode 2", "egress: seccomp: mode 2", "runner: no report"]);
        let text = super::confinement(&less);
        assert!(text.contains("LESS") && text.contains("runner: no report"), "{text}");
        assert!(super::missing(&status("production", true)).is_empty());
    }
}
