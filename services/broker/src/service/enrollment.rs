//! `EnrollmentService`: how nodes and systems come in, with four eyes on each.

use std::sync::Arc;

use lienthong_certs::PeerCertificate;
use lienthong_proto::lienthong::registry::v1::enrollment_service_server::EnrollmentService;
use lienthong_proto::lienthong::registry::v1::{
    ApproveEnrollmentRequest, ApproveEnrollmentResponse, CreateTokenRequest, CreateTokenResponse,
    EnrollRequest, EnrollResponse, Enrollment, GetEnrollmentRequest, GetEnrollmentResponse,
    ListEnrollmentsRequest, ListEnrollmentsResponse, ListNoticesRequest, ListNoticesResponse, Notice,
    RejectEnrollmentRequest, RejectEnrollmentResponse, RenewCertificateRequest, RenewCertificateResponse,
    UnbindEnrollmentRequest, UnbindEnrollmentResponse,
};
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::door::{Door, Guest};
use crate::enrollment::{Enrolling, Officer, Refused};
use crate::identity::Caller;
use crate::knocks::Knocks;
use crate::metrics::BrokerMetrics;
use crate::paging::Page;
use crate::registrar::{Registrar, RegistrarError};

/// What a holder calls the enrollment that its own certificate is part of.
const OWN: &str = "enrollments/-";

/// The service.
#[derive(Clone, Debug)]
pub struct Enrollments {
    pub(crate) door: Door,
    pub(crate) registrar: Arc<Registrar>,
    pub(crate) knocks: Knocks,
    pub(crate) metrics: BrokerMetrics,
}

#[tonic::async_trait]
impl EnrollmentService for Enrollments {
    async fn create_token(
        &self,
        request: Request<CreateTokenRequest>,
    ) -> Result<Response<CreateTokenResponse>, Status> {
        let officer = self.officer(Rpc::CreateToken, &request)?;
        let request = request.into_inner();
        let (token, enrollment) = self
            .step("offered", move |registrar| async move { registrar.offer(&officer, request).await })
            .await?;
        let token = token.text().to_owned();
        Ok(Response::new(CreateTokenResponse { token, enrollment: Some(enrollment) }))
    }

    async fn enroll(&self, request: Request<EnrollRequest>) -> Result<Response<EnrollResponse>, Status> {
        let (_, certificate) = self.stranger(Rpc::Enroll, &request)?;
        let request = request.into_inner();
        let enrollment = self
            .step("enrolled", move |registrar| async move { registrar.redeem(&certificate, request).await })
            .await?;
        Ok(Response::new(EnrollResponse { enrollment: Some(enrollment) }))
    }

    async fn get_enrollment(
        &self,
        request: Request<GetEnrollmentRequest>,
    ) -> Result<Response<GetEnrollmentResponse>, Status> {
        let (guest, certificate) = self.stranger(Rpc::GetEnrollment, &request)?;
        let is_officer = matches!(guest.caller, Caller::Operator { .. });
        let may_see = |one: &Enrolling| is_officer || one.concerns(certificate.binding());
        let found = match request.get_ref().name.as_str() {
            OWN => self.registrar.of(certificate.binding()).await,
            name => self.registrar.get(name, may_see).await,
        };
        match found {
            Ok(enrollment) => Ok(Response::new(GetEnrollmentResponse { enrollment: Some(enrollment) })),
            Err(refused) => Err(refused.to_status()),
        }
    }

