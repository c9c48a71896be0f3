//! Who is logged in: random cookies of ours, by their digests, in memory alone. They end by themselves, with the token, and with
//! the process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use http::HeaderValue;
use sha2::{Digest as _, Sha256};

use crate::ingress::Digest;

/// The cookie's name.
const NAME: &str = "openclaw";
/// Not used for this long, it is over.
const IDLE: Duration = Duration::from_secs(12 * 3600);
/// And after this time in any case.
const LONGEST: Duration = Duration::from_secs(7 * 24 * 3600);
/// Browsers at one time; one more ends the oldest.
const MOST: usize = 16;

/// By the SHA-256 of what is in the cookie: looking one up tells nothing of it by its time.
#[derive(Default)]
pub struct Sessions(Mutex<HashMap<[u8; 32], Session>>);

struct Session {
    began: Instant,
    used: Instant,
}

impl Sessions {
    /// A new one, as the header that sets its cookie. `Secure` would keep it from the VPN's plain HTTP, which WireGuard
    /// encrypts.
    pub fn begin(&self, now: Instant) -> Result<HeaderValue, getrandom::Error> {
        let mut random = [0; 32];
        getrandom::fill(&mut random)?;
        let id = BASE64_URL_SAFE_NO_PAD.encode(random);
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, session| session.lives(now));
        if all.len() >= MOST
            && let Some(oldest) = all.iter().min_by_key(|(_, session)| session.used).map(|(key, _)| *key)
        {
            all.remove(&oldest);
        }
        all.insert(Sha256::digest(&id).into(), Session { began: now, used: now });
        let cookie = format!("{NAME}={id}; HttpOnly; SameSite=Strict; Path=/; Max-Age={}", LONGEST.as_secs());
        Ok(HeaderValue::try_from(cookie).expect("base64 is fit for a header"))
    }

    /// The one that a `Cookie` header names, if it lives.
    pub fn find(&self, cookies: &HeaderValue, now: Instant) -> Option<Digest> {
        let cookies = cookies.to_str().ok()?;
        let id = cookies.split("; ").find_map(|pair| pair.strip_prefix(NAME)?.strip_prefix('='))?;
        let key = Sha256::digest(id).into();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let session = all.get_mut(&key).filter(|session| session.lives(now))?;
        session.used = now;
        Some(Digest::new(key))
    }

    /// Ends one.
    pub fn end(&self, session: &Digest) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|key, _| !Digest::new(*key).matches(session));
    }

    /// Ends all.
    pub fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Session {
    fn lives(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.used) < IDLE && now.saturating_duration_since(self.began) < LONGEST
    }
}

/// The header that takes the cookie away.
pub fn forget() -> HeaderValue {
    HeaderValue::from_static("openclaw=; HttpOnly; SameSite=Strict; Path=/; Max-Age=0")
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use http::HeaderValue;

    use super::{IDLE, LONGEST, MOST, Sessions};

    fn sent_back(set: &HeaderValue) -> HeaderValue {
        let text = set.to_str().expect("text");
        let pair = text.split(';').next().expect("a pair");
        HeaderValue::try_from(format!("theme=dark; {pair}")).expect("a header")
    }

    #[test]
    fn a_session_lives_while_it_is_used_and_not_for_ever() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let set = sessions.begin(now).expect("random");
        for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
            assert!(set.to_str().expect("text").contains(part));
        }
        let cookie = sent_back(&set);
        assert!(sessions.find(&cookie, now).is_some());
        assert!(sessions.find(&HeaderValue::from_static("openclaw="), now).is_none());
        assert!(sessions.find(&HeaderValue::from_static("xopenclaw=a"), now).is_none());
        let mut later = now;
        while later.duration_since(now) + IDLE / 2 < LONGEST {
            later += IDLE / 2;
            assert!(sessions.find(&cookie, later).is_some());
        }
        assert!(sessions.find(&cookie, now + LONGEST).is_none());
        let other = sent_back(&sessions.begin(now).expect("random"));
        assert!(sessions.find(&other, now + IDLE).is_none());
        sessions.clear();
        assert!(sessions.find(&cookie, now).is_none());
    }

    #[test]
    fn there_are_never_more_than_a_few() {
        let (sessions, now) = (Sessions::default(), Instant::now());
        let first = sent_back(&sessions.begin(now).expect("random"));
        for _ in 0..MOST {
            sessions.begin(now + std::time::Duration::from_secs(1)).expect("random");
        }
        assert!(sessions.find(&first, now).is_none());
        assert_eq!(sessions.0.lock().expect("lock").len(), MOST);
    }
}
