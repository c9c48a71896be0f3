//! A model that could not answer after all its tries rests for a while: others are asked before it, so that a dead one
//! does not cost every turn its tries. It is still asked when nobody else answers.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use openclaw_wire::id::ModelName;

use super::fault::Kind;

/// Which models rest. Bounded: names come from the configuration.
#[derive(Debug, Default)]
pub(super) struct Rests(HashMap<ModelName, Instant>);

impl Rests {
    /// It failed: it rests, unless the same may succeed with another prompt.
    pub fn failed(&mut self, model: &ModelName, kind: Kind, now: Instant, rest: Duration) {
        if kind.is_the_models() {
            self.0.insert(model.clone(), now + rest);
        }
    }

    /// It answered.
    pub fn answered(&mut self, model: &ModelName) {
        self.0.remove(model);
    }

    /// Whether it rests.
    pub fn rests(&self, model: &ModelName, now: Instant) -> bool {
        self.0.get(model).is_some_and(|until| now < *until)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::{Kind, Rests};

    #[test]
    fn a_dead_model_rests_for_a_while_and_a_prompts_fault_is_nobodys() {
        let (mut rests, now, rest) = (Rests::default(), Instant::now(), Duration::from_secs(30));
        let model = "a".parse().expect("name");
        for kind in
            [Kind::ContextTooLong, Kind::Refused, Kind::Cancelled, Kind::Rejected, Kind::Prompt, Kind::Empty]
        {
            rests.failed(&model, kind, now, rest);
            assert!(!rests.rests(&model, now), "{kind:?}");
        }
        for kind in [Kind::Unreachable, Kind::Timeout, Kind::Busy, Kind::Server, Kind::Auth, Kind::Quota] {
            rests.failed(&model, kind, now, rest);
            assert!(rests.rests(&model, now + rest / 2) && !rests.rests(&model, now + rest), "{kind:?}");
            rests.answered(&model);
            assert!(!rests.rests(&model, now), "{kind:?}");
        }
    }
}
