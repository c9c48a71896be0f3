//! The certificate authority of one call. Its key is made for the call, never leaves this process and ends with the
//! call; its certificate is trusted inside that one jail and nowhere else.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose,
};
use rustls::{
    ServerConfig,
    crypto::CryptoProvider,
    pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer},
};

/// A call lasts ten minutes at most; the clocks of software differ by more.
const VALID: Duration = Duration::from_secs(24 * 3600);
/// Hosts of one call that get a certificate.
const HOSTS: usize = 256;

/// An authority and the certificates that it gave out.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    chain: CertificateDer<'static>,
    key: KeyPair,
    provider: Arc<CryptoProvider>,
    hosts: Mutex<HashMap<String, Arc<ServerConfig>>>,
}

impl Authority {
    /// Makes one.
    pub fn new(provider: Arc<CryptoProvider>) -> anyhow::Result<Self> {
        let mut params = params(Vec::new())?;
        params.distinguished_name.push(DnType::CommonName, "one call of a skill");
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().context("make the key of a call's authority")?;
        let certificate = params.self_signed(&key).context("make the certificate of a call's authority")?;
        let chain = certificate.der().clone();
        Ok(Self {
            pem: pem(&chain),
            issuer: Issuer::new(params, key),
            chain,
            key: KeyPair::generate().context("make the key of a call's certificates")?,
            provider,
            hosts: Mutex::default(),
        })
    }

    /// Its certificate, for the jail.
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// How to answer as this host: HTTP/1.1 over TLS.
    pub fn server(&self, host: &str) -> anyhow::Result<Arc<ServerConfig>> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = hosts.get(host) {
            return Ok(config.clone());
        }
        anyhow::ensure!(hosts.len() < HOSTS, "more than {HOSTS} hosts in one call");
        let mut params = params(vec![host.to_owned()])?;
        params.distinguished_name.push(DnType::CommonName, "by openclaw-egress");
        params.use_authority_key_identifier_extension = true;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let certificate = params.signed_by(&self.key, &self.issuer).context("sign a certificate")?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.serialize_der()));
        let mut config = ServerConfig::builder_with_provider(self.provider.clone())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone(), self.chain.clone()], key)?;
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        let config = Arc::new(config);
        hosts.insert(host.to_owned(), config.clone());
        Ok(config)
    }
}

fn params(names: Vec<String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names).context("a host that no certificate can name")?;
    params.distinguished_name = rcgen::DistinguishedName::new();
    let now = SystemTime::now();
    params.not_before = (now - VALID).into();
    params.not_after = (now + VALID).into();
    Ok(params)
}

/// RFC 7468.
fn pem(certificate: &CertificateDer<'_>) -> String {
    let text = STANDARD.encode(certificate);
    let lines: String =
        text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned() + "\n").collect();
    format!("-----BEGIN CERTIFICATE-----\n{lines}-----END CERTIFICATE-----\n")
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::{
        ClientConfig, ClientConnection, RootCertStore, ServerConnection,
        pki_types::{CertificateDer, ServerName, pem::PemObject},
    };

    use super::Authority;

    /// A handshake in memory; the client trusts `trusted` alone.
    fn handshake(trusted: &Authority, server: &Authority, host: &str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(trusted.pem().as_bytes()).expect("pem")).expect("root");
        let config = ClientConfig::builder_with_provider(trusted.provider.clone())
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned()).expect("name");
        let mut client = ClientConnection::new(Arc::new(config), name).expect("client");
        let mut server =
            ServerConnection::new(server.server("api.example.com").expect("server")).expect("server");
        while client.is_handshaking() || server.is_handshaking() {
            let mut wire = Vec::new();
            client.write_tls(&mut wire).expect("memory");
            server.read_tls(&mut wire.as_slice()).expect("memory");
            server.process_new_packets()?;
            let mut wire = Vec::new();
            server.write_tls(&mut wire).expect("memory");
            client.read_tls(&mut wire.as_slice()).expect("memory");
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn a_jail_trusts_its_own_call_and_no_other() {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let (one, other) =
            (Authority::new(provider.clone()).expect("made"), Authority::new(provider).expect("made"));
        handshake(&one, &one, "api.example.com").expect("its own");
        assert!(handshake(&other, &one, "api.example.com").is_err(), "another call's");
        assert!(handshake(&one, &one, "other.example.com").is_err(), "another name");
        let config = one.server("api.example.com").expect("again");
        assert!(Arc::ptr_eq(&config, &one.server("api.example.com").expect("again")), "made once");
    }
}
