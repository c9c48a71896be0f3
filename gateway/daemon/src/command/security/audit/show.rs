//! An audit for people: the ten points, then what failed, then what is not known; the rest as a number, or with `--all` as well.

use openclaw_wire::audit::{Audit, Checked, Outcome, Place, Severity};

use crate::{audit::checks, command::status::table};

/// What is printed.
pub fn words(audit: &Audit, all: bool, mended: bool) -> String {
    let place = match audit.place {
        Place::Appliance => "an appliance, each process a unit of its own",
        Place::Container => "a container",
        Place::Host => "a machine with `openclaw run`",
    };
    let mut text = format!("{} checks, on {place}\n\nThe ten points\n", audit.checks.len());
    let (points, rest): (Vec<_>, Vec<_>) = audit.checks.iter().partition(|check| check.point.is_some());
    for check in points {
        text += &line(check, &format!("{:>2} ", check.point.unwrap_or_default()));
    }
    let part = |title: &str, mut checks: Vec<&&Checked>| {
        checks.sort_by_key(|check| std::cmp::Reverse(check.severity));
        let lines = lines(&checks);
        if lines.is_empty() { String::new() } else { format!("\n{title}\n{lines}") }
    };
    let of = |outcome: Outcome| rest.iter().filter(move |check| check.outcome == outcome).collect::<Vec<_>>();
    text += &part("Failed", of(Outcome::Fail));
    text += &part("Not known", of(Outcome::Unknown));
    let mended_now: Vec<_> =
        rest.iter().filter(|check| !check.fixed.is_empty() && check.outcome != Outcome::Fail).collect();
    text +=
        &part("Mended", mended_now.into_iter().filter(|check| check.outcome != Outcome::Unknown).collect());
    if all {
        text += &part("Attested", of(Outcome::Attested));
        text += &part("Passed", of(Outcome::Pass));
        text += &part("Not applicable", of(Outcome::NotApplicable));
    }
    text + "\n" + &sum(audit, all, mended)
}

/// Several that can't be seen for one and the same reason are told in one go.
fn lines(checks: &[&&Checked]) -> String {
    let alike = |check: &Checked| {
        let same = |other: &&&&Checked| {
            other.outcome == Outcome::Unknown && other.mend.is_empty() && other.evidence == check.evidence
        };
        match check.outcome == Outcome::Unknown && check.mend.is_empty() {
            true => checks.iter().filter(same).count(),
            false => 0,
        }
    };
    let mut text = String::new();
    let mut told: Vec<&str> = Vec::new();
    for check in checks {
        if alike(check) < 3 {
            text += &line(check, "   ");
        } else if !told.contains(&check.evidence.as_str()) {
            told.push(&check.evidence);
            let same =
                checks.iter().filter(|other| other.evidence == check.evidence && other.mend.is_empty());
            let ids: Vec<_> = same.map(|other| other.id.as_str()).collect();
            text += &format!(
                "   unknown   {} checks: {}\n{:13}{}\n",
                ids.len(),
                check.evidence,
                "",
                ids.join(", ")
            );
        }
    }
    text
}

/// Numbers, and what can be done next.
fn sum(audit: &Audit, all: bool, mended: bool) -> String {
    let count = |outcome| audit.count(outcome, Severity::Low);
    let mut text = format!(
        "Passed: {}, failed: {}, attested: {}, not known: {}, not applicable: {}.\n",
        count(Outcome::Pass),
        count(Outcome::Fail),
        count(Outcome::Attested),
        count(Outcome::Unknown),
        count(Outcome::NotApplicable)
    );
    let fixable = audit.checks.iter().filter(|check| !check.fix.is_empty()).count();
    if fixable > 0 && !mended {
        text += &format!(
            "Nothing was changed. openclaw security audit --fix would mend {fixable} of them, as it says above.\n"
        );
    }
    if !all {
        text += "With --all it lists those that passed, too.\n";
    }
    text
}

fn line(check: &Checked, number: &str) -> String {
    let word = match check.outcome {
        Outcome::Fail => "FAIL",
        Outcome::NotApplicable => "n/a",
        other => other.word(),
    };
    let mut text = format!("{number}{word:<8}  {} [{}, {}]\n", check.title, check.id, check.severity.word());
    let more = |label: &str, what: &str| format!("{:13}{label}{}\n", "", what.replace('\n', "; "));
    text += &more("", &check.evidence);
    if !check.mend.is_empty() {
        text += &more("mend: ", &check.mend);
    }
    text += &check.fix.iter().map(|fix| more("--fix would: ", fix)).collect::<String>();
    text += &check.fixed.iter().map(|done| more("done: ", done)).collect::<String>();
    text
}

/// Every check that there is.
pub fn list() -> String {
    let mut lines = table();
    lines.set_header(["point", "id", "severity", "area", "what should be true"]);
    for check in checks::all() {
        let number = check.point.map(|number| number.to_string()).unwrap_or_default();
        lines.add_row([number.as_str(), check.id, check.severity.word(), check.area, check.title]);
    }
    lines.trim_fmt()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::audit::checks;

    const HEAD: &str = "\
# What `openclaw security audit` looks at

`openclaw security audit` looks at the machine that it runs on and says of each check one of: **pass** (it was seen to hold), **fail**,
**attested** (somebody who can know says so: another process of ours, or you), **unknown** (it can't be seen; never a pass), or
**not applicable**. Each comes with its evidence and its mend. It works on any Linux machine, in the container and in the virtual
machine, with or without systemd, and sees most as root. It changes nothing; with `--fix` it mends what can be mended without opening
anything (bits are taken from a mode, a setting gets stricter, a rule ignores one more file) and says what it did.

    openclaw security audit                      # the ten points, what failed, what is not known; --all for everything
    openclaw security audit --json               # or --sarif, SARIF 2.1.0
    openclaw security audit --severity high      # let only what is this bad, or worse, decide the exit code
    openclaw security audit --attest backup-recent --note \"nightly, to the NAS\"   # your word, for half a year

Exit code 0: nothing failed and nothing is unknown; 1: something failed; 4: nothing failed, something is unknown. The status page shows
the same checks: what the gateway sees by itself, and of the rest what the last audit of the past eight days said.

Those marked * can be vouched for. This list is `openclaw security audit --list`.

| | check | severity | what should be true |
|---|---|---|---|
";

    fn document() -> String {
        let mut text = HEAD.to_owned();
        for check in checks::all() {
            let number = check.point.map(|number| number.to_string()).unwrap_or_default();
            let star = if check.attestable { " *" } else { "" };
            text += &format!(
                "| {number} | `{}`{star} | {} | {} |\n",
                check.id,
                check.severity.word(),
                check.title
            );
        }
        text
    }

    #[test]
    fn the_published_list_is_that_of_the_table() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../audit.md");
        if std::env::var_os("WRITE_AUDIT").is_some() {
            std::fs::write(&file, document()).expect("writes");
        }
        let published = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            published == document(),
            "the table of checks has changed; mend: WRITE_AUDIT=1 cargo test -p openclaw published_list"
        );
    }
}
