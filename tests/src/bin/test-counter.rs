//! The program of the skill `counter`: one effect that can be counted from outside, and a few probes of its jail.

#![expect(clippy::disallowed_methods, reason = "tests are the far ends and their senders")]

use std::{
    fs::{self, OpenOptions},
    io::{self, Read, Write},
    net::{TcpStream, UdpSocket},
    os::unix::net::UnixListener,
    process::{Command, ExitCode},
    thread,
    time::Duration,
};

use openclaw_wire::runner::{Answer, Task};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

/// `~/counter` as a skill sees it.
const FILE: &str = "/files/counter/lines";

fn main() -> ExitCode {
    let mut text = String::new();
    if let Err(error) = io::stdin().read_to_string(&mut text) {
        eprintln!("read the task: {error}");
        return ExitCode::FAILURE;
    }
    let task: Task = match serde_json::from_str(&text) {
        Ok(task) => task,
        Err(error) => {
            eprintln!("parse the task: {error}");
            return ExitCode::FAILURE;
        }
    };
    let answer = match task.tool.as_str() {
        "count" => count(&task.arguments),
        "look" => look(&task.arguments),
        "reach" => Answer::Text(reach()),
        "fail" if task.arguments["say"] == "nothing, for ever" => loop {
            std::hint::spin_loop();
        },
        "fail" if task.arguments["say"] == "a device" => {
            // No skill may make a node, and the kernel kills the one that asks.
            let made = mknodat(CWD, "/tmp/device", FileType::CharacterDevice, Mode::RUSR, 0);
            Answer::Text(format!("lives: {made:?}"))
        }
        "fail" => {
            eprintln!("failed on purpose: {}", task.arguments["say"].as_str().unwrap_or_default());
            return ExitCode::from(3);
        }
        other => Answer::Error(format!("no tool {other}")),
    };
    match serde_json::to_writer(io::stdout(), &answer) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

fn pause(arguments: &Value) {
    thread::sleep(Duration::from_millis(arguments["milliseconds"].as_u64().unwrap_or(0)));
}

fn count(arguments: &Value) -> Answer {
    let word = arguments["word"].as_str().unwrap_or_default();
    let file = OpenOptions::new().append(true).create(true).open(FILE);
    let written = file.and_then(|mut file| {
        // One write, so that a kill leaves the whole line or nothing.
        file.write_all(format!("{word}\n").as_bytes())?;
        file.sync_all()
    });
    match written {
        Ok(()) => {
            pause(arguments);
            Answer::Text(format!("counted {word}"))
        }
        Err(error) => Answer::Error(format!("append to the counter: {error}")),
    }
}

fn look(arguments: &Value) -> Answer {
    pause(arguments);
    let lines = fs::read_to_string(FILE).unwrap_or_default().lines().count();
    Answer::Text(format!("{lines} lines"))
}

/// One line for each attempt: what was tried, and how it ended.
fn reach() -> String {
    let environment: Vec<String> = std::env::vars().map(|(name, _)| name).collect();
    let roots = fs::read_dir("/").map(|entries| {
        let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
        let mut names: Vec<String> = names.collect();
        names.sort();
        names.join(" ")
    });
    let line = |what: &str, result: io::Result<String>| match result {
        Ok(found) => format!("{what}: reached {found}\n"),
        Err(error) => format!("{what}: {:?} {error}\n", error.kind()),
    };
    let nothing = |_| String::new();
    [
        format!("environment: {}\n", environment.join(" ")),
        line("root folder", roots),
        line("loopback", TcpStream::connect(("127.0.0.1", 80)).map(|_| String::new())),
        line("metadata service", TcpStream::connect(("169.254.169.254", 80)).map(|_| String::new())),
        line(
            "udp",
            UdpSocket::bind(("127.0.0.1", 0)).and_then(|s| s.connect(("127.0.0.1", 53))).map(nothing),
        ),
        line("unix socket", UnixListener::bind("/files/counter/socket").map(|_| String::new())),
        line("password file", fs::read_to_string("/etc/passwd").map(|_| String::new())),
        line("processes", fs::read_to_string("/proc/1/environ").map(|_| String::new())),
        line(
            "another program",
            Command::new("/bin/sh").arg("-c").arg("true").status().map(|s| s.to_string()),
        ),
        line("write elsewhere", fs::write("/files/counter/../escape", "x").map(|()| String::new())),
    ]
    .concat()
}
