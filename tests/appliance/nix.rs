//! `nix/` and `flake.nix`, as Nix itself reads them: what they take from `gateway/appliance.toml` and `systemd/` is what
//! stands there, and nothing is written a second time. With the folder of a nixpkgs in `OPENCLAW_NIXPKGS` the whole
//! appliance and each refusal are evaluated as well.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use openclaw_tests::gateway::dist;
use serde_json::{Value, json};

use crate::tree::repository;

#[test]
fn every_file_is_nix() {
    if !here() {
        return;
    }
    let files = files();
    assert!(files.len() > 10, "{files:?}");
    let parse = |files: &[PathBuf]| {
        Command::new("nix-instantiate").args(["--store", "dummy://", "--parse"]).args(files).output()
    };
    let output = parse(&files).expect("nix-instantiate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let folder = tempfile::tempdir().expect("a folder");
    let wrong = folder.path().join("wrong.nix");
    fs::write(&wrong, "{ a = ; }").expect("write");
    assert!(!parse(&[wrong]).expect("nix-instantiate runs").status.success(), "what is no Nix is seen");
}

#[test]
fn facts_and_settings_are_those_of_everybody_else() {
    let Some(found) = sources("inherit (sources) facts settings sysctl sshd tmpfiles sysusers wantedBy;")
    else {
        return;
    };
    let toml = |path: &str| -> Value { toml::from_str(&text(path)).expect("TOML") };
    assert_eq!(found["facts"], toml("gateway/appliance.toml"));
    assert_eq!(found["settings"], toml("systemd/openclaw.toml"));

    let pairs = |path: &str, sign: char| -> BTreeMap<String, String> {
        let lines = statements(path).into_iter();
        let pair =
            |line: String| line.split_once(sign).map(|(key, value)| (key.trim().into(), value.trim().into()));
        lines.map(|line| pair(line).expect("a pair")).collect()
    };
    for (name, expected) in [
        ("sysctl", pairs("systemd/sysctl.d/60-openclaw.conf", '=')),
        ("sshd", pairs("systemd/sshd_config.d/10-openclaw.conf", ' ')),
    ] {
        let read: BTreeMap<_, _> = found[name]
            .as_object()
            .expect("a set")
            .iter()
            .map(|(key, value)| (key.clone(), plain(value)))
            .collect();
        assert_eq!(read, expected, "{name}");
    }
    let lines: Vec<String> = statements("systemd/tmpfiles.d/openclaw.conf");
    assert_eq!(found["tmpfiles"], json!(lines));

    // Each line of sysusers.d is a user, a group or a membership, and none is lost.
    let users = found["sysusers"]["users"].as_object().expect("users");
    let groups = found["sysusers"]["groups"].as_array().expect("groups");
    let members: usize = users.values().map(|user| user["groups"].as_array().expect("groups").len()).sum();
    assert_eq!(users.len() + groups.len() + members, statements("systemd/sysusers.d/openclaw.conf").len());
    let names: BTreeSet<_> = users.keys().map(String::as_str).collect();
    let own = &openclaw_wire::facts::FACTS.users;
    assert!(
        names.is_superset(&BTreeSet::from([
            own.gateway.as_str(),
            &own.egress,
            &own.runner,
            &own.tunnel,
            &own.front
        ])),
        "{names:?}"
    );

    // What an image enables starts here too, by the only way of wanting that NixOS is told of.
    let wanted: BTreeSet<&String> = found["wantedBy"].as_object().expect("units").keys().collect();
    let preset = statements("systemd/system-preset/80-openclaw.preset");
    let enabled: BTreeSet<String> =
        preset.iter().filter_map(|line| line.strip_prefix("enable ").map(str::to_owned)).collect();
    assert_eq!(wanted, enabled.iter().collect());
    for unit in enabled {
        let path = format!("systemd/system/{unit}");
        let install = statements(&path).into_iter().skip_while(|line| line != "[Install]").skip(1);
        let wants: Vec<_> = install
            .map(|line| {
                line.strip_prefix("WantedBy=").expect("nix/sources.nix reads WantedBy= alone").to_owned()
            })
            .collect();
        assert_eq!(found["wantedBy"][&unit], json!(wants), "{unit}");
    }
}

#[test]
fn units_differ_in_where_the_programs_are_and_in_nothing_else() {
    let read = "texts = sources.units; placed = builtins.mapAttrs (_: sources.placed places) sources.units; inherit places;";
    let Some(found) = sources(read) else { return };
    let folder = repository().join("systemd/system");
    let on_disk: BTreeMap<String, Value> = below(&folder)
        .into_iter()
        .map(|path| {
            let name = path.strip_prefix(&folder).expect("below").to_str().expect("text").to_owned();
            (name, fs::read_to_string(&path).expect("read").into())
        })
        .collect();
    assert_eq!(found["texts"], json!(on_disk), "every unit and drop-in, byte for byte");

    let mut moved = 0;
    for (name, placed) in found["placed"].as_object().expect("units") {
        let mut undone = placed.as_str().expect("text").to_owned();
        for place in found["places"].as_array().expect("places") {
            undone =
                undone.replace(place["to"].as_str().expect("text"), place["from"].as_str().expect("text"));
        }
        assert_eq!(undone, on_disk[name].as_str().expect("text"), "{name}");
        moved += usize::from(undone != placed.as_str().expect("text"));
        // NixOS has neither of these folders: a program that is left there would not start.
        for line in placed.as_str().expect("text").lines().filter(|line| line.starts_with("Exec")) {
            let left = line
                .split(['=', ' '])
                .find(|word| ["/usr/", "/bin/", "/sbin/"].iter().any(|at| word.starts_with(at)));
            assert_eq!(left, None, "{name}: nix/sources.nix does not say where NixOS has it: {line}");
        }
    }
    assert!(moved >= 5, "{moved} units name a program");
}

/// What of `systemd/` NixOS has in its own way is read by nix/sources.nix; a folder that it does not know would be missing there.
#[test]
fn nothing_of_systemd_is_left_out() {
    let code = text("nix/sources.nix");
    for entry in fs::read_dir(repository().join("systemd")).expect("systemd") {
        let name = entry.expect("an entry").file_name().into_string().expect("text");
        assert!(
            name == "install" || code.contains(&format!("\"/{name}")),
            "nix/sources.nix does not read systemd/{name}"
        );
    }
}

#[test]
fn no_port_path_or_range_is_written_twice() {
    let facts: Value = toml::from_str(&text("gateway/appliance.toml")).expect("TOML");
    let mut leaves = BTreeSet::new();
    gather(&facts, &mut leaves);
    assert!(
        leaves.contains("51820") && leaves.contains("10.77.0.1") && leaves.contains("/var/lib/openclaw"),
        "{leaves:?}"
    );
    let twice = |code: &str| -> Vec<String> {
        let lines = code.lines().filter(|line| !line.trim_start().starts_with('#'));
        let words = |line: &str| {
            line.split(|c: char| !(c.is_alphanumeric() || "./:-_".contains(c)))
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        lines.flat_map(words).filter(|word| leaves.contains(word.as_str())).collect()
    };
    for file in files() {
        assert_eq!(
            twice(&fs::read_to_string(&file).expect("read")),
            Vec::<String>::new(),
            "{}",
            file.display()
        );
    }
    assert_eq!(twice("ports = [ 51820 ]; # here\n"), ["51820"]);
}

#[test]
fn the_first_settings_are_a_configuration() {
    let Some(found) = sources("inherit (sources) settings;") else { return };
    judge(&found["settings"], None);
    judge(&json!({ "profile": "production", "nonsense": 1 }), Some("nonsense"));
}

#[test]
fn the_whole_appliance_evaluates_and_each_refusal_refuses() {
    if !here() {
        return;
    }
    let Some(nixpkgs) = std::env::var_os("OPENCLAW_NIXPKGS") else {
        println!(
            "NOT CHECKED: the NixOS module over a nixpkgs, and its refusals; name its folder with OPENCLAW_NIXPKGS=DIR"
        );
        return;
    };
    let nixpkgs = PathBuf::from(nixpkgs);
    assert!(
        nixpkgs.join("nixos/modules/module-list.nix").exists(),
        "OPENCLAW_NIXPKGS={} is no nixpkgs",
        nixpkgs.display()
    );
    let expression = format!(
        "let all = import {} {{ nixpkgs = {}; }}; in {{ inherit (all) wrong settings assertions; refusals = builtins.attrNames all.refusals; }}",
        repository().join("nix/check/evaluate.nix").display(),
        nixpkgs.display()
    );
    let found = evaluate(&expression);
    assert_eq!(found["wrong"], json!([]));
    assert!(found["assertions"].as_u64() > Some(100), "NixOS's own are among them: {}", found["assertions"]);
    println!("{} refusals", found["refusals"].as_array().expect("names").len());
    judge(&found["settings"], None);
}

/// Whether there is a Nix on this machine.
fn here() -> bool {
    let there =
        Command::new("nix-instantiate").arg("--version").output().is_ok_and(|output| output.status.success());
    if !there {
        println!("NOT CHECKED: nix/ and flake.nix; there is no nix-instantiate (Debian: nix-bin)");
    }
    there
}

/// What a set of `nix/sources.nix` has, with `places` as an appliance would have them.
fn sources(set: &str) -> Option<Value> {
    here().then(|| {
        let places = "places = sources.places { package = \"/nix/store/p-openclaw\"; cloudflared = \"/nix/store/c-cloudflared\"; nftables = \"/nix/store/n-nftables\"; };";
        let file = repository().join("nix/sources.nix");
        evaluate(&format!("let sources = import {}; {places} in {{ {set} }}", file.display()))
    })
}

/// Evaluates an expression without a store: nothing is built and nothing stays on this machine.
fn evaluate(expression: &str) -> Value {
    let output = Command::new("nix-instantiate")
        .args(["--store", "dummy://", "--eval", "--strict", "--json", "-E", expression])
        .output()
        .expect("nix-instantiate runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// What `openclaw config check` says of settings, written as NixOS writes them.
fn judge(settings: &Value, complaint: Option<&str>) {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("openclaw.toml");
    fs::write(&file, toml::to_string(settings).expect("TOML")).expect("write");
    let output = Command::new(dist().join("bin/openclaw"))
        .args(["config", "check", "--state"])
        .arg(folder.path())
        .output()
        .expect("openclaw runs");
    let said = String::from_utf8_lossy(&output.stdout);
    match complaint {
        None => assert!(output.status.success() && said.contains(": good"), "{settings}: {said}"),
        Some(word) => assert!(!output.status.success() && said.contains(word), "{settings}: {said}"),
    }
}

fn files() -> Vec<PathBuf> {
    let mut files: Vec<_> = below(&repository().join("nix"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|end| end == "nix"))
        .collect();
    files.push(repository().join("flake.nix"));
    files
}

fn below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

fn text(path: &str) -> String {
    fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("read {path}: {error}"))
}

/// Lines that say something.
fn statements(path: &str) -> Vec<String> {
    let text = text(path);
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .map(str::to_owned)
        .collect()
}

/// Ports, addresses, ranges and paths among the facts: everything that is not just a name.
fn gather(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(all) => all.values().for_each(|value| gather(value, into)),
        Value::Array(all) => all.iter().for_each(|value| gather(value, into)),
        Value::Number(_) => {
            into.insert(plain(value));
        }
        Value::String(text)
            if text.contains(['/', ':']) || text.starts_with(|c: char| c.is_ascii_digit()) =>
        {
            into.insert(text.clone());
        }
        _ => {}
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}
