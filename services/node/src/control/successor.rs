//! The node's next certificate, without a person (design §6, *Enrollment*).
//!
//! ```text
//! near its end ─▶ next.key, next.csr ──(whoever speaks to the authority)──▶ next.crt
//!                                                                              │ proven to the broker: it binds both
//!                 renewal takes the files over ◀── in the place of the present ┘
//! ```
//!
//! Every authority issues in a way of its own, so a folder is where the node and that way meet: what the node wants lies
//! there as `next.csr`, and what is put there as `next.crt` is taken up, whenever and by whomever: the broker takes nothing
//! that the present key and the next have not both signed. A step that fails changes nothing, is said, and is tried again.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use lienthong_certs::{
    Credentials, CredentialsError, KeySource, PeerCertificate, ProfileError, SignError,
    files::{self, FileError},
    pki::PkiError,
    renewal::{self, Files},
    request,
};
use lienthong_proto::lienthong::registry::v1::{
    Enrollment, GetEnrollmentRequest, RenewCertificateRequest,
    enrollment_service_client::EnrollmentServiceClient,
};
use lienthong_transport::FileWatch;
use time::OffsetDateTime;
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use crate::{
    config::{NodeConfig, RenewalConfig},
    control::broker::{Broker, BrokerChannel},
    limits::{RENEWAL_ANSWER_MS_MAX, RENEWAL_LOOK_MS, RENEWAL_SAID_AGAIN_MS, RENEWAL_SHARE},
    node::Node,
    trust::Trust,
};

/// What a holder calls the enrollment that its own certificate is part of.
pub const OWN_ENROLLMENT: &str = "enrollments/-";

/// Looks after the next certificate.
pub struct Successor {
    /// Whose operator is told.
    node: Arc<Node>,
    /// The certificate in use.
    trust: Arc<Trust>,
    /// Who binds the next one.
    broker: Broker,
    /// When, and where.
    plan: Plan,
}

/// When the next certificate is asked for, and where it is found.
#[derive(Debug, Clone)]
pub struct Plan {
    mesh: String,
    certificate: PathBuf,
    key: KeySource,
    folder: PathBuf,
    days_before: u16,
    keep_key: bool,
}

