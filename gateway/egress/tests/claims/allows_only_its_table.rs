//! Routes, methods and paths that are not in the table never leave.

use openclaw_wire::egress::RefusalKind;

use crate::{far::Far, program::Setup};

/// Incidents 54 and 56: what a request names is compared whole, and never an address.
#[test]
fn what_is_not_in_the_table_is_refused_and_reaches_nobody() {
    let far = Far::fixed("200 OK", "", "{}");
    let egress = Setup::bot(&far.url(), "poll").start();
    assert_eq!(egress.call("POST", "/r/telegram/b/getMe", "").status, 200, "the same act, allowed");
    assert_eq!(far.seen().len(), 1);

    for (method, path) in [
        ("POST", "/r/telegram/b/setWebhook"),
        ("POST", "/r/telegram/b/deleteWebhook"),
        ("POST", "/r/telegram/b/logOut"),
        ("POST", "/r/telegram/b/close"),
        ("POST", "/r/telegram/other/getMe"),
        ("GET", "/r/telegram/b/getMe"),
        ("POST", "/r/telegram/b/getMe?offset=1"),
        ("POST", "/r/telegram/b/file/a"),
        ("GET", "/r/telegram/b/file/../getMe"),
        ("POST", "/r/model/m/v1/messages"),
        ("POST", "/r/telegram/b./getMe"),
        ("POST", "/r/telegram/B/getMe"),
        ("POST", "/r/telegram/b%00.other/getMe"),
        ("POST", "/r/telegram/b.evil.test/getMe"),
        ("POST", "/r/telegram/evil.test@b/getMe"),
        ("CONNECT", "api.telegram.org:443"),
        ("GET", "http://api.telegram.org/"),
        ("GET", "/"),
        ("POST", "/webhook/b/set"),
        ("POST", "/webhook/b/info"),
    ] {
        let answer = egress.call(method, path, "");
        assert_eq!(answer.status, 403, "{method} {path}");
        answer.refused(RefusalKind::NotAllowed);
    }
    assert_eq!(far.seen().len(), 1, "nothing of it left");
}

/// Incident 117.
#[test]
fn a_missing_key_is_an_error_and_not_a_request_without_it() {
    let far = Far::fixed("200 OK", "", "{}");
    let egress = Setup::model(&far.url()).keys("OTHER=1\n").start();
    let answer = egress.ask("{}");
    assert_eq!(answer.status, 424);
    let refusal = answer.refused(RefusalKind::NoKey);
    assert_eq!(refusal.message, "the key MODEL_KEY is not there");
    assert_eq!(refusal.mend, "openclaw keys add MODEL_KEY");
    assert_eq!(egress.status().models[0].problem.as_deref(), Some("the key MODEL_KEY is not there"));
    assert!(far.seen().is_empty());
}

/// Incident 57.
#[test]
fn a_redirect_is_not_followed() {
    let trap = Far::fixed("200 OK", "", "trapped");
    let to = trap.url();
    let far = Far::start(move |_, stream| {
        crate::far::reply(stream, "307 Temporary Redirect", &format!("location: {to}/v1/messages\r\n"), b"");
    });
    let egress = Setup::model(&far.url()).start();
    let answer = egress.ask("{}");
    assert_eq!((answer.status, answer.header("location")), (307, None));
    assert_eq!((far.seen().len(), trap.seen().len()), (1, 0));
}
