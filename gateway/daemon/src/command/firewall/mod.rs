//! `openclaw firewall`: the appliance's nftables rules, made from the facts, the configuration and this machine's users. Prints
//! or writes them; never changes what the kernel has (`nft --file` does).

mod endpoints;
mod rules;

use std::{
    fs::OpenOptions,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Subcommand;
use openclaw_wire::{config::Config, facts::FACTS};

use super::{place::Place, run::account};

/// What to do about the firewall.
#[derive(Subcommand)]
pub enum FirewallVerb {
    /// Print the rules, for `nft --file`
    Print {
        /// Write them to this file instead
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
        /// Make this file if they are for direct mode, remove it if they are not: what listens in public waits for it
        #[arg(long, value_name = "FILE")]
        flag: Option<PathBuf>,
    },
}

/// Carries it out.
pub fn firewall(verb: &FirewallVerb, place: &Place) -> anyhow::Result<()> {
    let FirewallVerb::Print { out, flag } = verb;
    // A machine whose configuration is broken stays closed, and reachable for whoever mends it: without it no endpoint of
    // the operator's opens, and nothing else changes.
    let config = Config::read(&place.config).unwrap_or_else(|error| {
        eprintln!("openclaw: {error}\n  the rules are made without it: none of your own endpoints opens");
        Config::default()
    });
    let text = rules::of(
        &FACTS,
        &rules::Machine {
            user: &|name| account::number_of(name).ok(),
            endpoints: endpoints::of(&config),
            direct: config.has_front(),
        },
    )?;
    if let Some(path) = flag {
        let done = match config.has_front() {
            true => write(path, ""),
            false => std::fs::remove_file(path).or_else(|error| match error.kind() {
                std::io::ErrorKind::NotFound => Ok(()),
                _ => Err(error),
            }),
        };
        done.with_context(|| format!("say at {} which mode it is", path.display()))?;
    }
    match out {
        Some(path) => write(path, &text).with_context(|| format!("write the rules to {}", path.display())),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

fn write(path: &Path, text: &str) -> std::io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}