    async fn list_enrollments(
        &self,
        request: Request<ListEnrollmentsRequest>,
    ) -> Result<Response<ListEnrollmentsResponse>, Status> {
        self.door.admit(Rpc::ListEnrollments, &request)?;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token)?;
        let all = self.registrar.list(request.state()).await;
        let (enrollments, next_page_token) = page.cut(&all, |one: &Enrollment| &one.name);
        let enrollments = enrollments.to_vec();
        Ok(Response::new(ListEnrollmentsResponse { enrollments, next_page_token }))
    }

    async fn approve_enrollment(
        &self,
        request: Request<ApproveEnrollmentRequest>,
    ) -> Result<Response<ApproveEnrollmentResponse>, Status> {
        let officer = self.officer(Rpc::ApproveEnrollment, &request)?;
        let ApproveEnrollmentRequest { name, fingerprint } = request.into_inner();
        let enrollment = self
            .step("approved", move |registrar| async move {
                registrar.approve(&officer, &name, &fingerprint).await
            })
            .await?;
        Ok(Response::new(ApproveEnrollmentResponse { enrollment: Some(enrollment) }))
    }

    async fn reject_enrollment(
        &self,
        request: Request<RejectEnrollmentRequest>,
    ) -> Result<Response<RejectEnrollmentResponse>, Status> {
        let officer = self.officer(Rpc::RejectEnrollment, &request)?;
        let RejectEnrollmentRequest { name, reason } = request.into_inner();
        let enrollment =
            self.step("rejected", move |registrar| async move {
                registrar.reject(&officer, &name, &reason).await
            })
            .await?;
        Ok(Response::new(RejectEnrollmentResponse { enrollment: Some(enrollment) }))
    }

    async fn renew_certificate(
        &self,
        request: Request<RenewCertificateRequest>,
    ) -> Result<Response<RenewCertificateResponse>, Status> {
        let (_, certificate) = self.stranger(Rpc::RenewCertificate, &request)?;
        let request = request.into_inner();
        let enrollment = self
            .step("renewed", move |registrar| async move { registrar.renew(&certificate, request).await })
            .await?;
        Ok(Response::new(RenewCertificateResponse { enrollment: Some(enrollment) }))
    }

    async fn list_notices(
        &self,
        request: Request<ListNoticesRequest>,
    ) -> Result<Response<ListNoticesResponse>, Status> {
        let guest = self.door.admit(Rpc::ListNotices, &request)?;
        let page = Page::read(request.get_ref().page_size, &request.get_ref().page_token)?;
        let agency = match &guest.caller {
            Caller::Operator { .. } | Caller::Auditor { .. } | Caller::Steward { .. } => None,
            Caller::Node { agency, .. }
            | Caller::System { agency, .. }
            | Caller::Officer { agency, .. }
            | Caller::Head { agency, .. } => Some(agency.as_str()),
            // The table lets nobody in who is bound to nobody; no agency has this code.
            Caller::Console { .. } | Caller::Anonymous { .. } => Some(""),
        };
        let all = self.registrar.notices(agency).await;
        let (notices, next_page_token) = page.cut(&all, |one: &Notice| &one.name);
        let notices = notices.to_vec();
        Ok(Response::new(ListNoticesResponse { notices, next_page_token }))
    }

    async fn unbind_enrollment(
        &self,
        request: Request<UnbindEnrollmentRequest>,
    ) -> Result<Response<UnbindEnrollmentResponse>, Status> {
        let officer = self.officer(Rpc::UnbindEnrollment, &request)?;
        let UnbindEnrollmentRequest { name, reason } = request.into_inner();
        let enrollment = self
            .step("unbound", move |registrar| async move { registrar.unbind(&officer, &name, &reason).await })
            .await?;
        Ok(Response::new(UnbindEnrollmentResponse { enrollment: Some(enrollment) }))
    }
}

impl Enrollments {
    /// Takes a step that goes on when the caller hangs up: what is on record must not stay half stored.
    async fn step<T, F>(
        &self,
        outcome: &'static str,
        step: impl FnOnce(Arc<Registrar>) -> F,
    ) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, RegistrarError>> + Send + 'static,
    {
        let work = tokio::spawn(step(Arc::clone(&self.registrar)));
        match work.await.map_err(|_| Status::internal("the step of this enrollment ended unexpectedly"))? {
            Ok(taken) => {
                self.metrics.enrollment(outcome);
                Ok(taken)
            }
            Err(RegistrarError::Refused(refused)) => {
                self.metrics.enrollment("refused");
                if self.door.may_log() {
                    tracing::warn!(step = outcome, %refused, "a step of an enrollment is refused");
                }
                Err(refused.to_status())
            }
            Err(RegistrarError::Broker(error)) => {
                tracing::error!(step = outcome, %error, "a step of an enrollment could not be taken");
                Err(Status::unavailable(
                    "the broker could not record or store this step; it is not taken, try again",
                ))
            }
        }
    }

    /// An operator, by certificate.
    fn officer<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<Officer, Status> {
        let (guest, certificate) = self.proven(rpc, request)?;
        let Caller::Operator { subject } = guest.caller else {
            return Err(Status::permission_denied(format!("{} is for operators only", rpc.path())));
        };
        Ok(Officer { subject, spki_sha256: certificate.binding().spki_sha256 })
    }

    /// Somebody with a certificate that may be bound to nobody, within what such a one may ask.
    fn stranger<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<(Guest, Arc<PeerCertificate>), Status> {
        let (guest, certificate) = self.proven(rpc, request)?;
        if matches!(guest.caller, Caller::Anonymous { .. }) && !self.knocks.allows(certificate.binding()) {
            self.metrics.enrollment("throttled");
            return Err(Refused::TooOften.to_status());
        }
        Ok((guest, certificate))
    }

    fn proven<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<(Guest, Arc<PeerCertificate>), Status> {
        let guest = self.door.admit(rpc, request)?;
        match guest.certificate.clone() {
            Some(certificate) => Ok((guest, certificate)),
            None => Err(Status::unauthenticated("enrollment needs a connection with a certificate (R-32)")),
        }
    }
}
