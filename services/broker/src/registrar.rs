//! The registrar: the one place where enrollments are kept and changed.
//!
//! Each step is judged by [`crate::enrollment`], put on record, and then stored; what changes rights goes through the
//! [`Steward`], which records and stores it with the epoch that it leads to. A crash between record and store leaves an
//! act on record that took no effect: whoever made it got no answer, and does it again.

use std::collections::BTreeMap;
use std::sync::Arc;

use lienthong_certs::{CertificateBinding, Judge, PeerCertificate, Usage, renewal, verify};
use lienthong_proto::lienthong::registry::v1::{
    CreateTokenRequest, EnrollRequest, Enrollment, EnrollmentState as State, Notice, RenewCertificateRequest,
};
use lienthong_transport::Connections;
use rustls_pki_types::{CertificateDer, UnixTime};
use time::OffsetDateTime;
use tokio::sync::{Mutex, watch};

use crate::bundle::{Sha256, sha256};
use crate::enrollment::{
    Enrolling, Holder, Kind, Officer, Place, Redeemed, Refused, Token, TokenError, enrolled, notices,
};
use crate::error::BrokerError;
use crate::generation::Generation;
use crate::identity::Caller;
use crate::ledger::Ledger;
use crate::limits::{
    ENROLLMENTS_ENDED_DAYS, ENROLLMENTS_FORGOTTEN_AT_ONCE, ENROLLMENTS_MAX, ENROLLMENTS_OPEN_MAX,
    RENEWAL_CHAIN_MAX,
};
use crate::records::{Act, administration};
use crate::shelf::Shelf;
use crate::steward::Steward;

/// The registrar.
#[derive(Debug)]
pub struct Registrar {
    /// What it needs of the house.
    pub house: House,
    /// By resource name. Held by whoever changes something.
    book: Mutex<BTreeMap<String, Enrolling>>,
}

/// What the registrar needs of the house.
#[derive(Clone, Debug)]
pub struct House {
    /// Id of the mesh.
    pub mesh: Arc<str>,
    /// Puts what is bound into effect.
    pub steward: Arc<Steward>,
    /// Puts on record.
    pub ledger: Ledger,
    /// Stores.
    pub shelf: Shelf,
    /// Judges the certificates that renewals bring; replaced at each reload.
    pub judge: watch::Receiver<Arc<Judge>>,
    /// Where the connections of what is unbound are found.
    pub connections: Connections,
}

/// Why a step was not taken.
#[derive(Debug, thiserror::Error)]
pub enum RegistrarError {
    /// It is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// The broker could not record or store it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}

impl Registrar {
    /// A registrar that keeps what was stored.
    pub fn new(house: House, stored: Vec<Enrolling>) -> Registrar {
        let book = stored.into_iter().map(|one| (one.name().to_owned(), one)).collect();
        Registrar { house, book: Mutex::new(book) }
    }

    /// Invites a node or system; answers the token, which is told once.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub async fn offer(
        &self,
        officer: &Officer,
        request: CreateTokenRequest,
    ) -> Result<(Token, Enrollment), RegistrarError> {
        let mut book = self.book.lock().await;
        let now = now();
        let holder = Holder::read(&request.holder).ok_or(Refused::Holder)?;
        if let Some(open) = book.values().find(|one| one.holder() == holder.name() && one.is_open(now)) {
            return Err(Refused::Open { holder: holder.name(), enrollment: open.name().to_owned() }.into());
        }
        check_holder(&self.house.steward.current(), &holder)?;
        let forget = forgettable(&book, now);
        let waiting = |one: &&Enrolling| matches!(one.state(now), State::Offered | State::Waiting);
        if book.len() - forget.len() >= ENROLLMENTS_MAX
            || book.values().filter(waiting).count() >= ENROLLMENTS_OPEN_MAX
        {
            return Err(Refused::TooMany.into());
        }
        let token =
            Token::generate().map_err(|_| BrokerError::from(crate::ledger::LedgerError::Randomness))?;
        let expected = request.expected.ok_or(Refused::Expectation)?;
        let offered = Enrolling::offer(&token, &holder, expected, request.valid_seconds, officer, now)?;
        let detail = format!("for {}", holder.name());
        self.record("enrollment.offer", &actor(officer), offered.name(), token.hash(), &detail).await?;
        self.house.shelf.put_enrollment(&offered, &forget).await?;
        book.retain(|name, _| !forget.contains(name));
        let shown = self.shown(&offered);
        book.insert(offered.name().to_owned(), offered);
        Ok((token, shown))
    }

