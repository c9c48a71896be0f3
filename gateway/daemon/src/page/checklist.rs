//! The ten points that must be true, as far as they can be known from in here. What this process can't see is unknown, and unknown
//! is never a pass: the command that looks is named.

use openclaw_wire::{
    admin::Status,
    config::{Profile, Updates},
    spend::{CapState, Span, Whose},
};

/// What is known of a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It holds, by what was seen.
    Pass,
    /// It does not.
    Fail,
    /// It can't be seen from here.
    Unknown,
    /// There is nothing that it could be about.
    NotApplicable,
}

impl Mark {
    /// Its class on the page.
    pub fn class(self) -> &'static str {
        match self {
            Self::NotApplicable => "na",
            other => other.word(),
        }
    }

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Unknown => "unknown",
            Self::NotApplicable => "n/a",
        }
    }
}

/// One point.
pub struct Point {
    /// What should be true.
    pub what: &'static str,
    /// Whether it is.
    pub mark: Mark,
    /// By what that is known, or what would tell.
    pub evidence: String,
}

/// All ten, in their order; `uid` is this process's effective user.
pub fn points(status: &Status, uid: u32) -> Vec<Point> {
    let point = |what, mark, evidence: String| Point { what, mark, evidence };
    let egress = status.processes.iter().any(|report| report["process"] == "egress");
    // Egress does not start, or says so, where one of these is not true.
    let by_egress = |evidence: &str| match egress {
        true => (Mark::Pass, evidence.to_owned()),
        false => (Mark::Unknown, "egress does not answer".to_owned()),
    };
    let webhook = status.bots.iter().any(|bot| bot.updates == Updates::Webhook);
    let of_webhook = |mark, evidence: &str| match webhook {
        true => (mark, evidence.to_owned()),
        false => (Mark::NotApplicable, "no bot is called by Telegram: there is no webhook".to_owned()),
    };
    let root = match uid {
        0 => (Mark::Fail, "the gateway runs as root".to_owned()),
        uid => (
            Mark::Pass,
            format!("the gateway is user {uid}; what the others gave up stands under confinement"),
        ),
    };
    let file = by_egress("egress serves; it refuses a key file that others can read");
    let ignored = by_egress("egress serves; it refuses a key file in a work tree that does not ignore it");
    let spending = spending(status, egress);
    let separate = match (
        by_egress("egress serves; it refuses a key that was seen under the other profile"),
        status.profile,
    ) {
        (known, Profile::Production) => known,
        ((Mark::Pass, _), Profile::Development) => {
            (Mark::Pass, "under development; a key that was used here is refused under production".to_owned())
        }
        (known, Profile::Development) => known,
    };
    let ranges = of_webhook(
        Mark::Pass,
        "the gateway itself refuses every other source; of the firewall: openclaw security audit",
    );
    let ssh = (Mark::Unknown, "openclaw security audit looks at sshd".to_owned());
    let https = of_webhook(Mark::Unknown, "openclaw webhook info says what Telegram found");
    let tunnel = of_webhook(Mark::Unknown, "openclaw tunnel check asks the public DNS");
    let vetted = vetted(status);
    [
        ("The process user is not root", root),
        ("The key file is open to its owner alone", file),
        ("The key file is ignored by version control", ignored),
        ("Every key has a spending limit", spending),
        ("Production and development have separate keys", separate),
        ("The webhook takes only Telegram's addresses", ranges),
        ("SSH takes keys, no passwords", ssh),
        ("The webhook has HTTPS with a valid certificate", https),
        ("The tunnel hides this machine's address", tunnel),
        ("Only vetted skills, their manifests reviewed", vetted),
    ]
    .map(|(what, (mark, evidence))| point(what, mark, evidence))
    .into()
}

fn spending(status: &Status, egress: bool) -> (Mark, String) {
    let over = |span| status.caps.iter().find(|cap| cap.cap.whose == Whose::All && cap.cap.span == span);
    let show = |cap: Option<&CapState>| cap.map_or("no limit".to_owned(), |cap| cap.limit.shown());
    match (over(Span::Day), over(Span::Month)) {
        (None, None) if egress => {
            (Mark::Fail, "nothing bounds what is spent in all: day and month in section [spend]".to_owned())
        }
        (None, None) => (Mark::Unknown, "egress does not answer".to_owned()),
        (day, month) => (Mark::Pass, format!("over all keys: {} a day, {} a month", show(day), show(month))),
    }
}

fn vetted(status: &Status) -> (Mark, String) {
    let of_jail = match (&status.skills_off, &status.last_drill) {
        (Some(why), _) => return (Mark::Fail, format!("skills are off: {why}")),
        (None, Some(drill)) if drill.failed == 0 => "the last drill held",
        (None, _) => "no drill was held yet",
    };
    let running = status.skills.iter().filter(|skill| skill.problem.is_none()).count();
    (
        Mark::Unknown,
        format!(
            "{running} skills can run, each bound to its digest; {of_jail}; openclaw skills list shows who approved what"
        ),
    )
}

#[cfg(test)]
mod tests {
    use openclaw_wire::admin::LastDrill;

    use super::{Mark, points};
    use crate::command::status::tests::status;

    #[test]
    fn what_is_not_seen_is_no_pass() {
        let mut status = status("production", true);
        let marks = |status: &_, uid| points(status, uid).iter().map(|point| point.mark).collect::<Vec<_>>();
        let seen = marks(&status, 1000);
        assert_eq!(seen.len(), 10);
        use Mark::{Fail, NotApplicable, Pass, Unknown};
        assert_eq!(
            seen,
            [Pass, Pass, Pass, Pass, Pass, NotApplicable, Unknown, NotApplicable, NotApplicable, Unknown]
        );
        assert_eq!(marks(&status, 0)[0], Fail);
        status.caps.clear();
        assert_eq!(marks(&status, 1000)[3], Fail, "no limit");
        status.last_drill = Some(LastDrill { at: 1, probes: 100, failed: 1 });
        status.skills_off = Some("the drill failed".into());
        assert_eq!(marks(&status, 1000)[9], Fail);
        status.processes.clear();
        assert!(marks(&status, 1000)[1..5].iter().all(|mark| *mark == Unknown), "egress is silent");
    }
}
