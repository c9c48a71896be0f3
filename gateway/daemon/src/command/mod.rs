//! The command line of `openclaw`: `run` and `serve`, and what the operator asks and does. No command holds a key;
//! what needs one is asked of egress, what needs the conversations is asked of the gateway.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser, Subcommand};

pub mod place;
pub mod fault;
pub mod socket;
pub mod terminal;

pub mod run;
pub mod chat;
pub mod pair;
pub mod webhook;
pub mod keys;
pub mod privacy;
pub mod freeze;
pub mod letters;
pub mod status;
pub mod usage;
pub mod doctor;
pub mod config;
pub mod skills;
pub mod security;
pub mod firewall;
pub mod tunnel;
pub mod vpn;
pub mod admin;

use place::Place;

const EXIT_CODES: &str = "Exit codes: 0 done; 1 failed, or found something wrong; \
2 the command line was not understood; 3 nothing runs on this state folder that could answer; \
4 (security audit) nothing failed, and something could not be seen.";

/// A self-hosted assistant: what reads strangers' words, what holds the keys, and what executes are three different
/// processes.
#[derive(Parser)]
#[command(name = "openclaw", version, after_help = EXIT_CODES, max_term_width = 110)]
struct Cli {
    /// State folder [default: $XDG_STATE_HOME/openclaw, ~/.local/state/openclaw, for root /var/lib/openclaw]
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Configuration file [default: openclaw.toml in the state folder]
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Start and supervise the three processes on this machine
    Run(run::RunArgs),
    /// The gateway alone, as `run` and systemd start it
    Serve(ServeArgs),
    /// Talk to the assistant in this terminal
    Chat(chat::ChatArgs),
    /// Print a one-time code that makes you the owner of the bot
    Pair(JsonArgs),
    /// Register, look at or remove the bot's webhook at Telegram
    #[command(subcommand)]
    Webhook(webhook::WebhookVerb),
    /// List, add, rotate, retire or test keys; they go straight to egress
    #[command(subcommand)]
    Keys(keys::KeysVerb),
    /// What each far end gets to see
    Privacy(JsonArgs),
    /// How the appliance is doing
    Status(status::StatusArgs),
    /// What was spent today and this month, by model, chat, skill and key, and the limits
    Usage(JsonArgs),
    /// Messages and answers that were given up: list, try again, delete
    #[command(subcommand)]
    DeadLetters(letters::LettersVerb),
    /// Stop everything until `unfreeze`
    Freeze,
    /// Let the assistant answer again
    Unfreeze,
    /// What is wrong, why it matters, and the command that mends it
    Doctor(JsonArgs),
    /// Skills: what each may do, switch them, run one, look at what ran
    #[command(subcommand)]
    Skills(skills::SkillsVerb),
    /// Audit this machine; attack its jails, to see that they hold
    #[command(subcommand)]
    Security(security::SecurityVerb),
    /// The appliance's firewall
    #[command(subcommand)]
    Firewall(firewall::FirewallVerb),
    /// The tunnel to Cloudflare's edge
    #[command(subcommand)]
    Tunnel(tunnel::TunnelVerb),
    /// The operator's way in: WireGuard
    #[command(subcommand)]
    Vpn(vpn::VpnVerb),
    /// The status page: its tokens
    #[command(subcommand)]
    Admin(admin::AdminVerb),
    /// Check or show the configuration
    #[command(subcommand)]
    Config(config::ConfigVerb),
}

/// Options of commands that only choose how to print.
#[derive(Args)]
pub struct JsonArgs {
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
struct ServeArgs {
    /// A folder of skills; may be given several times
    #[arg(long, value_name = "DIR")]
    skills: Vec<PathBuf>,
}

/// What the gateway is started with.
#[derive(Debug, Clone)]
pub struct Serve {
    /// The configuration file.
    pub config: PathBuf,
    /// The state folder.
    pub state: PathBuf,
    /// Folders of skills.
    pub skills: Vec<PathBuf>,
}

/// Reads the command line, carries it out, prints what failed.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let done = Place::new(cli.state.as_deref(), cli.config.as_deref())
        .map_err(anyhow::Error::from)
        .and_then(|place| carry_out(cli.verb, &place));
    match done {
        Ok(code) => code,
        Err(error) => {
            eprintln!("openclaw: {error:#}");
            ExitCode::from(fault::exit_code(&error))
        }
    }
}

fn carry_out(verb: Verb, place: &Place) -> anyhow::Result<ExitCode> {
    let done = |()| ExitCode::SUCCESS;
    match verb {
        Verb::Run(args) => run::run(&args, place),
        Verb::Serve(args) => crate::serve::run(Serve {
            config: place.config.clone(),
            state: place.state.clone(),
            skills: args.skills,
        })
        .map(done),
        Verb::Chat(args) => chat::chat(&args, place),
        Verb::Pair(args) => pair::pair(place, args.json).map(done),
        Verb::Webhook(verb) => webhook::webhook(&verb, place).map(done),
        Verb::Keys(verb) => keys::keys(&verb, place),
        Verb::Privacy(args) => privacy::privacy(place, args.json).map(done),
        Verb::DeadLetters(verb) => letters::letters(&verb, place).map(done),
        Verb::Freeze => freeze::freeze(place, true).map(done),
        Verb::Unfreeze => freeze::freeze(place, false).map(done),
        Verb::Status(args) => status::status(&args, place),
        Verb::Usage(args) => usage::usage(place, args.json).map(done),
        Verb::Doctor(args) => doctor::doctor(place, args.json),
        Verb::Skills(verb) => skills::skills(&verb, place),
        Verb::Security(verb) => security::security(&verb, place),
        Verb::Firewall(verb) => firewall::firewall(&verb, place).map(done),
        Verb::Tunnel(verb) => tunnel::tunnel(&verb, place),
        Verb::Vpn(verb) => vpn::vpn(&verb, place).map(done),
        Verb::Admin(verb) => admin::admin(&verb, place).map(done),
        Verb::Config(verb) => config::config(&verb, place),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        super::Cli::command().debug_assert();
    }
}
