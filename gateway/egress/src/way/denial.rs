//! What a skill tried and may not, in words: which rule, and the line of the manifest that would allow it. What the
//! skill chose is shown cut and escaped: these words go to the model, the log and the owner.

use openclaw_wire::{
    egress::{Denial, Refusal, RefusalKind},
    facts::FACTS,
    id::SkillId,
};

use super::place::Place;

/// Longest piece of what a skill wrote.
const SHOWN: usize = 120;

/// Why it may not.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// No entry for this host and port.
    Host(Place),
    /// What it asked for is not a host and a port.
    Odd(String, super::place::Odd),
    /// An entry for the host, but not for this method on this path.
    Request(Place, String, String),
    /// Plain http to a host that is not a private endpoint.
    Plain(Place),
    /// The name leads to an address that is not public.
    Address(String),
    /// A `.internal` name that the operator did not declare.
    Undeclared(String),
    /// One of our keys is in what it sends.
    Secret(Place),
    /// A body that cannot be looked into.
    Encoded(Place),
    /// A tunnel whose TLS names another host.
    ServerName(Place, String),
    /// A budget of the call is used up.
    Budget(&'static str),
    /// What it would cost is more than a cap leaves, or cannot be written down.
    Money(Place, Refusal),
    /// A tunnel to a host that costs money: nobody could count the requests in it.
    Uncounted(Place),
    /// The key that its manifest declares is not there (incident 117).
    NoKey(String),
    /// That key is a bot's, or a model's for another host, port or path.
    BoundKey(String),
    /// That key cannot be put where the manifest wants it.
    OddKey(String),
}

impl Why {
    /// With the skill's name.
    pub fn denial(&self, skill: &SkillId) -> Denial {
        let (tried, mend) = match self {
            Self::Host(place) => (
                format!("tried to reach {} (not in its manifest)", shown(&place.to_string())),
                format!("to allow it, its skill.toml needs: hosts = [{{ {} }}]", line(place, None)),
            ),
            Self::Odd(text, odd) => (
                format!("tried to reach {} ({odd})", shown(text)),
                "nothing can allow it; a private endpoint is declared in openclaw.toml as [skills.private.NAME] and \
                 reached as NAME.internal"
                    .into(),
            ),
            Self::Request(place, method, path) => (
                format!("tried {} {} (not in its manifest)", shown(method), shown(&format!("{place}{path}"))),
                format!("to allow it, its skill.toml needs: hosts = [{{ {} }}]", line(place, Some((method, path)))),
            ),
            Self::Plain(place) => (
                format!("tried plain http to {} (only https leaves this machine)", shown(&place.to_string())),
                "use https:// in the skill".into(),
            ),
            Self::Address(error) => (
                format!("tried to reach a host whose address it may not reach: {}", shown(error)),
                "nothing can allow it; a private endpoint is declared in openclaw.toml as [skills.private.NAME] and \
                 reached as NAME.internal"
                    .into(),
            ),
            Self::Undeclared(name) => (
                format!("tried to reach {}.internal (no such private endpoint)", shown(name)),
                format!(
                    "if you run such a server, declare it in openclaw.toml: [skills.private.{}] with its url",
                    shown(name)
                ),
            ),
            Self::Secret(place) => (
                format!("tried to send one of OpenClaw's keys to {}", shown(&place.to_string())),
                "nothing can allow it; find out where the skill has the key from, and replace the key".into(),
            ),
            Self::Encoded(place) => (
                format!("tried to send a compressed body to {}", shown(&place.to_string())),
                "let the skill send it as it is: what cannot be looked into does not leave".into(),
            ),
            Self::ServerName(place, name) => (
                format!(
                    "opened a tunnel to {} and asked for {} in it",
                    shown(&place.to_string()),
                    shown(name)
                ),
                "nothing can allow it: a tunnel leads to the host that it names".into(),
            ),
            Self::Money(place, refusal) if refusal.kind == RefusalKind::NotPriced => {
                (format!("tried to reach {}: {}", shown(&place.to_string()), refusal.message), refusal.mend.clone())
            }
            Self::Uncounted(place) => (
                format!(
                    "tried to open a tunnel to {}, which costs money: nobody counts the requests in it",
                    shown(&place.to_string())
                ),
                "leave `tunnel` out of its skill.toml, or, if it costs nothing, say so in openclaw.toml: [[price]] with \
                 the host and call = 0"
                    .into(),
            ),
            Self::Money(place, refusal) => (
                format!("tried to reach {}, which costs money: {}", shown(&place.to_string()), refusal.message),
                refusal.mend.clone(),
            ),
            Self::NoKey(name) => (
                format!("needs the key {name}, which is not there"),
                format!("add a line {name}=… to {} below the state folder", FACTS.state.keys.display()),
            ),
            Self::BoundKey(name) => (
                format!(
                    "may not have the key {name} there: a model uses it for another host, or for this very path, or a bot does"
                ),
                "give the skill a key of its own under another name".into(),
            ),
            Self::OddKey(name) => (
                format!("needs the key {name}, which has characters that no header can have"),
                format!("copy it again, whole, into {}", FACTS.state.keys.display()),
            ),
            Self::Budget(what) => (
                format!("used up what one call may use of its way out: {what}"),
                "let the skill do less in one call".into(),
            ),
        };
        Denial { message: format!("skill {skill} {tried}"), mend }
    }
}

