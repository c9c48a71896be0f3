//! The webhook side, after tdlib's `WebhookActor`: one update of a queue in flight, any 2xx is success, retries at once
//! and then after 2, 4, 8 … seconds up to a random 60 to 120, `Retry-After` overrides, expiry, 410 for 23 hours removes
//! the webhook. An update over 64 KiB is dropped. Left out: the limit on new connections after failures.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
    sync::Mutex as AsyncMutex,
    task::JoinSet,
};

use super::{
    Address, Core, Route,
    journal::Attempt,
    lock,
    world::{self, Bot, Pending},
};

/// The server's buffer for one update, in bytes.
const MAX_UPDATE: usize = 64 << 10;
/// A webhook that needs longer for its answer has failed.
const PATIENCE: Duration = Duration::from_secs(60);

type Pool = Arc<AsyncMutex<Vec<SendRequest<Full<Bytes>>>>>;

/// Delivers one bot's updates while it has a webhook, until its task is ended.
pub async fn run(core: Arc<Core>, token: String) {
    let mut changes = core.changes.subscribe();
    let pool = Pool::default();
    let mut flights = JoinSet::new();
    loop {
        let routed = lock(&core.route).is_some();
        let ready = core.with_quietly(&token, |bot| if routed { start(bot) } else { Vec::new() });
        for (id, pending) in ready.unwrap_or_default() {
            flights.spawn(deliver(core.clone(), token.clone(), id, pending, pool.clone()));
        }
        while flights.try_join_next().is_some() {}
        if changes.changed().await.is_err() {
            return;
        }
    }
}

/// The updates whose delivery may begin now: heads of idle queues, as many as connections are allowed.
fn start(bot: &mut Bot) -> Vec<(i64, Pending)> {
    let Some(hook) = &bot.hook else { return Vec::new() };
    let room = hook.max_connections.saturating_sub(bot.busy.len());
    bot.expire();
    let mut ready = Vec::new();
    for (id, pending) in &bot.pending {
        if ready.len() == room {
            break;
        }
        if bot.busy.insert(pending.queue) {
            ready.push((*id, pending.clone()));
        }
    }
    ready
}

async fn deliver(core: Arc<Core>, token: String, id: i64, pending: Pending, pool: Pool) {
    let body = world::update(id, &pending).to_string().replacen(',', ",\n", 1);
    let mut gone_since: Option<Instant> = None;
    let mut failures: u32 = 0;
    while body.len() < MAX_UPDATE && pending.expires > Instant::now() {
        let hook =
            core.look(&token, |bot| bot.hook.clone().filter(|_| bot.pending.contains_key(&id))).flatten();
        let (Some(hook), Some(route)) = (hook, lock(&core.route).clone()) else { break };
        let at = Instant::now();
        let outcome = post(&route, &hook, body.clone(), &pool).await;
        let attempt = match &outcome {
            Ok((status, retry_after, answer)) => Attempt {
                update: id,
                number: failures + 1,
                status: Some(*status),
                answer: answer.clone(),
                retry_after: *retry_after,
                at,
            },
            Err(why) => Attempt {
                update: id,
                number: failures + 1,
                status: None,
                answer: format!("{why:#}"),
                retry_after: None,
                at,
            },
        };
        let (status, retry_after, answer) = (attempt.status, attempt.retry_after, attempt.answer.clone());
        lock(&core.journal).attempts.push(attempt);
        if status.is_some_and(|status| (200..300).contains(&status)) {
            if serde_json::from_str::<Value>(&answer).is_ok_and(|body| body.get("method").is_some()) {
                core.violation(format!(
                    "the answer to update {id} is a method call that Telegram would execute: {answer}"
                ));
            }
            break;
        }
        failures += 1;
        let why = match status {
            Some(status) => format!("Wrong response from the webhook: {status}"),
            None => answer,
        };
        let removed = match status {
            Some(410) => {
                let since = *gone_since.get_or_insert(at);
                since.elapsed() > core.scaled(Duration::from_secs(23 * 3600))
            }
            _ => {
                gone_since = None;
                false
            }
        };
        core.with(&token, |bot| match &mut bot.hook {
            Some(_) if removed => bot.hook = None,
            Some(hook) => hook.last_error = Some((world::now(), why)),
            None => {}
        });
        if removed {
            core.with(&token, |bot| bot.busy.remove(&pending.queue));
            return;
        }
        tokio::time::sleep(core.scaled(pause(failures, retry_after))).await;
    }
    core.with(&token, |bot| {
        let kept = bot.hook.is_none();
        bot.busy.remove(&pending.queue);
        if !kept {
            bot.pending.remove(&id);
        }
    });
}

