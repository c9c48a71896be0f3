//! `openclaw freeze` and `unfreeze`: stops every turn until it is lifted. The chat can freeze too; only this lifts it.

use http::Method;

use super::{
    place::Place,
    socket::{Socket, block_on},
};

/// Stops everything, or lets it run again.
pub fn freeze(place: &Place, on: bool) -> anyhow::Result<()> {
    let path = if on { "/freeze" } else { "/unfreeze" };
    block_on(async { Socket::gateway(place).tell(Method::POST, path, None::<&()>).await })?;
    match on {
        true => println!("Frozen: nothing runs until `openclaw unfreeze`."),
        false => println!("The assistant answers again."),
    }
    Ok(())
}