/// The entry of a manifest that would allow it.
fn line(place: &Place, request: Option<(&String, &String)>) -> String {
    let mut line = format!("host = {:?}", cut(&place.host));
    if place.port != 443 {
        line += &format!(", port = {}", place.port);
    }
    if let Some((method, path)) = request {
        line += &format!(", methods = [{:?}], paths = [{:?}]", cut(method), cut(path));
    }
    line
}

fn cut(text: &str) -> String {
    text.chars().take(SHOWN).collect()
}

/// Printable, on one line, bounded.
fn shown(text: &str) -> String {
    let visible = |c: char| c.is_ascii_graphic() || c == ' ';
    let mut out: String = text.chars().take(SHOWN).map(|c| if visible(c) { c } else { '?' }).collect();
    if text.chars().nth(SHOWN).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{Place, Why};

    #[test]
    fn a_denial_names_the_rule_and_the_line_that_would_allow_it() {
        let skill = "weather".parse().expect("id");
        let place = |port| Place { host: "example.com".into(), port };
        let denial = Why::Host(place(443)).denial(&skill);
        assert_eq!(denial.message, "skill weather tried to reach example.com:443 (not in its manifest)");
        assert_eq!(denial.mend, r#"to allow it, its skill.toml needs: hosts = [{ host = "example.com" }]"#);
        let denial = Why::Request(place(8443), "POST".into(), "/data".into()).denial(&skill);
        assert_eq!(denial.message, "skill weather tried POST example.com:8443/data (not in its manifest)");
        assert!(
            denial.mend.ends_with(
                r#"hosts = [{ host = "example.com", port = 8443, methods = ["POST"], paths = ["/data"] }]"#
            ),
            "{}",
            denial.mend
        );
    }

    /// Incident 110: what a skill chose cannot write into a terminal, a log or a prompt as it likes.
    #[test]
    fn what_a_skill_chose_is_bounded_and_printable() {
        let skill = "weather".parse().expect("id");
        let text = format!("a\n\u{1b}[31m\u{202e}{}", "x".repeat(20_000));
        let denial = Why::Odd(text, super::super::place::Odd::Name).denial(&skill);
        assert!(denial.message.len() < 300 && denial.message.is_char_boundary(0), "{}", denial.message);
        assert!(!denial.message.contains(['\n', '\u{1b}', '\u{202e}']), "{}", denial.message);
    }
}