    /// Redeems a token with the certificate of the caller's connection.
    ///
    /// # Errors
    /// [`RegistrarError`]. A wrong certificate counts against the token, and is on record.
    pub async fn redeem(
        &self,
        certificate: &PeerCertificate,
        request: EnrollRequest,
    ) -> Result<Enrollment, RegistrarError> {
        let EnrollRequest { token, address, server_name } = request;
        let token = Token::read(&token).map_err(|error| match error {
            TokenError::Malformed => Refused::NoToken,
            TokenError::Randomness => Refused::UnknownToken,
        })?;
        let mut book = self.book.lock().await;
        let now = now();
        let known = book.get(&token.enrollment()).ok_or(Refused::UnknownToken)?.clone();
        let redeemed =
            known.redeem(&token, certificate, Place { address, server_name }, now).and_then(|redeemed| {
                if matches!(redeemed, Redeemed::New(_)) {
                    self.check_unbound(&book, certificate.binding(), now)?;
                }
                Ok(redeemed)
            });
        match redeemed {
            Ok(Redeemed::Before) => Ok(self.shown(&known)),
            Ok(Redeemed::New(enrolled)) => {
                let detail = certificate.binding().to_string();
                let fingerprint = certificate.fingerprint();
                self.record("enrollment.enroll", enrolled.holder(), enrolled.name(), fingerprint, &detail)
                    .await?;
                Ok(self.keep(&mut book, *enrolled).await?)
            }
            Err(refused) if refused.is_wrong_try() => {
                let detail = refused.to_string();
                let stranger = certificate.binding().to_string();
                self.record(
                    "enrollment.wrong-try",
                    &stranger,
                    known.name(),
                    certificate.fingerprint(),
                    &detail,
                )
                .await?;
                self.keep(&mut book, known.wrong_try(now)).await?;
                Err(refused.into())
            }
            Err(refused) => Err(refused.into()),
        }
    }

