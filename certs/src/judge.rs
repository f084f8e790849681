//! The judgement: may this certificate act in the mesh, for this use, now?
//!
//! Three steps, each with its own refusals: a path to a trust anchor (by `webpki`, signatures and validity),
//! revocation of every certificate on that path (by our index: `webpki` scans a list entry by entry), and
//! the profile (lifetime, key, names, development mark). Pure: no I/O, and the time is an argument, so the
//! same judgement serves a handshake and every re-judgement of a live connection. A [`Judge`] never changes;
//! new trust means a new judge, swapped in whole. So it need not prove the same chain twice (`accepted`).

use std::sync::Arc;

use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use webpki::EndEntityCert;
use x509_parser::certificate::X509Certificate;

use crate::certificate::{self, PeerCertificate, ProfileError, Usage};
use crate::credentials::CHAIN_CERTIFICATES_MAX;
use crate::development::{self, Mark};

mod accepted;
mod profile;
mod refusal;
mod revocation;
mod trust;

use accepted::{Accepted, Validity};
pub use profile::{LEAF_YEARS_MAX, Profile};
pub use refusal::CertificateRefusal;
pub(crate) use refusal::rfc3339;
pub use revocation::{
    CRL_BYTES_MAX, Freshness, Revocation, RevocationError, RevocationList, RevocationLists, RevocationReason,
};
pub use trust::{Authority, AuthorityId, Branch, TRUSTED_CERTIFICATES_MAX, TrustAnchors, TrustError};

/// Trust anchors, revocation lists and profile in one immutable value. Share it in an `Arc`.
#[derive(Debug)]
pub struct Judge {
    anchors: TrustAnchors,
    lists: RevocationLists,
    profile: Profile,
    accepted: Accepted,
}

impl Judge {
    /// Puts a judge together.
    ///
    /// # Errors
    /// [`TrustError::Development`] if an authority is marked as made for development and the profile is a
    /// production one: such a role must not start at all (design §6).
    pub fn new(anchors: TrustAnchors, lists: RevocationLists, profile: Profile) -> Result<Judge, TrustError> {
        if !profile.development
            && let Some(marked) = anchors.authorities().iter().find(|authority| authority.development)
        {
            return Err(TrustError::Development(marked.name.clone()));
        }
        Ok(Judge { anchors, lists, profile, accepted: Accepted::default() })
    }

