//! Which skills may run at all, whatever the policy says of a call: the operator's switch for each, and the drill's for all
//! of them. And a tool that the operator runs himself.

use std::{
    collections::BTreeSet,
    sync::{Arc, PoisonError},
    time::Duration,
};

use openclaw_wire::{
    admin::{LastDrill, Ran, RunTool, SkillCall, SwitchSkill},
    audit::Audit,
    drill::Drill,
    id::{ChatId, SkillId},
};
use tracing::{info, warn};

use super::{Engine, made, now, owner};
use crate::{
    audit::kept,
    inbox::Lane,
    policy::{Decision, Principal, Proposal, decide},
    skill::{Found, calls, standing},
    store::{Store, StoreError},
};

/// How often the runner is asked whether skills can run.
const LOOK: Duration = Duration::from_secs(60);
/// What a drill that failed is told with; the rest is in the drill's own table.
const NAMED: usize = 5;
/// Most calls that are listed.
const LISTED: u32 = 200;

/// What is off.
#[derive(Debug, Default)]
pub(super) struct Switches {
    off: BTreeSet<String>,
    drill: Option<String>,
}

impl Switches {
    /// As stored.
    pub(super) fn read(store: &Store) -> Result<Self, StoreError> {
        store.read(|connection| {
            Ok(Self {
                off: standing::off(connection)?.into_iter().collect(),
                drill: standing::failed(connection)?,
            })
        })
    }
}

impl Engine {
    /// Why no skill may run, as far as the gateway knows.
    pub fn skills_off(&self) -> Option<String> {
        let switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = switches.drill.as_ref()?;
        Some(format!(
            "the drill failed ({failed}); mend what it names and run `openclaw security drill` again"
        ))
    }

    /// Whether the operator has not switched this skill off.
    pub fn switched_on(&self, skill: &SkillId) -> bool {
        !self.switches.lock().unwrap_or_else(PoisonError::into_inner).off.contains(skill.as_str())
    }

    /// The tools that the model may know.
    pub(super) fn tools(&self) -> Vec<Found> {
        let mut tools = self.catalog.tools();
        tools.retain(|found| self.switched_on(&found.skill.id));
        tools
    }

    /// The tool of this name, if it may run; an error is for the model.
    pub(super) fn tool(&self, name: &str) -> Result<Found, String> {
        let found = self.catalog.find(name).filter(|found| self.switched_on(&found.skill.id));
        let found = found.ok_or_else(|| {
            format!("There is no tool of the name {:?}.", name.chars().take(64).collect::<String>())
        })?;
        match self.skills_off() {
            Some(why) => Err(format!("Skills are off: {why}.")),
            None => Ok(found),
        }
    }

    /// Switches a skill off or on. `Err` inside says why that cannot be.
    pub async fn switch_skill(&self, switch: &SwitchSkill) -> Result<Result<(), String>, StoreError> {
        let SwitchSkill { skill, on } = switch.clone();
        if self.config.skills.disabled.contains(&skill) {
            return Ok(Err(format!("{skill} stands in `disabled` in section [skills] of openclaw.toml")));
        }
        if !self.catalog.skills().iter().any(|known| known.id == skill) {
            return Ok(Err(format!("there is no skill {skill}")));
        }
        let name = skill.to_string();
        self.store.write(move |tx| standing::switch(tx, &name, on, now())).await?;
        {
            let mut switches = self.switches.lock().unwrap_or_else(PoisonError::into_inner);
            match on {
                true => switches.off.remove(skill.as_str()),
                false => switches.off.insert(skill.to_string()),
            };
        }
        if on {
            self.look_again(&skill).await?;
        }
        info!(%skill, on, "the operator switched a skill");
        Ok(Ok(()))
    }

    /// What came of a drill: one that failed turns skills off until one holds, and the owner is told.
    pub async fn drilled(&self, drill: &Drill) -> Result<(), StoreError> {
        let failed = drill.failed();
        let last = LastDrill { at: now(), probes: drill.probes.len() as u64, failed: failed.len() as u64 };
        let report = serde_json::to_string(drill).unwrap_or_default();
        let words = (!failed.is_empty()).then(|| {
            let more = failed.len().saturating_sub(NAMED);
            let named = failed.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
            let named: String = named.chars().filter(|c| !c.is_control()).take(1000).collect();
            if more > 0 { format!("{named}; and {more} more") } else { named }
        });
        let kept = words.clone();
        self.store.write(move |tx| standing::drilled(tx, kept.as_deref(), &last, &report)).await?;
        self.switches.lock().unwrap_or_else(PoisonError::into_inner).drill = words;
        match self.skills_off() {
            None => info!("a drill held"),
            Some(why) => {
                warn!(why, "skills are off");
                self.tell_owners(&format!("Skills are off: {why}.")).await?;
            }
        }
        Ok(())
    }