    /// Approves: the certificate is bound, and in every bundle that it concerns.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub async fn approve(
        &self,
        officer: &Officer,
        name: &str,
        fingerprint: &[u8],
    ) -> Result<Enrollment, RegistrarError> {
        let mut book = self.book.lock().await;
        let now = now();
        let approved = found(&book, name)?.approve(officer, fingerprint, now)?;
        let holder = Holder::read(approved.holder()).ok_or(Refused::Holder)?;
        check_holder(&self.house.steward.current(), &holder)?;
        let detail = format!("{} is bound", approved.holder());
        self.bind(&mut book, approved, "enrollment.approve", &actor(officer), &detail).await
    }

    /// Ends an enrollment that is not bound.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub async fn reject(
        &self,
        officer: &Officer,
        name: &str,
        reason: &str,
    ) -> Result<Enrollment, RegistrarError> {
        let mut book = self.book.lock().await;
        let rejected = found(&book, name)?.reject(officer, reason, now())?;
        let content = sha256(rejected.holder().as_bytes());
        self.record("enrollment.reject", &actor(officer), name, content, reason).await?;
        Ok(self.keep(&mut book, rejected).await?)
    }

    /// Binds the next certificate of an enrolled holder beside its present one.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub async fn renew(
        &self,
        present: &PeerCertificate,
        request: RenewCertificateRequest,
    ) -> Result<Enrollment, RegistrarError> {
        let RenewCertificateRequest { chain, signature } = request;
        let mut book = self.book.lock().await;
        let now = now();
        let known = of_certificate(&book, present.binding(), now).ok_or(Refused::NotEnrolled)?.clone();
        let next = self.judged(chain, &known)?;
        let statement =
            renewal::statement(&self.house.mesh, known.name(), &present.fingerprint(), &next.fingerprint());
        verify(&next.spki_der, &statement, &signature).map_err(|_| Refused::NotSigned)?;
        match known.renew(present, &next, now)? {
            Redeemed::Before => Ok(self.shown(&known)),
            Redeemed::New(renewed) => {
                self.check_unbound(&book, next.binding(), now)?;
                let detail = format!("{} takes the place of {}", next.binding(), present.binding());
                let holder = renewed.holder().to_owned();
                let bound = self.bind(&mut book, *renewed, "enrollment.renew", &holder, &detail).await?;
                self.notify(&bound);
                Ok(bound)
            }
        }
    }

    /// Takes a binding back, and cuts the connections that it opened here.
    ///
    /// # Errors
    /// [`RegistrarError`].
    pub async fn unbind(
        &self,
        officer: &Officer,
        name: &str,
        reason: &str,
    ) -> Result<Enrollment, RegistrarError> {
        let mut book = self.book.lock().await;
        let before = found(&book, name)?.clone();
        let unbound = before.unbind(officer, reason, now())?;
        let shown = self.bind(&mut book, unbound, "enrollment.unbind", &actor(officer), reason).await?;
        self.house.connections.close_where(
            |peer| peer.certificate().is_some_and(|certificate| before.concerns(certificate.binding())),
            "its certificate was unbound",
        );
        Ok(shown)
    }

    /// One enrollment, where `may_see` says that the caller may see it.
    ///
    /// # Errors
    /// [`Refused::NotFound`], also where the caller may not see it.
    pub async fn get(&self, name: &str, may_see: impl Fn(&Enrolling) -> bool) -> Result<Enrollment, Refused> {
        let book = self.book.lock().await;
        found(&book, name)
            .ok()
            .filter(|one| may_see(one))
            .map(|one| self.shown(one))
            .ok_or_else(|| not_found(name))
    }

    /// The open enrollment that a certificate is part of.
    ///
    /// # Errors
    /// [`Refused::NotEnrolled`].
    pub async fn of(&self, binding: &CertificateBinding) -> Result<Enrollment, Refused> {
        let book = self.book.lock().await;
        of_certificate(&book, binding, now()).map(|one| self.shown(one)).ok_or(Refused::NotEnrolled)
    }

    /// What data contacts should know of their certificates, of one agency or of all; ordered by name.
    pub async fn notices(&self, agency: Option<&str>) -> Vec<Notice> {
        let now = now();
        let book = self.book.lock().await;
        let mut all: Vec<Notice> = book.values().flat_map(|one| notices(one, now)).collect();
        drop(book);
        if let Some(agency) = agency {
            let own = format!("agencies/{agency}");
            all.retain(|notice| notice.agency == own);
        }
        let generation = self.house.steward.current();
        for notice in &mut all {
            let code = notice.agency.trim_start_matches("agencies/");
            notice.contact = generation.party(code).and_then(|party| party.contact);
        }
        all.sort_by(|one, other| one.name.cmp(&other.name));
        all
    }

    /// All enrollments in `state`, or all; ordered by name.
    pub async fn list(&self, state: State) -> Vec<Enrollment> {
        let now = now();
        let book = self.book.lock().await;
        let wanted = book.values().filter(|one| state == State::Unspecified || one.state(now) == state);
        wanted.map(|one| self.shown(one)).collect()
    }

    /// Records, stores and puts into effect a step that changes rights.
    async fn bind(
        &self,
        book: &mut BTreeMap<String, Enrolling>,
        changed: Enrolling,
        action: &str,
        actor: &str,
        detail: &str,
    ) -> Result<Enrollment, RegistrarError> {
        let others = book.values().filter(|one| one.name() != changed.name());
        let all = enrolled(others.chain([&changed]));
        let content_hash =
            self.shown(&changed).certificate.and_then(|shown| shown.fingerprint.try_into().ok());
        let act = Act { actor, action, resource: changed.name(), content_hash, detail, epoch: 0 };
        match self.house.steward.bind(all, &changed, act).await {
            Ok(_) => {}
            Err(BrokerError::BoundTwice(twice)) => {
                return Err(Refused::BoundElsewhere(twice.to_string()).into());
            }
            Err(error) => return Err(error.into()),
        }
        let shown = self.shown(&changed);
        book.insert(changed.name().to_owned(), changed);
        Ok(shown)
    }

    /// Stores a step that changes no right.
    async fn keep(
        &self,
        book: &mut BTreeMap<String, Enrolling>,
        changed: Enrolling,
    ) -> Result<Enrollment, BrokerError> {
        self.house.shelf.put_enrollment(&changed, &[]).await?;
        let shown = self.shown(&changed);
        book.insert(changed.name().to_owned(), changed);
        Ok(shown)
    }

    async fn record(
        &self,
        action: &str,
        actor: &str,
        resource: &str,
        content_hash: Sha256,
        detail: &str,
    ) -> Result<(), BrokerError> {
        let act = Act { actor, action, resource, content_hash: Some(content_hash), detail, epoch: 0 };
        self.house.ledger.record(vec![administration(act)]).await?;
        Ok(())
    }

    /// A certificate that stands for somebody, or waits to, stands for nobody else.
    fn check_unbound(
        &self,
        book: &BTreeMap<String, Enrolling>,
        binding: &CertificateBinding,
        now: OffsetDateTime,
    ) -> Result<(), Refused> {
        if let Some(other) = of_certificate(book, binding, now) {
            return Err(Refused::BoundElsewhere(other.holder().to_owned()));
        }
        match self.house.steward.current().directory().caller(binding) {
            Caller::Anonymous { .. } => Ok(()),
            bound => Err(Refused::BoundElsewhere(bound.to_string())),
        }
    }

    /// The leaf of a renewal's chain, judged as a handshake would judge it.
    fn judged(&self, chain: Vec<Vec<u8>>, known: &Enrolling) -> Result<Arc<PeerCertificate>, Refused> {
        if chain.len() > RENEWAL_CHAIN_MAX {
            return Err(Refused::NotAccepted(format!(
                "a chain has at most {RENEWAL_CHAIN_MAX} certificates"
            )));
        }
        let chain: Vec<CertificateDer<'_>> = chain.into_iter().map(CertificateDer::from).collect();
        let judge = self.house.judge.borrow().clone();
        let is_node = Holder::read(known.holder()).is_some_and(|holder| holder.kind == Kind::Node);
        let usages = if is_node { [Usage::Server, Usage::Client] } else { [Usage::Client, Usage::Client] };
        let mut judged = Err(Refused::NotSigned);
        for usage in usages {
            judged = judge
                .judge(&chain, usage, UnixTime::now())
                .map_err(|refusal| Refused::NotAccepted(refusal.to_string()));
            if judged.is_err() {
                break;
            }
        }
        judged
    }

    /// Tells the agency's data contact that a certificate of its was renewed. The log line is what the operator's
    /// mail relay listens for.
    fn notify(&self, renewed: &Enrollment) {
        let agency = Holder::read(&renewed.holder).map(|holder| holder.agency).unwrap_or_default();
        let contact = self.house.steward.current().party(&agency).and_then(|party| party.contact);
        let contact = contact.map(|contact| contact.email).unwrap_or_default();
        let until = renewed.certificate.as_ref().and_then(|certificate| certificate.not_after);
        tracing::info!(
            target: "lienthong::notice",
            contact,
            holder = renewed.holder,
            enrollment = renewed.name,
            valid_until = until.map(|until| until.to_string()).unwrap_or_default(),
            "certificate renewed: tell the data contact"
        );
    }

    fn shown(&self, one: &Enrolling) -> Enrollment {
        let shown = one.shown(now());
        let epoch = match shown.state() {
            State::Active | State::Unbound => self.house.steward.current().epoch(),
            _ => 0,
        };
        Enrollment { epoch, ..shown }
    }
}

