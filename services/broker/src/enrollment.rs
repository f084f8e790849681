//! One enrollment: how a certificate comes to stand for a node or an information system (R-34), and how it ends.
//!
//! ```text
//! offer ─▶ OFFERED ─redeem─▶ WAITING ─approve─▶ ACTIVE ─unbind─▶ UNBOUND
//!             │ reject, wrong tries │ reject       └ renew: the next certificate beside the present one
//!             └──────▶ REJECTED ◀───┘
//! ```
//!
//! Pure: each step takes what is, who acts and the time, and gives what is to be kept, or a [`Refused`] that says why
//! not. Nothing is in effect before the [`crate::registrar`] has put it on record and stored it.

use lienthong_catalog::catalog::Enrolled;
use lienthong_certs::{CertificateBinding, PeerCertificate};
use lienthong_proto::lienthong::control::v1 as control;
use lienthong_proto::lienthong::registry::v1::expected_certificate::Identity;
use lienthong_proto::lienthong::registry::v1::{
    EnrolledCertificate, Enrollment, EnrollmentState as State, ExpectedCertificate,
};
use prost_types::Timestamp;
use time::{Duration, OffsetDateTime};

use crate::bundle::Sha256;
use crate::limits::{
    ENROLLMENT_REASON_CHARS_MAX, RENEWAL_DAYS_MAX, TOKEN_TRIES_MAX, TOKEN_VALID_SECONDS_MAX,
};
use crate::stored::StoredEnrollment;

mod certificate;
mod holder;
mod notice;
mod refusal;
mod token;

pub use certificate::{NAME_BYTES_MAX, binding_of, describe, expected};
pub use holder::{Holder, Kind};
pub use notice::notices;
pub use refusal::Refused;
pub use token::{Token, TokenError};

/// An operator, as its certificate proves it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Officer {
    /// Subject of the certificate.
    pub subject: String,
    /// SHA-256 of its key.
    pub spki_sha256: Sha256,
}

/// Where a node is reached; empty for systems.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// Host and port.
    pub address: String,
    /// DNS name out of its certificate.
    pub server_name: String,
}

/// An enrollment, with what nobody is shown.
#[derive(Clone, Debug, PartialEq)]
pub struct Enrolling {
    shown: Enrollment,
    token_hash: Sha256,
    creator_spki: Sha256,
    wrong_tries: u32,
}

/// What became of a token that was shown.
#[derive(Clone, Debug, PartialEq)]
pub enum Redeemed {
    /// Its certificate waits for approval now.
    New(Box<Enrolling>),
    /// The same certificate has redeemed it before: the answer was lost.
    Before,
}

impl Enrolling {
    /// Invites `holder` with `token`.
    ///
    /// # Errors
    /// [`Refused`] where the expectation names no certificate, or the validity is over the bound.
    pub fn offer(
        token: &Token,
        holder: &Holder,
        expected: ExpectedCertificate,
        valid_seconds: u32,
        creator: &Officer,
        now: OffsetDateTime,
    ) -> Result<Enrolling, Refused> {
        certificate::check_expected(&expected)?;
        let valid_seconds = if valid_seconds == 0 { TOKEN_VALID_SECONDS_MAX } else { valid_seconds };
        if valid_seconds > TOKEN_VALID_SECONDS_MAX {
            return Err(Refused::ValidTooLong);
        }
        let shown = Enrollment {
            name: token.enrollment(),
            holder: holder.name(),
            expected: Some(expected),
            create_time: Some(timestamp(now)),
            expire_time: Some(timestamp(now + Duration::seconds(valid_seconds.into()))),
            created_by: creator.subject.clone(),
            ..Enrollment::default()
        };
        let offered =
            Enrolling { shown, token_hash: token.hash(), creator_spki: creator.spki_sha256, wrong_tries: 0 };
        Ok(offered.with(|shown| shown.set_state(State::Offered)))
    }

    /// Reads what was stored; `None` where it is not whole.
    pub fn read(stored: StoredEnrollment) -> Option<Enrolling> {
        let StoredEnrollment { enrollment, token_hash, creator_spki, wrong_tries } = stored;
        Some(Enrolling {
            shown: enrollment.filter(|shown| Holder::read(&shown.holder).is_some())?,
            token_hash: token_hash.try_into().ok()?,
            creator_spki: creator_spki.try_into().ok()?,
            wrong_tries,
        })
    }

    /// As it is stored.
    pub fn to_stored(&self) -> StoredEnrollment {
        StoredEnrollment {
            enrollment: Some(self.shown.clone()),
            token_hash: self.token_hash.to_vec(),
            creator_spki: self.creator_spki.to_vec(),
            wrong_tries: self.wrong_tries,
        }
    }

    /// As people are shown it: a token that nobody redeemed in time has expired.
    pub fn shown(&self, now: OffsetDateTime) -> Enrollment {
        let state = self.state(now);
        self.clone().with(|shown| shown.set_state(state)).shown
    }

    /// Resource name.
    pub fn name(&self) -> &str {
        &self.shown.name
    }

