//! Whom TLS trusts: the certificates of the system, else those that are compiled in, and what the operator adds in the
//! configuration, but for what the operator's lists revoke. Never what a variable of the environment names (incident 99).

use std::{path::Path, sync::Arc};

use anyhow::Context;
use openclaw_wire::config::Network;
use rustls::{
    RootCertStore,
    client::WebPkiServerVerifier,
    crypto::aws_lc_rs::default_provider,
    pki_types::{CertificateDer, CertificateRevocationListDer, pem::PemObject},
};

/// Where systems keep them in one file: Debian, Fedora, openSUSE, Alpine and NixOS.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Whom TLS trusts, and what it does not trust any more.
#[derive(Debug)]
pub struct Trust {
    /// The authorities.
    roots: Arc<RootCertStore>,
    /// Lists of revoked certificates. For those of an authority without a list nobody is asked: what public authorities
    /// revoke reaches no program in time by lists, and the certificates of most are good for weeks only.
    revoked: Vec<CertificateRevocationListDer<'static>>,
}

impl Trust {
    /// Reads it all. Before the lock-down: afterwards these files can't be opened.
    pub fn read(network: &Network) -> anyhow::Result<Self> {
        let mut roots = SYSTEM.iter().find_map(|path| system(Path::new(path))).unwrap_or_else(compiled_in);
        if let Some(path) = &network.extra_roots {
            let mend =
                "mend: let extra_roots in section [network] name a readable file of certificates (PEM)";
            let pem = std::fs::read(path).with_context(|| format!("read {}\n  {mend}", path.display()))?;
            let (added, odd) = roots.add_parsable_certificates(certificates(&pem));
            anyhow::ensure!(
                added > 0 && odd == 0,
                "{}: {added} certificates can be used and {odd} can't\n  {mend}",
                path.display()
            );
        }
        let mut trust = Self { roots: roots.into(), revoked: Vec::new() };
        if let Some(path) = &network.revoked {
            trust.revoked = lists(path)
                // Whether they are lists at all is seen when they are used.
                .and_then(|revoked| verifier(trust.roots.clone(), &revoked).map(|_| revoked))
                .with_context(|| format!("read the revoked certificates in {}\n  {LISTS}", path.display()))?;
        }
        Ok(trust)
    }

    /// Judges the certificates of servers; with `only`, those of these authorities alone are good.
    pub fn verifier(
        &self,
        only: Option<&[CertificateDer<'static>]>,
    ) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
        let Some(only) = only else { return verifier(self.roots.clone(), &self.revoked) };
        let mut roots = RootCertStore::empty();
        for certificate in only {
            roots.add(certificate.clone())?;
        }
        verifier(roots.into(), &self.revoked)
    }
}

/// An authority without a list revokes nothing; a list that is past its date says nothing, and what its authority signed is
/// refused.
fn verifier(
    roots: Arc<RootCertStore>,
    revoked: &[CertificateRevocationListDer<'static>],
) -> anyhow::Result<Arc<WebPkiServerVerifier>> {
    Ok(WebPkiServerVerifier::builder_with_provider(roots, Arc::new(default_provider()))
        .with_crls(revoked.iter().cloned())
        .allow_unknown_revocation_status()
        .enforce_revocation_expiration()
        .build()?)
}

/// What mends a file of lists.
const LISTS: &str = "mend: let revoked in section [network] name a readable file of such lists (PEM); one that is DER \
                     becomes PEM by `openssl crl -inform DER -in list.crl -out list.pem`";

/// The lists in a file. A list that can't be used is an error: what it revokes would be trusted.
fn lists(path: &Path) -> anyhow::Result<Vec<CertificateRevocationListDer<'static>>> {
    let pem = std::fs::read(path)?;
    let all: Vec<_> = CertificateRevocationListDer::pem_slice_iter(&pem).collect::<Result<_, _>>()?;
    anyhow::ensure!(!all.is_empty(), "there is no list in it");
    Ok(all)
}

/// `None` when there is no such file, or nothing of use in it.
fn system(path: &Path) -> Option<RootCertStore> {
    let pem = std::fs::read(path).ok()?;
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(certificates(&pem));
    (added > 0).then_some(roots)
}

fn compiled_in() -> RootCertStore {
    RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() }
}

/// What can be read; a broken entry ends the list.
fn certificates(pem: &[u8]) -> Vec<CertificateDer<'static>> {
    CertificateDer::pem_slice_iter(pem).map_while(Result::ok).collect()
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::config::Network;

    use super::Trust;

    fn roots(extra: Option<&Path>) -> anyhow::Result<usize> {
        let network = Network { extra_roots: extra.map(Path::to_owned), ..Network::default() };
        Ok(Trust::read(&network)?.roots.len())
    }

    #[test]
    fn the_operators_roots_are_added_and_nonsense_is_refused() {
        let without = roots(None).expect("some roots");
        assert!(without > 50, "{without} roots of the system, or compiled in");
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made.cert.der())
        );
        std::fs::write(&path, pem).expect("write");
        assert_eq!(roots(Some(&path)).expect("added"), without + 1);
        for content in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, content).expect("write");
            let error = roots(Some(&path)).expect_err("nonsense").to_string();
            assert!(error.contains("extra_roots"), "{error}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(format!("{:#}", roots(Some(&path)).expect_err("absent")).contains("extra_roots"));
    }

    #[test]
    fn a_list_that_can_not_be_used_is_an_error() {
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("revoked.pem");
        let read = || Trust::read(&Network { revoked: Some(path.clone()), ..Network::default() });
        for content in [None, Some(""), Some("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")] {
            if let Some(content) = content {
                std::fs::write(&path, content).expect("write");
            }
            let error = format!("{:#}", read().expect_err("nonsense"));
            assert!(error.contains("revoked.pem") && error.contains("openssl crl"), "{error}");
        }
    }
}
