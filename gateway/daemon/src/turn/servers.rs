//! MCP servers are asked for their tools, once in each state of their folder: in a jail without a way out, in which they can
//! write to no folder. Until then the model knows none of their tools.

use std::{sync::Arc, time::Duration};

use openclaw_wire::{id::SkillId, mcp::Offered, runner::Look};
use tracing::{info, warn};

use super::{Engine, now};
use crate::{
    skill::{Catalog, offered},
    store::{Store, StoreError},
};

/// A server that could not be looked at is tried again after this time; so is one whose skill was switched on.
const AGAIN: Duration = Duration::from_secs(300);

/// The servers whose tools are known from before.
pub(super) fn remember(store: &Store, catalog: &Catalog) -> Result<(), StoreError> {
    for server in catalog.servers() {
        let known = store.read(|connection| offered::known(connection, &server.id, &server.digest))?;
        if let Some(tools) = known {
            catalog.offer(&server.id, &tools);
        }
    }
    Ok(())
}

impl Engine {
    /// Looks at every server that was not looked at yet, until the gateway ends.
    pub async fn look_at_servers(self: Arc<Self>) {
        loop {
            // Registered before the list is read, so that no wish falls between the two.
            let wanted = self.look.notified();
            let servers: Vec<_> = self.catalog.servers().map(|skill| skill.id.clone()).collect();
            for server in servers {
                if self.stopping.is_cancelled() {
                    return;
                }
                if self.switched_on(&server) && !self.catalog.looked_at(&server) {
                    self.look_at(&server).await;
                }
            }
            tokio::select! {
                () = tokio::time::sleep(AGAIN) => {}
                () = wanted => {}
                () = self.stopping.cancelled() => return,
            }
        }
    }

    async fn look_at(&self, server: &SkillId) {
        let Some(skill) = self.catalog.servers().find(|skill| skill.id == *server) else { return };
        let id = format!("look-{}", jiff::Timestamp::now().as_nanosecond());
        let look = Look { id, skill: skill.id.clone(), digest: skill.digest.clone() };
        let kept = match self.executor.look(look, &self.stopping).await {
            Ok(tools) => self.keep(&skill.id, &skill.digest, tools).await.map_err(|error| error.to_string()),
            Err(why) => Err(why),
        };
        if let Err(why) = kept {
            warn!(skill = %server, why, "could not ask an MCP server for its tools");
            self.catalog.withdraw(server, &format!("its MCP server could not be asked for its tools: {why}"));
        }
    }

    async fn keep(&self, server: &SkillId, digest: &str, tools: Vec<Offered>) -> Result<(), StoreError> {
        let text = serde_json::to_string(&tools).unwrap_or_default();
        let (id, digest) = (server.clone(), digest.to_owned());
        self.store.write(move |tx| offered::keep(tx, &id, &digest, &text, now())).await?;
        self.catalog.offer(server, &tools);
        info!(skill = %server, tools = tools.len(), "asked an MCP server for its tools");
        Ok(())
    }

    /// Forgets a server's tools and asks it again.
    pub(super) async fn look_again(&self, server: &SkillId) -> Result<(), StoreError> {
        if self.catalog.servers().any(|skill| skill.id == *server) {
            let id = server.clone();
            self.store.write(move |tx| offered::forget(tx, &id)).await?;
            self.catalog.withdraw(server, "its MCP server is being asked for its tools");
            self.look.notify_one();
        }
        Ok(())
    }
}
