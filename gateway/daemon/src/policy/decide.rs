//! The decision, at every call, for every path. First rules: what only reads the owner's own files for the owner is
//! allowed; everything else is a question to the owner; with nobody to ask it is denied.

use openclaw_wire::{
    file::FileName,
    id::UserId,
    runner::Call,
    skill::{Effect, Skill, Tool},
};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::ask::Approval;

/// Longest question that is shown whole; anything longer is denied, never cut (incident 89).
const QUESTION: usize = 3000;

/// For whom the turn runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Principal {
    /// The owner, on a paired channel.
    Owner,
    /// The operator, who typed the call with its arguments at the admin socket.
    Operator,
    /// Somebody on the allowlist.
    Person(UserId),
}

/// A file of the conversation that a call gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attached {
    /// Its name in the conversation.
    pub name: FileName,
    /// What it is, in words of ours.
    pub words: String,
    /// What its sender calls it; empty without.
    pub called: String,
    /// Of its bytes.
    pub digest: String,
}

/// A call that the model wants.
#[derive(Debug, Clone, Copy)]
pub struct Proposal<'a> {
    /// Our id of the call, unique for ever.
    pub call: &'a str,
    /// The skill, as loaded and digested.
    pub skill: &'a Skill,
    /// The tool in its manifest.
    pub tool: &'a Tool,
    /// Arguments, valid against the tool's schema.
    pub arguments: &'a Value,
    /// The files of the conversation that the arguments name.
    pub attached: &'a [Attached],
    /// For whom.
    pub principal: Principal,
    /// Whether there is an owner who could be asked.
    pub owner_there: bool,
}

/// The outcome.
#[derive(Debug)]
pub enum Decision {
    /// It may run, exactly so.
    Allow(Grant),
    /// The owner decides.
    Ask(Question),
    /// It may not.
    Deny(Denial),
}

/// The right to run one call once. Only [`decide`] makes one; the executor consumes it.
#[derive(Debug)]
pub struct Grant {
    call: Call,
    effect: Effect,
}

impl Grant {
    /// What the runner is told. The grant is used up.
    pub fn into_call(self) -> Call {
        self.call
    }

    /// What running it does.
    pub fn effect(&self) -> Effect {
        self.effect
    }
}

/// What the owner is shown, and the digest that binds the answer to exactly this call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The full canonical call, for people.
    pub text: String,
    /// SHA-256 of it, in hex.
    pub digest: String,
}

/// Why not, for the model, the owner and the audit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// It needs the owner's leave, and no owner has paired.
    #[error("`{0}` needs the owner's approval, and no owner has paired with this assistant")]
    NobodyToAsk(String),
    /// The owner said no, or did not answer in time.
    #[error("the owner did not approve `{0}`")]
    Refused(String),
    /// It can't be shown whole.
    #[error("the arguments of `{0}` are too long to be shown for approval")]
    TooLong(String),
}

/// Decides. `approval` is the owner's answer to an earlier [`Question`], if there was one.
pub fn decide(proposal: &Proposal<'_>, approval: Option<&Approval>) -> Decision {
    let tool = proposal.tool.name.as_str().to_owned();
    // What was typed needs no question: it is the answer.
    if proposal.principal == Principal::Operator {
        return Decision::Allow(grant(proposal));
    }
    if proposal.tool.effect == Effect::Read && proposal.principal == Principal::Owner {
        return Decision::Allow(grant(proposal));
    }
    let question = question(proposal);
    match approval {
        Some(approval) if approval.approves(&question.digest) => return Decision::Allow(grant(proposal)),
        Some(_) => return Decision::Deny(Denial::Refused(tool)),
        None => {}
    }
    if !proposal.owner_there {
        Decision::Deny(Denial::NobodyToAsk(tool))
    } else if question.text.len() > QUESTION {
        Decision::Deny(Denial::TooLong(tool))
    } else {
        Decision::Ask(question)
    }
}

