//! Which manifests are approved is egress's own knowledge: a hijacked gateway opens no way out for another one, and a
//! hijacked runner opens none at all.

use std::io::Read;

use openclaw_tests::broker::{Broker, Far, Setup};
use openclaw_wire::{
    egress::{Redeemed, RefusalKind},
    frame,
    runner::{Failure, Outcome},
};
use serde_json::json;

fn world() -> (Broker, Far) {
    let setup = Setup::new();
    let far = Far::tls(&["localhost"], &setup.authority(), Far::says("an answer"));
    let hosts = "hosts = [{ host = \"api.internal\" }]";
    let broker = setup
        .private("api", &far)
        .skill("weather", hosts)
        .skill("other", "hosts = [{ host = \"api.internal\" }]")
        .start();
    (broker, far)
}

/// A skill that nobody approved, another state of one, and one that was revoked: the gateway cannot open a call of them,
/// and no request of its own approves anything.
#[test]
fn a_hijacked_gateway_opens_nothing_that_is_not_approved() {
    let (broker, far) = world();
    let digest = broker.digest("weather");
    let refused = broker.open("1", "weather", &digest, &[]).refusal();
    assert_eq!(refused.kind, RefusalKind::NotAllowed);
    assert!(
        refused.message.contains("nobody has approved")
            && refused.mend.contains("openclaw skills approve weather")
    );

    broker.approve("weather");
    assert_eq!(broker.open("1", "weather", &digest, &[]).status, 204, "approved");
    for (skill, digest) in
        [("weather", "0".repeat(64)), ("weather", String::new()), ("other", digest.clone())]
    {
        let refused = broker.open("2", skill, &digest, &[]).refusal();
        assert_eq!(refused.kind, RefusalKind::NotAllowed, "{skill} {digest}");
    }
    // It may not say which hosts, nor use the operator's words.
    let wish =
        json!({ "call": "3", "skill": "weather", "digest": digest, "hosts": [{ "host": "evil.example" }] });
    assert_eq!(broker.gateway("POST", "/call/open", &wish).status, 400);
    let approval =
        json!({ "skill": "other", "digest": broker.digest("other"), "hosts": [{ "host": "evil.example" }] });
    for path in
        ["/skills/approve", "/skills", "/call/approve", "/call/../skills/approve", "/r/skills/approve"]
    {
        assert!(broker.gateway("POST", path, &approval).status >= 400, "{path}");
    }
    assert!(
        broker.open("4", "other", &broker.digest("other"), &[]).status >= 400,
        "it is still not approved"
    );

    assert_eq!(broker.operator("POST", "/skills/revoke", &json!({ "skill": "weather" })).status, 204);
    assert!(broker.open("5", "weather", &digest, &[]).status >= 400, "revoked");
    let outcome = broker.run("1", "weather", &json!({ "act": "fetch", "url": "https://api.internal/" }));
    assert!(
        matches!(outcome, Outcome::Failed { reason: Failure::Refused, .. }),
        "registered before, revoked since"
    );
    assert_eq!(far.connections(), 0);
}

/// With what the runner holds, a call that the gateway did not register is not redeemed, one that it did only once, and
/// nothing else is answered.
#[test]
fn a_hijacked_runner_opens_nothing() {
    let (broker, far) = world();
    broker.approve("weather");
    let redeem = |id: &str| {
        let stream = broker.runner(&json!({ "call": id }));
        let said: Redeemed = frame::read(&stream).expect("an answer").expect("an answer");
        (said, stream)
    };
    for id in ["1", "call-0", "", "../1"] {
        assert!(matches!(redeem(id).0, Redeemed::Refused(_)), "{id:?}");
    }
    assert_eq!(broker.open("1", "weather", &broker.digest("weather"), &[]).status, 204);
    let (said, _way) = redeem("1");
    let Redeemed::Open { authority } = said else { panic!("registered: {said:?}") };
    assert!(authority.starts_with("-----BEGIN CERTIFICATE-----"));
    assert!(matches!(redeem("1").0, Redeemed::Refused(_)), "a second time");
    assert!(broker.log().contains("refused the runner a way out"), "it is logged");
    // The gateway's words are nothing at the runner's door.
    for word in [
        json!({ "call": "2", "skill": "weather", "digest": broker.digest("weather") }),
        json!({ "skill": "weather" }),
        json!("POST /call/open"),
        json!({ "call": "x".repeat(5000) }),
    ] {
        let mut stream = broker.runner(&word);
        let mut rest = Vec::new();
        let _closed = stream.read_to_end(&mut rest);
        assert!(rest.is_empty(), "{word}");
    }
    let mut stream = broker.runner(&json!(1));
    use std::io::Write;
    let _refused = stream.write_all(b"POST /skills/approve HTTP/1.1\r\nhost: x\r\n\r\n");
    let mut rest = Vec::new();
    let _closed = stream.read_to_end(&mut rest);
    assert!(rest.is_empty());
    assert_eq!(far.connections(), 0);
}

/// A way out ends with its call: what still runs in the jail reaches nothing when the gateway has closed it.
#[test]
fn a_way_out_ends_with_its_call() {
    let (broker, far) = world();
    broker.approve("weather");
    let (said, closed) = broker.ok("weather", json!({ "act": "fetch", "url": "https://api.internal/" }));
    assert_eq!((&said["status"], closed.requests), (&json!(200), 1));

    // A skill that fetches on and on, until its way ends under it.
    broker.open("on", "weather", &broker.digest("weather"), &[]);
    let on = json!({ "act": "fetch on and on", "url": "https://api.internal/" });
    let outcome = std::thread::scope(|scope| {
        let running = scope.spawn(|| broker.run("on", "weather", &on));
        while far.seen().len() < 5 {
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        let closed = broker.close("on");
        let seen = far.seen().len();
        assert!(closed.requests >= 4, "{closed:?}");
        let outcome = running.join().expect("ran");
        assert!(far.seen().len() <= seen + 1, "one may have been on its way");
        outcome
    });
    assert!(matches!(outcome, Outcome::Output(_)), "it went on until it saw an error: {outcome:?}");
    let before = far.seen().len();

    // Not registered: the runner is refused, and the skill does not start.
    let outcome = broker.run("late", "weather", &json!({ "act": "fetch", "url": "https://api.internal/" }));
    let Outcome::Failed { reason: Failure::Refused, detail } = outcome else { panic!("{outcome:?}") };
    assert!(detail.contains("no way out is registered"), "{detail}");
    assert_eq!(far.seen().len(), before);
}
