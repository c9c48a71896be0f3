//! Which request of the gateway is allowed, and what becomes of it. A pure function of method, path and table:
//! whatever is not written here is refused.

use std::sync::Arc;

use http::Method;
use openclaw_wire::egress::{Refusal, RefusalKind};
use url::Url;

use crate::{
    dial::Way,
    refuse::{refusal, shown},
    spend::Bill,
    table::{Credential, Table},
};

/// Bot API methods for the gateway. Never `setWebhook`, `deleteWebhook`, `logOut`, `close`: whoever can call
/// those can take the bot over, so they are the operator's alone.
const TELEGRAM_METHODS: &[&str] = &[
    "answerCallbackQuery",
    "deleteMessage",
    "editMessageReplyMarkup",
    "editMessageText",
    "getFile",
    "getMe",
    "getUpdates",
    "getWebhookInfo",
    "sendChatAction",
    "sendDocument",
    "sendMessage",
    "sendMessageDraft",
    "sendPhoto",
    "sendVoice",
    "setMyCommands",
];

/// Longest `file_path`; Telegram's are below 100 bytes.
const MAX_FILE_PATH: usize = 256;

/// A request as it will be sent.
#[derive(Debug)]
pub struct Target {
    /// Its method.
    pub method: Method,
    /// Its address, which may contain a token.
    pub url: Url,
    /// How far it reaches, and through what.
    pub way: Way,
    /// The keys for it.
    pub credentials: Arc<[Credential]>,
    /// What it costs; none for what costs nothing.
    pub bill: Option<Bill>,
}

/// Finds the target of a path below `/r/`, or refuses.
pub fn target(table: &Table, method: &Method, path: &str, query: Option<&str>) -> Result<Target, Refusal> {
    let not_allowed = |why: &str| {
        let message = format!("{method} {}: {why}", shown(path));
        refusal(
            RefusalKind::NotAllowed,
            message,
            "the gateway asked for what it may not; if you did not change it, please report it",
        )
    };
    if query.is_some() {
        return Err(not_allowed("a query is never forwarded"));
    }
    let mut parts = path.strip_prefix("/r/").unwrap_or_default().splitn(3, '/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("model"), Some(name), Some(rest)) => {
            let row = table.models.iter().find(|row| row.shown.name.as_str() == name);
            let call =
                row.ok_or_else(|| not_allowed("no such model"))?.call.as_ref().map_err(Clone::clone)?;
            if rest != call.path {
                return Err(not_allowed("not a path of this model's server"));
            }
            if method != Method::POST {
                return Err(not_allowed("only POST"));
            }
            Ok(Target {
                method: Method::POST,
                url: call.url.clone(),
                way: call.way.clone(),
                credentials: Arc::clone(&call.credentials),
                bill: Some(call.bill.clone()),
            })
        }
        (Some("telegram"), Some(name), Some(rest)) => {
            let row = table.bots.iter().find(|row| row.shown.name.as_str() == name);
            let call = &row.ok_or_else(|| not_allowed("no such bot"))?.call;
            let file = rest.strip_prefix("file/");
            match file {
                Some(file) if !file_path(file) => return Err(not_allowed("not the path of a file")),
                Some(_) if method != Method::GET => return Err(not_allowed("only GET")),
                None if !TELEGRAM_METHODS.contains(&rest) => {
                    return Err(not_allowed("not a method that the gateway may call"));
                }
                None if method != Method::POST => return Err(not_allowed("only POST")),
                _ => {}
            }
            let call = call.as_ref().map_err(Clone::clone)?;
            let url = file.map_or_else(|| call.method(rest), |file| call.file(file));
            let (way, credentials) = (call.way.clone(), Arc::clone(&call.credentials));
            Ok(Target { method: method.clone(), url, way, credentials, bill: None })
        }
        _ => Err(not_allowed("no such route")),
    }
}

/// `documents/file_12.pdf`, and nothing that could climb out or mean something to a server (incident 128).
fn file_path(path: &str) -> bool {
    path.len() <= MAX_FILE_PATH
        && path.split('/').all(|part| {
            !part.is_empty()
                && !part.starts_with('.')
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-.".contains(&b))
        })
}

#[cfg(test)]
mod tests {
    use http::Method;
    use openclaw_wire::egress::RefusalKind;

