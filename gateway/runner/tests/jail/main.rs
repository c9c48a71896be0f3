//! The jail, attacked from inside by a probe through the real runner: each act works outside, and in the jail it fails
//! with the exact errno or a typed reason. Everything runs as the user who tests and, if that is root, as an ordinary user
//! as well.

#![allow(unsafe_code, clippy::unwrap_used, clippy::disallowed_methods)] // the probe makes the raw calls that must be refused; a test may unwrap

mod rig;
mod probe;
mod escape;
mod limits;
mod life;
mod runtimes;
mod cgroups;
mod drill;

use std::{fs, io::Read, path::Path, time::Instant};

use openclaw_confine::spawn::Identity;
use rig::{Rig, Setup, skill};

type Case = (&'static str, fn(&Rig));

const CASES: &[Case] = &[
    ("the_status_tells_all", life::the_status_tells_all),
    ("the_others_are_hidden", life::the_others_are_hidden),
    ("incidents_65_67_73_81_and_85_files", escape::files),
    ("incidents_60_61_64_and_79_network", escape::network),
    ("incident_78_forbidden_calls", escape::forbidden_calls),
    ("incidents_71_97_and_98_a_clean_start", escape::a_clean_start),
    ("incidents_70_101_and_102_programs", escape::programs),
    ("incident_112_processes_of_ours_are_closed", escape::processes_of_ours_are_closed),
    ("incident_82_skills_do_not_meet", escape::skills_do_not_meet),
    ("incidents_72_and_86_arguments_are_data", escape::arguments_are_data),
    ("incident_100_changed_skills_do_not_run", life::changed_skills_do_not_run),
    ("incidents_111_and_113_words_stay_out_of_logs", life::words_stay_out_of_logs),
    ("incidents_84_and_115_limits", limits::limits),
    ("endings", limits::endings),
    ("incident_84_fork_bomb", limits::fork_bomb),
    ("nothing_stays", life::nothing_stays),
    ("cancelled", life::cancelled),
    ("incidents_67_and_85_refusals", life::refusals),
    ("incident_68_a_racing_link_wins_nothing", escape::a_racing_link_wins_nothing),
    ("runtime_shell", runtimes::shell),
    ("runtime_python", runtimes::python),
    ("runtime_node", runtimes::node),
    ("runtime_unlisted", runtimes::unlisted),
    ("incident_80_many_calls_leave_nothing", life::many_calls),
];

/// The kernel limits the processes of nobody's root.
const ORDINARY: &[Case] = &[("process_limit", limits::process_limit)];

fn more_skills(root: &Path) {
    runtimes::prepare(root);
    for (name, grant) in [
        ("missing", "~/nowhere"),
        ("linked", "~/link"),
        ("state", "~/state"),
        ("raced", "~/raced"),
        ("brief", "~/documents"),
        ("script", "~/documents"),
        ("changing", "~/documents"),
        ("dotenv", "~/documents"),
    ] {
        skill(root, name);
        let manifest = root.join("skills").join(name).join("skill.toml");
        let text = fs::read_to_string(&manifest).unwrap();
        fs::write(&manifest, text.replace("~/documents", grant)).unwrap();
        if name == "brief" {
            fs::write(&manifest, text.replace("wall = \"60 s\"", "wall = \"1 s\"")).unwrap();
        }
    }
    std::os::unix::fs::symlink("secret", root.join("home/link")).unwrap();
    fs::create_dir(root.join("home/raced")).unwrap();
    std::os::unix::fs::symlink("secret", root.join("home/raced-link")).unwrap();
    fs::rename(root.join("state"), root.join("home/state")).unwrap();
    std::os::unix::fs::symlink("home/state", root.join("state")).unwrap();
    for file in ["skills/dotenv/.env", "home/documents/.env"] {
        fs::write(root.join(file), "LD_PRELOAD=/files/out/x.so\nCANARY=out of a file\n").unwrap();
    }
    fs::write(root.join("skills/script/bin/probe"), "#!/bin/sh\n".repeat(20)).unwrap();
}

/// Becomes a program on a kernel that lacks a system call.
fn launch_without(call: &str, errno: &str, program: &str, args: impl Iterator<Item = String>) {
    use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};
    let rules = [(call.parse().unwrap(), Vec::new())].into_iter().collect();
    let refused = SeccompAction::Errno(errno.parse().unwrap());
    let arch = std::env::consts::ARCH.try_into().unwrap();
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, refused, arch).unwrap();
    seccompiler::apply_filter(&BpfProgram::try_from(filter).unwrap()).unwrap();
    let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(program).args(args));
    panic!("{program}: {error}");
}

