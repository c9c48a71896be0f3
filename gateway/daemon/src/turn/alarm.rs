//! Alarms of egress: a key, or the decoy, was in something that was to leave. The owners are told, each alarm once.

use openclaw_wire::egress::Alarm;
use tracing::warn;

use super::{Engine, now, now_ms, owner};
use crate::{outbox::rows, spend::told, store::StoreError};

impl Engine {
    /// Tells the owners what they were not told yet. What can't be told now is told with the next news.
    pub async fn hear_of_alarms(&self, alarms: &[Alarm]) {
        for alarm in alarms {
            if let Err(error) = self.tell_of_alarm(alarm).await {
                warn!(%error, "could not tell the owner of an alarm");
            }
        }
    }

    async fn tell_of_alarm(&self, alarm: &Alarm) -> Result<(), StoreError> {
        let to = self.lanes_of_owners()?;
        if to.is_empty() {
            return Ok(());
        }
        let (text, name, lanes) = (words(alarm), format!("alarm {} {}", alarm.at, alarm.what), to.clone());
        let told = self
            .store
            .write(move |tx| {
                if !told::once(tx, &name, now())? {
                    return Ok(false);
                }
                for lane in &lanes {
                    rows::enqueue(tx, &owner::notice(lane, lane.chat.0, &text), now_ms())?;
                }
                Ok(true)
            })
            .await?;
        if told {
            to.iter().for_each(|lane| self.sender.wake(&lane.bot, lane.chat));
        }
        Ok(())
    }
}

fn words(alarm: &Alarm) -> String {
    format!(
        "Alarm: one of your keys, or the decoy, was in {}. It was taken out and did not leave, but somebody or something \
         reads files that it should not. `/freeze` stops everything; then look at what was asked last, and exchange \
         your keys (`openclaw keys rotate`).",
        alarm.what
    )
}
