//! The running appliance: models, bots and their webhooks, skills, confinement, dead letters. Asks gateway and egress.

use std::path::Path;

use http::Method;
use openclaw_wire::{
    admin::{Scope, Status},
    config::{Config, Profile, Updates},
    egress::BotRoute,
};

use super::{Finding, Severity};
use crate::command::{
    fault::{self, NOT_RUNNING},
    place::Place,
    socket::{Socket, block_on},
    status,
    webhook::{self, Info},
};

/// What can only be seen while it runs.
pub fn look(place: &Place, config: &Config) -> anyhow::Result<Vec<Finding>> {
    let gateway = Socket::gateway(place);
    block_on(async {
        let status: Status = match gateway.ask(Method::GET, "/status", None::<&()>).await {
            Ok(status) => status,
            Err(error) => return Ok(vec![unreachable(&error)]),
        };
        let mut findings = running(&status, &place.keys());
        for bot in &status.bots {
            match webhook::info(&Socket::egress(place), &bot.name).await {
                Ok(info) => findings.extend(delivery(bot, &info, config)),
                Err(error) => findings.push(Finding::new(
                    Severity::Error,
                    "bot",
                    format!("Telegram was asked about the bot {}: {error:#}", bot.name),
                    "without a token that works the bot neither hears nor answers",
                    format!("get a token from @BotFather and put it into {}", place.keys().display()),
                )),
            }
        }
        Ok(findings)
    })
}

fn unreachable(error: &anyhow::Error) -> Finding {
    let what = format!("{error:#}");
    match fault::exit_code(error) {
        NOT_RUNNING => Finding::new(
            Severity::Warning,
            "not-running",
            "nothing runs on this state folder",
            "models, bots and skills can only be looked at while it runs",
            "openclaw run",
        ),
        _ => Finding::new(
            Severity::Error,
            "gateway",
            what,
            "the gateway answers every message and every command",
            "look at its log, and start it again",
        ),
    }
}

/// What a status shows; `keys` is the key file.
pub fn running(status: &Status, keys: &Path) -> Vec<Finding> {
    use Severity::{Error, Note, Warning};
    let mut findings = Vec::new();
    for model in &status.models {
        if let Some(problem) = &model.problem {
            let what = format!("the model {} can't be used: {problem}", model.name);
            let why = "its turn goes to the next model, if there is one";
            let mend = format!("put its key into {}, or take its [[model]] away", keys.display());
            findings.push(Finding::new(Warning, "model", what, why, mend));
        }
    }
    let mend =
        format!("write ANTHROPIC_API_KEY=... or OPENAI_API_KEY=... into {} (mode 600)", keys.display());
    if status::rehearsing(status) {
        let what = "only the rehearsal model answers";
        let why = "it is a script for looking around offline: it understands nothing";
        findings.push(Finding::new(Warning, "rehearsal", what, why, mend));
    } else if status.models.iter().all(|model| model.problem.is_some()) {
        findings.push(Finding::new(
            Error,
            "no-model",
            "no model can be used",
            "no message is answered",
            mend,
        ));
    }
    if status.bots.is_empty() {
        let mend = format!("write TELEGRAM_BOT_TOKEN=... into {} (mode 600)", keys.display());
        findings.push(Finding::new(
            Note,
            "no-bot",
            "there is no bot",
            "only `openclaw chat` reaches it",
            mend,
        ));
    } else if !status.owner_paired {
        let why = "nobody is allowed by default, so the bot answers nobody";
        findings.push(Finding::new(Warning, "no-owner", "the bots have no owner", why, "openclaw pair"));
    }
    if let Some(reason) = &status.skills_off {
        let what = format!("skills are off: {reason}");
        let why = "the assistant can only talk";
        findings.push(Finding::new(
            Error,
            "skills-off",
            what,
            why,
            "see the findings about the kernel, and what the runner logged",
        ));
    }
    for skill in status.skills.iter().filter(|skill| skill.problem.is_some()) {
        let what =
            format!("the skill {} can't be used: {}", skill.id, skill.problem.as_deref().unwrap_or_default());
        let mend = "mend its folder, or list it under `disabled` in section [skills]";
        findings.push(Finding::new(Warning, "skill", what, "the model cannot call its tools", mend));
    }
    let missing = status::missing(status);
    if !missing.is_empty() {
        let severity = if status.profile == Profile::Production { Error } else { Warning };
        let what = format!("the kernel enforces less than was asked: {}", missing.join("; "));
        let why = "a process that is taken over can do more than it should";
        findings.push(Finding::new(severity, "confinement", what, why, "openclaw status --confinement"));
    }
    if status.queues.dead_letters > 0 {
        let what = format!("{} messages were given up", status.queues.dead_letters);
        let why = "they were not answered, or their answer was not delivered";
        findings.push(Finding::new(Warning, "dead-letters", what, why, "see the log for the reason of each"));
    }
    if status.page.on {
        findings.extend(page(status));
    }
    for warning in &status.warnings {
        let why = "the gateway says so of itself";
        findings.push(Finding::new(Warning, "gateway-warning", warning.as_str(), why, "see the log"));
    }
    findings
}

