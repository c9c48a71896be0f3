//! The operator's socket: status, the terminal's chat, approvals, pairing. A unix socket of mode 0600, and only for
//! this process's own user and root. Never reachable from a network.

mod files;

use std::{io, os::unix::net::UnixListener, path::PathBuf, sync::Arc};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Query, State},
    http::StatusCode,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use bytes::Bytes;
use futures_util::stream;
use openclaw_confine::{Report, peer};
use openclaw_wire::{
    admin::{
        Approve, ChatEvent, DeadLetter, Letter, OfSkill, PageToken, PairCode, Problem, Queues, Ran, RunTool,
        Say, SkillCall, SkillStatus, Status, SwitchSkill,
    },
    audit::Audit,
    config::Updates,
    drill::Drill,
    skill::Tool,
};
use tokio::net::{UnixStream, unix::SocketAddr};
use tokio_util::sync::CancellationToken;

use crate::{egress::Egress, inbox, outbox, page::Page, session::pairing, store::StoreError, turn::Engine};

/// What the routes need.
pub struct Admin {
    /// The turns.
    pub engine: Arc<Engine>,
    /// For its status.
    pub egress: Egress,
    /// What the kernel enforces on this process.
    pub report: Report,
    /// Unix seconds.
    pub started: u64,
    /// The key file, for what is said to the operator.
    pub keys: PathBuf,
    /// The status page, when it is on.
    pub page: Option<Arc<Page>>,
    /// What the operator should know of each bot.
    pub problems: Box<dyn Fn() -> Vec<String> + Send + Sync>,
}

type Shared = State<Arc<Admin>>;

/// Serves until `stop`.
pub async fn serve(listener: UnixListener, admin: Arc<Admin>, stop: CancellationToken) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = Own(tokio::net::UnixListener::from_std(listener)?);
    let routes = Router::new()
        .route("/status", get(status))
        .route("/chat", post(chat))
        .route("/chat/files", post(files::attach).layer(DefaultBodyLimit::disable()))
        .route("/chat/files/{name}", get(files::give))
        .route("/chat/stop", post(chat_stop))
        .route("/approve", post(approve))
        .route("/pair", post(pair))
        .route("/freeze", post(freeze))
        .route("/unfreeze", post(unfreeze))
        .route("/dead-letters", get(dead_letters).post(dead_letter))
        .route("/skills/switch", post(switch_skill))
        .route("/skills/run", post(run_tool))
        .route("/skills/calls", get(skill_calls))
        .route("/skills/tools", get(skill_tools))
        .route("/drill", post(drilled))
        .route("/audit", post(audited))
        .route("/page/token", post(page_token))
        .with_state(admin);
    axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Accepts connections of this user and root alone.
struct Own(tokio::net::UnixListener);

