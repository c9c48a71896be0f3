//! The certificate: what it says of itself, and what new connections are shown. It is exchanged under open connections, which
//! go on with the one that they began with.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use rustls::{
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use x509_parser::{extensions::GeneralName, parse_x509_certificate};

/// A certificate with its key and its issuers.
#[derive(Debug, Clone)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    names: Vec<String>,
    begins: SystemTime,
    ends: SystemTime,
}

impl Certificate {
    /// From the PEM of the key, the certificate and its issuers.
    pub fn parse(pem: &str) -> anyhow::Result<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem.as_bytes()).context("find its key")?;
        let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(pem.as_bytes())
            .collect::<Result<_, _>>()
            .context("read its chain")?;
        let first = chain.first().context("there is no certificate")?;
        let (_, leaf) = parse_x509_certificate(first).context("read the certificate")?;
        let names = leaf.subject_alternative_name()?.map(|all| all.value.general_names.as_slice());
        let names = names.unwrap_or_default().iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let (names, validity) = (names.collect(), leaf.validity().clone());
        let at = |time: i64| UNIX_EPOCH + Duration::from_secs(u64::try_from(time).unwrap_or_default());
        let (begins, ends) = (at(validity.not_before.timestamp()), at(validity.not_after.timestamp()));
        // It also compares the key with the certificate.
        let key =
            CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider()).context("use its key")?;
        Ok(Self { key: Arc::new(key), names, begins, ends })
    }

    /// It is for this name.
    pub fn is_for(&self, domain: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(domain))
    }

    /// When it is no good any more.
    pub fn ends(&self) -> SystemTime {
        self.ends
    }

    /// When another should be there: with two thirds of its time over, as Let's Encrypt advises
    /// (https://letsencrypt.org/docs/integration-guide/).
    pub fn renew(&self) -> SystemTime {
        self.begins + self.lifetime() / 3 * 2
    }

    /// For how long it is good from beginning to end.
    pub fn lifetime(&self) -> Duration {
        self.ends.duration_since(self.begins).unwrap_or_default()
    }
}

/// What new connections are shown.
#[derive(Debug, Default)]
pub struct Shown(RwLock<Option<Arc<CertifiedKey>>>);

impl Shown {
    /// From now on this one.
    pub fn show(&self, certificate: &Certificate) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(certificate.key.clone());
    }
}

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
pub mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::Certificate;

    /// One that its own key signed, for 90 days of 2026.
    pub fn made(domain: &str) -> String {
        let mut params = rcgen::CertificateParams::new([domain.to_owned()]).expect("a name");
        (params.not_before, params.not_after) =
            (rcgen::date_time_ymd(2026, 1, 1), rcgen::date_time_ymd(2026, 4, 1));
        let key = rcgen::KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("signed");
        key.serialize_pem() + &certificate.pem()
    }

    #[test]
    fn a_certificate_is_for_its_names_and_its_time() {
        let one = made("bot.example.com");
        let read = Certificate::parse(&one).expect("good");
        assert!(read.is_for("bot.example.com") && read.is_for("BOT.example.com"));
        assert!(!read.is_for("example.com") && !read.is_for("a.bot.example.com"));
        let begins = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        assert_eq!(read.renew(), begins + Duration::from_secs(60 * 86_400));
        assert_eq!(read.ends(), begins + Duration::from_secs(90 * 86_400));

        let other = made("bot.example.com");
        let key = one.split_inclusive("-----END PRIVATE KEY-----\n").next().expect("the key");
        let chain = other.split_inclusive("-----END PRIVATE KEY-----\n").nth(1).expect("the certificate");
        for wrong in [format!("{key}{chain}"), key.to_owned(), chain.to_owned(), String::new()] {
            Certificate::parse(&wrong).expect_err("not both, or not of each other");
        }
    }
}