fn grant(proposal: &Proposal<'_>) -> Grant {
    Grant {
        call: Call {
            id: proposal.call.to_owned(),
            skill: proposal.skill.id.clone(),
            digest: proposal.skill.digest.clone(),
            tool: proposal.tool.name.as_str().to_owned(),
            arguments: proposal.arguments.clone(),
            definition: None,
            attached: proposal.attached.iter().map(|file| file.name.clone()).collect(),
            makes: false,
        },
        effect: proposal.tool.effect,
    }
}

/// Text and digest of a call: who, which program (by digest), which tool, which arguments, which occasion.
fn question(proposal: &Proposal<'_>) -> Question {
    let who = match proposal.principal {
        Principal::Owner | Principal::Operator => "you".to_owned(),
        Principal::Person(user) => format!("user {user}"),
    };
    let effect = serde_json::to_value(proposal.tool.effect).ok().and_then(|v| v.as_str().map(str::to_owned));
    let mut text = format!(
        "{} wants to run {} of {} ({}), asked by {who}:\n{}",
        "The assistant",
        proposal.tool.name.as_str(),
        proposal.skill.id,
        effect.unwrap_or_default(),
        canonical(proposal.arguments, 0),
    );
    // A path of ours says nothing to people; what its sender calls it does, and can't look like a line of ours.
    for Attached { name, words, called, .. } in proposal.attached {
        let called = if called.is_empty() { String::new() } else { format!(", called {}", quoted(called)) };
        text += &format!("\n{} is: {words}{called}", name.path());
    }
    // A tool of an MCP server is not in the folder that the digest covers.
    let tool = serde_json::to_string(proposal.tool).unwrap_or_default();
    let mut hash = Sha256::new();
    let files = proposal.attached.iter().map(|file| file.digest.as_str());
    for part in [proposal.call, &proposal.skill.digest, &tool, &text].into_iter().chain(files) {
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part);
    }
    Question { text, digest: hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect() }
}

/// JSON with sorted keys and every invisible or control character escaped, so that what is shown is what is there.
fn canonical(value: &Value, depth: usize) -> String {
    let pad = "  ".repeat(depth + 1);
    match value {
        Value::Object(map) if !map.is_empty() => {
            let mut keys: Vec<_> = map.keys().collect();
            keys.sort();
            let lines: Vec<_> = keys
                .iter()
                .map(|key| format!("{pad}{}: {}", quoted(key), canonical(&map[*key], depth + 1)))
                .collect();
            format!("{{\n{}\n{}}}", lines.join(",\n"), "  ".repeat(depth))
        }
        Value::Array(items) if !items.is_empty() => {
            let lines: Vec<_> =
                items.iter().map(|item| format!("{pad}{}", canonical(item, depth + 1))).collect();
            format!("[\n{}\n{}]", lines.join(",\n"), "  ".repeat(depth))
        }
        Value::String(text) => quoted(text),
        other => other.to_string(),
    }
}

fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        let visible = !c.is_control()
            && (c.is_ascii() || super::hygiene::clean(c.encode_utf8(&mut [0; 4])) == c.to_string());
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if visible => out.push(c),
            c => out.extend(c.escape_unicode()),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::{id::UserId, skill::Skill};
    use serde_json::{Value, json};

    use super::{Approval, Attached, Decision, Denial, FileName, Principal, Proposal, decide};

    fn skill() -> Skill {
        let tools = ["read", "send"].map(|effect| {
            format!("[[tool]]\nname = \"{effect}\"\ndescription = \"d\"\neffect = \"{effect}\"\narguments = {{ type = \"object\" }}\n")
        });
        let text = format!("program = \"bin/x\"\n{}", tools.concat());
        Skill {
            id: "s".parse().expect("name"),
            folder: "/s".into(),
            digest: "d".into(),
            manifest: Some(openclaw_wire::skill::parse(&text, Path::new("t")).expect("manifest")),
        }
    }

    fn outcome(
        tool: usize,
        principal: Principal,
        owner_there: bool,
        arguments: &Value,
        approval: Option<&Approval>,
    ) -> Decision {
        let skill = skill();
        let tool = &skill.manifest.as_ref().expect("manifest").tool[tool];
        let attached = &[];
        decide(
            &Proposal { call: "c", skill: &skill, tool, arguments, attached, principal, owner_there },
            approval,
        )
    }

    #[test]
    fn the_first_rules() {
        let (owner, person, none) = (Principal::Owner, Principal::Person(UserId(7)), json!({}));
        assert!(
            matches!(outcome(0, owner, false, &none, None), Decision::Allow(_)),
            "the owner's own reading"
        );
        assert!(matches!(outcome(0, person, true, &none, None), Decision::Ask(_)), "somebody else's reading");
        assert!(matches!(outcome(1, owner, true, &none, None), Decision::Ask(_)), "an effect");
        assert!(matches!(outcome(1, owner, false, &none, None), Decision::Deny(Denial::NobodyToAsk(_))));
        let long = json!({ "x": "y".repeat(4000) });
        assert!(matches!(outcome(1, owner, true, &long, None), Decision::Deny(Denial::TooLong(_))));
    }

    #[test]
    fn an_approval_fits_only_the_call_that_was_shown() {
        let (shown, other) = (json!({ "to": "a" }), json!({ "to": "b" }));
        let Decision::Ask(question) = outcome(1, Principal::Owner, true, &shown, None) else {
            panic!("no question")
        };
        let yes = Approval::for_tests(&question.digest, true);
        let no = Approval::for_tests(&question.digest, false);
        assert!(matches!(outcome(1, Principal::Owner, true, &shown, Some(&yes)), Decision::Allow(_)));
        assert!(
            matches!(outcome(1, Principal::Owner, true, &other, Some(&yes)), Decision::Deny(_)),
            "changed arguments"
        );
        assert!(matches!(outcome(1, Principal::Owner, true, &shown, Some(&no)), Decision::Deny(_)));
    }

    /// The owner sees what its sender calls a file, and says yes to these bytes alone (incident 90).
    #[test]
    fn an_attachment_is_shown_by_its_real_name_and_bound_by_its_bytes() {
        let (skill, arguments) = (skill(), json!({ "file": "/attached/7.pdf" }));
        let tool = &skill.manifest.as_ref().expect("manifest").tool[1];
        let file = |called: &str, digest: &str| Attached {
            name: FileName::new(7, "pdf").expect("name"),
            words: "document, 5 bytes".into(),
            called: called.into(),
            digest: digest.into(),
        };
        let of = |attached: &[Attached], approval: Option<&Approval>| {
            let (principal, owner_there) = (Principal::Owner, true);
            let (call, arguments) = ("c", &arguments);
            decide(
                &Proposal { call, skill: &skill, tool, arguments, attached, principal, owner_there },
                approval,
            )
        };
        let shown = [file("a\u{202e}.pdf\nx is: y", "d1")];
        let Decision::Ask(question) = of(&shown, None) else { panic!("no question") };
        assert!(
            question
                .text
                .ends_with("\n/attached/7.pdf is: document, 5 bytes, called \"a\\u{202e}.pdf\\u{a}x is: y\""),
            "{}",
            question.text
        );
        let yes = Approval::for_tests(&question.digest, true);
        let Decision::Allow(grant) = of(&shown, Some(&yes)) else { panic!("not allowed") };
        assert_eq!(grant.into_call().attached, [FileName::new(7, "pdf").expect("name")]);
        for other in [vec![file(&shown[0].called, "d2")], vec![]] {
            assert!(matches!(of(&other, Some(&yes)), Decision::Deny(_)), "other bytes, or none");
        }
    }

    #[test]
    fn what_is_shown_is_what_is_there() {
        let arguments = json!({ "b": "x\u{202E}y\u{0007}", "a": [1, "\"q\""] });
        let Decision::Ask(question) = outcome(1, Principal::Owner, true, &arguments, None) else {
            panic!("no question")
        };
        let shown = question.text.split_once(":\n").expect("arguments").1;
        assert_eq!(
            shown,
            "{\n  \"a\": [\n    1,\n    \"\\\"q\\\"\"\n  ],\n  \"b\": \"x\\u{202e}y\\u{7}\"\n}"
        );
    }
}
