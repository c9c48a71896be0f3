//! The table of checks. Each is a small function of the facts: it opens nothing, asks nobody, and changes nothing.

mod config;
mod files;
mod kernel;
mod keys;
mod network;
mod points;
mod processes;
mod skills;
mod ssh;
mod units;
mod upkeep;

#[cfg(test)]
mod tests;

use openclaw_wire::facts::FACTS;

use super::{
    verdict::{Check, Verdict, fail, named, pass},
    world::{Seen, World, hidden},
};
use crate::command::doctor::{Finding, Severity, service};

pub use self::{
    kernel::SYSCTL,
    units::{OTHERS, PROPERTIES, SERVICES},
};

/// All of them: the ten points first, then by what they are about.
pub fn all() -> impl Iterator<Item = &'static Check> {
    let areas: [&'static [Check]; 11] = [
        &points::CHECKS,
        &files::CHECKS,
        &keys::CHECKS,
        &config::CHECKS,
        &processes::CHECKS,
        &network::CHECKS,
        &ssh::CHECKS,
        &units::CHECKS,
        &skills::CHECKS,
        &kernel::CHECKS,
        &upkeep::CHECKS,
    ];
    areas.into_iter().flatten()
}

/// What `openclaw doctor` finds is found once: the check fails with its words.
fn doctor(world: &World, ids: &[&str], good: &str) -> Seen<Verdict> {
    among(world.see(&world.doctor)?, ids, good)
}

/// What doctor finds of this is in its words, and what it finds besides counts as well; the fixes are ours.
fn as_doctor_says(world: &World, id: &str, verdict: Seen<Verdict>) -> Seen<Verdict> {
    let findings = world.doctor.as_ref().map(Vec::as_slice).unwrap_or_default();
    let found: Vec<_> = findings.iter().filter(|finding| finding.id == id).collect();
    let [first, ..] = found.as_slice() else { return verdict };
    let fixes = match verdict {
        Ok(Verdict::Fail { fixes, .. }) => fixes,
        Ok(_) => Vec::new(),
        Err(blind) => return Err(blind),
    };
    let what: Vec<_> = found.iter().map(|finding| finding.what.clone()).collect();
    Ok(Verdict::Fail { evidence: named(&what), mend: first.mend.clone(), fixes })
}

/// The same, of what only shows while it runs.
fn doctor_running(world: &World, ids: &[&str], good: &str) -> Seen<Verdict> {
    let status = world.see(&world.status)?;
    if status.processes.is_empty() {
        return hidden("nothing runs");
    }
    let keys = world.state.stat("keys").map(|stat| stat.path).unwrap_or_else(|_| FACTS.state.keys.clone());
    among(&service::running(status, &keys), ids, good)
}

fn among(findings: &[Finding], ids: &[&str], good: &str) -> Seen<Verdict> {
    let found: Vec<_> = findings.iter().filter(|finding| ids.contains(&finding.id)).collect();
    match found.iter().min_by_key(|finding| finding.severity) {
        None => pass(good),
        Some(worst) => {
            let what: Vec<_> = found.iter().map(|finding| finding.what.clone()).collect();
            debug_assert!(worst.severity <= Severity::Note);
            fail(named(&what), worst.mend.clone())
        }
    }
}

/// The form of a key: a bot's token, or what providers of models give out. For lines of files and of commands.
pub fn looks_like_a_key(text: &str) -> bool {
    text.split(|c: char| !c.is_ascii_alphanumeric() && !"-_:".contains(c)).any(is_key)
}

fn is_key(word: &str) -> bool {
    let long = |rest: &str, least: usize| {
        rest.len() >= least && rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let prefixes = ["sk-ant-", "sk-proj-", "sk-or-", "gsk_", "xai-", "AIza", "ghp_", "github_pat_"];
    if prefixes.iter().any(|prefix| word.strip_prefix(prefix).is_some_and(|rest| long(rest, 20))) {
        return true;
    }
    // A bot's token: its number, a colon, 35 characters (core.telegram.org/bots/api#authorizing-your-bot).
    word.split_once(':').is_some_and(|(number, secret)| {
        (8..=10).contains(&number.len())
            && number.bytes().all(|b| b.is_ascii_digit())
            && secret.len() == 35
            && long(secret, 35)
    })
}

/// A name under which keys stand in an environment.
pub fn names_a_key(name: &str) -> bool {
    ["_API_KEY", "_TOKEN", "_SECRET", "_PASSWORD"].iter().any(|end| name.ends_with(end))
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}
