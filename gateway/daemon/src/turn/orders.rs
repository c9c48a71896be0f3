//! What commands do. Each gives the text of its answer; who may give which was decided before.

use std::sync::atomic::Ordering;

use super::{Engine, money, now};
use crate::{
    files,
    inbox::{self, Lane},
    outbox,
    session::{Command, history},
    store::StoreError,
};

/// Carries a command out.
pub async fn carry_out(
    engine: &Engine,
    lane: &Lane,
    command: Command,
    arguments: &str,
) -> Result<String, StoreError> {
    match command {
        Command::Start => Ok("Hello. Write me a message; /help lists the commands.".into()),
        Command::Help => {
            Ok(Command::ALL.map(|c| format!("/{} – {}", c.describe().0, c.describe().1)).join("\n"))
        }
        Command::New => new(engine, lane).await,
        // In the lane when nothing runs before it; ahead of the lane it is handled by `urgent`.
        Command::Stop => Ok("Nothing is running.".into()),
        Command::Freeze => freeze(engine).await,
        Command::Status => status(engine).await,
        Command::Usage => Ok(money::usage(engine, lane).await),
        Command::Model => model(engine, lane, arguments).await,
        Command::Privacy => Ok(privacy(engine).await),
    }
}

async fn new(engine: &Engine, lane: &Lane) -> Result<String, StoreError> {
    let lane = lane.clone();
    let gone = engine
        .store
        .write(move |tx| {
            let session = history::open(tx, lane.bot.as_str(), lane.chat.0, lane.topic)?;
            history::clear(tx, session)?;
            files::rows::forget(tx, session, &outbox::file::held(tx)?)
        })
        .await?;
    engine.shelf.remove(&gone);
    Ok(match gone.len() {
        0 => "A new conversation. What was said before is forgotten here.".into(),
        1 => "A new conversation. What was said before is forgotten here, and its file is deleted.".into(),
        count => format!(
            "A new conversation. What was said before is forgotten here, and its {count} files are deleted."
        ),
    })
}

impl Engine {
    /// Stops everything, durably. Lifted only on the server.
    pub async fn freeze(&self) -> Result<(), StoreError> {
        let at = now();
        self.frozen.store(true, Ordering::Relaxed);
        self.lanes.cancel_all();
        self.store.write(move |tx| history::freeze(tx, Some(at))).await
    }

    /// Lifts [`Engine::freeze`].
    pub async fn unfreeze(&self) -> Result<(), StoreError> {
        self.store.write(|tx| history::freeze(tx, None)).await?;
        self.frozen.store(false, Ordering::Relaxed);
        tracing::info!("unfrozen by the operator");
        Ok(())
    }
}

/// `/freeze`.
pub async fn freeze(engine: &Engine) -> Result<String, StoreError> {
    engine.freeze().await?;
    Ok("Frozen. Everything that ran was stopped, and nothing will run until `openclaw unfreeze` on the server.".into())
}

async fn status(engine: &Engine) -> Result<String, StoreError> {
    let (waiting, dead) = engine.store.read(inbox::depth)?;
    let (lanes, _) = engine.depth();
    let skills = engine.catalog.skills().len();
    let spent = money::status(engine).await;
    Ok(format!(
        "Running. Chats at work: {lanes}. Messages waiting: {waiting}. Given up: {dead}. Skills: {skills}.\n{spent}\nOn the server, `openclaw status` shows more."
    ))
}

async fn model(engine: &Engine, lane: &Lane, name: &str) -> Result<String, StoreError> {
    let models = match engine.models.list().await {
        Ok(models) => models,
        Err(error) => return Ok(format!("The models can't be listed: {error}")),
    };
    let known =
        models.iter().map(|m| format!("{} ({}, {})", m.name, m.model, m.host)).collect::<Vec<_>>().join("\n");
    if name.is_empty() {
        return Ok(format!(
            "Models, in order of preference:\n{known}\n\n/model NAME chooses one for this chat, /model default undoes it."
        ));
    }
    let choice = match name {
        "default" => None,
        name if models.iter().any(|model| model.name.as_str() == name) => Some(name.to_owned()),
        _ => return Ok(format!("There is no model of that name. Models:\n{known}")),
    };
    let (lane, text) = (lane.clone(), format!("This chat now uses: {name}."));
    engine
        .store
        .write(move |tx| {
            let session = history::open(tx, lane.bot.as_str(), lane.chat.0, lane.topic)?;
            history::choose_model(tx, session, choice.as_deref())
        })
        .await?;
    tracing::info!("the owner chose a model");
    Ok(text)
}

async fn privacy(engine: &Engine) -> String {
    let hosts = match engine.models.list().await {
        Ok(models) => {
            models.iter().map(|model| model.host.clone()).collect::<std::collections::BTreeSet<_>>()
        }
        Err(_) => Default::default(),
    };
    let hosts = hosts.into_iter().filter(|host| !host.is_empty()).collect::<Vec<_>>().join(", ");
    format!(
        "Telegram sees every message here. The model server ({}) sees this conversation and what skills return. \
         The server that runs this assistant stores the conversation until /new, and a summary of its older part; files that come with messages or that \
         skills make until /new or for {} days. \
         Keys are in a process of their own; neither the model nor a skill ever sees them.",
        if hosts.is_empty() { "none: the rehearsal model runs here" } else { &hosts },
        engine.config.files.days,
    )
}
