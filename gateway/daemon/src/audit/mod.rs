//! The audit: one table of checks over gathered facts. Here is what the facts are and what follows from them; who gathers them is
//! `openclaw security audit`, which looks at the whole machine, or the status page, which knows what the gateway knows.

pub mod world;
pub mod nft;
pub mod verdict;
pub mod checks;
pub mod kept;

use openclaw_wire::audit::{Audit, Checked};

use self::{verdict::judge, world::World};

/// Every check's word on a world.
pub fn hold(world: &World) -> Audit {
    Audit {
        at: world.now,
        version: env!("CARGO_PKG_VERSION").into(),
        place: world.place,
        checks: checks::all().map(|check| judge(check, world)).collect::<Vec<Checked>>(),
    }
}
