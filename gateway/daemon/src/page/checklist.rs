//! The checks of `openclaw security audit`, as far as they can be known from in here. What this process can't see is unknown, and
//! unknown is never a pass; where the operator held an audit lately, its word stands there instead, with its age.

use openclaw_wire::{
    admin::Status,
    audit::{Audit, Checked, Outcome, Place},
};

use crate::{
    audit::{hold, world::World},
    command::status::duration,
};

/// Seconds after which an audit says nothing any more: a week and a day, for whoever holds one each week.
const FRESH: i64 = 8 * 24 * 3600;

/// One check.
pub struct Point {
    /// Its number among the ten points, 0 for the others.
    pub number: u8,
    /// For `openclaw security audit`.
    pub id: String,
    /// What should be true.
    pub what: String,
    /// Its class on the page.
    pub class: &'static str,
    /// Whether it is true.
    pub word: &'static str,
    /// By what that is known, or what would tell.
    pub evidence: String,
    /// What mends it.
    pub mend: String,
}

/// All of them, the ten points first; `uid` is this process's effective user.
pub fn points(status: &Status, uid: u32, last: Option<&Audit>, now: i64) -> Vec<Point> {
    let mut world = World::blind(
        last.map_or(Place::Host, |last| last.place),
        now,
        "the gateway does not see that; openclaw security audit does",
    );
    world.status = Ok(status.clone());
    world.own_uid = Some(uid);
    let seen = hold(&world).checks.into_iter();
    seen.map(|check| point(better(check, last, now))).collect()
}

/// What was seen by somebody who sees more, and not long ago.
fn better(seen: Checked, last: Option<&Audit>, now: i64) -> Checked {
    if !matches!(seen.outcome, Outcome::Unknown | Outcome::Attested) {
        return seen;
    }
    let Some(last) = last else { return seen };
    let Some(before) = last.checks.iter().find(|check| check.id == seen.id) else { return seen };
    let (age, known) = (now - last.at, before.outcome != Outcome::Unknown);
    let ago = duration(age.max(0).unsigned_abs());
    match (known, age <= FRESH) {
        (true, true) => {
            Checked { evidence: format!("audit, {ago} ago: {}", before.evidence), ..before.clone() }
        }
        (true, false) => {
            let evidence = format!("{}; the last audit was {ago} ago", seen.evidence);
            Checked { evidence, ..seen }
        }
        (false, _) => seen,
    }
}

fn point(check: Checked) -> Point {
    Point {
        number: check.point.unwrap_or(0),
        id: check.id,
        what: check.title,
        class: match check.outcome {
            Outcome::NotApplicable => "na",
            other => other.word(),
        },
        word: match check.outcome {
            Outcome::NotApplicable => "n/a",
            other => other.word(),
        },
        evidence: check.evidence,
        mend: check.mend,
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::{
        admin::LastDrill,
        audit::{Audit, Outcome, Place},
    };

    use super::{FRESH, points};
    use crate::{
        audit::{hold, world::World},
        command::status::tests::status,
    };

    #[test]
    fn what_is_not_seen_is_no_pass() {
        let mut status = status("production", true);
        let words = |status: &_, uid| {
            points(status, uid, None, 2000).iter().take(10).map(|point| point.word).collect::<Vec<_>>()
        };
        assert_eq!(
            words(&status, 1000),
            [
                "attested", "attested", "attested", "pass", "attested", "n/a", "unknown", "n/a", "n/a",
                "unknown"
            ]
        );
        assert_eq!(words(&status, 0)[0], "fail");
        status.caps.clear();
        assert_eq!(words(&status, 1000)[3], "fail", "no limit");
        status.last_drill = Some(LastDrill { at: 1, probes: 100, failed: 1 });
        status.skills_off = Some("the drill failed".into());
        assert_eq!(words(&status, 1000)[9], "fail");
        status.processes.clear();
        assert!(words(&status, 1000)[1..5].iter().all(|word| *word == "unknown"), "egress is silent");
    }

    #[test]
    fn an_audit_counts_as_long_as_it_is_fresh() {
        let status = status("production", true);
        let mut audit: Audit = hold(&World::blind(Place::Appliance, 1000, "dark"));
        for check in &mut audit.checks {
            (check.outcome, check.evidence) = (Outcome::Pass, "seen".into());
        }
        let all = |now| points(&status, 1000, Some(&audit), now);
        let ssh = |now| {
            let all = all(now);
            let point = all.iter().find(|point| point.id == "ssh-keys-only").expect("there");
            (point.word, point.evidence.clone())
        };
        assert_eq!(ssh(1000 + 3600), ("pass", "audit, 1 h 0 min ago: seen".into()));
        let (word, evidence) = ssh(1000 + FRESH + 1);
        assert!(word == "unknown" && evidence.contains("8 d 0 h ago"), "{evidence}");
        assert!(all(1000).len() > 100);
        // What the gateway sees itself is newer than any audit.
        assert_eq!(points(&status, 0, Some(&audit), 1000)[0].word, "fail");
    }
}