fn main() {
    // Own harness: this program is the skill, too, and a launcher.
    let mut args = std::env::args();
    if args.next().as_deref() == Some("skill") {
        return probe::main();
    }
    let mut args = args.peekable();
    if args.next_if(|arg| arg == "--without").is_some() {
        let mut next = || args.next().unwrap();
        let (call, errno, program) = (next(), next(), next());
        return launch_without(&call, &errno, &program, args);
    }
    if args.next_if(|arg| arg == "--when-told").is_some() {
        std::io::stdin().read_exact(&mut [0]).unwrap();
        let program = args.next().unwrap();
        let error = std::os::unix::process::CommandExt::exec(std::process::Command::new(&program).args(args));
        panic!("{program}: {error}");
    }
    let only: Vec<String> = args.filter(|arg| !arg.starts_with('-')).collect();
    let wanted = |name: &str| only.is_empty() || only.iter().any(|part| name.contains(part.as_str()));
    // Hundreds of calls with few descriptors: a leak of one each would be noticed.
    let few = rustix::process::Rlimit { current: Some(256), maximum: Some(256) };
    rustix::process::setrlimit(rustix::process::Resource::Nofile, few).unwrap();

    let mut failed = 0;
    let mut check = |who: &str, name: &str, run: &mut dyn FnMut()| {
        if !wanted(name) {
            return;
        }
        let begun = Instant::now();
        let good = std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok();
        failed += usize::from(!good);
        let word = if good { "ok" } else { "FAILED" };
        println!("test {name} as {who} ... {word} ({} ms)", begun.elapsed().as_millis());
    };
    let root = rustix::process::geteuid().is_root();
    let mut users = vec![("invoking user", Setup::default())];
    if root {
        let identity = Some(Identity { uid: 12345, gid: 12345 });
        users.push(("ordinary user", Setup { identity, ..Setup::default() }));
    }
    for (who, setup) in users {
        let rig = Rig::start(setup, more_skills);
        let ordinary = setup.identity.is_some() || !root;
        for (name, run) in CASES.iter().chain(if ordinary { ORDINARY } else { &[] }) {
            check(who, name, &mut || run(&rig));
        }
        check(who, "the_runner_is_killed", &mut || life::the_runner_is_killed(setup));
        check(who, "a_mount_is_seen_at_once", &mut || life::a_mount_is_seen_at_once(setup));
        check(who, "one_waits_and_serves_one_call", &mut || life::one_waits_and_serves_one_call(setup));
        check(who, "the_zygote_is_killed", &mut || life::the_zygote_is_killed(setup));
        check(who, "incident_77_a_missing_layer_turns_skills_off", &mut || {
            life::a_missing_layer_turns_skills_off(setup)
        });
        check(who, "production", &mut || life::production(setup));
        check(who, "incident_77_production_under_systemd_wants_a_cgroup", &mut || {
            cgroups::production_under_systemd_wants_one(setup)
        });
        check(who, "incident_83_the_jail_holds_with_any_barrier_missing", &mut || {
            drill::the_jail_holds_with_any_barrier_missing(setup)
        });
        check(who, "a_missing_layer_fails_the_drill", &mut || drill::a_missing_layer_fails_the_drill(setup));
        if setup.identity.is_some() {
            check(who, "a_leaf_for_each_call", &mut || cgroups::a_leaf_for_each_call(setup));
        }
    }
    assert_eq!(failed, 0, "{failed} cases failed");
}
