//! A page of the internet, in the browser of somebody who is logged in, gets nothing out of the status page and nothing done.

use openclaw_tests::{
    gateway::{Gateway, Setup},
    page::{Page, header, token},
};

async fn logged_in() -> (Gateway, Page, String) {
    let mut setup = Setup::new();
    let page = Page::switch_on(&mut setup);
    let gateway = Gateway::start(setup).await;
    let cookie = page.log_in(&token(&gateway, &[]).await).await.expect("logged in");
    (gateway, page, cookie)
}

/// What changes something needs the header that a form can't set, our own origin, and a cookie that no other page's request
/// carries (incident 36).
#[tokio::test]
async fn a_form_of_another_page_changes_nothing() {
    let (_gateway, page, cookie) = logged_in().await;
    let own = page.origin();
    let form = ("Content-Type", "application/x-www-form-urlencoded");
    let with = ("X-Page", "own");
    for headers in [
        [form, ("Origin", "https://evil.example")].as_slice(),
        &[form, ("Origin", "null")],
        &[form],
        &[form, ("Origin", &own)],
        &[with],
        &[with, ("Origin", "http://127.0.0.1")],
        &[with, ("Origin", "http://localhost:1")],
    ] {
        let known = [headers, &[("Cookie", cookie.as_str())]].concat();
        for path in ["/logout", "/drill"] {
            assert_eq!(page.ask("POST", path, &known, "").await.status, 403, "{path} {headers:?}");
        }
        assert_eq!(page.ask("POST", "/login", headers, "x").await.status, 403, "{headers:?}");
    }
    assert_eq!(page.look(&cookie).await.status, 200, "still logged in");
    // Its own page may.
    assert_eq!(page.post("/logout", &cookie, "").await.status, 204);
    assert_eq!(page.look(&cookie).await.status, 401);
}

/// A name that somebody else's resolver leads to our address is no name of ours (incident 37).
#[tokio::test]
async fn a_foreign_name_for_our_address_is_refused() {
    let (_gateway, page, cookie) = logged_in().await;
    let port = page.0;
    for (host, expected) in [
        (format!("127.0.0.1:{port}"), 200),
        (format!("localhost:{port}"), 200),
        (format!("rebind.evil.example:{port}"), 421),
        (format!("127.0.0.1.evil.example:{port}"), 421),
        (format!("10.77.0.1:{port}"), 421),
        ("127.0.0.1".to_owned(), 421),
    ] {
        let headers = [("Host", host.as_str()), ("Cookie", &cookie)];
        assert_eq!(page.ask("GET", "/", &headers, "").await.status, expected, "{host}");
    }
    let forwarded = [("Host", "evil.example"), ("X-Forwarded-Host", "127.0.0.1"), ("Cookie", &cookie)];
    assert_eq!(page.ask("GET", "/", &forwarded, "").await.status, 421);
}

/// The page fetches nothing from anywhere else and can be told no other place to send anything to; a token stands in no URL
/// (incidents 33, 108).
#[tokio::test]
async fn it_knows_no_other_place() {
    let (gateway, page, cookie) = logged_in().await;
    let token = token(&gateway, &[]).await;
    for path in [format!("/?token={token}"), format!("/{token}"), format!("/metrics?access_token={token}")] {
        assert_eq!(page.ask("GET", &path, &[], "").await.status, 401, "{path}");
    }
    let _ended = cookie;
    let cookie = page.log_in(&token).await.expect("logged in");
    for answer in [page.look(&cookie).await, page.ask("GET", "/", &[], "").await] {
        let policy = header(&answer, "content-security-policy").expect("a policy");
        for part in [
            "default-src 'none'",
            "connect-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "form-action 'none'",
        ] {
            assert!(policy.contains(part), "{part} in {policy}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains("http"), "{policy}");
        for part in ["src=", "href=", "http://", "https://", "//cdn", "style=\"", " onclick", "@import"] {
            assert!(!answer.body.contains(part), "{part} in {}", answer.body);
        }
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(header(&answer, name).as_deref(), Some(value));
        }
    }
    let set = page.post("/login", "", &token).await;
    let set = header(&set, "set-cookie").expect("a cookie");
    for part in ["HttpOnly", "SameSite=Strict"] {
        assert!(set.contains(part), "{set}");
    }
}