fn pause(failures: u32, retry_after: Option<u64>) -> Duration {
    let mut random = [0];
    let _ = getrandom::fill(&mut random);
    let most = 60 + u64::from(random[0]) * 60 / 255;
    let backoff = match failures {
        0 | 1 => 0,
        n => 1u64.checked_shl(n - 1).unwrap_or(u64::MAX).min(most),
    };
    Duration::from_secs(retry_after.map_or(backoff, |seconds| seconds.min(3600)))
}

async fn post(
    route: &Route,
    hook: &world::Hook,
    body: String,
    pool: &Pool,
) -> Result<(u16, Option<u64>, String)> {
    let url = url::Url::parse(&hook.url)?;
    let mut request = Request::post(url.path())
        .header(header::HOST, url.host_str().unwrap_or_default())
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::CONTENT_LENGTH, body.len())
        .header(header::CONNECTION, "keep-alive")
        .header(header::ACCEPT_ENCODING, "gzip, deflate");
    if let Some(secret) = &hook.secret {
        request = request.header("X-Telegram-Bot-Api-Secret-Token", secret);
    }
    if let Some(source) = &route.tunnel {
        request = request
            .header("CF-Connecting-IP", source)
            .header("X-Forwarded-For", source)
            .header("X-Forwarded-Proto", "https")
            .header("CF-Ray", "8a0000000000test-AMS")
            .header("CDN-Loop", "cloudflare; loops=1");
    }
    let request = request.body(Full::from(body))?;
    let exchange = async {
        let mut sender = connection(route, pool).await?;
        let response = sender.send_request(request).await.context("Webhook connection closed")?;
        let status = response.status().as_u16();
        let retry_after =
            response.headers().get(header::RETRY_AFTER).and_then(|v| v.to_str().ok()?.parse().ok());
        let answer = Limited::new(response.into_body(), 1 << 20).collect().await;
        let answer = answer.map_err(|why| anyhow::anyhow!("read the webhook's answer: {why}"))?.to_bytes();
        pool.lock().await.push(sender);
        Ok((status, retry_after, String::from_utf8_lossy(&answer).into_owned()))
    };
    match tokio::time::timeout(PATIENCE, exchange).await {
        Ok(outcome) => outcome,
        Err(_) => bail!("Read timeout expired"),
    }
}

async fn connection(route: &Route, pool: &Pool) -> Result<SendRequest<Full<Bytes>>> {
    let mut idle = pool.lock().await;
    while let Some(mut sender) = idle.pop() {
        if sender.ready().await.is_ok() {
            return Ok(sender);
        }
    }
    drop(idle);
    match &route.to {
        Address::Tcp(address) => {
            let stream = TcpStream::connect(address).await.context("Connection refused")?;
            stream.set_nodelay(true)?;
            handshake(stream).await
        }
        Address::Unix(path) => {
            handshake(UnixStream::connect(path).await.context("Connection refused")?).await
        }
    }
}

async fn handshake<S>(stream: S) -> Result<SendRequest<Full<Bytes>>>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

#[cfg(test)]
mod tests {
    use std::{
        collections::HashMap,
        sync::{Arc, Mutex},
        time::Duration,
    };

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use crate::telegram::{Address, Telegram};

