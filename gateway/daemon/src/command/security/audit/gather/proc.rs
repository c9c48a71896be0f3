//! What the kernel tells: processes, sockets that listen, settings, the machine.

use std::{
    collections::BTreeMap,
    env, fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::Path,
};

use openclaw_wire::{audit::Place as Kind, facts::FACTS};

use super::files::stat;
use crate::{
    audit::{
        checks::{SYSCTL, looks_like_a_key, names_a_key},
        world::{Listener, Machine, Process, Seen, absent, hidden},
    },
    command::place::Place,
};

/// Sockets through which whoever may write becomes root.
const ROOT_SOCKETS: [&str; 4] =
    ["/run/docker.sock", "/run/podman/podman.sock", "/run/containerd/containerd.sock", "/run/crio/crio.sock"];

/// A process's number and its command line.
fn commands() -> Vec<(u32, Vec<String>)> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    numbers
        .filter_map(|pid: u32| {
            let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
            let words = line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
            Some((pid, words.collect()))
        })
        .collect()
}

/// Those of this state folder.
pub fn processes(place: &Place) -> Seen<Vec<Process>> {
    let all = commands();
    if all.is_empty() {
        return hidden("/proc can't be listed");
    }
    let state = place.state.to_string_lossy();
    let mut found: Vec<Process> = Vec::new();
    for (pid, words) in &all {
        let Some(role) = role(words) else { continue };
        let named = words.iter().any(|word| *word == state);
        let elsewhere = words.iter().any(|word| word == "--state") && !named;
        let ours = match role {
            "zygote" => false,
            "tunnel" => words.iter().any(|word| word.starts_with("/usr/lib/openclaw/")),
            "supervisor" => !elsewhere,
            _ => named,
        };
        if ours {
            found.extend(process(*pid, role));
        }
    }
    // A zygote's command line names no state folder; it is its runner's child.
    let runners: Vec<u32> = found.iter().filter(|one| one.role == "runner").map(|one| one.pid).collect();
    for (pid, words) in &all {
        if role(words) == Some("zygote") && parent(*pid).is_some_and(|parent| runners.contains(&parent)) {
            found.extend(process(*pid, "zygote"));
        }
    }
    // A supervisor without its children is a command that waits, or another folder's.
    if found.iter().all(|one| one.role == "supervisor") {
        found.clear();
    }
    Ok(found)
}

fn role(words: &[String]) -> Option<&'static str> {
    let name = Path::new(words.first()?).file_name()?.to_str()?;
    let verb = words.get(1).map(String::as_str);
    let programs = &FACTS.programs;
    Some(match name {
        name if name == programs.gateway && verb == Some("serve") => "gateway",
        name if name == programs.gateway && verb == Some("run") => "supervisor",
        name if name == programs.egress => "egress",
        name if name == programs.runner && verb != Some("--drill") => "runner",
        name if name == programs.front => "front",
        name if name == programs.jail => "zygote",
        "cloudflared" => "tunnel",
        _ => return None,
    })
}

/// The lines of `/proc/PID/status` (proc_pid_status(5)).
fn lines(pid: &str) -> BTreeMap<String, String> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs.map(|(name, value)| (name.to_owned(), value.trim().to_owned())).collect()
}

fn parent(pid: u32) -> Option<u32> {
    lines(&pid.to_string()).get("PPid")?.parse().ok()
}

fn process(pid: u32, role: &'static str) -> Option<Process> {
    let status = lines(&pid.to_string());
    let hex =
        |name: &str| status.get(name).and_then(|text| u64::from_str_radix(text, 16).ok()).unwrap_or(u64::MAX);
    Some(Process {
        pid,
        role,
        uid: status.get("Uid")?.split_whitespace().nth(1)?.parse().ok()?,
        no_new_privs: status.get("NoNewPrivs").is_some_and(|value| value == "1"),
        seccomp: status.get("Seccomp").and_then(|value| value.parse().ok()).unwrap_or(0),
        capabilities: ["CapEff", "CapPrm", "CapInh", "CapAmb"].iter().fold(0, |all, name| all | hex(name)),
        keys: environment(pid),
    })
}

