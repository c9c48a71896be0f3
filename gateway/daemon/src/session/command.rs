//! Commands: `/word` at the start of a message. Who may give which stands in one table that the compiler keeps whole.

use super::access::Admission;

/// What a command asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Greets; with a code it pairs (which is not for those already admitted).
    Start,
    /// Lists the commands.
    Help,
    /// Forgets the conversation.
    New,
    /// Stops what runs and what waits in this chat.
    Stop,
    /// How the assistant is doing.
    Status,
    /// Tokens used.
    Usage,
    /// Shows or chooses the model.
    Model,
    /// Who sees what.
    Privacy,
    /// Stops everything, everywhere, until the operator lifts it.
    Freeze,
}

impl Command {
    /// All, in the order of the help text.
    pub const ALL: [Self; 9] = [
        Self::Start,
        Self::Help,
        Self::New,
        Self::Stop,
        Self::Status,
        Self::Usage,
        Self::Model,
        Self::Privacy,
        Self::Freeze,
    ];

    /// The word, and what it does in a few words (shown in Telegram's menu).
    pub fn describe(self) -> (&'static str, &'static str) {
        match self {
            Self::Start => ("start", "Say hello"),
            Self::Help => ("help", "List the commands"),
            Self::New => ("new", "Start a new conversation"),
            Self::Stop => ("stop", "Stop what is running in this chat"),
            Self::Status => ("status", "Show how the assistant is doing"),
            Self::Usage => ("usage", "Show what was spent, and the limits"),
            Self::Model => ("model", "Show or choose the model (owner)"),
            Self::Privacy => ("privacy", "Show who sees what"),
            Self::Freeze => ("freeze", "Stop everything until you unfreeze it on the server (owner)"),
        }
    }

    /// Whether they may give it. Strangers are never asked: they were refused before.
    pub fn allowed(self, who: Admission) -> bool {
        match self {
            Self::Start
            | Self::Help
            | Self::New
            | Self::Stop
            | Self::Status
            | Self::Usage
            | Self::Privacy => true,
            Self::Model | Self::Freeze => matches!(who, Admission::Owner(_)),
        }
    }

    /// Handled at once, ahead of whatever the chat is busy with.
    pub fn urgent(self) -> bool {
        matches!(self, Self::Stop | Self::Freeze)
    }

    /// Whether a text begins with a command that names a bot, whichever.
    pub fn addressed(text: &str) -> bool {
        let word = text.split_whitespace().next().filter(|_| !text.starts_with(char::is_whitespace));
        word.and_then(|word| word.strip_prefix('/')).is_some_and(|word| word.contains('@'))
    }

    /// The command at the start of a text, and the words behind it. `/word@bot` counts when it names this bot.
    pub fn parse<'a>(text: &'a str, username: Option<&str>) -> Option<(Self, &'a str)> {
        let rest = text.strip_prefix('/')?;
        let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
        let (word, arguments) = (&rest[..end], rest[end..].trim());
        let word = match word.split_once('@') {
            Some((word, name)) if username.is_some_and(|own| own.eq_ignore_ascii_case(name)) => word,
            Some(_) => return None,
            None => word,
        };
        let command =
            Self::ALL.into_iter().find(|command| command.describe().0 == word.to_ascii_lowercase())?;
        Some((command, arguments))
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::id::UserId;

    use super::{Admission, Command};

    #[test]
    fn every_command_has_its_expected_result_for_everybody() {
        let (owner, person) = (Admission::Owner(UserId(1)), Admission::Person(UserId(2)));
        for command in Command::ALL {
            // (owner, person): a new command without a row here does not compile.
            let expected = match command {
                Command::Start | Command::Help | Command::New | Command::Stop => (true, true),
                Command::Status | Command::Usage | Command::Privacy => (true, true),
                Command::Model | Command::Freeze => (true, false),
            };
            assert_eq!((command.allowed(owner), command.allowed(person)), expected, "{command:?}");
        }
    }

    #[test]
    fn commands_are_words_at_the_start() {
        let parse = |text| Command::parse(text, Some("us_bot"));
        assert_eq!(parse("/stop"), Some((Command::Stop, "")));
        assert_eq!(parse("/Model  gpt \n"), Some((Command::Model, "gpt")));
        assert_eq!(parse("/stop@US_bot now"), Some((Command::Stop, "now")));
        for text in ["/stop@other", "stop", " /stop", "/stopp", "/", "", "/stop/x"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert!(Command::addressed("/stop@other now") && Command::addressed("/x@"));
        for text in ["/stop", " /stop@us_bot", "a@b", "/stop at@home", ""] {
            assert!(!Command::addressed(text), "{text}");
        }
    }
}
