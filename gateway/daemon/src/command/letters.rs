//! `openclaw dead-letters`: what was given up, and the two things that can be done about it.

use clap::Subcommand;
use http::Method;
use openclaw_wire::admin::{DeadLetter, Letter};

use super::{
    JsonArgs,
    place::Place,
    socket::{Socket, block_on},
    terminal::clean,
};

/// What to do with dead letters.
#[derive(Subcommand)]
pub enum LettersVerb {
    /// List messages and answers that were given up
    List(JsonArgs),
    /// Try one again
    Retry {
        /// Its id in the list
        id: String,
    },
    /// Delete one, with its text
    Drop {
        /// Its id in the list
        id: String,
    },
}

/// Carries it out.
pub fn letters(verb: &LettersVerb, place: &Place) -> anyhow::Result<()> {
    let gateway = Socket::gateway(place);
    let change = |id: &str, retry| {
        let letter = Letter { id: id.to_owned(), retry };
        block_on(async { gateway.tell(Method::POST, "/dead-letters", Some(&letter)).await })
    };
    match verb {
        LettersVerb::Retry { id } => change(id, true).map(|()| println!("It is tried again.")),
        LettersVerb::Drop { id } => change(id, false).map(|()| println!("Deleted.")),
        LettersVerb::List(args) => {
            let letters: Vec<DeadLetter> =
                block_on(async { gateway.ask(Method::GET, "/dead-letters", None::<&()>).await })?;
            match (args.json, letters.is_empty()) {
                (true, _) => println!("{}", serde_json::to_string(&letters)?),
                (false, true) => println!("Nothing was given up."),
                (false, false) => println!("{}", clean(&table(&letters))),
            }
            Ok(())
        }
    }
}

fn table(letters: &[DeadLetter]) -> String {
    let mut table = super::status::table();
    table.set_header(["id", "bot", "chat", "when", "why"]);
    for letter in letters {
        let when = jiff::Timestamp::from_second(letter.at).map(|at| at.to_string()).unwrap_or_default();
        table.add_row([&letter.id, &letter.bot, &letter.chat.to_string(), &when, &letter.problem]);
    }
    table.to_string()
}
