//! `openclaw run`: makes the state folder and the sockets, starts egress, runner and gateway, and supervises them on a
//! laptop or in a container. Holds no key in its memory, reads no message, never runs as root.

use std::{
    ffi::OsString,
    fs::File,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
};

use anyhow::Context;
use clap::Args;
use openclaw_confine::{Inherited, again::again, spawn::Identity};
use openclaw_wire::config::{Config, Log};
use rustix::{fs::Mode, process::DumpableBehavior};
use tracing_subscriber::fmt::writer::BoxMakeWriter;

pub mod account;
mod backoff;
mod drill;
mod folder;
mod keys;
mod page;
mod programs;
mod signals;
mod sockets;
mod supervise;

use super::{fault::Fault, place::Place};
use account::Account;
use programs::Programs;
use signals::Signals;
use sockets::Sockets;
use supervise::{End, Side, supervise};

/// Options of `openclaw run`.
#[derive(Args)]
pub struct RunArgs {
    /// Open a chat in this terminal; logs go to the folder `log` in the state folder
    #[arg(long)]
    chat: bool,
    /// A folder of skills; may be given several times [default: `../skills` beside the programs]
    #[arg(long, value_name = "DIR")]
    skills: Vec<PathBuf>,
    /// What `~` means in a skill's manifest [default: `home` in section [skills], else your home]
    #[arg(long, value_name = "DIR")]
    home: Option<PathBuf>,
    /// The unprivileged account to run as; needed when root starts it
    #[arg(long, value_name = "NAME|UID")]
    user: Option<String>,
    /// The command has executed itself again, without an environment
    #[arg(long, hide = true)]
    again: bool,
}

/// Runs until SIGTERM, SIGINT, or the end of the chat.
pub fn run(args: &RunArgs, place: &Place) -> anyhow::Result<ExitCode> {
    match args.again {
        false => Err(leave_environment(args, place)?),
        true => start(args, place),
    }
}

/// First half: everything that needs the environment or root. Ends by executing this program again with neither.
fn leave_environment(args: &RunArgs, place: &Place) -> anyhow::Result<anyhow::Error> {
    let account = match (rustix::process::geteuid().is_root(), &args.user) {
        (true, Some(user)) => Some(Account::find(user)?),
        (true, None) => {
            return Err(Fault::new(
                "run as root: no process of OpenClaw runs as root",
                "start it as an unprivileged user, or add --user NAME",
            )
            .into());
        }
        (false, Some(user)) => {
            return Err(Fault::new(
                format!("run as {user:?}: only root can change the user"),
                "leave --user out",
            )
            .into());
        }
        (false, None) => None,
    };
    if let Some(account) = &account {
        folder::give_to(account, place)?;
    }
    let config = if place.config.exists() { Config::read(&place.config)? } else { Config::default() };
    let home = args
        .home
        .clone()
        .or_else(|| account.as_ref().map(|account| account.home.clone()))
        .or_else(|| std::env::var_os("HOME").map(PathBuf::from))
        .filter(|home| home.is_absolute())
        .ok_or_else(|| Fault::new("find your home: HOME is not set", "add --home DIR"))?;
    let keys = keys::collect(&config)?;

    let mut args_again: Vec<OsString> = vec!["run".into(), "--again".into()];
    args_again.extend([
        "--state".into(),
        place.state.clone().into(),
        "--config".into(),
        place.config.clone().into(),
    ]);
    args_again.extend(["--home".into(), home.into()]);
    for skills in &args.skills {
        let skills = std::path::absolute(skills).context("make a path of --skills absolute")?;
        args_again.extend(["--skills".into(), skills.into()]);
    }
    if args.chat {
        args_again.push("--chat".into());
    }
    let program = std::env::current_exe().context("find this program's own file")?;
    let identity = account.map(|account| Identity { uid: account.uid, gid: account.gid });
    let error = again(&program, args_again, keys.map(|fd| ("keys", fd)), identity);
    Ok(anyhow::Error::new(error).context("execute this program again with an empty environment"))
}

/// Second half: an empty environment, no root.
fn start(args: &RunArgs, place: &Place) -> anyhow::Result<ExitCode> {
    let mut inherited = Inherited::take().context("take over the keys")?;
    let keys = inherited.take_fd("keys");
    drop(inherited);
    // Nobody else of this uid may read our descriptors, the keys' among them (ptrace(2), proc_pid_fd(5)).
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).context("become not dumpable")?;
    rustix::thread::set_no_new_privs(true).context("set no_new_privs")?;
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // Nothing is ever found by where it was started from; every path is absolute.
    std::env::set_current_dir("/").context("change to the folder /")?;
    anyhow::ensure!(!rustix::process::geteuid().is_root(), "still root after the change of user");

    let _lock = folder::prepare(place)?;
    let config = Config::read(&place.config)?;
    let home = config.skills.home.clone().or_else(|| args.home.clone()).unwrap_or_default();
    folder::documents(&home);
    let programs = Programs::find(&args.skills)?;

    let log = args.chat.then(|| folder::log_file(&place.state)).transpose()?.map(Arc::new);
    if log.is_some() {
        eprintln!("logs are in {}", folder::log_path(&place.state).display());
    }
    log_lines(&config.log, log.clone());
    let mut signals = Signals::take(args.chat).context("take over signals")?;
    let mut sockets = Sockets::make(&config, place)?;
    let side = sockets.page.take().map(|(page, drill)| -> anyhow::Result<_> {
        let drill = drill::Drill::new(drill, programs.runner().to_owned()).context("use the drill's door")?;
        Ok(Side { pages: page::Pages::make(&config.admin.listen, page)?, drill })
    });
    let mut side = side.transpose()?;
    let mut slots = programs.slots(place, &home, sockets, keys, log);

    let chat = || args.chat.then(|| programs.chat(place)).transpose();
    match supervise(&mut slots, &mut signals, side.as_mut(), chat)? {
        End::Asked => Ok(ExitCode::SUCCESS),
        End::GaveUp { process, reason } => {
            let mend = match args.chat {
                true => {
                    format!("its own message is at the end of {}", folder::log_path(&place.state).display())
                }
                false => "its own message stands above".into(),
            };
            Err(Fault::new(format!("keep {process} running: {reason}"), mend).into())
        }
    }
}

/// The supervisor's own lines, in the form of its children's.
fn log_lines(log: &Log, file: Option<Arc<File>>) {
    let colours = file.is_none() && io::stderr().is_terminal();
    let writer = match file {
        Some(file) => BoxMakeWriter::new(file),
        None => BoxMakeWriter::new(io::stderr),
    };
    openclaw_log::start_into(log, env!("CARGO_CRATE_NAME"), writer, colours);
}
