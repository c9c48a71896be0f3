//! The certificate of openclaw-front, by what that process writes down of it.

use std::{
    fs,
    io::ErrorKind,
    time::{SystemTime, UNIX_EPOCH},
};

use openclaw_wire::{
    config::Config,
    facts::FACTS,
    front::{STANDING, Standing},
};

use super::{Finding, Severity};
use crate::command::place::Place;

/// What of it can be seen; nothing where there is no such process.
pub fn look(place: &Place, config: &Config) -> Vec<Finding> {
    let Some(domain) = config.domain() else { return Vec::new() };
    let path = place.state.join(&FACTS.state.front).join(STANDING);
    let read = fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Standing>(&bytes)?));
    let finding = |severity, what: String, mend: String| {
        let why = "without a certificate that is good Telegram delivers nothing";
        vec![Finding::new(severity, "certificate", what, why, mend)]
    };
    match read {
        Ok(standing) => {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            let Some((severity, what, mend)) = judge(&standing, domain, now) else { return Vec::new() };
            finding(severity, what, mend)
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => finding(
            Severity::Note,
            format!("{} can't be read", path.display()),
            "ask again as root".into(),
        ),
        Err(error) => finding(
            Severity::Error,
            format!("openclaw-front has not said how it stands: {}: {error}", path.display()),
            "systemctl reload openclaw-firewall && systemctl restart openclaw.target; journalctl -u openclaw-front says why"
                .into(),
        ),
    }
}

fn judge(standing: &Standing, domain: &str, now: u64) -> Option<(Severity, String, String)> {
    let restart = || "systemctl restart openclaw-front, and look at its log".to_owned();
    if standing.domain != domain {
        let what = format!("openclaw-front keeps a certificate for {}, not for {domain}", standing.domain);
        return Some((Severity::Error, what, restart()));
    }
    let good = standing.ends.is_some_and(|ends| ends > now);
    match (&standing.failure, good) {
        (Some(failure), good) => {
            let severity = if good { Severity::Warning } else { Severity::Error };
            let what = format!("no new certificate for {domain}: {}", failure.what);
            Some((severity, what, failure.mend.clone()))
        }
        (None, true) => None,
        (None, false) => {
            let what = format!("there is no certificate for {domain} that is good now");
            Some((Severity::Error, what, restart()))
        }
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::front::{Failure, Standing};

    use super::{Severity, judge};

    #[test]
    fn a_certificate_is_worth_a_word_when_it_is_not_good_or_may_not_be_soon() {
        let failure = Failure { at: 5, what: "no answer".into(), mend: "open the port".into() };
        let standing = |domain: &str, ends, failure: Option<&Failure>| Standing {
            domain: domain.into(),
            ends,
            failure: failure.cloned(),
            ..Standing::default()
        };
        for (standing, expected) in [
            (standing("a.example.com", Some(11), None), None),
            (standing("a.example.com", Some(11), Some(&failure)), Some((Severity::Warning, "no answer"))),
            (standing("a.example.com", None, Some(&failure)), Some((Severity::Error, "no answer"))),
            (standing("a.example.com", Some(10), None), Some((Severity::Error, "good now"))),
            (standing("a.example.com", None, None), Some((Severity::Error, "good now"))),
            (standing("b.example.com", Some(11), None), Some((Severity::Error, "b.example.com"))),
        ] {
            let found = judge(&standing, "a.example.com", 10);
            assert_eq!(found.is_some(), expected.is_some(), "{standing:?}");
            if let (Some((severity, what, mend)), Some((wanted, part))) = (found, expected) {
                assert!(severity == wanted && what.contains(part) && !mend.is_empty(), "{what}");
            }
        }
    }
}
