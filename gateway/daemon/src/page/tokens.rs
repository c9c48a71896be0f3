//! The page's tokens, by their digests, in a file of their own: not in the database, so that what was revoked does not come back
//! with a copy of it (incident 44). Never a token itself.

use std::{
    fs, io,
    path::PathBuf,
    sync::{PoisonError, RwLock},
};

use openclaw_wire::{
    admin::{PageToken, Scope},
    whole,
};
use sha2::{Digest as _, Sha256};

use crate::ingress::Digest;

/// Every scope with its word in the file.
const SCOPES: [(Scope, &str); 2] = [(Scope::Operator, "operator"), (Scope::Metrics, "metrics")];

/// What is there.
pub struct Tokens {
    path: PathBuf,
    known: RwLock<Vec<(Scope, String)>>,
}

impl Tokens {
    /// Reads the file; an absent one is no token at all, and one that is damaged is an error.
    pub fn read(path: PathBuf) -> io::Result<Self> {
        let text = match fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        let line = |line: &str| {
            let (word, hex) = line.split_once(' ')?;
            let (scope, _) = SCOPES.into_iter().find(|(_, known)| *known == word)?;
            Digest::from_hex(hex)?;
            Some((scope, hex.to_owned()))
        };
        let known: Option<Vec<_>> = text.lines().map(line).collect();
        let known = known.ok_or_else(|| io::Error::other("a line is not a scope and a SHA-256"))?;
        Ok(Self { path, known: RwLock::new(known) })
    }

    /// What a token is good for. Each digest is compared, in a time that says nothing.
    pub fn find(&self, token: &[u8]) -> Option<Scope> {
        let given = Digest::new(Sha256::digest(token).into());
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        let mut found = None;
        for (scope, hex) in known.iter() {
            if Digest::from_hex(hex).is_some_and(|digest| digest.matches(&given)) {
                found = Some(*scope);
            }
        }
        found
    }

    /// Puts another token in the place of a scope's, or none. When this returns the file is on the disk.
    pub fn set(&self, token: &PageToken) -> io::Result<()> {
        if token.sha256.as_deref().is_some_and(|hex| Digest::from_hex(hex).is_none()) {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a SHA-256"));
        }
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        let mut next: Vec<_> = known.iter().filter(|(scope, _)| *scope != token.scope).cloned().collect();
        next.extend(token.sha256.clone().map(|hex| (token.scope, hex)));
        self.store(&next)?;
        *known = next;
        Ok(())
    }

    /// The scopes that have a token.
    pub fn scopes(&self) -> Vec<Scope> {
        self.known.read().unwrap_or_else(PoisonError::into_inner).iter().map(|(scope, _)| *scope).collect()
    }

    fn store(&self, known: &[(Scope, String)]) -> io::Result<()> {
        let word = |scope| SCOPES.into_iter().find(|(known, _)| *known == scope).map_or("", |(_, word)| word);
        let text: String = known.iter().map(|(scope, hex)| format!("{} {hex}\n", word(*scope))).collect();
        whole::replace(&self.path, text.as_bytes(), 0o600, None)
    }
}

#[cfg(test)]
mod tests {
    use openclaw_wire::admin::{PageToken, Scope};
    use sha2::{Digest as _, Sha256};

    use super::Tokens;

    fn token(scope: Scope, text: Option<&str>) -> PageToken {
        let hex = |text: &str| Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect();
        PageToken { scope, sha256: text.map(hex) }
    }

    #[test]
    fn a_token_is_good_for_its_scope_until_there_is_another() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("tokens");
        let tokens = Tokens::read(path.clone()).expect("none yet");
        assert_eq!(tokens.find(b""), None);
        tokens.set(&token(Scope::Operator, Some("one"))).expect("kept");
        tokens.set(&token(Scope::Metrics, Some("two"))).expect("kept");
        tokens.set(&token(Scope::Operator, Some("three"))).expect("kept");
        let again = Tokens::read(path.clone()).expect("reads");
        for (text, scope) in
            [("one", None), ("two", Some(Scope::Metrics)), ("three", Some(Scope::Operator)), ("", None)]
        {
            assert_eq!((tokens.find(text.as_bytes()), again.find(text.as_bytes())), (scope, scope), "{text}");
        }
        let text = std::fs::read_to_string(&path).expect("reads");
        assert!(!text.contains("three"), "only digests: {text}");
        again.set(&token(Scope::Operator, None)).expect("revoked");
        assert_eq!(Tokens::read(path.clone()).expect("reads").find(b"three"), None);
        assert!(again.set(&PageToken { scope: Scope::Operator, sha256: Some("zz".into()) }).is_err());
        std::fs::write(&path, "operator x\n").expect("write");
        assert!(Tokens::read(path).is_err(), "a damaged file is no empty one");
    }
}
