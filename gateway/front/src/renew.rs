//! When the next certificate is asked for: at once when there is none, else in time before the end. A try that fails is
//! repeated after a pause that grows, and says what mends it; what there is stays in use meanwhile.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use openclaw_confine::Report;
use openclaw_wire::front::{Failure, Standing};
use sd_notify::NotifyState;

use crate::{
    acme::Authority,
    certificate::{Certificate, Shown},
    kept::Kept,
};

/// Pauses after failures, each twice the one before: a name may fail five times in an hour
/// (https://letsencrypt.org/docs/rate-limits/), and these are five in the first.
const FIRST: Duration = Duration::from_secs(2 * 60);
const LONGEST: Duration = Duration::from_secs(6 * 3600);
/// Longest sleep, so that a clock that was set is noticed.
const LOOK: Duration = Duration::from_secs(3600);

/// Keeps a certificate good.
pub struct Renewal {
    authority: Authority,
    kept: Kept,
    shown: Arc<Shown>,
    certificate: Option<Certificate>,
    standing: Standing,
}

impl Renewal {
    /// With what there is, which is shown from now on.
    pub fn new(
        authority: Authority,
        kept: Kept,
        shown: Arc<Shown>,
        certificate: Option<Certificate>,
        report: &Report,
    ) -> Self {
        let certificate = certificate.filter(|certificate| certificate.is_for(&authority.domain));
        if let Some(certificate) = &certificate {
            shown.show(certificate);
        }
        let standing = Standing {
            domain: authority.domain.clone(),
            confinement: serde_json::to_value(report).unwrap_or_default(),
            ..Standing::default()
        };
        Self { authority, kept, shown, certificate, standing }
    }

    /// Renews for as long as the process lives.
    pub async fn run(mut self) {
        let mut pause = FIRST;
        let mut at = self.certificate.as_ref().map_or(UNIX_EPOCH, Certificate::renew);
        loop {
            self.say(at);
            while let Ok(left) = at.duration_since(SystemTime::now()) {
                tokio::time::sleep(left.clamp(Duration::from_secs(1), LOOK)).await;
            }
            match self.authority.certificate(&self.kept).await {
                Ok(certificate) => {
                    self.shown.show(&certificate);
                    // On a machine with a wrong clock it may be over already; that is no reason to ask without a pause.
                    at = certificate.renew().max(SystemTime::now() + certificate.lifetime() / 10);
                    tracing::info!(
                        domain = self.authority.domain,
                        ends = seconds(certificate.ends()),
                        "a new certificate is in use"
                    );
                    self.certificate = Some(certificate);
                    self.standing.failure = None;
                    pause = FIRST;
                }
                Err(error) => {
                    let (what, mend) = (format!("{error:#}"), self.mend());
                    tracing::warn!(again_in_s = pause.as_secs(), "no new certificate: {what}; {mend}");
                    self.standing.failure = Some(Failure { at: seconds(SystemTime::now()), what, mend });
                    at = SystemTime::now() + pause;
                    pause = (2 * pause).min(LONGEST);
                }
            }
        }
    }

    fn say(&mut self, next: SystemTime) {
        self.standing.ends = self.certificate.as_ref().map(|certificate| seconds(certificate.ends()));
        self.standing.next = Some(seconds(next));
        self.kept.say(&self.standing);
        let status = match (&self.standing.failure, &self.certificate) {
            (Some(failure), _) => failure.what.clone(),
            (None, Some(_)) => format!("serving {}", self.authority.domain),
            (None, None) => format!("asking for a certificate for {}", self.authority.domain),
        };
        crate::notify(&[NotifyState::Status(status.lines().next().unwrap_or_default())]);
    }

    /// What the operator can do.
    fn mend(&self) -> String {
        match self.authority.egress.refused() {
            Some(refusal) => refusal.mend,
            None => format!(
                "check that {} leads to this machine, and that port {} of it is reached from outside while a challenge is open",
                self.authority.domain,
                self.authority.direct.challenge.port()
            ),
        }
    }
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}