    /// The last drill, in short.
    pub fn last_drill(&self) -> Result<Option<LastDrill>, StoreError> {
        self.store.read(standing::last)
    }

    /// The last drill whole.
    pub fn drill_report(&self) -> Result<Option<Drill>, StoreError> {
        let report = self.store.read(standing::report)?;
        Ok(report.and_then(|report| serde_json::from_str(&report).ok()))
    }

    /// Keeps the operator's last audit, for the status page.
    pub async fn audited(&self, audit: &Audit) -> Result<(), StoreError> {
        let (at, report) = (audit.at, serde_json::to_string(audit).unwrap_or_default());
        self.store.write(move |tx| kept::keep(tx, at, &report)).await
    }

    /// The last audit.
    pub fn last_audit(&self) -> Result<Option<Audit>, StoreError> {
        let report = self.store.read(kept::last)?;
        Ok(report.and_then(|report| serde_json::from_str(&report).ok()))
    }

    /// Tells the owner once when the runner says that skills are off.
    pub async fn watch_skills(self: Arc<Self>) {
        let mut told: Option<String> = None;
        loop {
            if let Ok(status) = self.executor.status().await
                && status.skills_off != told
            {
                let heard = match &status.skills_off {
                    None => Ok(()),
                    Some(why) => {
                        warn!(why, "skills are off");
                        self.tell_owners(&format!("Skills are off: {why}.")).await
                    }
                };
                match heard {
                    Ok(()) => told = status.skills_off,
                    Err(error) => warn!(%error, "could not tell the owner; trying again"),
                }
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn tell_owners(&self, text: &str) -> Result<(), StoreError> {
        for bot in &self.config.telegram.bot {
            let lane = Lane { bot: bot.name.clone(), chat: ChatId(0), topic: 0 };
            owner::tell(self, &lane, text.to_owned()).await?;
        }
        Ok(())
    }

    /// Runs a tool for the operator, who typed it with its arguments. `Err` inside is a refusal.
    pub async fn run_tool(&self, run: &RunTool) -> Result<Result<Ran, String>, StoreError> {
        let found = match self.tool(&run.tool) {
            Ok(found) if found.skill.id == run.skill => found,
            Ok(_) => return Ok(Err(format!("the skill {} has no tool {:?}", run.skill, run.tool))),
            Err(why) => return Ok(Err(why)),
        };
        if let Err(why) = found.validate(&run.arguments) {
            return Ok(Err(why));
        }
        // What its arguments may name is what the operator attached in the terminal.
        let lane = super::terminal::lane();
        let files = match made::named(self, &lane, &found, &run.arguments)? {
            Ok(files) => files,
            Err(why) => return Ok(Err(why)),
        };
        let attached = match made::open(self, &files).await {
            Ok(attached) => attached,
            Err(why) => return Ok(Err(why)),
        };
        let call = format!("operator-{}", jiff::Timestamp::now().as_nanosecond());
        let proposal = Proposal {
            call: &call,
            skill: &found.skill,
            tool: &found.tool,
            arguments: &run.arguments,
            attached: &made::attached(&files),
            principal: Principal::Operator,
            owner_there: true,
        };
        let grant = match decide(&proposal, None) {
            Decision::Allow(grant) => grant,
            Decision::Ask(_) => return Ok(Err("it would have to be asked for".into())),
            Decision::Deny(denial) => return Ok(Err(denial.to_string())),
        };
        let (id, skill, tool) = (call.clone(), found.skill.id.to_string(), run.tool.clone());
        self.store.write(move |tx| calls::start(tx, &id, 0, &skill, &tool, now()).map(drop)).await?;
        let ran = made::run(self, &lane, (grant, "", &found), attached, &self.stopping).await?;
        let (output, made, lost) = ran.into_parts();
        let (output, ()) = output.into_labelled(());
        let end = calls::End { failed: output.is_error, reason: output.reason };
        let ending = made::Ending { call, inbox: 0, by: found.skill.id.to_string(), end };
        // What it said is the operator's alone.
        let note = made::store(self, made, ending, |files| (made::note(files, lost), String::new())).await?;
        let text = [output.text].into_iter().chain(note).collect::<Vec<_>>().join("\n");
        Ok(Ok(Ran { text, is_error: output.is_error }))
    }

    /// The last calls, newest first; of one skill, or of all.
    pub fn skill_calls(&self, skill: Option<&str>) -> Result<Vec<SkillCall>, StoreError> {
        self.store.read(|connection| calls::recent(connection, skill, LISTED))
    }
}