/// Agencies and systems come from the catalog; what the registry file declares is changed there.
fn check_holder(generation: &Generation, holder: &Holder) -> Result<(), Refused> {
    let catalog = generation.catalog();
    if !catalog.takes_part(&holder.agency) {
        return Err(Refused::UnknownAgency(holder.agency.clone()));
    }
    let name = holder.name();
    let declared = match holder.kind {
        Kind::Node => catalog.nodes().iter().any(|node| node.name == name),
        Kind::System => {
            let system = catalog.systems().iter().find(|system| system.name == name);
            !system.ok_or_else(|| Refused::UnknownSystem(name.clone()))?.certificates.is_empty()
        }
    };
    if declared { Err(Refused::Declared(name)) } else { Ok(()) }
}

fn found<'b>(book: &'b BTreeMap<String, Enrolling>, name: &str) -> Result<&'b Enrolling, Refused> {
    book.get(name).ok_or_else(|| not_found(name))
}

fn not_found(name: &str) -> Refused {
    Refused::NotFound(crate::text::cut(name, crate::limits::NAME_SHOWN_BYTES_MAX).escape_debug().to_string())
}

/// The open enrollment that a certificate is part of.
fn of_certificate<'b>(
    book: &'b BTreeMap<String, Enrolling>,
    binding: &CertificateBinding,
    now: OffsetDateTime,
) -> Option<&'b Enrolling> {
    book.values().find(|one| one.is_open(now) && one.concerns(binding))
}

/// Ended long enough ago.
fn forgettable(book: &BTreeMap<String, Enrolling>, now: OffsetDateTime) -> Vec<String> {
    let before = now - time::Duration::days(ENROLLMENTS_ENDED_DAYS);
    let ended = book.values().filter(|one| one.end(now).is_some_and(|end| end < before));
    ended.take(ENROLLMENTS_FORGOTTEN_AT_ONCE).map(|one| one.name().to_owned()).collect()
}

fn actor(officer: &Officer) -> String {
    format!("operators/{}", officer.subject)
}

fn now() -> OffsetDateTime {
    OffsetDateTime::now_utc()
}
