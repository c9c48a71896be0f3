//! Files of the terminal's conversation: in and out as streams, never whole in memory.

use axum::{
    Json,
    body::Body,
    extract::{Path, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::StreamExt;
use openclaw_wire::{
    admin::{Attach, AttachedAs, Problem},
    file::FileName,
};

use super::{Failed, Shared, refused};
use crate::telegram::method::pieces;

/// Takes one in.
pub async fn attach(
    State(admin): Shared,
    Query(attach): Query<Attach>,
    body: Body,
) -> Result<Json<AttachedAs>, Failed> {
    let name = admin.engine.attach_in_terminal(&attach.name, body.into_data_stream()).await?;
    name.map(|name| Json(AttachedAs { name })).map_err(refused)
}

/// Gives one out.
pub async fn give(State(admin): Shared, Path(name): Path<String>) -> Result<Response, Failed> {
    let missing = || {
        let message = format!("there is no file {name:?} in this conversation");
        let mend = "a name is like 7.png; /new deletes all".into();
        Failed(StatusCode::NOT_FOUND, Problem { message, mend })
    };
    let name = FileName::try_from(name.clone()).map_err(|_| missing())?;
    let file = admin.engine.file_in_terminal(&name)?.ok_or_else(missing)?;
    let body = Body::from_stream(pieces(file).boxed());
    Ok(([("content-type", "application/octet-stream")], body).into_response())
}
