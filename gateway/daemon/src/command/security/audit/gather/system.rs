//! What only the system's own programs and files tell: units, the firewall, the SSH server, accounts, updates.

use std::{collections::BTreeMap, fs, io, os::unix::fs::MetadataExt, path::Path};

use openclaw_wire::audit::Place;

use super::files::stat;
use crate::{
    audit::{
        checks::{OTHERS, PROPERTIES, SERVICES},
        nft::Ruleset,
        world::{Accounts, Seen, Updates, absent, hidden},
    },
    command::security::audit::run::{NoAnswer, ask, find},
};

type Units = BTreeMap<String, BTreeMap<String, String>>;

/// The properties of our units.
pub fn units(place: Place) -> Seen<Units> {
    if place != Place::Appliance {
        return absent("none of our units is installed");
    }
    let names = [SERVICES.as_slice(), OTHERS.as_slice()].concat();
    match show(&names, &PROPERTIES) {
        Ok(all) => Ok(names.iter().map(|name| (*name).to_owned()).zip(all).collect()),
        Err(NoAnswer::Missing) => hidden("there is no systemctl to ask"),
        Err(NoAnswer::Failed(why)) => hidden(why),
    }
}

/// The properties of each unit; in its answer they are parted by empty lines.
fn show(units: &[&str], properties: &[&str]) -> Result<Vec<BTreeMap<String, String>>, NoAnswer> {
    let wanted = format!("--property={}", properties.join(","));
    let mut arguments = vec!["show", "--no-pager", "--timestamp=unix", &wanted];
    arguments.extend(units);
    Ok(parts(&ask("systemctl", &arguments)?))
}

fn parts(said: &str) -> Vec<BTreeMap<String, String>> {
    let pairs = |block: &str| {
        let pairs = block.lines().filter_map(|line| line.split_once('='));
        // Of a property that stands there several times (SystemCallFilter), that there is one is what counts.
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    };
    said.trim_end().split("\n\n").map(pairs).collect()
}

/// The rules in the kernel.
pub fn firewall(place: Place, root: bool) -> Seen<Ruleset> {
    match (place, root) {
        (Place::Container, _) => return absent("in a container the firewall is the host's"),
        (_, false) => return hidden("the kernel shows its rules to root alone; run it as root"),
        _ => {}
    }
    match ask("nft", &["--json", "list", "ruleset"]) {
        Ok(said) => Ruleset::parse(&said).map_or_else(|| hidden("what nft printed is not understood"), Ok),
        Err(NoAnswer::Missing) => hidden("there is no nft to ask; install nftables to see the rules"),
        Err(NoAnswer::Failed(why)) => hidden(why),
    }
}

/// The SSH server's settings in force.
pub fn sshd(place: Place, root: bool) -> Seen<BTreeMap<String, Vec<String>>> {
    if place == Place::Container || find("sshd").is_none() {
        return absent("no SSH server is installed");
    }
    if !root {
        return hidden("`sshd -T` reads the host's keys; run it as root");
    }
    match ask("sshd", &["-T"]) {
        Ok(said) => Ok(keywords(&said)),
        Err(NoAnswer::Missing) => absent("no SSH server is installed"),
        Err(NoAnswer::Failed(why)) => hidden(why),
    }
}

fn keywords(said: &str) -> BTreeMap<String, Vec<String>> {
    let mut all: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for (key, value) in said.lines().filter_map(|line| line.split_once(' ')) {
        all.entry(key.to_lowercase()).or_default().push(value.trim().to_owned());
    }
    all
}

/// Accounts, by the files of this machine; directory services are not asked.
pub fn accounts() -> Seen<Accounts> {
    let Ok(users) = fs::read_to_string("/etc/passwd") else { return hidden("/etc/passwd can't be read") };
    let groups = fs::read_to_string("/etc/group").unwrap_or_default();
    let fields = |line: &str| line.split(':').map(str::to_owned).collect::<Vec<_>>();
    let mut accounts = Accounts::default();
    for line in users.lines().map(fields) {
        let [name, _, uid, _, _, home, shell] = line.as_slice() else { continue };
        let Ok(uid) = uid.parse() else { continue };
        accounts.users.push((name.clone(), uid, shell.clone()));
        let ssh = Path::new(home).join(".ssh");
        // Nobody's home is the root folder; services name it when they have none.
        if home != "/" {
            accounts.ssh_keys.extend(stat(&ssh).ok());
            accounts.ssh_keys.extend(stat(&ssh.join("authorized_keys")).ok());
        }
    }
    for line in groups.lines().map(fields) {
        let [name, _, _, members] = line.as_slice() else { continue };
        let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned);
        accounts.groups.push((name.clone(), members.collect()));
    }
    accounts.open = match fs::read_to_string("/etc/shadow") {
        Ok(shadow) => Some(open(&shadow)),
        // Then passwords are in no file of this machine.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Some(Vec::new()),
        Err(_) => None,
    };
    Ok(accounts)
}

