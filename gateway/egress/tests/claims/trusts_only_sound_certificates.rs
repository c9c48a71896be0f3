//! TLS: a server gets a request, and with it a key, only when its certificate is sound, for its name, and by somebody who
//! is trusted; also where the operator vouches for the address. Each test first shows the same server with a sound one.

use openclaw_wire::egress::RefusalKind;
use rcgen::{CertificateParams, SerialNumber, date_time_ymd};

use crate::{
    authority::{self, Authority, Server},
    program::{KEY, Setup},
};

fn setup(authority: &Authority, server: &Server) -> Setup {
    Setup::model(&format!("https://localhost:{}", server.port)).config(&authority.trusted())
}

/// The server gets nothing, and the message says why.
fn refused(authority: &Authority, server: &Server, why: &str) {
    let egress = setup(authority, server).start();
    let refusal = egress.ask("{}").refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains(why), "{}", refusal.message);
    assert_eq!(server.requests(), 0, "no byte of a request was sent");
    assert!(!egress.stop().log().contains(KEY));
}

fn sound(_: &mut CertificateParams) {}

#[test]
fn a_sound_server_gets_its_request_over_names_and_addresses() {
    let authority = Authority::new();
    let server = authority.server(&["localhost", "127.0.0.1"], sound);
    assert_eq!(setup(&authority, &server).start().ask("{}").status, 200);
    let by_address = Setup::model(&format!("https://127.0.0.1:{}", server.port)).config(&authority.trusted());
    assert_eq!(by_address.start().ask("{}").status, 200);
    assert_eq!(server.requests(), 2);
    assert!(server.seen()[0].contains(KEY), "the key goes to this server");
}

#[test]
fn an_authority_that_nobody_named_is_not_trusted() {
    let (known, unknown) = (Authority::new(), Authority::new());
    refused(&known, &unknown.server(&["localhost"], sound), "invalid peer certificate");
    refused(&known, &authority::self_signed("localhost"), "certificate");
    let server = unknown.server(&["localhost"], sound);
    assert_eq!(setup(&unknown, &server).start().ask("{}").status, 200, "the server is sound");
}

#[test]
fn an_expired_certificate_is_refused_and_one_of_tomorrow_too() {
    let authority = Authority::new();
    let expired = authority.server(&["localhost"], |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    refused(&authority, &expired, "expired");
    let early = authority.server(&["localhost"], |params| params.not_before = date_time_ymd(2999, 1, 1));
    refused(&authority, &early, "not valid yet");
}

#[test]
fn a_certificate_for_another_name_is_refused() {
    let authority = Authority::new();
    refused(&authority, &authority.server(&["other.example"], sound), "not valid for name");
    refused(&authority, &authority.server(&["localhost.evil.example"], sound), "not valid for name");
    refused(&authority, &authority.server(&["127.0.0.1"], sound), "not valid for name");
}

#[test]
fn an_authority_that_may_not_sign_for_the_name_is_refused() {
    let authority = Authority::not_for("localhost");
    refused(&authority, &authority.server(&["localhost"], sound), "certificate");
    let other = authority.server(&["127.0.0.1"], sound);
    let by_address = Setup::model(&format!("https://127.0.0.1:{}", other.port)).config(&authority.trusted());
    assert_eq!(by_address.start().ask("{}").status, 200, "for anything else it may");
}

/// The authority took it back, and the operator has the authority's list. Other certificates of it stay good, and those of an
/// authority without a list too.
#[test]
fn a_revoked_certificate_is_refused() {
    let (authority, other) = (Authority::new(), Authority::new());
    let numbered = |number: u64| {
        authority.server(&["localhost"], |params| params.serial_number = Some(SerialNumber::from(number)))
    };
    let (taken_back, good) = (numbered(7), numbered(8));
    assert_eq!(setup(&authority, &taken_back).start().ask("{}").status, 200, "nobody knows of it");
    let with = |list: &str, server: &Server| setup(&authority, server).config(list).start().ask("{}");
    let list = authority.revokes(&[7], 2999);
    let refusal = with(&list, &taken_back).refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains("certificate: Revoked"), "{refusal:?}");
    assert_eq!(taken_back.requests(), 1, "no byte of a second request was sent");
    assert_eq!(with(&list, &good).status, 200);
    assert_eq!(with(&other.revokes(&[7, 8], 2999), &taken_back).status, 200, "others have no say in it");
    // A list that is past its date says nothing of what was revoked since.
    let refusal = with(&authority.revokes(&[], 2021), &good).refused(RefusalKind::Unreachable);
    assert!(refusal.message.contains("expired"), "{refusal:?}");
    assert_eq!(good.requests(), 1);
}

#[test]
fn a_list_that_can_not_be_read_stops_the_start() {
    let authority = Authority::new();
    let list = authority.revokes(&[7], 2999);
    std::fs::write(authority.file().with_file_name("revoked.pem"), "nonsense").expect("write");
    let (_, said) = Setup::new().config(&authority.trusted()).config(&list).start_refused();
    assert!(said.contains("revoked.pem") && said.contains("openssl crl"), "{said}");
}

#[test]
fn an_old_protocol_is_refused() {
    let authority = Authority::new();
    let old = authority::old();
    refused(&authority, &old, "peer");
    // RFC 5246, 7.2: a fatal alert (2), protocol_version (70).
    let alerts = old.seen();
    assert!(alerts.iter().any(|alert| alert.ends_with("2, 70]")), "{alerts:?}");
}

#[test]
fn a_server_that_offers_http_2_is_asked_by_it() {
    let authority = Authority::new();
    let server = authority.server_with(&["localhost"], sound, &["h2"]);
    let egress = setup(&authority, &server).start();
    // This server answers in HTTP/1.1 all the same, which is none of its answers.
    egress.ask("{}").refused(RefusalKind::NoAnswer);
    assert!(server.seen()[0].starts_with("PRI * HTTP/2.0\r\n"), "{:?}", server.seen());
}

#[test]
fn roots_that_can_not_be_read_stop_the_start() {
    let authority = Authority::new();
    std::fs::write(authority.file(), "nonsense").expect("write");
    let (_, said) = Setup::new().config(&authority.trusted()).start_refused();
    assert!(said.contains("extra_roots"), "{said}");
}

/// Incident 99: a variable that moves the roots elsewhere moves nothing.
#[test]
fn no_variable_adds_a_root() {
    let authority = Authority::new();
    let server = authority.server(&["localhost"], sound);
    let roots = authority.file().display().to_string();
    let setup = Setup::model(&format!("https://localhost:{}", server.port));
    let egress = setup.variable("SSL_CERT_FILE", &roots).variable("SSL_CERT_DIR", "/tmp").start();
    egress.ask("{}").refused(RefusalKind::Unreachable);
    assert_eq!(server.requests(), 0);
}
