//! What a check says, what `--fix` could do about it, and how an attestation and blindness become an outcome.

use std::{fmt, path::PathBuf};

use openclaw_wire::audit::{Checked, Outcome, Severity};

#[cfg(test)]
use super::world::Attested;
use super::world::{Blind, Seen, World};

/// One check.
pub struct Check {
    /// Stable, for scripts.
    pub id: &'static str,
    /// Its number among the ten points.
    pub point: Option<u8>,
    /// What it is about.
    pub area: &'static str,
    /// How bad it is when it fails.
    pub severity: Severity,
    /// What should be true.
    pub title: &'static str,
    /// The operator can vouch for what no program on this machine sees.
    pub attestable: bool,
    /// Looks at the facts, and at nothing else.
    pub judge: fn(&World) -> Seen<Verdict>,
}

impl Check {
    /// One that no operator can vouch for, and none of the ten points.
    pub const fn new(
        id: &'static str,
        area: &'static str,
        severity: Severity,
        title: &'static str,
        judge: fn(&World) -> Seen<Verdict>,
    ) -> Self {
        Self { id, point: None, area, severity, title, attestable: false, judge }
    }

    /// One of the ten points.
    pub const fn point(mut self, number: u8) -> Self {
        self.point = Some(number);
        self
    }

    /// The operator can vouch for it.
    pub const fn attestable(mut self) -> Self {
        self.attestable = true;
        self
    }
}

/// What a check says of facts that it saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds.
    Pass(String),
    /// It does not.
    Fail {
        /// What was seen.
        evidence: String,
        /// What mends it.
        mend: String,
        /// What can be done about it here and now.
        fixes: Vec<Fix>,
    },
    /// Another process of ours says so, which would not run otherwise.
    Attested(String),
    /// It can't be told from what was seen.
    Unknown {
        /// Why.
        evidence: String,
        /// What would tell.
        mend: String,
    },
    /// There is nothing that it could be about.
    NotApplicable(String),
}

/// It holds.
pub fn pass(evidence: impl Into<String>) -> Seen<Verdict> {
    Ok(Verdict::Pass(evidence.into()))
}

/// It does not.
pub fn fail(evidence: impl Into<String>, mend: impl Into<String>) -> Seen<Verdict> {
    Ok(Verdict::Fail { evidence: evidence.into(), mend: mend.into(), fixes: Vec::new() })
}

/// It does not, and this can be done about it.
pub fn fixable(evidence: impl Into<String>, mend: impl Into<String>, fixes: Vec<Fix>) -> Seen<Verdict> {
    Ok(Verdict::Fail { evidence: evidence.into(), mend: mend.into(), fixes })
}

/// It can't be told.
pub fn unknown(evidence: impl Into<String>, mend: impl Into<String>) -> Seen<Verdict> {
    Ok(Verdict::Unknown { evidence: evidence.into(), mend: mend.into() })
}

/// Nothing to look at.
pub fn not_applicable(evidence: impl Into<String>) -> Seen<Verdict> {
    Ok(Verdict::NotApplicable(evidence.into()))
}

/// Holds when nothing is on the list; else names the first of it.
pub fn none(wrong: &[String], evidence: impl Into<String>, mend: impl Into<String>) -> Seen<Verdict> {
    match wrong {
        [] => pass(evidence),
        wrong => fail(named(wrong), mend),
    }
}

/// The first few, and how many more there are.
pub fn named(all: &[String]) -> String {
    const SHOWN: usize = 5;
    let first = all.iter().take(SHOWN).map(String::as_str).collect::<Vec<_>>().join("; ");
    match all.len().saturating_sub(SHOWN) {
        0 => first,
        more => format!("{first}; and {more} more"),
    }
}

/// What `--fix` can do. INVARIANT: none of these can open anything: bits are taken from a mode and never given, an owner gets his
/// own back, a rule ignores one more file, a setting is replaced by a stricter one, a closed firewall is started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fix {
    /// Takes these bits from the mode.
    Narrow {
        /// What; never through a link.
        path: PathBuf,
        /// The bits that go.
        without: u32,
    },
    /// Gives a file of the state to whoever owns its folder.
    Owner {
        /// What; never through a link.
        path: PathBuf,
        /// Whose it becomes.
        uid: u32,
    },
    /// Adds a rule to a work tree's `.gitignore`.
    Ignore {
        /// The file of rules.
        rules: PathBuf,
        /// The rule.
        rule: String,
    },
    /// Replaces a value in `openclaw.toml`, if it still stands there.
    Setting {
        /// The configuration.
        file: PathBuf,
        /// What is replaced.
        edit: Edit,
    },
    /// Starts a unit of ours that closes something.
    Start {
        /// The unit.
        unit: &'static str,
    },
}

/// A change of the configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Edit {
    /// Another value for a key, as TOML.
    Value {
        /// The section.
        section: &'static str,
        /// The key.
        key: &'static str,
        /// As it is written.
        to: String,
    },
    /// Entries of the lists of people that are no numbers go.
    Strangers,
}

