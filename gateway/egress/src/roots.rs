//! Whom TLS trusts: the certificates of the system, else those that are compiled in, and what the operator adds in the
//! configuration. Never what a variable of the environment names (incident 99).

use std::path::Path;

use anyhow::Context;
use rustls::{
    RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};

/// Where systems keep them in one file: Debian, Fedora, openSUSE, Alpine and NixOS.
const SYSTEM: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Reads them all. Before the lock-down: afterwards these files can't be opened.
pub fn read(extra: Option<&Path>) -> anyhow::Result<RootCertStore> {
    let mut roots = SYSTEM.iter().find_map(|path| system(Path::new(path))).unwrap_or_else(compiled_in);
    if let Some(path) = extra {
        let mend = "mend: let extra_roots in section [network] name a readable file of certificates (PEM)";
        let pem = std::fs::read(path).with_context(|| format!("read {}\n  {mend}", path.display()))?;
        let (added, odd) = roots.add_parsable_certificates(certificates(&pem));
        anyhow::ensure!(
            added > 0 && odd == 0,
            "{}: {added} certificates can be used and {odd} can't\n  {mend}",
            path.display()
        );
    }
    Ok(roots)
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
    use super::read;

    #[test]
    fn the_operators_roots_are_added_and_nonsense_is_refused() {
        let without = read(None).expect("some roots").len();
        assert!(without > 50, "{without} roots of the system, or compiled in");
        let dir = tempfile::tempdir().expect("dir");
        let path = dir.path().join("ca.pem");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let pem = format!(
            "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
            base64::Engine::encode(&base64::engine::general_purpose::STANDARD, made.cert.der())
        );
        std::fs::write(&path, pem).expect("write");
        assert_eq!(read(Some(&path)).expect("added").len(), without + 1);
        for content in ["", "not PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"] {
            std::fs::write(&path, content).expect("write");
            let error = read(Some(&path)).expect_err("nonsense").to_string();
            assert!(error.contains("extra_roots"), "{error}");
        }
        std::fs::remove_file(&path).expect("removed");
        assert!(format!("{:#}", read(Some(&path)).expect_err("absent")).contains("extra_roots"));
    }
}