/// Names of an environment that look like keys; the values are not kept.
fn environment(pid: u32) -> Option<Vec<String>> {
    let content = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let names = content.split(|byte| *byte == 0).filter_map(|pair| pair.split(|byte| *byte == b'=').next());
    let names = names.map(|name| String::from_utf8_lossy(name).into_owned());
    Some(names.filter(|name| names_a_key(name)).collect())
}

/// All that listen in this network namespace.
pub fn listeners() -> Seen<Vec<Listener>> {
    let mut found = Vec::new();
    // TCP in the state LISTEN; UDP that is connected to nobody (include/net/tcp_states.h).
    for (file, tcp, state) in
        [("tcp", true, "0A"), ("tcp6", true, "0A"), ("udp", false, "07"), ("udp6", false, "07")]
    {
        match fs::read_to_string(format!("/proc/net/{file}")) {
            Ok(table) => found.extend(table.lines().skip(1).filter_map(|line| listener(line, tcp, state))),
            // Without IPv6 there is no such table.
            Err(_) if file.ends_with('6') => {}
            Err(error) => return hidden(format!("/proc/net/{file}: {error}")),
        }
    }
    Ok(found)
}

fn listener(line: &str, tcp: bool, state: &str) -> Option<Listener> {
    let words: Vec<&str> = line.split_whitespace().collect();
    if *words.get(3)? != state {
        return None;
    }
    Some(Listener { tcp, address: address(words.get(1)?)?, uid: words.get(7)?.parse().ok()? })
}

/// `0100007F:2253`: words of the address in this machine's byte order, the port as it is.
fn address(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let words: Option<Vec<u8>> = (0..address.len() / 8)
        .map(|at| u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok())
        .collect::<Option<Vec<u32>>>()
        .map(|words| words.iter().flat_map(|word| word.to_ne_bytes()).collect());
    let bytes = words?;
    let address = match bytes.len() {
        4 => IpAddr::V4(Ipv4Addr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => IpAddr::V6(Ipv6Addr::from(<[u8; 16]>::try_from(bytes).ok()?)).to_canonical(),
        _ => return None,
    };
    Some(SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?))
}

/// The settings that checks ask for.
pub fn sysctl() -> Seen<BTreeMap<String, String>> {
    let read = |name: &&str| {
        let value = fs::read_to_string(Path::new("/proc/sys").join(name)).ok()?;
        Some(((*name).to_owned(), value.trim().to_owned()))
    };
    let all: BTreeMap<_, _> = SYSCTL.iter().filter_map(read).collect();
    match all.is_empty() {
        true => hidden("/proc/sys can't be read"),
        false => Ok(all),
    }
}

/// The machine itself.
pub fn machine(kind: Kind) -> Machine {
    let own = lines("self");
    let container = kind == Kind::Container;
    let of_host = |what: &str| format!("in a container {what} is the host's affair");
    Machine {
        vulnerable: vulnerable(),
        secure_boot: if container { absent(of_host("the boot")) } else { secure_boot() },
        lockdown: lockdown(),
        swaps: swaps(),
        clock: if container { absent(of_host("the clock")) } else { clock() },
        root_sockets: Ok(ROOT_SOCKETS.iter().filter_map(|path| stat(Path::new(path)).ok()).collect()),
        leaking_commands: Ok(leaking()),
        own_keys: env::vars_os()
            .filter_map(|(name, _)| name.into_string().ok())
            .filter(|name| names_a_key(name))
            .collect(),
        read_only_root: super::files::mount(Path::new("/"))
            .map(|mount| mount.options.iter().any(|option| option == "ro")),
        bounding: match own.get("CapBnd").and_then(|text| u64::from_str_radix(text, 16).ok()) {
            Some(set) => Ok(set),
            None => hidden("/proc/self/status can't be read"),
        },
    }
}

