//! `openclaw keys list|add|rotate|retire|decoy|test`: what the operator does with keys. A key is typed here and goes straight to
//! egress; it is in no argument, no file and no process but that one.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    os::{fd::AsFd, unix::fs::OpenOptionsExt},
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use anyhow::Context;
use clap::Subcommand;
use http::Method;
use openclaw_wire::{
    config::Config,
    egress::{Changed, KeyList, Retired, Rotated, Tried},
    id::BotName,
};
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

use super::{
    fault::{self, Fault},
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
    webhook,
};

/// What to do with keys.
#[derive(Subcommand)]
pub enum KeysVerb {
    /// All keys: where each came from, what uses it, when it was last used
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// One more key; it is asked for, or read from standard input
    Add {
        /// Its name, like OPENAI_API_KEY
        name: String,
        /// Take it although it could not be tried
        #[arg(long)]
        force: bool,
    },
    /// Another value for a key: tried while the old one serves, then exchanged at once
    Rotate {
        /// Its name
        #[arg(required_unless_present = "webhook", conflicts_with = "webhook")]
        name: Option<String>,
        /// The secret of a bot's webhook, which egress makes by itself
        #[arg(long)]
        webhook: bool,
        /// The bot [default: the only one whose updates come by webhook]
        #[arg(long, requires = "webhook")]
        bot: Option<BotName>,
        /// The old webhook secret is wrong from now on, also for updates that are under way
        #[arg(long, requires = "webhook")]
        now: bool,
        /// Take the key although it could not be tried
        #[arg(long, conflicts_with = "webhook")]
        force: bool,
    },
    /// Use a key no longer, and take it out of the key file
    Retire {
        /// Its name
        name: String,
    },
    /// Write a file with a key that opens nothing, to where thieves look (~/.openclaw/.env): should it turn up in what is to
    /// leave, you are told
    Decoy {
        /// The file; it must not be there
        file: PathBuf,
    },
    /// Try keys with real calls that cost nothing
    Test {
        /// The key [default: every one]
        name: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

/// How often egress is asked whether an old key is out of use.
const LOOK: Duration = Duration::from_millis(250);
/// Longest key, in bytes.
const LONGEST: u64 = 4096;

/// Carries it out.
pub fn keys(verb: &KeysVerb, place: &Place) -> anyhow::Result<ExitCode> {
    let egress = Socket::egress(place);
    match verb {
        KeysVerb::List { json } => {
            let list = block_on(list(&egress))?;
            match json {
                true => println!("{}", serde_json::to_string_pretty(&list).context("encode the list")?),
                false => println!("{}", clean(&describe(&list))),
            }
        }
        KeysVerb::Add { name, force } => change(&egress, name, "add", *force)?,
        KeysVerb::Rotate { name: Some(name), force, .. } => change(&egress, name, "rotate", *force)?,
        KeysVerb::Rotate { bot, now, .. } => rotate_webhook(&egress, place, bot.as_ref(), *now)?,
        KeysVerb::Retire { name } => {
            let path = format!("/keys/{name}/retire");
            let changed: Changed = block_on(egress.ask(Method::POST, &path, None::<&()>))?;
            println!("{name} is taken out of the key file.");
            until_gone(&egress, changed.retired)?;
        }
        KeysVerb::Decoy { file } => decoy(&egress, file)?,
        KeysVerb::Test { name, json } => return test(&egress, name.as_deref(), *json),
    }
    Ok(ExitCode::SUCCESS)
}

fn decoy(egress: &Socket, file: &Path) -> anyhow::Result<()> {
    let key: String = block_on(egress.ask(Method::POST, "/decoy", None::<&()>))?;
    let text = format!("OPENAI_API_KEY={key}\nANTHROPIC_API_KEY={key}\n");
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(file)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .with_context(|| format!("write the decoy to {}", file.display()))?;
    println!(
        "{} holds a key that opens nothing. Nothing of yours reads it: whoever does is no friend.",
        file.display()
    );
    Ok(())
}

async fn list(egress: &Socket) -> anyhow::Result<KeyList> {
    egress.ask(Method::GET, "/keys", None::<&()>).await
}

fn change(egress: &Socket, name: &str, verb: &str, force: bool) -> anyhow::Result<()> {
    // Known before anybody types a key.
    let known = block_on(list(egress))?.keys.iter().any(|key| key.name == name);
    match (verb, known) {
        ("add", true) => {
            let mend = format!("openclaw keys rotate {name}");
            return Err(Fault::new(format!("there is a key {name} already"), mend).into());
        }
        ("rotate", false) => {
            return Err(
                Fault::new(format!("there is no key {name}"), format!("openclaw keys add {name}")).into()
            );
        }
        _ => {}
    }
    let key = ask_for(name)?;
    let path = format!("/keys/{name}/{verb}{}", if force { "/force" } else { "" });
    let changed: Changed = block_on(egress.ask_raw(Method::POST, &path, key))?;
    for tried in &changed.tried {
        println!("{}", clean(&format!("{}: {}", tried.route, tried.said)));
    }
    match verb {
        "add" => println!("{name} is in the key file and in use."),
        _ => println!("The new {name} is in the key file and in use."),
    }
    until_gone(egress, changed.retired)
}

/// Waits until nothing uses the old key any more, and says so. Leaving early changes nothing.
fn until_gone(egress: &Socket, mut retired: Retired) -> anyhow::Result<()> {
    if retired.names.is_empty() {
        return Ok(());
    }
    let number = retired.number;
    let mut told = false;
    while !retired.safe_to_revoke {
        if !told {
            println!("Requests that began with the old one still go on: {}.", retired.requests);
            told = true;
        }
        std::thread::sleep(LOOK);
        let list = block_on(list(egress))?;
        let Some(now) = list.retired.into_iter().find(|other| other.number == number) else { return Ok(()) };
        retired = now;
    }
    println!("{}", farewell(&retired));
    Ok(())
}

fn farewell(retired: &Retired) -> String {
    let used = match retired.last_used {
        Some(at) => format!("was last used {}", when(Some(at))),
        None => "was not used since the start".into(),
    };
    format!(
        "The old {} {used}. Nothing uses it any more: it is safe to revoke it at its provider.",
        retired.names.join(", ")
    )
}

fn rotate_webhook(egress: &Socket, place: &Place, bot: Option<&BotName>, now: bool) -> anyhow::Result<()> {
    let bot = webhook::chosen(bot, &Config::read(&place.config)?)?;
    let path = format!("/webhook/{bot}/rotate{}", if now { "/now" } else { "" });
    let rotated: Rotated = block_on(egress.ask(Method::POST, &path, None::<&()>))?;
    println!("Telegram delivers the updates of {bot} with a new secret to {}.", clean(&rotated.url));
    match rotated.previous_seconds {
        0 => println!("The old one is refused from now on."),
        seconds => println!(
            "The old one is refused after the first update with the new one, and after {} minutes at the latest.",
            seconds / 60
        ),
    }
    Ok(())
}

fn test(egress: &Socket, name: Option<&str>, json: bool) -> anyhow::Result<ExitCode> {
    let mut names: Vec<String> = block_on(list(egress))?.keys.into_iter().map(|key| key.name).collect();
    if let Some(name) = name {
        names.retain(|known| known == name);
        if names.is_empty() {
            return Err(Fault::new(format!("there is no key {name}"), "openclaw keys list").into());
        }
    }
    let mut all: Vec<(String, Vec<Tried>)> = Vec::new();
    for name in names {
        let path = format!("/keys/{name}/test");
        all.push((name, block_on(egress.ask(Method::POST, &path, None::<&()>))?));
    }
    let good = all.iter().all(|(_, tried)| tried.iter().all(|tried| tried.good));
    if json {
        let map: serde_json::Map<_, _> = all
            .into_iter()
            .map(|(name, tried)| Ok((name, serde_json::to_value(tried)?)))
            .collect::<Result<_, serde_json::Error>>()?;
        println!("{}", serde_json::to_string_pretty(&map).context("encode the result")?);
    } else {
        for (name, tried) in &all {
            if tried.is_empty() {
                println!("{name}: nothing uses it, so it was not tried");
            }
            for tried in tried {
                println!("{}", clean(&format!("{name}: {}: {}", tried.route, tried.said)));
            }
        }
    }
    Ok(ExitCode::from(if good { 0 } else { fault::FAILED }))
}

/// A key: typed without being shown, or the first line of standard input.
fn ask_for(name: &str) -> anyhow::Result<Zeroizing<Vec<u8>>> {
    // Room for the longest one, so that no half-grown copy stays behind.
    let mut key = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    let input = io::stdin();
    if input.is_terminal() {
        eprint!("{name}: ");
        let quiet = Quiet::begin(input.as_fd()).context("stop the terminal from showing what is typed")?;
        let read = input.lock().take(LONGEST + 1).read_until(b'\n', &mut key);
        drop(quiet);
        read.context("read the key")?;
    } else {
        input.lock().take(LONGEST + 1).read_until(b'\n', &mut key).context("read the key")?;
    }
    let length = key.trim_ascii_end().len();
    key.truncate(length);
    match key.is_empty() || length as u64 > LONGEST {
        false => Ok(key),
        true => Err(Fault::new(
            format!("read the key {name}: it is empty or longer than {LONGEST} bytes"),
            format!("type it, or give it on standard input: openclaw keys rotate {name} < FILE"),
        )
        .into()),
    }
}

/// A terminal that does not show what is typed, until this is dropped.
struct Quiet<'a> {
    terminal: std::os::fd::BorrowedFd<'a>,
    before: rustix::termios::Termios,
}

impl<'a> Quiet<'a> {
    fn begin(terminal: std::os::fd::BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        quiet.local_modes.insert(LocalModes::ECHONL);
        tcsetattr(terminal, OptionalActions::Flush, &quiet)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        // A terminal that is gone needs no mending.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}

fn describe(list: &KeyList) -> String {
    let mut table = super::status::table();
    table.set_header(["key", "from", "used by", "last used"]);
    for key in &list.keys {
        let users = match key.used_by.is_empty() {
            true => "nothing".to_owned(),
            false => key.used_by.join(", "),
        };
        let mut last = when(key.last_used);
        if let Some(until) = key.aside_until {
            last += &format!(" (put aside until {}: refused or asked for too often)", when(Some(until)));
        }
        table.add_row([&key.name, &key.source, &users, &last]);
    }
    let mut text = match list.keys.is_empty() {
        true => "There is no key: openclaw keys add NAME".to_owned(),
        false => table.trim_fmt(),
    };
    text += &format!("\nThe key file is {}.", list.file.display());
    for retired in &list.retired {
        text += "\n";
        text += &match retired.safe_to_revoke {
            true => farewell(retired),
            false => format!(
                "The old {} was last used {}, and {} requests still go on with it.",
                retired.names.join(", "),
                when(retired.last_used),
                retired.requests
            ),
        };
    }
    if let Some(problem) = &list.problem {
        text += &format!("\nThe key file was changed, and not all of it is used: {problem}");
    }
    text
}

fn when(at: Option<u64>) -> String {
    let at = at.and_then(|at| jiff::Timestamp::from_second(i64::try_from(at).ok()?).ok());
    at.map_or("not since the start".into(), |at| at.to_string())
}

#[cfg(test)]
mod tests {
    use openclaw_wire::egress::{KeyInfo, KeyList, Retired};

    #[test]
    fn the_list_says_what_may_be_revoked() {
        let retired = |number, requests| Retired {
            number,
            names: vec!["A".into()],
            since: 100,
            last_used: Some(90),
            requests,
            safe_to_revoke: requests == 0,
        };
        let key = KeyInfo {
            name: "A".into(),
            source: "file".into(),
            used_by: vec!["model m".into(), "bot b".into()],
            last_used: None,
            aside_until: Some(60),
        };
        let text = super::describe(&KeyList {
            file: "/keys/.env".into(),
            keys: vec![key],
            retired: vec![retired(1, 0), retired(2, 3)],
            problem: Some("A was refused".into()),
        });
        for part in [
            "model m, bot b",
            "not since the start (put aside until 1970-01-01T00:01:00Z",
            "/keys/.env",
            "last used 1970-01-01T00:01:30Z. Nothing uses it any more: it is safe to revoke",
            "3 requests still go on",
            "not all of it is used: A was refused",
        ] {
            assert!(text.contains(part), "{part} in\n{text}");
        }
    }
}
