//! A drill on demand. We can start no program: whoever holds the other end of the door does, and its report comes back over the
//! connection. One at a time.

use std::{
    io::{self, Read},
    os::unix::net::UnixStream,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use openclaw_wire::{door::Door, drill::Drill};
use tracing::warn;

use crate::turn::Engine;

/// Largest report: a hundred probes in a dozen jails are a tenth of it.
const REPORT: u64 = 4 << 20;
/// Longest silence: a drill says nothing until it is over, and takes a minute on a slow machine.
const SILENCE: Duration = Duration::from_secs(600);

/// How it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody asked.
    Idle,
    /// Since then.
    Running(Instant),
    /// None was held, and why.
    Failed(String),
}

/// The way to a drill.
pub struct Drills {
    door: Option<Arc<Door>>,
    state: Mutex<State>,
}

impl Drills {
    /// Without a door there are none.
    pub fn new(door: Option<Door>) -> Self {
        Self { door: door.map(Arc::new), state: Mutex::new(State::Idle) }
    }

    /// How it goes.
    pub fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Has one held, unless one is.
    pub fn begin(self: &Arc<Self>, engine: Arc<Engine>) {
        {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Running(_)) {
                return;
            }
            *state = State::Running(Instant::now());
        }
        let drills = Arc::clone(self);
        // Its owner is `state`: there is never a second one, and it ends with the process.
        tokio::spawn(async move {
            let ended = match drills.held().await {
                Ok(drill) => engine.drilled(&drill).await.map_err(|error| error.to_string()),
                Err(error) => Err(error.to_string()),
            };
            let state = match ended {
                Ok(()) => State::Idle,
                Err(why) => {
                    warn!(why, "no drill was held");
                    State::Failed(why)
                }
            };
            *drills.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
        });
    }

    async fn held(&self) -> io::Result<Drill> {
        let door = self.door.clone().ok_or_else(|| io::Error::other("nobody here can hold a drill"))?;
        let held = tokio::task::spawn_blocking(move || report(door.open()?));
        held.await.map_err(io::Error::other)?
    }
}

/// What comes back through a door: a drill's report, and then its end.
pub fn report(stream: UnixStream) -> io::Result<Drill> {
    stream.set_read_timeout(Some(SILENCE))?;
    let mut report = Vec::new();
    stream.take(REPORT).read_to_end(&mut report)?;
    match report.is_empty() {
        true => Err(io::Error::other("it ended without a word; is another one being held?")),
        false => serde_json::from_slice(&report).map_err(|_| io::Error::other("its report can't be read")),
    }
}