    /// Judges `chain` (leaf first, as TLS sends it) for `usage` at `now`.
    ///
    /// Whether the revocation lists are fresh enough is no part of it: that bound depends on the class of
    /// the data asked for. Ask [`Judge::freshness`] with the answer.
    ///
    /// # Errors
    /// [`CertificateRefusal`], with what is wrong and what to do about it.
    pub fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
    ) -> Result<Arc<PeerCertificate>, CertificateRefusal> {
        let key = accepted::key(chain, usage).ok_or(CertificateRefusal::ChainTooLong)?;
        if let Some(peer) = self.accepted.find(&key, now) {
            return Ok(peer);
        }
        let (peer, validity) = self.judged(chain, usage, now, &|_| true)?;
        let peer = Arc::new(peer);
        self.accepted.keep(key, Arc::clone(&peer), validity);
        Ok(peer)
    }

    /// Judges the certificate behind a signature that was made at `signed`: valid then, and not revoked then. One revoked
    /// later counts on, but for one whose key, or whose authority's, was in other hands: nobody knows since when.
    ///
    /// # Errors
    /// [`CertificateRefusal`], as [`Judge::judge`].
    pub fn judge_signer(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        signed: UnixTime,
    ) -> Result<PeerCertificate, CertificateRefusal> {
        let judged = self.judged(chain, usage, signed, &|revocation| {
            let when = revocation.when.unix_timestamp();
            let compromised = [RevocationReason::KeyCompromise, RevocationReason::AuthorityCompromise];
            compromised.contains(&revocation.reason)
                || u64::try_from(when).map_or(true, |when| when <= signed.as_secs())
        });
        Ok(judged?.0)
    }

    /// Checks that the leaf of `chain` speaks for the host `name`. Part of judging a server, beside
    /// [`Judge::judge`].
    ///
    /// # Errors
    /// [`CertificateRefusal::WrongName`], or `Malformed`.
    pub fn judge_name(chain: &[CertificateDer<'_>], name: &ServerName<'_>) -> Result<(), CertificateRefusal> {
        let leaf = chain.first().ok_or(ProfileError::Absent)?;
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| refusal::of_webpki(&error, ""))?;
        end_entity
            .verify_is_valid_for_subject_name(name)
            .map_err(|_| CertificateRefusal::WrongName { expected: name.to_str().into_owned() })
    }

    /// How old the revocation lists above a judged certificate are: the worst of its authorities. One that
    /// was only read, not judged, has no known authority, and its freshness is [`Freshness::Missing`].
    pub fn freshness(&self, judged: &PeerCertificate, now: UnixTime) -> Freshness {
        let each = judged.authorities.iter().map(|authority| self.lists.freshness_of(*authority, now));
        each.max().unwrap_or(Freshness::Missing)
    }

    /// The anchors and authorities this judge trusts.
    pub fn anchors(&self) -> &TrustAnchors {
        &self.anchors
    }

    /// The revocation lists this judge holds.
    pub fn lists(&self) -> &RevocationLists {
        &self.lists
    }

    /// The limits this judge applies.
    pub fn profile(&self) -> &Profile {
        &self.profile
    }

    /// `counts` says of a revocation that was found whether it matters.
    fn judged(
        &self,
        chain: &[CertificateDer<'_>],
        usage: Usage,
        now: UnixTime,
        counts: &dyn Fn(&Revocation) -> bool,
    ) -> Result<(PeerCertificate, Validity), CertificateRefusal> {
        if chain.len() > CHAIN_CERTIFICATES_MAX {
            return Err(CertificateRefusal::ChainTooLong);
        }
        let mut peer = PeerCertificate::read(chain)?;
        if peer.self_issued {
            return Err(CertificateRefusal::SelfSigned);
        }
        let (path, root) = self.path(chain, &peer, usage, now)?;
        let parsed = path.iter().map(|der| certificate::parse(der)).collect::<Result<Vec<_>, _>>()?;
        peer.authorities = parsed.iter().skip(1).map(AuthorityId::of).chain([root.id]).collect();
        self.check_revocation(&parsed, &peer.authorities, counts)?;
        peer.branch = Some(self.anchors.branch_of(&peer.authorities).unwrap_or(root.branch));
        self.check_development(&parsed)?;
        self.profile.check(&peer, usage)?;
        Ok((peer, Validity::of(&parsed)))
    }

    /// The verified path, leaf first, and the root above it.
    fn path(
        &self,
        chain: &[CertificateDer<'_>],
        peer: &PeerCertificate,
        usage: Usage,
        now: UnixTime,
    ) -> Result<(Vec<CertificateDer<'static>>, &Authority), CertificateRefusal> {
        let issuer = &peer.binding().issuer;
        let (leaf, sent) = chain.split_first().ok_or(ProfileError::Absent)?;
        let end_entity = EndEntityCert::try_from(leaf).map_err(|error| refusal::of_webpki(&error, issuer))?;
        // What the peer sent comes first; the authorities we know fill what it forgot.
        let known = self.anchors.authorities().iter().map(|authority| &authority.der);
        let intermediates: Vec<CertificateDer<'_>> = sent
            .iter()
            .map(|der| CertificateDer::from(der.as_ref()))
            .chain(known.map(|der| CertificateDer::from(der.as_ref())))
            .collect();
        let path = end_entity
            .verify_for_usage(
                trust::CHAIN_ALGORITHMS,
                self.anchors.webpki(),
                &intermediates,
                now,
                profile::key_usage(usage),
                None,
                None,
            )
            .map_err(|error| refusal::of_webpki(&error, issuer))?;
        let above = path.intermediate_certificates().map(|certificate| certificate.der().into_owned());
        let certificates = std::iter::once(leaf.clone().into_owned()).chain(above).collect();
        let root = self.anchors.root(path.anchor());
        let root = root.ok_or_else(|| CertificateRefusal::UnknownAuthority { issuer: issuer.clone() })?;
        Ok((certificates, root))
    }

    /// Each certificate of the path against the list of the authority right above it.
    fn check_revocation(
        &self,
        path: &[X509Certificate<'_>],
        authorities: &[AuthorityId],
        counts: &dyn Fn(&Revocation) -> bool,
    ) -> Result<(), CertificateRefusal> {
        for (position, (certificate, issuer)) in path.iter().zip(authorities).enumerate() {
            let serial = certificate::serial(certificate.raw_serial())?;
            if let Some(revocation) = self.lists.find(*issuer, &serial).filter(|found| counts(found)) {
                return Err(CertificateRefusal::Revoked {
                    serial: hex::encode(serial),
                    authority: position > 0,
                    reason: revocation.reason,
                    when: revocation.when,
                });
            }
        }
        Ok(())
    }

    fn check_development(&self, path: &[X509Certificate<'_>]) -> Result<(), CertificateRefusal> {
        let marked = path.iter().any(|certificate| development::mark(certificate) != Mark::None);
        if marked && !self.profile.development {
            Err(CertificateRefusal::DevelopmentCertificate)
        } else {
            Ok(())
        }
    }
}
