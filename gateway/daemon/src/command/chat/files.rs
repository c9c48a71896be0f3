//! `/attach` and `/save`: a file of the operator's into the conversation, and one of the conversation's out. Each is read and
//! written as the account that runs the command.

use std::{
    fs::{File, OpenOptions},
    io::{Read, Write},
    path::Path,
};

use anyhow::{Context, bail};
use http::Method;
use http_body_util::BodyExt;
use openclaw_wire::{admin::AttachedAs, file::FileName};
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::command::socket::Socket;

/// Most bytes that are sent: more than any configuration allows.
const LARGEST: u64 = 64 << 20;

/// Whether a line is one of these commands.
pub fn is_one(line: &str) -> bool {
    matches!(line.split_whitespace().next(), Some("/attach" | "/save"))
}

/// Does what it says.
pub async fn carry_out(gateway: &Socket, line: &str, attached: &mut Vec<FileName>) -> anyhow::Result<()> {
    let (command, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match (command, rest.trim()) {
        ("/attach", "") => bail!("name a file: /attach FILE"),
        ("/attach", path) => {
            let name = attach(gateway, Path::new(path)).await?;
            eprintln!("{} goes with your next message.", name.path());
            attached.push(name);
        }
        (_, "") => bail!("name a file of this conversation: /save 7.png [FILE]"),
        (_, rest) => {
            let (name, to) = rest.split_once(char::is_whitespace).unwrap_or((rest, rest));
            let name = name.strip_prefix("/attached/").unwrap_or(name);
            let name = FileName::try_from(name.to_owned()).map_err(anyhow::Error::msg)?;
            let to = if to.trim() == rest { name.as_str() } else { to.trim() };
            save(gateway, &name, Path::new(to)).await?;
            eprintln!("Saved as {to}.");
        }
    }
    Ok(())
}

async fn attach(gateway: &Socket, path: &Path) -> anyhow::Result<FileName> {
    let read = || format!("read {}", path.display());
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path).with_context(read)?.take(LARGEST).read_to_end(&mut bytes).with_context(read)?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let query = form_urlencoded::Serializer::new(String::new()).append_pair("name", &name).finish();
    let answer: AttachedAs = gateway.ask_raw(Method::POST, &format!("/chat/files?{query}"), bytes).await?;
    Ok(answer.name)
}

async fn save(gateway: &Socket, name: &FileName, to: &Path) -> anyhow::Result<()> {
    let answer = gateway.send(Method::GET, &format!("/chat/files/{}", name.as_str()), None::<&()>).await?;
    let mut body = answer.into_body();
    let written = || format!("write {}", to.display());
    // Never over something that is there.
    let mut file = OpenOptions::new().write(true).create_new(true).open(to).with_context(written)?;
    while let Some(frame) = body.frame().await {
        let frame = frame.context("read the file: the gateway went away")?;
        if let Ok(data) = frame.into_data() {
            file.write_all(&data).with_context(written)?;
        }
    }
    file.sync_all().with_context(written)
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_these_two_are_taken_from_the_conversation() {
        for (line, one) in [
            ("/attach a b.pdf", true),
            ("/save 7.png", true),
            ("/attached", false),
            ("/new", false),
            ("save", false),
        ] {
            assert_eq!(super::is_one(line), one, "{line}");
        }
    }
}
