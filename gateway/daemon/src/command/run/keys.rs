//! Keys from the environment. They go into a memory file that only egress is given a copy of; the supervisor executes
//! itself again with an empty environment, so that no `/proc/*/environ` of ours holds one.

use std::{
    env,
    ffi::OsString,
    io::{self, Write},
    os::fd::OwnedFd,
};

use openclaw_wire::{config::Config, secret::Secret};
use rustix::{
    fs::{MemfdFlags, SealFlags, fcntl_add_seals, fstat, memfd_create, sendfile},
    pipe::{PipeFlags, pipe_with},
};

use crate::command::fault::Fault;

/// What egress understands without being told by the configuration.
const KNOWN: [&str; 5] =
    ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "OPENAI_BASE_URL", "OPENAI_MODEL", "TELEGRAM_BOT_TOKEN"];
/// What a pipe takes without a reader (pipe(7)): the keys must fit, because egress reads them after the supervisor has
/// written them all.
const MOST: usize = 65_536;

/// The names that may be taken from the environment: what is known, and what the configuration names. Nothing else is
/// touched, so a key that nobody uses stays out of egress as well.
fn names(config: &Config) -> Vec<&str> {
    let bots = config.telegram.bot.iter().map(|bot| bot.token.as_str());
    let models = config.model.iter().filter_map(|model| model.key.as_deref());
    let mut names: Vec<&str> = KNOWN.into_iter().chain(bots).chain(models).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Takes the keys out of this process's environment into a sealed memory file, one `NAME=value` on each line.
/// `None` when there is none.
pub fn collect(config: &Config) -> Result<Option<OwnedFd>, Fault> {
    let found: Vec<(&str, OsString)> =
        names(config).into_iter().filter_map(|name| Some((name, env::var_os(name)?))).collect();
    let lines = lines(found)?;
    if lines.expose().is_empty() {
        return Ok(None);
    }
    if lines.expose().len() > MOST {
        return Err(Fault::new(
            format!("take the keys from the environment: together they are longer than {MOST} bytes"),
            "put them into the key file (`openclaw doctor` shows where)",
        ));
    }
    store(&lines).map(Some).map_err(|error| {
        Fault::new(format!("hand the keys to egress: memory file: {error}"), "put them into the key file")
    })
}

fn lines(found: Vec<(&str, OsString)>) -> Result<Secret, Fault> {
    let mut lines = String::new();
    for (name, value) in found {
        let value = value.into_string().map(Secret::new).map_err(|_| {
            Fault::new(format!("take {name} from the environment: it is not UTF-8"), format!("unset {name}"))
        })?;
        let value = value.expose().trim();
        if value.chars().any(char::is_control) {
            return Err(Fault::new(
                format!("take {name} from the environment: it contains a line break or a control character"),
                format!("set {name} again, without it"),
            ));
        }
        if !value.is_empty() {
            lines.extend([name, "=", value, "\n"]);
        }
    }
    Ok(Secret::new(lines))
}

fn store(lines: &Secret) -> io::Result<OwnedFd> {
    let file = memfd_create(c"keys", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    let mut file = std::fs::File::from(file);
    file.write_all(lines.expose().as_bytes())?;
    fcntl_add_seals(&file, SealFlags::SEAL | SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE)?;
    Ok(file.into())
}

/// A pipe that holds a copy of the keys, for one start of egress. The bytes go from file to pipe inside the kernel.
pub fn pipe_of(keys: &OwnedFd) -> io::Result<OwnedFd> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let length = usize::try_from(fstat(keys)?.st_size).unwrap_or(usize::MAX);
    let mut at = 0;
    while (at as usize) < length {
        let left = length - at as usize;
        if sendfile(&write, keys, Some(&mut at), left)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(read)
}

#[cfg(test)]
mod tests {
    use std::{ffi::OsString, io::Read, os::unix::ffi::OsStringExt, path::Path};

    use openclaw_wire::{config::Config, secret::Secret};

    #[test]
    fn names_are_the_known_ones_and_those_of_the_configuration() {
        let text = "[[telegram.bot]]\nname = \"a\"\ntoken = \"BOT_A\"\n\
                    [[model]]\nname = \"m\"\napi = \"openai\"\nmodel = \"x\"\nkey = \"MY_KEY\"\n";
        let config = Config::parse(text, Path::new("t")).expect("config");
        let names = super::names(&config);
        assert!(["BOT_A", "MY_KEY", "OPENAI_BASE_URL"].iter().all(|name| names.contains(name)), "{names:?}");
        assert!(!names.contains(&"PATH"));
    }

    #[test]
    fn lines_are_trimmed_blank_ones_left_out_and_broken_ones_refused() {
        let line = |value: &[u8]| super::lines(vec![("K", OsString::from_vec(value.to_vec()))]);
        assert_eq!(line(b" test-key-not-real\n").expect("trimmed").expose(), "K=test-key-not-real\n");
        assert_eq!(line(b"  ").expect("blank").expose(), "");
        for bad in [&b"a\nOTHER=b"[..], b"a\0b", b"\xff"] {
            let error = line(bad).expect_err("broken").to_string();
            assert!(error.contains('K') && !error.contains("OTHER"), "{error}");
        }
    }

    #[test]
    fn each_start_of_egress_gets_all_keys_again() {
        let file = super::store(&Secret::new("K=test-key-not-real\n".into())).expect("file");
        for _ in 0..3 {
            let mut text = String::new();
            let pipe = super::pipe_of(&file).expect("pipe");
            std::fs::File::from(pipe).read_to_string(&mut text).expect("read");
            assert_eq!(text, "K=test-key-not-real\n");
        }
    }

    #[test]
    fn as_many_keys_as_allowed_fit_into_the_pipe_without_a_reader() {
        let file = super::store(&Secret::new("k".repeat(super::MOST))).expect("file");
        let mut text = String::new();
        std::fs::File::from(super::pipe_of(&file).expect("pipe")).read_to_string(&mut text).expect("read");
        assert_eq!(text.len(), super::MOST);
    }
}