    use super::{TELEGRAM_METHODS, target};
    use crate::table::{Table, tests::table};

    fn example() -> Table {
        table(
            "[[model]]\nname='a'\napi='anthropic'\nmodel='m'\nkey='A'\n[[telegram.bot]]\nname='b'\ntoken='T'\n\
             [[telegram.bot]]\nname='keyless'\ntoken='U'",
            &[("A", "test-key"), ("T", "1:test-token")],
        )
    }

    #[test]
    fn what_is_in_the_table_goes_to_its_one_address() {
        let table = example();
        let good = |method, path: &str| target(&table, &method, path, None).expect(path);
        let model = good(Method::POST, "/r/model/a/v1/messages");
        assert_eq!(model.url.as_str(), "https://api.anthropic.com/v1/messages");
        assert!(model.credentials[0].header.is_some());
        for name in TELEGRAM_METHODS {
            let call = good(Method::POST, &format!("/r/telegram/b/{name}"));
            assert_eq!(call.url.as_str(), format!("https://api.telegram.org/bot1:test-token/{name}"));
            assert!(call.credentials.iter().all(|credential| credential.header.is_none()));
        }
        let file = good(Method::GET, "/r/telegram/b/file/documents/file_1.pdf");
        assert_eq!(file.url.as_str(), "https://api.telegram.org/file/bot1:test-token/documents/file_1.pdf");
    }

    #[test]
    fn everything_else_is_refused() {
        let table = example();
        let cases = [
            (Method::GET, "/r/model/a/v1/messages"),
            (Method::POST, "/r/model/a/v1/messages/"),
            (Method::POST, "/r/model/a/v1/messages/batches"),
            (Method::POST, "/r/model/a/v1/../v1/messages"),
            (Method::POST, "/r/model/a/v1%2fmessages"),
            (Method::POST, "/r/model/a//v1/messages"),
            (Method::GET, "/r/model/a/v1/models"),
            (Method::POST, "/r/model/b/v1/messages"),
            (Method::POST, "/r/model//v1/messages"),
            (Method::POST, "/r/model/a"),
            (Method::POST, "/r/telegram/b/setWebhook"),
            (Method::POST, "/r/telegram/b/setwebhook"),
            (Method::POST, "/r/telegram/b/deleteWebhook"),
            (Method::POST, "/r/telegram/b/logOut"),
            (Method::POST, "/r/telegram/b/close"),
            (Method::POST, "/r/telegram/b/sendmessage"),
            (Method::POST, "/r/telegram/b/getMe/"),
            (Method::POST, "/r/telegram/b/../b/getMe"),
            (Method::GET, "/r/telegram/b/getMe"),
            (Method::POST, "/r/telegram/a/getMe"),
            (Method::POST, "/r/telegram/b/file/a.pdf"),
            (Method::GET, "/r/telegram/b/file/"),
            (Method::GET, "/r/telegram/b/file/../getMe"),
            (Method::GET, "/r/telegram/b/file/a/../b"),
            (Method::GET, "/r/telegram/b/file/a//b"),
            (Method::GET, "/r/telegram/b/file/%2e%2e/b"),
            (Method::GET, "/r/telegram/b/file/.hidden"),
            (Method::GET, "/r/telegram/b/file/a b"),
            (Method::GET, "/r/telegram/b/file/a@evil.test"),
            (Method::GET, "/r/other/b/x"),
            (Method::GET, "/r/"),
            (Method::GET, "/"),
            (Method::GET, ""),
            (Method::GET, "/R/model/a/v1/messages"),
        ];
        for (method, path) in cases {
            let refusal = target(&table, &method, path, None).expect_err(path);
            assert_eq!(refusal.kind, RefusalKind::NotAllowed, "{method} {path}");
            assert!(!refusal.message.contains("test-"), "{}", refusal.message);
        }
        let long = format!("/r/telegram/b/file/{}", "a".repeat(300));
        assert!(target(&table, &Method::GET, &long, None).is_err());
        assert!(target(&table, &Method::POST, "/r/telegram/b/getMe", Some("a=1")).is_err());
        let keyless = target(&table, &Method::POST, "/r/telegram/keyless/getMe", None).expect_err("no key");
        assert_eq!(keyless.kind, RefusalKind::NoKey);
    }
}
