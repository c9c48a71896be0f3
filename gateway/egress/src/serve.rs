//! Accepts connections on a door and answers HTTP/1.1 on them until told to stop; then lets what is under way finish.

use std::{
    convert::Infallible,
    future::Future,
    io,
    os::unix::{fs::MetadataExt, net::UnixStream},
    pin::pin,
    sync::Arc,
    time::Duration,
};

use http::{Request, Response};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use openclaw_wire::door::Entry;
use tokio::{io::unix::AsyncFd, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::proxy::Answer;

/// Connections at once on one door. A turn uses a few, and the gateway runs 64 turns.
const CONNECTIONS: usize = 512;
/// Largest head of a request, in bytes, and the largest piece of a body that is read at once.
const BUFFER: usize = 64 << 10;
/// Headers of a request.
const HEADERS: usize = 32;
/// Pause after the system could not give a connection (descriptors or memory are short).
const PAUSE: Duration = Duration::from_millis(100);

/// A door that is served.
pub struct Served {
    entry: AsyncFd<Entry>,
    /// For the log.
    name: &'static str,
    /// Whether this peer may connect.
    allowed: Allowed,
}

/// Says of a fresh connection whether its peer may have it.
pub type Allowed = Box<dyn Fn(&UnixStream) -> bool + Send + Sync>;

/// For the door of another process: where it is a path (under systemd), its owner alone, by the kernel's word for who
/// connected. Whoever holds the end of a pair was given it.
pub fn owner(entry: &Entry) -> io::Result<Allowed> {
    let Entry::Listener(listener) = entry else { return Ok(Box::new(|_| true)) };
    let address = listener.local_addr()?;
    let path = address.as_pathname().ok_or_else(|| io::Error::other("the socket has no path"))?;
    let owner = std::fs::metadata(path)?.uid();
    Ok(Box::new(move |stream| {
        openclaw_confine::peer::credentials(stream).is_ok_and(|peer| peer.uid == owner)
    }))
}

impl Served {
    /// Registers a door with the runtime.
    #[expect(
        deprecated,
        reason = "the replacement is `unsafe`; all it asks is that an entry keeps its descriptor"
    )]
    pub fn new(name: &'static str, entry: Entry, allowed: Allowed) -> io::Result<Self> {
        entry.set_nonblocking(true)?;
        Ok(Self { entry: AsyncFd::new(entry)?, name, allowed })
    }

    /// Serves until `stop`, or until the other end of a pair is gone. Each connection is a task of `tasks`.
    pub async fn run<F>(
        self,
        tasks: TaskTracker,
        stop: CancellationToken,
        answer: impl Fn(Request<Incoming>) -> F + Clone + Send + 'static,
    ) where
        F: Future<Output = Response<Answer>> + Send + 'static,
    {
        self.each(&tasks, &stop, |stream| connection(stream, stop.clone(), answer.clone())).await;
    }

    /// Gives each connection to a task of `tasks`, until `stop` or the other end's.
    pub async fn each<F>(
        &self,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        serve: impl Fn(UnixStream) -> F,
    ) where
        F: Future<Output = ()> + Send + 'static,
    {
        let room = Arc::new(Semaphore::new(CONNECTIONS));
        loop {
            let next = async {
                let place = room.clone().acquire_owned().await.expect("never closed");
                (place, self.accept().await)
            };
            let (place, stream) = tokio::select! {
                () = stop.cancelled() => return,
                next = next => next,
            };
            let stream = match stream {
                Ok(stream) => stream,
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    tracing::info!(door = self.name, "the other side is gone");
                    return;
                }
                Err(error) => {
                    tracing::warn!(door = self.name, "accept a connection: {error}");
                    tokio::time::sleep(PAUSE).await;
                    continue;
                }
            };
            if !(self.allowed)(&stream) {
                tracing::warn!(door = self.name, "refused a connection of another user");
                continue;
            }
            let serving = serve(stream);
            tasks.spawn(async move {
                serving.await;
                drop(place);
            });
        }
    }

    async fn accept(&self) -> io::Result<UnixStream> {
        loop {
            let mut ready = self.entry.readable().await?;
            if let Ok(accepted) = ready.try_io(|entry| entry.get_ref().accept()) {
                return accepted;
            }
        }
    }
}

async fn connection<F>(
    stream: UnixStream,
    stop: CancellationToken,
    answer: impl Fn(Request<Incoming>) -> F + Send + 'static,
) where
    F: Future<Output = Response<Answer>> + Send + 'static,
{
    let stream = stream.set_nonblocking(true).and_then(|()| tokio::net::UnixStream::from_std(stream));
    let Ok(stream) = stream else { return };
    let service = service_fn(move |request| {
        let answer = answer(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    // No timer: the peers are our own processes, and closing an idle connection would race with its next request.
    let connection = http1::Builder::new()
        .max_buf_size(BUFFER)
        .max_headers(HEADERS)
        .auto_date_header(false)
        .serve_connection(TokioIo::new(stream), service);
    let mut connection = pin!(connection);
    // An error is the peer's going away, or a far end's in the middle of an answer: the peer sees an answer cut short.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => {}
    }
    // What came and was not read yet is read first: an end right now would lose a request. This waits until the kernel was asked
    // once more what there is, and the connection is looked at before it is told.
    tokio::select! {
        biased;
        _ = connection.as_mut() => return,
        () = tokio::task::yield_now() => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}