fn leaking() -> Vec<u32> {
    let own = std::process::id();
    let leaks = |words: &[String]| words.iter().any(|word| looks_like_a_key(word));
    commands().into_iter().filter(|(pid, words)| *pid != own && leaks(words)).map(|(pid, _)| pid).collect()
}

fn vulnerable() -> Seen<Vec<String>> {
    let folder = "/sys/devices/system/cpu/vulnerabilities";
    let Ok(entries) = fs::read_dir(folder) else { return hidden(format!("{folder} can't be read")) };
    let mut found = Vec::new();
    for path in entries.flatten().map(|entry| entry.path()) {
        let text = fs::read_to_string(&path).unwrap_or_default();
        if text.starts_with("Vulnerable") {
            found.push(format!(
                "{}: {}",
                path.file_name().unwrap_or_default().to_string_lossy(),
                text.trim()
            ));
        }
    }
    found.sort();
    Ok(found)
}

/// Four bytes of attributes, then the variable (Linux, Documentation/filesystems/efivarfs.rst).
fn secure_boot() -> Seen<bool> {
    if !Path::new("/sys/firmware/efi").exists() {
        return absent("this machine was not started by UEFI");
    }
    match fs::read("/sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c") {
        Ok(variable) => Ok(variable.get(4) == Some(&1)),
        Err(error) => hidden(format!("the firmware's variable SecureBoot: {error}")),
    }
}

fn lockdown() -> Seen<String> {
    match fs::read_to_string("/sys/kernel/security/lockdown") {
        Ok(text) => {
            let chosen =
                text.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(word, _)| word);
            Ok(chosen.unwrap_or(text.trim()).to_owned())
        }
        Err(error) => hidden(format!("/sys/kernel/security/lockdown: {error}")),
    }
}

fn swaps() -> Seen<Vec<String>> {
    match fs::read_to_string("/proc/swaps") {
        Ok(text) => Ok(text
            .lines()
            .skip(1)
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect()),
        Err(error) => hidden(format!("/proc/swaps: {error}")),
    }
}

fn clock() -> Seen<bool> {
    if Path::new("/run/systemd/timesync/synchronized").exists() {
        return Ok(true);
    }
    match super::super::run::ask("timedatectl", &["show", "--property=NTPSynchronized", "--value"]) {
        Ok(said) => Ok(said.trim() == "yes"),
        Err(_) => hidden(
            "nothing here says whether the clock is set; look at `timedatectl`, `chronyc tracking` or the like",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::{address, listener, role};

    #[test]
    fn the_kernels_table_of_sockets_is_read() {
        let line = "   0: 0100007F:2253 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0";
        let found = listener(line, true, "0A").expect("listens");
        assert_eq!((found.address.to_string().as_str(), found.uid), ("127.0.0.1:8787", 1000));
        assert_eq!(listener(line, true, "01"), None);
        let mapped = "0000000000000000FFFF00000100007F:0050";
        assert_eq!(address(mapped).map(|address| address.to_string()).as_deref(), Some("127.0.0.1:80"));
        let six = "00000000000000000000000001000000:0016";
        assert_eq!(address(six).map(|address| address.to_string()).as_deref(), Some("[::1]:22"));
    }

    #[test]
    fn a_process_is_known_by_its_program_and_its_verb() {
        let role = |line: &str| role(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        for (line, expected) in [
            ("/usr/lib/openclaw/bin/openclaw serve --state /s", Some("gateway")),
            ("openclaw run", Some("supervisor")),
            ("openclaw chat", None),
            ("/x/openclaw-egress --state /s", Some("egress")),
            ("/x/openclaw-runner --drill", None),
            ("/x/openclaw-runner --state /s", Some("runner")),
            ("/x/skill-jail", Some("zygote")),
            ("/bin/sh -c openclaw", None),
        ] {
            assert_eq!(role(line), expected, "{line}");
        }
    }
}
