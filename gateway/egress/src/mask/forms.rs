//! The forms in which a secret may come back: as it is, in base64 wherever it stands in the encoded text, in hex, as a
//! part of a URL, in JSON. Not the forms that somebody makes on purpose to hide it: there is no end of those.

use base64::{
    Engine,
    engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD},
};
use zeroize::Zeroizing;

/// A form; wiped when dropped.
pub type Form = Zeroizing<Vec<u8>>;

/// All forms, the plain one first, none twice.
pub fn forms(secret: &[u8]) -> Vec<Form> {
    let mut forms = vec![Form::new(secret.to_vec())];
    for before in 0..3 {
        forms.push(inner(secret, before, &STANDARD_NO_PAD));
        forms.push(inner(secret, before, &URL_SAFE_NO_PAD));
    }
    for digits in [b"0123456789abcdef", b"0123456789ABCDEF"] {
        forms.push(each(secret, |byte, to| to.extend(hex(byte, digits))));
        let percent = |byte, to: &mut Form| {
            to.push(b'%');
            to.extend(hex(byte, digits));
        };
        forms.push(each(secret, percent));
        // RFC 3986, section 2.3: what needs no encoding.
        let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        forms.push(each(secret, |byte, to| if unreserved(byte) { to.push(byte) } else { percent(byte, to) }));
    }
    // RFC 8259, section 7: some encoders write `\/`.
    forms.push(each(secret, |byte, to| {
        if byte == b'/' {
            to.push(b'\\');
        }
        to.push(byte);
    }));
    let mut once: Vec<Form> = Vec::with_capacity(forms.len());
    for form in forms {
        if !once.contains(&form) {
            once.push(form);
        }
    }
    once
}

fn each(secret: &[u8], mut add: impl FnMut(u8, &mut Form)) -> Form {
    // Room for the longest form at once, so that nothing is copied while it grows.
    let mut form = Form::new(Vec::with_capacity(3 * secret.len()));
    for byte in secret {
        add(*byte, &mut form);
    }
    form
}

fn hex(byte: u8, digits: &[u8; 16]) -> [u8; 2] {
    [digits[usize::from(byte >> 4)], digits[usize::from(byte & 0xf)]]
}

/// What base64 makes of the secret when `before` bytes (modulo three) stand in front of it: the characters that depend
/// on nothing but the secret.
fn inner(secret: &[u8], before: usize, engine: &impl Engine) -> Form {
    let mut text = Zeroizing::new(vec![0; before]);
    text.reserve_exact(secret.len());
    text.extend_from_slice(secret);
    let encoded = Zeroizing::new(engine.encode(&*text).into_bytes());
    let first = (before * 8).div_ceil(6);
    let last = text.len() * 8 / 6;
    Form::new(encoded[first..last].to_vec())
}

#[cfg(test)]
mod tests {
    use base64::{Engine, engine::general_purpose::STANDARD, engine::general_purpose::URL_SAFE};

    use super::forms;

    /// Whether one of the forms is in the text.
    fn seen(secret: &str, text: &str) -> bool {
        forms(secret.as_bytes())
            .iter()
            .any(|form| text.contains(std::str::from_utf8(form).expect("forms are text")))
    }

    #[test]
    fn base64_shows_it_wherever_it_stands() {
        let secret = "test-key?not>real~0001";
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "z", "zy", "\n"] {
                let text = format!("{before}{secret}{after}");
                assert!(seen(secret, &STANDARD.encode(&text)), "{text:?}");
                assert!(seen(secret, &URL_SAFE.encode(&text)), "{text:?}");
            }
        }
        assert!(!seen(secret, &STANDARD.encode("test-key?not>reel~0001")));
    }

    #[test]
    fn hex_url_and_json_show_it() {
        let secret = "sk/test+key=not-real";
        let hex: String = secret.bytes().map(|byte| format!("{byte:02x}")).collect();
        assert!(seen(secret, &hex) && seen(secret, &hex.to_uppercase()));
        assert!(seen(secret, "k=sk%2Ftest%2Bkey%3Dnot-real") && seen(secret, "k=sk%2ftest%2bkey%3dnot-real"));
        let all: String = secret.bytes().map(|byte| format!("%{byte:02X}")).collect();
        assert!(seen(secret, &all) && seen(secret, &all.to_lowercase()));
        assert!(seen(secret, r#"{"k":"sk\/test+key=not-real"}"#) && seen(secret, secret));
    }

    #[test]
    fn no_form_is_there_twice_and_none_is_shorter_than_the_secret() {
        let forms = forms(b"test-key-not-real-0001");
        assert!(forms.iter().enumerate().all(|(at, form)| !forms[..at].contains(form)));
        assert!(forms.iter().all(|form| form.len() >= 22), "{forms:?}");
    }
}
