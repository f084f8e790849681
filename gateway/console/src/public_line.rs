//! The console's line to the broker, for what everybody may know: asked by the console itself, for no person.

use std::fmt;
use std::time::Duration;

use lienthong_proto::lienthong::compliance::v1::compliance_service_client::ComplianceServiceClient;
use lienthong_proto::lienthong::compliance::v1::{GetStatisticsRequest, GetStatisticsResponse};
use lienthong_transport::Channel;
use tonic::body::Body;
use tonic::{Request, Status};

use crate::belief::Belief;
use crate::desk::ANSWER_TIMEOUT_S;
use crate::proof::Judged;

/// Cheap to clone.
#[derive(Clone)]
pub struct PublicLine {
    broker: Channel<Body>,
    belief: Belief,
}

impl PublicLine {
    pub(crate) fn new(broker: Channel<Body>, belief: Belief) -> Self {
        Self { broker, belief }
    }

    /// Numbers of agencies, none of persons.
    ///
    /// # Errors
    /// What the broker says.
    pub async fn statistics(&self) -> Result<GetStatisticsResponse, Status> {
        let mut request = Request::new(GetStatisticsRequest {});
        request.set_timeout(Duration::from_secs(ANSWER_TIMEOUT_S));
        Ok(ComplianceServiceClient::new(self.broker.clone()).get_statistics(request).await?.into_inner())
    }

    /// The witnesses of the mesh trust file, and whether each has signed this checkpoint.
    pub fn witnesses(&self, checkpoint: &str) -> Vec<(String, bool)> {
        let policy = self.belief.policy();
        let signed = Judged::new(&policy, checkpoint).witnesses(&policy);
        let names =
            policy.witnesses().iter().map(|witness| String::from_utf8_lossy(&witness.name).into_owned());
        names
            .map(|name| {
                let has_signed = signed.contains(&name);
                (name, has_signed)
            })
            .collect()
    }
}

impl fmt::Debug for PublicLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicLine").finish_non_exhaustive()
    }
}
