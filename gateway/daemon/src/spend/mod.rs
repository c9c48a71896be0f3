//! Money, as egress tells it: the questions, the record of what the owner was told, and the words. The sums, the prices
//! and the decision whether a call may be made are egress's alone.

pub mod told;
pub mod words;

use std::time::Duration;

use http::Method;
use openclaw_wire::spend::{ALERTS_WAIT, Alert, CapState, Raise, Report};
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    egress::{Egress, EgressError},
    inbox::Lane,
};

/// Largest answer, in bytes: a report has a thousand lines at most.
const BODY: usize = 2 << 20;
/// Time for an answer, besides what it waits for by itself.
const WITHIN: Duration = Duration::from_secs(10);

/// The name under which egress counts what a lane's chat uses.
pub fn account(lane: &Lane) -> String {
    format!("{}/{}", lane.bot, lane.chat.0)
}

impl Egress {
    /// What was spent, and what may be.
    pub async fn spent(&self) -> Result<Report, EgressError> {
        self.about_money(Method::GET, "/spend", None::<&()>, WITHIN).await
    }

    /// What the owner must hear; waits for it, and gives nothing after a while.
    pub async fn alerts(&self) -> Result<Vec<Alert>, EgressError> {
        self.about_money(Method::GET, "/spend/alerts", None::<&()>, ALERTS_WAIT + WITHIN).await
    }

    /// The owner will hear it: it is stored here.
    pub async fn acknowledge(&self, alert: &Alert) -> Result<(), EgressError> {
        self.question(Method::POST, "/spend/alerts", Some(alert), BODY, WITHIN).await.map(drop)
    }

    /// More of a cap, up to the operator's ceiling.
    pub async fn raise(&self, wish: &Raise) -> Result<CapState, EgressError> {
        self.about_money(Method::POST, "/spend/raise", Some(wish), WITHIN).await
    }

    async fn about_money<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, EgressError> {
        let (status, body) = self.question(method, path, body, BODY, within).await?;
        let strange = EgressError::Strange(status.as_u16());
        if status.is_success() { serde_json::from_slice(&body).map_err(|_| strange) } else { Err(strange) }
    }
}