/// The status page is switched on: does it listen, and can anybody log in?
fn page(status: &Status) -> Vec<Finding> {
    let mut findings = Vec::new();
    if status.page.listens.is_empty() {
        let why = "it listens on the VPN's interface alone, and there is none";
        let mend = "openclaw vpn init, then bring it up; or take `listen` out of section [admin]";
        findings.push(Finding::new(
            Severity::Warning,
            "page-nowhere",
            "the status page listens nowhere",
            why,
            mend,
        ));
    }
    if !status.page.tokens.contains(&Scope::Operator) {
        let why = "without one nobody can log in";
        findings.push(Finding::new(
            Severity::Note,
            "page-token",
            "the status page has no token",
            why,
            "openclaw admin token",
        ));
    }
    findings
}

/// What Telegram says about where it delivers, against what the configuration wants.
fn delivery(bot: &BotRoute, info: &Info, config: &Config) -> Vec<Finding> {
    let name = &bot.name;
    let mut findings = Vec::new();
    match (bot.updates, info.url.as_str()) {
        (Updates::Poll, "") => {}
        (Updates::Poll, url) => findings.push(Finding::new(
            Severity::Error,
            "webhook-while-polling",
            format!("the bot {name} polls, but Telegram has the webhook {url} for it"),
            "Telegram refuses polling while a webhook is set, so no message arrives",
            format!("openclaw webhook delete --bot {name}"),
        )),
        (Updates::Webhook, "") => findings.push(Finding::new(
            Severity::Error,
            "webhook-unset",
            format!("the bot {name} waits for its webhook, but none is set at Telegram"),
            "Telegram delivers nowhere, so no message arrives",
            format!("openclaw webhook set --bot {name}"),
        )),
        (Updates::Webhook, url) => {
            let expected = config.webhook.public_url.as_ref().map(|base| {
                format!(
                    "{}{}{name}",
                    base.as_str().trim_end_matches('/'),
                    openclaw_wire::facts::FACTS.webhook.path
                )
            });
            if expected.as_ref().is_some_and(|expected| expected != url) {
                findings.push(Finding::new(
                    Severity::Error,
                    "webhook-elsewhere",
                    format!(
                        "Telegram delivers the updates of {name} to {url}, not to {}",
                        expected.unwrap_or_default()
                    ),
                    "messages arrive somewhere else",
                    format!("openclaw webhook set --bot {name}"),
                ));
            }
        }
    }
    if let Some(error) = &info.last_error_message {
        findings.push(Finding::new(
            Severity::Warning,
            "webhook-error",
            format!("Telegram's last delivery to {name} failed: {error}"),
            "messages wait at Telegram, and are thrown away after a day",
            format!("openclaw webhook info --bot {name}"),
        ));
    }
    findings
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::config::{Config, Updates};

    use super::{delivery, running};
    use crate::command::{status::tests::status, webhook::Info};

    #[test]
    fn a_running_appliance_is_looked_at_from_all_sides() {
        let ids = |status: &_| {
            running(status, Path::new("/s/egress/.env")).iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        let mut good = status("production", true);
        (good.owner_paired, good.queues.dead_letters) = (true, 0);
        good.warnings.clear();
        assert_eq!(ids(&good), [""; 0]);
        let mut bad = status("production", false);
        bad.models[0].problem = Some("no key".into());
        bad.skills_off = Some("no namespaces".into());
        bad.skills[0].problem = Some("digest".into());
        assert_eq!(
            ids(&bad),
            [
                "model",
                "no-model",
                "no-owner",
                "skills-off",
                "skill",
                "confinement",
                "dead-letters",
                "gateway-warning"
            ]
        );
    }

    #[test]
    fn telegrams_view_is_held_against_the_configuration() {
        let mut bot = status("production", true).bots.remove(0);
        let config =
            Config::parse("[webhook]\npublic_url = \"https://bot.example\"", Path::new("t")).expect("config");
        let mut ids = |updates, url: &str, error: Option<&str>| {
            bot.updates = updates;
            let info =
                Info { url: url.into(), last_error_message: error.map(str::to_owned), ..Info::default() };
            delivery(&bot, &info, &config).iter().map(|finding| finding.id).collect::<Vec<_>>()
        };
        assert_eq!(ids(Updates::Poll, "", None), [""; 0]);
        assert_eq!(ids(Updates::Webhook, "https://bot.example/telegram/main", None), [""; 0]);
        assert_eq!(ids(Updates::Poll, "https://x", None), ["webhook-while-polling"]);
        assert_eq!(ids(Updates::Webhook, "", None), ["webhook-unset"]);
        assert_eq!(
            ids(Updates::Webhook, "https://x/telegram/main", Some("e")),
            ["webhook-elsewhere", "webhook-error"]
        );
    }
}