/// Why a step towards the next certificate was not taken.
#[derive(Debug, thiserror::Error)]
pub enum SuccessorError {
    /// A file.
    #[error(transparent)]
    File(#[from] FileError),
    /// The next key or its request.
    #[error("the request for the next certificate cannot be made: {0}")]
    Request(#[from] PkiError),
    /// The next certificate with its key.
    #[error("next.crt cannot be used: {0}")]
    Next(#[from] CredentialsError),
    /// The present certificate on disk.
    #[error("the certificate on disk cannot be read: {0}")]
    Present(#[from] ProfileError),
    /// The next key did not sign.
    #[error("the next key cannot sign: {0}")]
    Sign(#[from] SignError),
    /// The broker refuses.
    #[error("the broker does not bind the next certificate: {}", .0.message())]
    Refused(Box<Status>),
    /// The broker says nothing.
    #[error("the broker did not answer within {RENEWAL_ANSWER_MS_MAX} ms")]
    Silent,
    /// A thread of work ended early.
    #[error("the work ended unexpectedly")]
    Ended,
}

impl From<Status> for SuccessorError {
    fn from(status: Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// What there is to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing: there is time, or files are being taken over.
    Rest,
    /// A request lies in the folder and nobody has answered it.
    Wait,
    /// A next certificate lies in the folder.
    Take,
    /// The present certificate nears its end and nothing was asked for.
    Ask,
}

/// What lies on disk, as far as a step depends on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // each is a fact of its own, and any of them may go with any other
pub struct Seen {
    /// The certificate on disk is the one in use.
    pub is_settled: bool,
    /// It is near its end.
    pub is_due: bool,
    /// A request lies in the folder.
    pub is_asked: bool,
    /// A next certificate does.
    pub is_answered: bool,
}

impl Seen {
    /// The step to take.
    pub fn step(self) -> Step {
        match self {
            Seen { is_settled: false, .. } => Step::Rest,
            Seen { is_answered: true, .. } => Step::Take,
            Seen { is_asked: true, .. } => Step::Wait,
            Seen { is_due: true, .. } => Step::Ask,
            _ => Step::Rest,
        }
    }
}

/// From when on a certificate is renewed: `days_before` its end, or in the last part ([`RENEWAL_SHARE`]) of a short one.
pub fn due(not_before: OffsetDateTime, not_after: OffsetDateTime, days_before: u16) -> OffsetDateTime {
    let share = (not_after - not_before) / RENEWAL_SHARE;
    not_after - share.min(time::Duration::days(days_before.into()))
}

impl Plan {
    /// The plan of a configuration; `None` where people replace the files.
    pub fn of(config: &NodeConfig) -> Option<Plan> {
        let RenewalConfig { folder, days_before, keep_key } = config.renewal.clone();
        Some(Plan {
            mesh: config.mesh.clone(),
            certificate: config.certificate.clone(),
            key: config.key.clone(),
            folder: folder?,
            days_before,
            keep_key,
        })
    }

    fn place(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Where the next key is; a key in a token stays.
    fn next_key(&self) -> KeySource {
        if self.keep_key || self.key.file().is_none() {
            return self.key.clone();
        }
        KeySource::File(self.place("next.key"))
    }

    /// Writes key and request. What was written before goes on, so that asking twice asks for the same.
    fn ask(&self, trust: &Trust) -> Result<(), SuccessorError> {
        fs::create_dir_all(&self.folder).map_err(|source| FileError::Io {
            action: "make",
            path: self.folder.clone(),
            source,
        })?;
        let chain = files::certificates(&self.certificate)?;
        let leaf = chain.first().ok_or(ProfileError::Absent)?;
        let request = match &self.next_key() {
            KeySource::File(key) => request::next(leaf, key)?,
            KeySource::Token(_) => request::next_with(leaf, &*trust.signing().signer)?,
        };
        Ok(files::replace(&self.place("next.csr"), request.pem.as_bytes())?)
    }

    /// Puts the next pair in the place of the present one.
    fn put_in_place(&self) -> Result<(), SuccessorError> {
        let (certificate, next_key) = (self.place("next.crt"), self.next_key());
        let next = Files { certificate: &certificate, key: next_key.file() };
        renewal::put_in_place(next, present(&self.certificate, &self.key))?;
        self.clear();
        Ok(())
    }

    /// The folder is empty again for the next time. What cannot be removed is found to be in use already, and tried again.
    fn clear(&self) {
        for name in ["next.crt", "next.csr", "next.key"] {
            let path = self.place(name);
            if let Err(error) = fs::remove_file(&path)
                && error.kind() != std::io::ErrorKind::NotFound
            {
                tracing::warn!(path = %path.display(), %error, "a file of the renewal is left over");
            }
        }
    }
}

/// Ends a change of files that was interrupted when the process ended.
///
/// # Errors
/// [`FileError`].
pub fn finish(config: &NodeConfig) -> Result<(), FileError> {
    if renewal::finish(present(&config.certificate, &config.key))? {
        tracing::info!("an interrupted change of certificate and key was ended");
    }
    Ok(())
}

impl Successor {
    /// Looks after it by `plan`.
    pub fn new(plan: Plan, node: &Arc<Node>, trust: &Arc<Trust>, broker: &Broker) -> Successor {
        Successor { node: Arc::clone(node), trust: Arc::clone(trust), broker: broker.clone(), plan }
    }

    /// Looks after it until told to stop.
    pub async fn run(self, stop: CancellationToken) {
        let mut watch = FileWatch::new([self.plan.place("next.crt")]);
        let mut look = tokio::time::interval(Duration::from_millis(RENEWAL_LOOK_MS));
        let mut renewed = self.trust.renewals();
        let mut said = Said::default();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = look.tick() => {}
                () = watch.changed() => {}
                // The sender lives as long as the trust that is held here.
                _ = renewed.changed() => {}
            }
            let taken = tokio::select! {
                () = stop.cancelled() => return,
                taken = self.step() => taken,
            };
            self.tell(taken, &mut said);
        }
    }

    async fn step(&self) -> Result<Step, SuccessorError> {
        let (plan, trust) = (self.plan.clone(), Arc::clone(&self.trust));
        let step = blocking(move || {
            let step = look(&plan, &trust, OffsetDateTime::now_utc())?.step();
            if step == Step::Ask {
                plan.ask(&trust)?;
            }
            Ok(step)
        })
        .await?;
        if step == Step::Take && !self.take().await? {
            return Ok(Step::Rest);
        }
        Ok(step)
    }

    /// Takes the next certificate up; answers whether it is another than the one in use.
    async fn take(&self) -> Result<bool, SuccessorError> {
        let (certificate, key) = (self.plan.place("next.crt"), self.plan.next_key());
        let next = Arc::new(blocking(move || Ok(Credentials::open(&certificate, &key)?)).await?);
        let present = self.trust.present();
        if next.certificate().fingerprint() == present.fingerprint() {
            // It is in use: the process ended before the folder was cleared.
            self.plan.clear();
            return Ok(false);
        }
        let mut service = EnrollmentServiceClient::new(self.broker.channel.clone());
        bind(&mut service, OWN_ENROLLMENT, &self.plan.mesh, &present, next).await?;
        let plan = self.plan.clone();
        blocking(move || plan.put_in_place()).await?;
        Ok(true)
    }

    fn tell(&self, taken: Result<Step, SuccessorError>, said: &mut Said) {
        match taken {
            Ok(Step::Rest) => self.node.own_files.renewing(None),
            Ok(Step::Ask) => {
                self.node.metrics.renewed("requested");
                let request = self.plan.place("next.csr");
                tracing::info!(
                    request = %request.display(),
                    "the certificate nears its end: have this request answered as next.crt beside it"
                );
                self.waits();
            }
            Ok(Step::Wait) => self.waits(),
            Ok(Step::Take) => {
                *said = Said::default();
                self.node.metrics.renewed("renewed");
                self.node.own_files.renewing(None);
                tracing::info!("the next certificate is bound and in its place");
            }
            Err(error) => {
                self.node.metrics.renewed("refused");
                let text = error.to_string();
                self.node.own_files.renewing(Some(&format!("its renewal does not succeed: {text}")));
                if said.is_news(&text) {
                    tracing::error!(%error, "the certificate is not renewed; the node tries again every minute");
                }
            }
        }
    }

    fn waits(&self) {
        self.node.own_files.renewing(Some("its renewal is asked for, and next.crt is not there yet"));
    }
}

/// Has the broker bind `next` beside `present`, under whose connection `service` speaks.
///
/// # Errors
/// [`SuccessorError::Refused`] with the broker's word, [`SuccessorError::Silent`] without one.
pub async fn bind(
    service: &mut EnrollmentServiceClient<BrokerChannel>,
    enrollment: &str,
    mesh: &str,
    present: &PeerCertificate,
    next: Arc<Credentials>,
) -> Result<Enrollment, SuccessorError> {
    let patience = Duration::from_millis(RENEWAL_ANSWER_MS_MAX);
    let asked = service.get_enrollment(GetEnrollmentRequest { name: enrollment.to_owned() });
    let known = tokio::time::timeout(patience, asked).await.map_err(|_| SuccessorError::Silent)??;
    let known = known.into_inner().enrollment.unwrap_or_default();
    let statement =
        renewal::statement(mesh, &known.name, &present.fingerprint(), &next.certificate().fingerprint());
    let chain = next.chain().iter().map(|der| der.to_vec()).collect();
    // A token may take its time.
    let signature = blocking(move || Ok(next.signer().sign(&statement)?)).await?;
    let renewal = service.renew_certificate(RenewCertificateRequest { chain, signature });
    let bound = tokio::time::timeout(patience, renewal).await.map_err(|_| SuccessorError::Silent)??;
    Ok(bound.into_inner().enrollment.unwrap_or_default())
}

/// What is said is said again only when it is another, or after a while.
#[derive(Debug, Default)]
struct Said(Option<(String, Instant)>);

impl Said {
    fn is_news(&mut self, text: &str) -> bool {
        let again = Duration::from_millis(RENEWAL_SAID_AGAIN_MS);
        let known = self.0.as_ref().is_some_and(|(said, at)| said == text && at.elapsed() < again);
        if !known {
            self.0 = Some((text.to_owned(), Instant::now()));
        }
        !known
    }
}

fn look(plan: &Plan, trust: &Trust, now: OffsetDateTime) -> Result<Seen, SuccessorError> {
    let on_disk = PeerCertificate::read(&files::certificates(&plan.certificate)?)?;
    Ok(Seen {
        is_settled: on_disk.fingerprint() == trust.present().fingerprint(),
        is_due: due(on_disk.not_before, on_disk.not_after, plan.days_before) <= now,
        is_asked: plan.place("next.csr").exists(),
        is_answered: plan.place("next.crt").exists(),
    })
}

fn present<'a>(certificate: &'a Path, key: &'a KeySource) -> Files<'a> {
    Files { certificate, key: key.file() }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SuccessorError> + Send + 'static,
) -> Result<T, SuccessorError> {
    spawn_blocking(work).await.unwrap_or(Err(SuccessorError::Ended))
}

#[cfg(test)]
mod tests {
    use time::macros::datetime;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_days_before_its_end_and_a_short_one_in_its_last_part() {
        let begin = datetime!(2026-01-01 0:00 UTC);
        let year = begin + time::Duration::days(365);
        assert_eq!(due(begin, year, 30), year - time::Duration::days(30));
        let short = begin + time::Duration::days(9);
        assert_eq!(due(begin, short, 30), short - time::Duration::days(3));
    }

    #[test]
    fn a_step_follows_from_what_lies_there() {
        let seen = |is_settled, is_due, is_asked, is_answered| {
            Seen { is_settled, is_due, is_asked, is_answered }.step()
        };
        assert_eq!(seen(true, false, false, false), Step::Rest);
        assert_eq!(seen(true, true, false, false), Step::Ask);
        assert_eq!(seen(true, true, true, false), Step::Wait);
        assert_eq!(seen(true, true, true, true), Step::Take);
        assert_eq!(seen(true, false, false, true), Step::Take, "whoever renews early is welcome");
        assert_eq!(seen(false, true, true, true), Step::Rest, "one change at a time");
    }

    #[test]
    fn the_same_trouble_is_said_once() {
        let mut said = Said::default();
        assert!(said.is_news("no broker") && !said.is_news("no broker") && said.is_news("another"));
    }
}