/// shadow(5): an empty second field needs no password.
fn open(shadow: &str) -> Vec<String> {
    let pairs = shadow.lines().filter_map(|line| {
        let mut fields = line.split(':');
        Some((fields.next()?, fields.next()?))
    });
    pairs
        .filter(|(name, password)| password.is_empty() && !name.is_empty())
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// Timers that bring updates, and the service whose success counts.
const TIMERS: [(&str, &str); 4] = [
    ("systemd-sysupdate.timer", "systemd-sysupdate.service"),
    ("nixos-upgrade.timer", "nixos-upgrade.service"),
    ("dnf-automatic.timer", "dnf-automatic.service"),
    ("dnf5-automatic.timer", "dnf5-automatic.service"),
];

/// What brings the system's updates.
pub fn updates(place: Place) -> Seen<Updates> {
    if place == Place::Container {
        return absent("an image is replaced as a whole");
    }
    let reboot =
        ["/run/reboot-required", "/var/run/reboot-required"].iter().any(|path| Path::new(path).exists());
    // The image's root is read-only, so that its own way comes first there.
    for (timer, service) in TIMERS {
        let Ok(found) =
            show(&[timer, service], &["LoadState", "ActiveState", "Result", "ExecMainExitTimestamp"])
        else {
            continue;
        };
        let [timer_is, service_is] = found.as_slice() else { continue };
        if timer_is.get("LoadState").is_none_or(|state| state != "loaded")
            || timer_is.get("ActiveState").is_none_or(|state| state != "active")
        {
            continue;
        }
        let good = service_is.get("Result").is_some_and(|result| result == "success");
        let at =
            service_is.get("ExecMainExitTimestamp").and_then(|text| text.strip_prefix('@')?.parse().ok());
        let by = timer.trim_end_matches(".timer").to_owned();
        return Ok(Updates { by, on: true, succeeded: at.filter(|at: &i64| good && *at > 0), reboot });
    }
    if Path::new("/etc/apt").is_dir() {
        let on = apt_is_on(Path::new("/etc/apt/apt.conf.d")) && find("unattended-upgrade").is_some();
        let stamp = fs::metadata("/var/lib/apt/periodic/unattended-upgrades-stamp");
        let succeeded = stamp.ok().map(|stamp| stamp.mtime());
        return Ok(Updates { by: "unattended-upgrades".into(), on, succeeded, reboot });
    }
    if find("systemctl").is_none() {
        return hidden("nothing that this audit knows brings updates here; look at your system's own way");
    }
    Ok(Updates {
        by: "every way of updating that this audit knows".into(),
        on: false,
        succeeded: None,
        reboot,
    })
}

/// `APT::Periodic::Unattended-Upgrade "1";` in a file that apt reads (apt.conf(5)); the last one counts.
fn apt_is_on(folder: &Path) -> bool {
    let mut files: Vec<_> =
        fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    files.sort();
    let mut on = false;
    for text in files.iter().filter_map(|path| fs::read_to_string(path).ok()) {
        for line in
            text.lines().map(str::trim).filter(|line| line.starts_with("APT::Periodic::Unattended-Upgrade"))
        {
            on = line.split('"').nth(1).is_some_and(|value| value != "0" && !value.is_empty());
        }
    }
    on
}

#[cfg(test)]
mod tests {
    use super::{keywords, open, parts};

    #[test]
    fn what_the_systems_programs_print_is_read() {
        let units = parts("LoadState=loaded\nUser=openclaw-gateway\n\nLoadState=not-found\nUser=\n");
        assert_eq!(units.len(), 2);
        assert_eq!(
            (units[0]["User"].as_str(), units[1]["LoadState"].as_str()),
            ("openclaw-gateway", "not-found")
        );
        let sshd =
            keywords("port 22\npasswordauthentication no\nlistenaddress [::]:22\nlistenaddress 0.0.0.0:22\n");
        assert_eq!(sshd["listenaddress"], ["[::]:22", "0.0.0.0:22"]);
        assert_eq!(open("root:*:1::::::\nanna::1::::::\nbob:!:1::::::\n"), ["anna"]);
    }

    #[test]
    fn the_last_word_of_apt_counts() {
        let dir = tempfile::tempdir().expect("dir");
        assert!(!super::apt_is_on(dir.path()));
        std::fs::write(dir.path().join("20auto-upgrades"), "APT::Periodic::Unattended-Upgrade \"1\";\n")
            .expect("write");
        assert!(super::apt_is_on(dir.path()));
        std::fs::write(dir.path().join("99off"), "APT::Periodic::Unattended-Upgrade \"0\";\n")
            .expect("write");
        assert!(!super::apt_is_on(dir.path()));
    }
}