    /// Resource name of the node or system.
    pub fn holder(&self) -> &str {
        &self.shown.holder
    }

    /// How far it has come.
    pub fn state(&self, now: OffsetDateTime) -> State {
        match self.shown.state() {
            State::Offered if self.has_expired(now) => State::Expired,
            state => state,
        }
    }

    /// Whether it may still become, or is, a binding.
    pub fn is_open(&self, now: OffsetDateTime) -> bool {
        matches!(self.state(now), State::Offered | State::Waiting | State::Active)
    }

    /// When it ended, if it has.
    pub fn end(&self, now: OffsetDateTime) -> Option<OffsetDateTime> {
        match self.state(now) {
            State::Rejected => instant(self.shown.decide_time),
            State::Unbound => instant(self.shown.unbind_time),
            State::Expired => instant(self.shown.expire_time),
            _ => None,
        }
    }

    /// Whether this certificate is a part of it.
    pub fn concerns(&self, binding: &CertificateBinding) -> bool {
        self.certificates().any(|certificate| binding_of(certificate).as_ref() == Some(binding))
    }

    /// Redeems `token` with the certificate of the connection that it came over.
    ///
    /// # Errors
    /// [`Refused`]; where it is a wrong try ([`Refused::is_wrong_try`]), [`Enrolling::wrong_try`] is to be kept.
    pub fn redeem(
        &self,
        token: &Token,
        certificate: &PeerCertificate,
        place: Place,
        now: OffsetDateTime,
    ) -> Result<Redeemed, Refused> {
        if !token.has_hash(&self.token_hash) {
            return Err(Refused::UnknownToken);
        }
        match self.state(now) {
            State::Offered => {}
            State::Waiting | State::Active if self.concerns(certificate.binding()) => {
                return Ok(Redeemed::Before);
            }
            State::Expired => return Err(Refused::Expired),
            State::Waiting | State::Active => return Err(Refused::Spent),
            _ => return Err(Refused::Ended),
        }
        let holder = Holder::read(self.holder()).ok_or(Refused::Holder)?;
        certificate::check_fits(certificate, self.shown.expected.as_ref(), &holder)?;
        let place = check_place(place, &holder, certificate)?;
        Ok(Redeemed::New(Box::new(self.clone().with(|shown| {
            shown.set_state(State::Waiting);
            shown.enroll_time = Some(timestamp(now));
            shown.certificate = Some(describe(certificate));
            (shown.address, shown.server_name) = (place.address, place.server_name);
        }))))
    }

    /// One wrong certificate more; after [`TOKEN_TRIES_MAX`] the token is spent.
    #[must_use]
    pub fn wrong_try(&self, now: OffsetDateTime) -> Enrolling {
        let tried = Enrolling { wrong_tries: self.wrong_tries + 1, ..self.clone() };
        if tried.wrong_tries < TOKEN_TRIES_MAX {
            return tried;
        }
        tried.with(|shown| {
            shown.set_state(State::Rejected);
            shown.decide_time = Some(timestamp(now));
            shown.reason = format!("its token was shown with {TOKEN_TRIES_MAX} wrong certificates");
        })
    }

    /// Approves the certificate with this fingerprint: the second pair of eyes (R-09).
    ///
    /// # Errors
    /// [`Refused`].
    pub fn approve(
        &self,
        officer: &Officer,
        fingerprint: &[u8],
        now: OffsetDateTime,
    ) -> Result<Enrolling, Refused> {
        let certificate = match (self.state(now), &self.shown.certificate) {
            (State::Waiting, Some(certificate)) => certificate,
            (state, _) => return Err(Refused::NotWaiting(state)),
        };
        if officer.subject == self.shown.created_by || officer.spki_sha256 == self.creator_spki {
            return Err(Refused::SameOfficer);
        }
        if certificate.fingerprint != fingerprint {
            return Err(Refused::OtherCertificate);
        }
        if instant(certificate.not_after).is_none_or(|end| end <= now) {
            return Err(Refused::CertificateExpired);
        }
        Ok(self.clone().with(|shown| {
            shown.set_state(State::Active);
            shown.decide_time = Some(timestamp(now));
            shown.decided_by.clone_from(&officer.subject);
        }))
    }

