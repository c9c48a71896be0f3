//! Asks a program of the system, never a shell, in an empty environment, with an end to its patience.

use std::{
    fs::File,
    io::Read,
    os::fd::OwnedFd,
    path::PathBuf,
    time::{Duration, Instant},
};

use openclaw_confine::spawn::{Child, Start};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    process::Signal,
};

/// Where programs are, on any distribution and on NixOS.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/run/current-system/sw/bin"];
/// How long one may take.
const PATIENCE: Duration = Duration::from_secs(20);
/// Largest answer, in bytes.
const MOST: usize = 8 << 20;

/// Why there is no answer.
#[derive(Debug)]
pub enum NoAnswer {
    /// There is no such program.
    Missing,
    /// It was started, and this came of it.
    Failed(String),
}

/// The file of a program; `None` when this machine has it not.
pub fn find(program: &str) -> Option<PathBuf> {
    FOLDERS.iter().map(|folder| PathBuf::from(folder).join(program)).find(|path| path.is_file())
}

/// What it prints when it succeeds.
pub fn ask(program: &str, arguments: &[&str]) -> Result<String, NoAnswer> {
    let path = find(program).ok_or(NoAnswer::Missing)?;
    let failed = |error: std::io::Error| NoAnswer::Failed(format!("{program}: {error}"));
    let (read, write) = std::io::pipe().map_err(failed)?;
    let (errors, complaints) = std::io::pipe().map_err(failed)?;
    let null = File::open("/dev/null").map_err(failed)?;
    let mut start = Start::new(path).env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin").env("LC_ALL", "C");
    for argument in arguments {
        start = start.arg(*argument);
    }
    let mut child = start
        .standard(0, null.into())
        .standard(1, write.into())
        .standard(2, complaints.into())
        .spawn()
        .map_err(failed)?;
    let ends = Instant::now() + PATIENCE;
    let said = both(&mut child, [read.into(), errors.into()], ends);
    let ended = child.wait().map_err(failed)?;
    let Some([out, complaint]) = said else {
        return Err(NoAnswer::Failed(format!("{program} did not end within {} s", PATIENCE.as_secs())));
    };
    match ended.success() {
        true => Ok(out),
        false => {
            let first = complaint.lines().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            Err(NoAnswer::Failed(format!("{program}: {}", first.chars().take(200).collect::<String>())))
        }
    }
}

/// Reads both ends until they are closed; kills it when that takes too long.
fn both(child: &mut Child, ends: [OwnedFd; 2], until: Instant) -> Option<[String; 2]> {
    let mut files = ends.map(File::from);
    let mut said = [Vec::new(), Vec::new()];
    let mut open = [true, true];
    while open.contains(&true) {
        let left = until.saturating_duration_since(Instant::now());
        let wait = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(0),
            tv_nsec: i64::from(left.subsec_nanos()),
        };
        let mut polled: Vec<PollFd<'_>> = files
            .iter()
            .zip(open)
            .filter(|(_, open)| *open)
            .map(|(file, _)| PollFd::new(file, PollFlags::IN))
            .collect();
        let ready = poll(&mut polled, Some(&wait)).unwrap_or(0);
        if ready == 0 || said.iter().any(|said| said.len() > MOST) {
            // It is gone already at worst.
            let _gone = child.signal(Signal::KILL);
            return None;
        }
        let ready: Vec<bool> = polled.iter().map(|one| !one.revents().is_empty()).collect();
        let mut ready = ready.into_iter();
        for at in 0..2 {
            if open[at] && ready.next() == Some(true) {
                let mut piece = [0; 16 << 10];
                match files[at].read(&mut piece) {
                    Ok(0) | Err(_) => open[at] = false,
                    Ok(count) => said[at].extend_from_slice(&piece[..count]),
                }
            }
        }
    }
    Some(said.map(|said| String::from_utf8_lossy(&said).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::{NoAnswer, ask};

    #[test]
    fn a_program_is_asked_and_its_complaint_is_told() {
        assert_eq!(ask("echo", &["a", "b c"]).expect("says"), "a b c\n");
        assert!(matches!(ask("no-such-program-anywhere", &[]), Err(NoAnswer::Missing)));
        let Err(NoAnswer::Failed(why)) = ask("ls", &["/nonexistent/x"]) else { panic!("it is not there") };
        assert!(why.contains("/nonexistent/x"), "{why}");
    }
}