    #[test]
    fn the_pauses_are_telegrams() {
        let seconds = |n, retry| super::pause(n, retry).as_secs();
        assert_eq!([1, 2, 3, 4, 5, 6].map(|n| seconds(n, None)), [0, 2, 4, 8, 16, 32]);
        assert!((60..=120).contains(&seconds(9, None)));
        assert_eq!(super::pause(9, Some(1)), Duration::from_secs(1));
        assert_eq!(seconds(1, Some(99_999)), 3600);
    }

    type Seen = Arc<Mutex<Vec<String>>>;

    /// A webhook that answers by the text of the message: the status in front of it for the first `times` deliveries.
    async fn webhook(times: usize) -> (Address, Seen) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("port");
        let address = Address::Tcp(listener.local_addr().expect("address"));
        let (seen, counts) = (Seen::default(), Arc::new(Mutex::new(HashMap::<String, usize>::new())));
        let log = seen.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let (log, counts) = (log.clone(), counts.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 65_536];
                    while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                        let request = String::from_utf8_lossy(&bytes[..length]).into_owned();
                        let text =
                            request.split("\"text\":\"").nth(1).and_then(|rest| rest.split('"').next());
                        let text = text.unwrap_or("callback").to_owned();
                        log.lock().expect("lock").push(text.clone());
                        let count = {
                            let mut counts = counts.lock().expect("lock");
                            let count = counts.entry(text.clone()).or_default();
                            *count += 1;
                            *count
                        };
                        let status = text.split(' ').next().and_then(|word| word.parse().ok()).unwrap_or(200);
                        let status = if count > times { 200 } else { status };
                        let body = if text.contains("method") { "{\"method\":\"sendMessage\"}" } else { "" };
                        let answer =
                            format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
                        stream.write_all(answer.as_bytes()).await.expect("written");
                    }
                });
            }
        });
        (address, seen)
    }

    #[tokio::test]
    async fn a_failing_update_blocks_its_own_chat_and_nothing_else() {
        let telegram = Telegram::start().await;
        let bot = telegram.bot("1:x", "b");
        let (address, seen) = webhook(3).await;
        telegram.route(address, None);
        telegram.time_scale(0.01);
        let (anna, bert) = (bot.person(1, "Anna"), bot.person(2, "Bert"));
        anna.says("500 first");
        anna.says("second");
        bert.says("302 elsewhere");
        bert.says("204 fine");
        bot.register_webhook("https://b.example.com/hook", None);
        bot.all_delivered().await;
        let seen = seen.lock().expect("lock").clone();
        let of = |text: &str| seen.iter().filter(|other| *other == text).count();
        assert_eq!(
            (of("500 first"), of("302 elsewhere"), of("second"), of("204 fine")),
            (4, 4, 1, 1),
            "{seen:?}"
        );
        let place = |text: &str| seen.iter().rposition(|other| other == text).expect("seen");
        assert!(place("500 first") < place("second"), "in a chat the order is kept: {seen:?}");
        let statuses: Vec<_> = telegram.attempts().iter().filter_map(|attempt| attempt.status).collect();
        assert_eq!(statuses.iter().filter(|status| **status == 500).count(), 3);
    }

    #[tokio::test]
    async fn a_callback_overtakes_its_chat_and_a_method_in_the_answer_is_noticed() {
        let telegram = Telegram::start().await;
        let bot = telegram.bot("1:x", "b");
        let (address, seen) = webhook(1000).await;
        telegram.route(address, None);
        telegram.time_scale(0.01);
        let anna = bot.person(1, "Anna");
        anna.says("503 stuck");
        let sent = crate::telegram::Sent { id: 99, text: String::new(), message: serde_json::Value::Null };
        anna.presses_data(&sent, "data");
        bot.person(2, "Bert").says("method");
        bot.register_webhook("https://b.example.com/hook", None);
        while !["callback", "method"].iter().all(|text| seen.lock().expect("lock").iter().any(|t| t == text))
        {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        while bot.pending() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let violations = telegram.take_violations();
        assert!(violations.len() == 1 && violations[0].contains("method call"), "{violations:?}");
    }
}