impl axum::serve::Listener for Own {
    type Io = UnixStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (UnixStream, SocketAddr) {
        loop {
            match self.0.accept().await {
                Ok((stream, address)) => match peer::credentials(&stream) {
                    Ok(peer) if peer.uid == 0 || peer.uid == rustix::process::geteuid().as_raw() => {
                        return (stream, address);
                    }
                    Ok(peer) => tracing::warn!(uid = peer.uid, "refused another user on the admin socket"),
                    Err(error) => tracing::warn!(%error, "refused a nameless peer on the admin socket"),
                },
                Err(error) => {
                    tracing::warn!(%error, "could not accept on the admin socket");
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What can't be carried out.
struct Failed(StatusCode, Problem);

impl IntoResponse for Failed {
    fn into_response(self) -> Response {
        (self.0, Json(self.1)).into_response()
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        let problem =
            Problem { message: error.to_string(), mend: "`openclaw doctor` looks at the disk".into() };
        Self(StatusCode::SERVICE_UNAVAILABLE, problem)
    }
}

async fn status(State(admin): Shared) -> Result<Json<Status>, Failed> {
    Ok(Json(admin.status().await?))
}

impl Admin {
    /// What the gateway tells of itself and of the two others.
    pub async fn status(&self) -> Result<Status, StoreError> {
        let engine = &self.engine;
        let (egress, runner) = tokio::join!(self.egress.status(), engine.executor.status());
        let (waiting, dead) = engine.store.read(inbox::depth)?;
        let (sending, unsent) = engine.store.read(outbox::rows::depth)?;
        let (lanes, _) = engine.depth();
        let mut warnings = (self.problems)();
        if engine.frozen() {
            warnings.push("Everything is frozen; `openclaw unfreeze` lifts it.".into());
        }
        let mut processes = vec![serde_json::to_value(&self.report).unwrap_or_default()];
        let (models, bots, caps) = match egress {
            Ok(status) => {
                processes.push(status.confinement);
                (engine.models.list().await.unwrap_or(status.models), status.bots, status.caps)
            }
            Err(error) => {
                warnings.push(format!("Egress does not answer: {error}"));
                Default::default()
            }
        };
        let runner_off = match runner {
            Ok(status) => {
                processes.push(status.confinement);
                status.skills_off
            }
            Err(error) => Some(format!("the runner does not answer: {error}")),
        };
        let skills_off = engine.skills_off().or(runner_off);
        let webhook = bots.iter().any(|bot| bot.updates == Updates::Webhook);
        let tools = engine.catalog.tools();
        let mut skills: Vec<_> = engine
            .catalog
            .skills()
            .iter()
            .map(|skill| SkillStatus {
                id: skill.id.clone(),
                digest: skill.digest.clone(),
                tools: tools
                    .iter()
                    .filter(|found| found.skill.id == skill.id)
                    .map(|found| found.tool.name.as_str().to_owned())
                    .collect(),
                problem: (!engine.switched_on(&skill.id))
                    .then(|| format!("switched off; mend: openclaw skills enable {}", skill.id)),
            })
            .collect();
        for (name, problem) in engine.catalog.problems() {
            match name.parse() {
                Ok(id) => skills.push(SkillStatus {
                    id,
                    digest: String::new(),
                    tools: Vec::new(),
                    problem: Some(problem.clone()),
                }),
                Err(_) => warnings.push(format!("Skills in {name}: {problem}")),
            }
        }
        Ok(Status {
            profile: engine.config.profile,
            started: self.started,
            version: env!("CARGO_PKG_VERSION").into(),
            models,
            bots,
            caps,
            webhook_from: webhook.then_some(engine.config.webhook.from),
            queues: Queues {
                inbox_waiting: waiting,
                running_turns: lanes as u64,
                outbox_waiting: sending,
                dead_letters: dead + unsent,
            },
            owner_paired: engine.access().owners().next().is_some(),
            skills,
            skills_off,
            processes,
            last_drill: engine.last_drill()?,
            page: self.page.as_ref().map(|page| page.status()).unwrap_or_default(),
            warnings,
        })
    }
}

async fn chat(State(admin): Shared, Json(say): Json<Say>) -> Result<Response, Failed> {
    let events = admin.engine.say(&say).await?;
    let lines = stream::unfold(events, |mut events| async move {
        let event: ChatEvent = events.recv().await?;
        let mut line = serde_json::to_vec(&event).unwrap_or_default();
        line.push(b'\n');
        Some((Ok::<_, io::Error>(Bytes::from(line)), events))
    });
    Ok(([("content-type", "application/x-ndjson")], Body::from_stream(lines)).into_response())
}

async fn chat_stop(State(admin): Shared) -> StatusCode {
    admin.engine.stop_terminal().await;
    StatusCode::NO_CONTENT
}

async fn approve(State(admin): Shared, Json(answer): Json<Approve>) -> Result<StatusCode, Failed> {
    match admin.engine.approve_in_terminal(&answer.id, answer.approve).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let message = "this question is no longer open, or was not asked in the terminal".into();
            Err(Failed(StatusCode::GONE, Problem { message, mend: String::new() }))
        }
    }
}

async fn pair(State(admin): Shared) -> Result<Json<PairCode>, Failed> {
    let code = pairing::code().map_err(|error| {
        let problem = Problem { message: format!("make a code: {error}"), mend: "try again".into() };
        Failed(StatusCode::INTERNAL_SERVER_ERROR, problem)
    })?;
    let now = jiff::Timestamp::now().as_second();
    let offered = code.clone();
    admin.engine.store.write(move |tx| pairing::offer(tx, &offered, now)).await?;
    Ok(Json(PairCode {
        code,
        expires: (now + pairing::VALID).unsigned_abs(),
        bots: admin.engine.usernames(),
    }))
}

async fn freeze(State(admin): Shared) -> Result<StatusCode, Failed> {
    admin.engine.freeze().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn unfreeze(State(admin): Shared) -> Result<StatusCode, Failed> {
    admin.engine.unfreeze().await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn dead_letters(State(admin): Shared) -> Result<Json<Vec<DeadLetter>>, Failed> {
    Ok(Json(admin.engine.dead_letters()?))
}

async fn dead_letter(State(admin): Shared, Json(letter): Json<Letter>) -> Result<StatusCode, Failed> {
    match admin.engine.dead_letter(&letter).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => {
            let message = format!("there is no dead letter {:?}", letter.id);
            let mend = "`openclaw dead-letters list` shows all".into();
            Err(Failed(StatusCode::NOT_FOUND, Problem { message, mend }))
        }
    }
}

fn refused(message: String) -> Failed {
    Failed(StatusCode::CONFLICT, Problem { message, mend: String::new() })
}

async fn switch_skill(State(admin): Shared, Json(switch): Json<SwitchSkill>) -> Result<StatusCode, Failed> {
    admin.engine.switch_skill(&switch).await?.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn run_tool(State(admin): Shared, Json(run): Json<RunTool>) -> Result<Json<Ran>, Failed> {
    admin.engine.run_tool(&run).await?.map(Json).map_err(refused)
}

async fn skill_calls(
    State(admin): Shared,
    Query(of): Query<OfSkill>,
) -> Result<Json<Vec<SkillCall>>, Failed> {
    Ok(Json(admin.engine.skill_calls(of.skill.as_ref().map(|skill| skill.as_str()))?))
}

async fn skill_tools(State(admin): Shared, Query(of): Query<OfSkill>) -> Json<Vec<Tool>> {
    let tools = admin.engine.catalog.tools().into_iter();
    let tools = tools.filter(|found| of.skill.as_ref().is_none_or(|skill| found.skill.id == *skill));
    Json(tools.map(|found| (*found.tool).clone()).collect())
}

async fn drilled(State(admin): Shared, Json(drill): Json<Drill>) -> Result<StatusCode, Failed> {
    admin.engine.drilled(&drill).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn audited(State(admin): Shared, Json(audit): Json<Audit>) -> Result<StatusCode, Failed> {
    admin.engine.audited(&audit).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn page_token(State(admin): Shared, Json(token): Json<PageToken>) -> Result<StatusCode, Failed> {
    let Some(page) = &admin.page else {
        let message = "change a token of the status page: the page is off".into();
        let mend = "set listen = \"vpn\" in section [admin] of openclaw.toml, then restart".into();
        return Err(Failed(StatusCode::CONFLICT, Problem { message, mend }));
    };
    page.set_token(&token).map_err(|error| {
        let message = format!("keep a token of the status page: {error}");
        Failed(
            StatusCode::SERVICE_UNAVAILABLE,
            Problem { message, mend: "`openclaw doctor` looks at the disk".into() },
        )
    })?;
    Ok(StatusCode::NO_CONTENT)
}
