//! The runner's door: a call's way out is redeemed there, once. And each way out: connections are asked for and given
//! until the jail has ended.

use std::{
    io,
    os::{
        fd::{AsFd, OwnedFd},
        unix::net::UnixStream as StdStream,
    },
    sync::Arc,
    time::Duration,
};

use openclaw_wire::{
    door,
    egress::{Redeem, Redeemed, RefusalKind},
    frame, pass, way,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, Interest, unix::AsyncFd},
    net::UnixStream,
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    Ways,
    authority::Authority,
    call::WHOLE,
    connection::{self, Jail},
};
use crate::refuse::{refusal, shown};

/// Connections of one call at the same time.
const CONNECTIONS: usize = 32;
/// Largest question of the runner, in bytes.
const QUESTION: usize = 4096;
/// The runner asks at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// Answers one question of the runner; a way out that it opens is served as a task of its own.
pub async fn answer(ways: Arc<Ways>, stream: StdStream, tasks: TaskTracker, stop: CancellationToken) {
    let exchange = async {
        let mut stream = UnixStream::from_std({
            stream.set_nonblocking(true)?;
            stream
        })?;
        let length = frame::length(stream.read_u32().await?)?;
        if length > QUESTION {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a question that is too long"));
        }
        let mut question = vec![0; length];
        stream.read_exact(&mut question).await?;
        let Redeem { call: id } = serde_json::from_slice(&question)?;
        let Some(call) = ways.calls.redeem(&id) else {
            tracing::warn!("refused the runner a way out for call {}: it is not registered", shown(&id));
            let refused = refusal(
                RefusalKind::NotAllowed,
                "no way out is registered for this call, or it was used already",
                "the gateway registers a call before it runs; if you did not change it, please report it",
            );
            return stream.write_all(&frame::encode(&Redeemed::Refused(refused))?).await;
        };
        let authority = Authority::new(ways.provider.clone()).map_err(io::Error::other)?;
        let (ours, theirs) = door::pair()?;
        rustix::io::ioctl_fionbio(&ours, true)?;
        let open = Redeemed::Open { authority: authority.pem().to_owned() };
        stream.write_all(&frame::encode(&open)?).await?;
        stream.async_io(Interest::WRITABLE, || pass::send(&stream, theirs.as_fd())).await?;
        drop(theirs);
        let jail = Jail { ways, call: call.clone(), authority: Arc::new(authority), stop };
        tasks.clone().spawn(async move {
            tokio::select! {
                () = call.over(WHOLE) => {}
                ended = serve(&jail, &ours, &tasks) => {
                    if let Err(error) = ended {
                        tracing::warn!(skill = %jail.call.skill, "serve a way out: {error}");
                    }
                }
            }
            // Without its jail no connection has anybody to answer.
            call.stop.cancel();
        });
        Ok(())
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!("answer the runner: {error}"),
        Err(_) => tracing::warn!("the runner opened a connection and asked nothing"),
    }
}

/// Gives connections until the other end is gone.
#[expect(
    deprecated,
    reason = "the replacement is `unsafe`; all it asks is that the end keeps its descriptor"
)]
async fn serve(jail: &Jail, end: &OwnedFd, tasks: &TaskTracker) -> io::Result<()> {
    let end = AsyncFd::with_interest(end.as_fd(), Interest::READABLE)?;
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let mut ready = end.readable().await?;
        let asked = match ready.try_io(|end| way::asked(end.get_ref())) {
            Ok(asked) => asked?,
            Err(_would_block) => continue,
        };
        if !asked {
            return Ok(());
        }
        let place = room.clone().try_acquire_owned();
        let (Ok(place), false) = (place, jail.stop.is_cancelled()) else {
            way::give(end.get_ref(), None)?;
            continue;
        };
        let (ours, theirs) = UnixStream::pair()?;
        let theirs = theirs.into_std()?;
        // The jail's end waits, as what a door gives does.
        theirs.set_nonblocking(false)?;
        way::give(end.get_ref(), Some(theirs.into()))?;
        let jail = jail.clone();
        tasks.spawn(async move {
            connection::serve(jail, ours).await;
            drop(place);
        });
    }
}