    /// Ends it before it is bound.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn reject(&self, officer: &Officer, reason: &str, now: OffsetDateTime) -> Result<Enrolling, Refused> {
        let reason = check_reason(reason)?;
        match self.state(now) {
            State::Offered | State::Waiting => Ok(self.clone().with(|shown| {
                shown.set_state(State::Rejected);
                shown.decide_time = Some(timestamp(now));
                shown.decided_by.clone_from(&officer.subject);
                shown.reason = reason;
            })),
            state => Err(Refused::NotOpen(state)),
        }
    }

    /// Takes the binding back.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn unbind(&self, officer: &Officer, reason: &str, now: OffsetDateTime) -> Result<Enrolling, Refused> {
        let reason = check_reason(reason)?;
        match self.state(now) {
            State::Active => Ok(self.clone().with(|shown| {
                shown.set_state(State::Unbound);
                shown.unbind_time = Some(timestamp(now));
                shown.unbound_by.clone_from(&officer.subject);
                shown.reason = reason;
            })),
            state => Err(Refused::NotBound(state)),
        }
    }

    /// Takes in the next certificate, which has proved its key, on the word of the present one. Agency, name, issuer and
    /// subject stay; an enrollment that was made for one key keeps the key too. The same again gives the same.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn renew(
        &self,
        present: &PeerCertificate,
        next: &PeerCertificate,
        now: OffsetDateTime,
    ) -> Result<Redeemed, Refused> {
        let held = match (self.state(now), &self.shown.certificate) {
            (State::Active, Some(held)) => held,
            (state, _) => return Err(Refused::NotBound(state)),
        };
        if binding_of(held).as_ref() == Some(next.binding()) && self.concerns(present.binding()) {
            return Ok(Redeemed::Before);
        }
        if binding_of(held).as_ref() != Some(present.binding()) {
            return Err(Refused::NotThePresent);
        }
        let holder = Holder::read(self.holder()).ok_or(Refused::Holder)?;
        let same = ExpectedCertificate {
            issuer: held.issuer.clone(),
            identity: Some(Identity::Subject(held.subject.clone())),
        };
        certificate::check_fits(next, Some(&same), &holder)?;
        certificate::check_fits(next, self.shown.expected.as_ref(), &holder)?;
        let place =
            Place { address: self.shown.address.clone(), server_name: self.shown.server_name.clone() };
        check_place(place, &holder, next)?;
        if next.not_after <= now || next.not_after < present.not_after {
            return Err(Refused::NotLater);
        }
        if next.not_after - next.not_before > Duration::days(RENEWAL_DAYS_MAX) {
            return Err(Refused::RenewedTooLong);
        }
        Ok(Redeemed::New(Box::new(self.clone().with(|shown| {
            shown.previous_certificate = shown.certificate.replace(describe(next));
            shown.renew_time = Some(timestamp(now));
            shown.renewals = shown.renewals.saturating_add(1);
        }))))
    }

    /// Puts what is bound into `enrolled`.
    fn add_to(&self, enrolled: &mut Enrolled) {
        let Some(holder) = Holder::read(self.holder()).filter(|_| self.shown.state() == State::Active) else {
            return;
        };
        let certificates = self.certificates().map(certificate::to_control).collect();
        match holder.kind {
            Kind::Node => enrolled.nodes.push(control::Node {
                name: holder.name(),
                agency: holder.agency,
                address: self.shown.address.clone(),
                server_name: self.shown.server_name.clone(),
                certificates,
            }),
            Kind::System => {
                enrolled.systems.insert(holder.name(), certificates);
            }
        }
    }

    fn certificates(&self) -> impl Iterator<Item = &EnrolledCertificate> {
        self.shown.certificate.iter().chain(&self.shown.previous_certificate)
    }

    fn has_expired(&self, now: OffsetDateTime) -> bool {
        instant(self.shown.expire_time).is_none_or(|end| now >= end)
    }

    fn with(mut self, change: impl FnOnce(&mut Enrollment)) -> Enrolling {
        change(&mut self.shown);
        self
    }
}

/// Everything that these enrollments bind.
pub fn enrolled<'a>(all: impl IntoIterator<Item = &'a Enrolling>) -> Enrolled {
    let mut enrolled = Enrolled::default();
    for one in all {
        one.add_to(&mut enrolled);
    }
    enrolled
}

fn check_place(place: Place, holder: &Holder, certificate: &PeerCertificate) -> Result<Place, Refused> {
    if holder.kind == Kind::System {
        return if place == Place::default() { Ok(place) } else { Err(Refused::PlaceOfSystem) };
    }
    let Place { address, server_name } = place;
    let good = address.len() <= NAME_BYTES_MAX
        && address.rsplit_once(':').is_some_and(|(host, port)| {
            !host.is_empty()
                && !host.contains(|character: char| character.is_whitespace() || character.is_control())
                && port.parse::<u16>().is_ok_and(|port| port > 0)
        });
    if !good {
        return Err(Refused::Address);
    }
    let server_name = server_name.to_ascii_lowercase();
    if !certificate.dns_names.contains(&server_name) {
        return Err(Refused::ServerName { found: certificate.dns_names.join(", ") });
    }
    Ok(Place { address, server_name })
}

fn check_reason(reason: &str) -> Result<String, Refused> {
    let reason = reason.trim();
    let characters = reason.chars().count();
    if characters == 0 || characters > ENROLLMENT_REASON_CHARS_MAX || reason.chars().any(char::is_control) {
        return Err(Refused::Reason);
    }
    Ok(reason.to_owned())
}

fn timestamp(at: OffsetDateTime) -> Timestamp {
    Timestamp { seconds: at.unix_timestamp(), nanos: at.nanosecond().cast_signed() }
}

fn instant(at: Option<Timestamp>) -> Option<OffsetDateTime> {
    let at = at?;
    OffsetDateTime::from_unix_timestamp(at.seconds).ok()?.checked_add(Duration::nanoseconds(at.nanos.into()))
}

#[cfg(test)]
mod tests;
