//! An order for one certificate (RFC 8555): account, order, challenge, key, certificate.

use std::{sync::Arc, time::Duration};

use anyhow::{Context, bail};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount, NewOrder, Order,
    OrderStatus, RetryPolicy,
};
use openclaw_wire::config::{Challenge, Direct};
use serde::{Deserialize, Serialize};

use crate::{
    certificate::Certificate,
    challenge::Challenges,
    egress::{Client, Egress},
    firewall,
    kept::Kept,
};

/// Authorities look from several places, one after the other.
const LOOKING: RetryPolicy =
    RetryPolicy::new().initial_delay(Duration::from_millis(500)).timeout(Duration::from_secs(90));

/// Who signs, and what for.
pub struct Authority {
    /// Section `[direct]`.
    pub direct: Direct,
    /// The name.
    pub domain: String,
    /// The way there.
    pub egress: Arc<Egress>,
    /// The answers.
    pub challenges: Arc<Challenges>,
}

/// An account as it is kept.
#[derive(Serialize, Deserialize)]
struct Known {
    /// Whose.
    directory: String,
    credentials: AccountCredentials,
}

impl Authority {
    /// Gets a certificate, and keeps it.
    pub async fn certificate(&self, kept: &Kept) -> anyhow::Result<Certificate> {
        let account = self.account(kept).await?;
        let names = [Identifier::Dns(self.domain.clone())];
        let mut order = account.new_order(&NewOrder::new(&names)).await.context("order a certificate")?;
        self.prove(&mut order).await?;
        let key = order.finalize().await.context("have the certificate signed")?;
        let chain = order.poll_certificate(&LOOKING).await.context("fetch the certificate")?;
        let pem = format!("{key}{chain}");
        let certificate = Certificate::parse(&pem).context("use what the authority signed")?;
        if !certificate.is_for(&self.domain) {
            bail!("the authority signed a certificate for another name");
        }
        kept.keep_certificate(&pem)?;
        Ok(certificate)
    }

    async fn account(&self, kept: &Kept) -> anyhow::Result<Account> {
        let client = || Account::builder_with_http(Box::new(Client(self.egress.clone())));
        let directory = self.direct.directory.to_string();
        if let Some(known) = kept.account::<Known>()?
            && known.directory == directory
        {
            return client()
                .from_credentials(known.credentials)
                .await
                .context("read the authority's directory");
        }
        let contact: Vec<&str> = self.direct.contact.iter().map(|url| url.as_str()).collect();
        let new =
            NewAccount { contact: &contact, terms_of_service_agreed: true, only_return_existing: false };
        let made = client().create(&new, directory.clone(), None).await;
        let (account, credentials) = made.context("make an account at the authority")?;
        kept.keep_account(&Known { directory, credentials })?;
        tracing::info!(account = account.id(), "made an account");
        Ok(account)
    }

    /// Shows the authority that the name is ours, unless it knows.
    async fn prove(&self, order: &mut Order) -> anyhow::Result<()> {
        let kind = match self.direct.challenge {
            Challenge::Http => ChallengeType::Http01,
            Challenge::Tls => ChallengeType::TlsAlpn01,
        };
        let mut answered = Vec::new();
        let mut all = order.authorizations();
        while let Some(authorization) = all.next().await {
            let mut authorization = authorization.context("ask what is to be proved")?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge = authorization
                .challenge(kind.clone())
                .with_context(|| format!("the authority offers no {kind:?} challenge"))?;
            answered.push(self.challenges.answer(self.direct.challenge, &self.domain, &challenge)?);
            firewall::open(self.direct.challenge).await?;
            challenge.set_ready().await.context("say that the challenge is answered")?;
        }
        let status = order.poll_ready(&LOOKING).await.context("wait for the authority to look")?;
        drop(answered);
        match status {
            OrderStatus::Ready | OrderStatus::Valid => Ok(()),
            _ => bail!("the authority did not find our answer: {}", self.why(order).await),
        }
    }

    /// What the authority says about a challenge that failed.
    async fn why(&self, order: &mut Order) -> String {
        let mut all = order.authorizations();
        while let Some(Ok(authorization)) = all.next().await {
            for challenge in &authorization.challenges {
                if let Some(problem) = &challenge.error {
                    return problem.to_string();
                }
            }
        }
        "it does not say why".into()
    }
}
