//! When a process that died is started again, and when that is given up. Pure.

use std::time::Duration;

/// A process that lived so long has started well; what came before is forgotten.
const STEADY: Duration = Duration::from_secs(10);
/// Deaths in a row, none of them after a steady life, after which the supervisor gives up: about ten seconds.
const MOST: u32 = 8;
/// The first pause; it doubles with every further death.
const FIRST: Duration = Duration::from_millis(20);
/// SIGKILL came from outside (an operator, the kernel short of memory), so it is not the program's own fault: such
/// deaths are never given up on, and pause at most this many doublings.
const KILLED_DOUBLINGS: u32 = 3;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Death {
    /// It left by itself, with this code.
    Exited(i32),
    /// This signal ended it.
    Signal(i32),
    /// The system could not start it again, perhaps for want of memory or processes.
    NotStarted,
}

/// SIGKILL's number, the same on every Linux (signal(7)).
const SIGKILL: i32 = 9;

/// What to do about it.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    /// Start it again after this pause.
    Start(Duration),
    /// It can't start; the reason is in what it printed.
    GiveUp(String),
}

/// The history of one process.
#[derive(Debug, Default)]
pub struct Backoff {
    quick: u32,
    killed: u32,
    steady_once: bool,
    started: u32,
}

impl Backoff {
    /// Takes note of a death after `lived`.
    pub fn died(&mut self, death: Death, lived: Duration) -> Next {
        self.started += 1;
        if lived >= STEADY {
            self.steady_once = true;
            (self.quick, self.killed) = (0, 0);
        }
        if death == Death::Signal(SIGKILL) {
            let pause = FIRST * 2_u32.pow(self.killed.min(KILLED_DOUBLINGS));
            self.killed += 1;
            return Next::Start(pause);
        }
        // A program that leaves by itself on its very first start has refused: waiting mends nothing.
        if let Death::Exited(code) = death
            && self.started == 1
            && !self.steady_once
        {
            return Next::GiveUp(format!("it did not start (exit code {code})"));
        }
        self.quick += 1;
        match self.quick >= MOST {
            true => Next::GiveUp(format!("it ended {MOST} times in a row ({death})")),
            false => Next::Start(FIRST * 2_u32.pow(self.quick - 1)),
        }
    }
}

impl std::fmt::Display for Death {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => write!(f, "signal {number}"),
            Self::NotStarted => f.write_str("could not be started"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{Backoff, Death, MOST, Next, STEADY};

    const QUICK: Duration = Duration::from_millis(5);

    #[test]
    fn a_program_that_refuses_to_start_is_not_tried_again() {
        let next = Backoff::default().died(Death::Exited(1), QUICK);
        assert_eq!(next, Next::GiveUp("it did not start (exit code 1)".into()));
    }

    #[test]
    fn crashes_are_bounded_and_the_pauses_grow() {
        let mut backoff = Backoff::default();
        let mut pauses = Vec::new();
        let reason = loop {
            match backoff.died(Death::Signal(31), QUICK) {
                Next::Start(pause) => pauses.push(pause),
                Next::GiveUp(reason) => break reason,
            }
        };
        assert_eq!(pauses.len(), MOST as usize - 1);
        assert!(pauses.windows(2).all(|pair| pair[0] < pair[1]), "{pauses:?}");
        assert!(reason.contains("8 times") && reason.contains("signal 31"), "{reason}");
    }

    #[test]
    fn a_steady_life_forgets_what_was_before() {
        let mut backoff = Backoff::default();
        for _ in 0..100 {
            assert!(matches!(backoff.died(Death::Signal(11), QUICK), Next::Start(_)));
            assert_eq!(backoff.died(Death::Exited(1), STEADY), Next::Start(super::FIRST));
        }
    }

    #[test]
    fn kills_from_outside_never_end_the_service() {
        let mut backoff = Backoff::default();
        for _ in 0..1000 {
            let Next::Start(pause) = backoff.died(Death::Signal(9), QUICK) else { panic!("gave up") };
            assert!(pause <= Duration::from_millis(160));
        }
    }
}
