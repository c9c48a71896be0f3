//! The gateway's client of egress: connections are used again, nothing is sent twice, refusals are typed.

mod stand_in;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Full};
use openclaw::egress::{Egress, EgressError, collect};
use openclaw_wire::egress::RefusalKind;
use serde_json::json;
use stand_in::{Act, StandIn, chunk, end, head};

fn post(path: &str) -> Request<Full<Bytes>> {
    Request::post(path).body(Full::new(Bytes::from_static(b"{\"a\":1}"))).expect("a request")
}

async fn text(egress: &Egress, path: &str) -> Result<Bytes, EgressError> {
    collect(egress.send(post(path)).await?.into_body(), 1 << 20).await
}

#[tokio::test]
async fn requests_one_after_the_other_share_a_connection() {
    let (far, door) = StandIn::start(json!([]), |number, _| stand_in::json(200, &json!(number)));
    let egress = Egress::new(door);
    for number in 1..=20 {
        assert_eq!(text(&egress, "/r/x").await.expect("an answer"), number.to_string());
        // Whether hyper has seen the end of the answer depends on its task; give it its turn.
        tokio::task::yield_now().await;
    }
    let log = far.log();
    assert_eq!(log.seen.len(), 20);
    assert_eq!(log.opened, 1);
    assert_eq!(log.seen[0].line, "POST /r/x");
    assert_eq!(log.seen[0].body, json!({"a": 1}));
    assert_eq!(log.seen[0].header("host"), Some("egress"));
}

#[tokio::test]
async fn requests_at_the_same_time_have_their_own_connections() {
    let (far, door) = StandIn::start(json!([]), |_, seen| stand_in::json(200, &json!(seen.line)));
    let egress = Egress::new(door);
    let tasks: Vec<_> = (0..50)
        .map(|number| {
            let egress = egress.clone();
            tokio::spawn(async move { (number, text(&egress, &format!("/r/{number}")).await) })
        })
        .collect();
    for task in tasks {
        let (number, answer) = task.await.expect("joins");
        assert_eq!(answer.expect("an answer"), format!("\"POST /r/{number}\""));
    }
    assert_eq!(far.log().seen.len(), 50);
}

#[tokio::test]
async fn a_connection_that_died_while_idle_is_replaced() {
    let (far, door) = StandIn::start(json!([]), |number, _| {
        let mut acts = stand_in::json(200, &json!(number));
        acts.push(Act::Close);
        acts
    });
    let egress = Egress::new(door);
    for number in 1..=5 {
        assert_eq!(text(&egress, "/r/x").await.expect("an answer"), number.to_string());
        // Before hyper has noticed, the next request could be on its way into the dead connection.
        far.wait_for("the far end closes", |log| log.closed == number).await;
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let log = far.log();
    assert_eq!((log.seen.len(), log.opened), (5, 5));
}

#[tokio::test]
async fn a_request_that_may_have_been_carried_out_is_not_sent_again() {
    let (far, door) = StandIn::start(json!([]), |_, _| vec![Act::Close]);
    let egress = Egress::new(door);
    assert!(matches!(text(&egress, "/r/x").await, Err(EgressError::Lost)));
    assert_eq!(far.log().seen.len(), 1);
}

#[tokio::test]
async fn an_answer_that_is_given_up_takes_its_connection_along() {
    let (far, door) = StandIn::start(json!([]), |number, _| match number {
        1 => vec![head(200, ""), chunk("begun"), Act::Hang],
        _ => stand_in::json(200, &json!(number)),
    });
    let egress = Egress::new(door);
    let mut body = egress.send(post("/r/x")).await.expect("a head").into_body();
    let first = body.frame().await.expect("a frame").expect("no error").into_data().expect("data");
    assert_eq!(first, "begun");
    assert_eq!(far.log().hung_up, 0);
    drop(body);
    far.wait_for("the far end sees the connection close", |log| log.hung_up == 1).await;
    assert_eq!(text(&egress, "/r/x").await.expect("an answer"), "2");
}

#[tokio::test]
async fn refusals_are_typed_and_far_answers_are_not_mistaken_for_them() {
    let (_far, door) = StandIn::start(json!([]), |number, _| match number {
        1 => stand_in::refusal(424, "no_key", "send to model a"),
        2 => stand_in::answer(403, "x-openclaw-refused: not_allowed\r\n", &json!("no object")),
        3 => stand_in::answer(403, "x-openclaw-refused: something_new\r\n", &json!({})),
        _ => stand_in::answer(403, "", &json!({"kind": "no_key", "message": "m", "mend": "m"})),
    });
    let egress = Egress::new(door);
    for (kind, part) in [
        (RefusalKind::NoKey, "send to model a; mend it"),
        (RefusalKind::NotAllowed, "without a readable reason"),
        (RefusalKind::BadRequest, "without a readable reason"),
    ] {
        match egress.send(post("/r/x")).await {
            Err(EgressError::Refused(refusal)) => {
                assert_eq!(refusal.kind, kind);
                assert!(EgressError::Refused(refusal).to_string().contains(part));
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(egress.send(post("/r/x")).await.expect("the far end's answer").status(), 403);
}

#[tokio::test]
async fn bodies_are_bounded_and_cut_ones_are_errors() {
    let (_far, door) = StandIn::start(json!([]), |number, _| match number {
        1 => vec![head(200, ""), chunk(vec![b'x'; 2000]), end()],
        _ => vec![head(200, ""), chunk("half"), Act::Close],
    });
    let egress = Egress::new(door);
    let body = egress.send(post("/r/x")).await.expect("a head").into_body();
    assert!(matches!(collect(body, 1999).await, Err(EgressError::TooLarge(1999))));
    assert!(matches!(text(&egress, "/r/x").await, Err(EgressError::Cut)));
}

#[tokio::test]
async fn the_status_is_read_or_told_to_be_strange() {
    let (_far, door) = StandIn::start(json!([]), |_, _| vec![]);
    assert!(Egress::new(door).status().await.expect("a status").models.is_empty());
    let (_far, door) = StandIn::start(json!(null), |_, _| stand_in::json(500, &json!({})));
    assert!(matches!(Egress::new(door).status().await, Err(EgressError::Strange(500))));
    let (_far, door) = StandIn::start(json!(null), |_, _| stand_in::json(200, &json!({"models": 1})));
    assert!(matches!(Egress::new(door).status().await, Err(EgressError::Strange(200))));
}

#[tokio::test]
async fn without_egress_the_error_says_what_shows_it_and_no_error_repeats_the_request() {
    let (near, far) = openclaw_wire::door::pair().expect("a pair");
    drop(far);
    let error = Egress::new(openclaw_wire::door::Door::Pair(near))
        .send(post("/r/canary"))
        .await
        .expect_err("no egress");
    assert!(matches!(error, EgressError::Door(_)), "{error:?}");
    assert!(error.to_string().contains("openclaw status"), "{error}");
    let (_far, door) = StandIn::start(json!([]), |_, _| vec![Act::Close]);
    let lost = Egress::new(door).send(post("/r/canary")).await.expect_err("lost");
    for error in [error, lost] {
        assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
    }
}
