//! A private address is dialled only where the operator wrote `private = true` (incident 52).

use openclaw_wire::egress::RefusalKind;

use crate::{
    far::Far,
    program::{KEY, Setup},
};

fn setup(url: &str, private: bool) -> Setup {
    let model = format!(
        "[[model]]\nname = \"m\"\napi = \"anthropic\"\nmodel = \"x\"\nkey = \"MODEL_KEY\"\nurl = \"{url}\"\nprivate = {private}\n\
         [[price]]\nmodel = \"x\"\ninput = 0\noutput = 0\n"
    );
    Setup::new().config(&model).keys(&format!("MODEL_KEY={KEY}\n"))
}

const ASK: &str = r#"{"model":"x","max_tokens":1,"messages":[]}"#;

#[test]
fn loopback_is_refused_by_address_and_by_name_until_it_is_declared() {
    let far = Far::fixed("200 OK", "", "{}");
    for host in ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1"] {
        let answer = setup(&format!("http://{host}:{}", far.port()), true).start().ask(ASK);
        assert_eq!(answer.status, 200, "declared: {host}: {}", answer.text());
        let reached = far.seen().len();

        let answer = setup(&format!("https://{host}:{}", far.port()), false).start().ask(ASK);
        assert_eq!(answer.status, 403, "{host}");
        let refusal = answer.refused(RefusalKind::PrivateAddress);
        assert!(refusal.message.contains("private address"), "{}", refusal.message);
        assert!(refusal.mend.contains("private = true"), "{}", refusal.mend);
        assert_eq!(far.seen().len(), reached, "{host}: nothing was dialled");
    }
}

#[test]
fn no_declaration_opens_a_metadata_service() {
    for host in ["169.254.169.254", "[fd00:ec2::254]", "0.0.0.0", "[::ffff:127.0.0.1]", "[64:ff9b::7f00:1]"] {
        let answer = setup(&format!("http://{host}"), true).start().ask(ASK);
        answer.refused(RefusalKind::PrivateAddress);
    }
}

#[test]
fn plain_http_stays_on_private_addresses() {
    // Refused before it is dialled: the address is public, and the key would cross the internet in clear.
    let refusal = setup("http://1.1.1.1", true).start().ask(ASK).refused(RefusalKind::PrivateAddress);
    assert!(refusal.message.contains("in clear"), "{}", refusal.message);
}