impl fmt::Display for Fix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Narrow { path, without } => write!(f, "chmod {} {}", letters(*without), path.display()),
            Self::Owner { path, uid } => write!(f, "chown {uid} {}", path.display()),
            Self::Ignore { rules, rule } => write!(f, "add {rule} to {}", rules.display()),
            Self::Setting { file, edit: Edit::Value { section, key, to } } => {
                write!(f, "{key} = {to} in section [{section}] of {}", file.display())
            }
            Self::Setting { file, edit: Edit::Strangers } => {
                write!(f, "strike what is no number from the lists of people in {}", file.display())
            }
            Self::Start { unit } => write!(f, "systemctl start {unit}"),
        }
    }
}

/// `u-s,go-rwx`: bits that are taken away, as chmod(1) writes it.
fn letters(bits: u32) -> String {
    let mut parts = Vec::new();
    for (who, shift) in [("u", 6), ("g", 3), ("o", 0)] {
        let mut which = String::new();
        for (letter, bit) in [('r', 4), ('w', 2), ('x', 1)] {
            if bits >> shift & bit != 0 {
                which.push(letter);
            }
        }
        let special = [("u", 0o4000), ("g", 0o2000)];
        if special.iter().any(|(name, bit)| *name == who && bits & bit != 0) {
            which.push('s');
        }
        if !which.is_empty() {
            parts.push(format!("{who}-{which}"));
        }
    }
    parts.join(",")
}

/// For how long the operator's word counts, in seconds: half a year.
pub const GOOD_FOR: i64 = 182 * 24 * 3600;

/// What a check says of this world.
pub fn judge(check: &Check, world: &World) -> Checked {
    let mut checked = Checked {
        id: check.id.into(),
        point: check.point,
        area: check.area.into(),
        severity: check.severity,
        title: check.title.into(),
        outcome: Outcome::Unknown,
        evidence: String::new(),
        mend: String::new(),
        fix: Vec::new(),
        fixed: Vec::new(),
    };
    match (check.judge)(world) {
        Ok(Verdict::Pass(evidence)) => (checked.outcome, checked.evidence) = (Outcome::Pass, evidence),
        Ok(Verdict::Fail { evidence, mend, fixes }) => {
            checked.outcome = Outcome::Fail;
            (checked.evidence, checked.mend) = (evidence, mend);
            checked.fix = fixes.iter().map(Fix::to_string).collect();
        }
        Ok(Verdict::Attested(evidence)) => {
            (checked.outcome, checked.evidence) = (Outcome::Attested, evidence)
        }
        Ok(Verdict::Unknown { evidence, mend }) => (checked.evidence, checked.mend) = (evidence, mend),
        Ok(Verdict::NotApplicable(evidence)) | Err(Blind::Absent(evidence)) => {
            (checked.outcome, checked.evidence) = (Outcome::NotApplicable, evidence);
        }
        Err(Blind::Hidden(why)) => checked.evidence = why,
    }
    // A word takes the place of what nobody saw, and never of what was seen.
    if checked.outcome == Outcome::Unknown && check.attestable {
        match world.attested.get(check.id) {
            Some(word) if world.now - word.at <= GOOD_FOR => {
                checked.outcome = Outcome::Attested;
                let days = (world.now - word.at).max(0) / 86_400;
                checked.evidence = format!("the operator, {days} days ago: {}", word.note);
                checked.mend.clear();
            }
            Some(_) => checked.evidence += "; the operator's word is older than half a year",
            None => {
                let how = format!("openclaw security audit --attest {} --note \"...\"", check.id);
                checked.mend = match checked.mend.as_str() {
                    "" => how,
                    mend => format!("{mend}; then {how}"),
                };
            }
        }
    }
    checked
}

/// What could be done about what failed.
pub fn fixes(check: &Check, world: &World) -> Vec<Fix> {
    match (check.judge)(world) {
        Ok(Verdict::Fail { fixes, .. }) => fixes,
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::audit::{Outcome, Place, Severity};

    use super::{Attested, Check, GOOD_FOR, World, fail, judge, letters, pass, unknown};
    use crate::audit::world::{absent, hidden};

    #[test]
    fn a_word_counts_for_what_nobody_sees_and_for_nothing_else() {
        let mut world = World::blind(Place::Host, GOOD_FOR + 10, "dark");
        let check = |judge| Check::new("a", "keys", Severity::Low, "t", judge).attestable();
        let (blind, seen) = (check(|_| unknown("e", "m")), check(|_| fail("e", "m")));
        let fixed = Check { attestable: false, ..check(|_| hidden("e")) };
        for (at, expected) in [(10, Outcome::Attested), (9, Outcome::Unknown)] {
            world.attested = [("a".to_owned(), Attested { at, note: "n".into() })].into();
            assert_eq!(judge(&blind, &world).outcome, expected);
            assert_eq!(judge(&seen, &world).outcome, Outcome::Fail);
            assert_eq!(judge(&fixed, &world).outcome, Outcome::Unknown, "not what anybody can vouch for");
        }
        world.attested.clear();
        assert!(judge(&blind, &world).mend.contains("--attest a"));
        assert_eq!(judge(&check(|_| absent("none")), &world).outcome, Outcome::NotApplicable);
        assert_eq!(judge(&check(|_| pass("p")), &world).outcome, Outcome::Pass);
    }

    #[test]
    fn taken_bits_are_written_as_chmod_takes_them() {
        for (bits, text) in
            [(0o044, "g-r,o-r"), (0o022, "g-w,o-w"), (0o4077, "u-s,g-rwx,o-rwx"), (0o2000, "g-s")]
        {
            assert_eq!(letters(bits), text);
        }
    }
}
