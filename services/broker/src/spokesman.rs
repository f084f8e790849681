//! A console speaks for a person: what it sends along, judged as if the person had knocked himself.
//!
//! An officer proves his certificate to the console in a handshake; the console passes his chain on with each question, over
//! its own connection. The broker judges the chain anew (authority, revocation, profile, time) and looks up whom it is bound
//! to: the console can name only people whom the registry knows, and what is allowed is what *they* are allowed. That the
//! person holds the key, the broker has on the console's word alone. So every record names both, and a console may do nothing
//! by itself.

use std::sync::Arc;

use lienthong_certs::credentials::CHAIN_CERTIFICATES_MAX;
use lienthong_certs::{CertificateRefusal, Judge, PeerCertificate, Usage};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use lienthong_transport::peer::PERSON_KEY;
use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::sync::watch;
use tonic::metadata::MetadataMap;

use crate::generation::Generation;
use crate::identity::{Caller, Role};

/// Who may be spoken for.
const PEOPLE: [Role; 5] = [Role::Operator, Role::Auditor, Role::Officer, Role::Steward, Role::Head];

/// The console through which a person asks, and the chain that he showed it.
#[derive(Clone, Debug)]
pub struct Via {
    /// Subject of the console's certificate.
    pub console: String,
    /// The console's own certificate, as proved in the handshake.
    certificate: Arc<PeerCertificate>,
    chain: Arc<[CertificateDer<'static>]>,
}

/// A person whom a console speaks for.
#[derive(Debug)]
pub(crate) struct Spoken {
    pub(crate) person: Caller,
    pub(crate) certificate: Arc<PeerCertificate>,
    pub(crate) via: Via,
}

/// Judges chains that consoles pass on.
#[derive(Clone, Debug)]
pub(crate) struct Spokesmen(watch::Receiver<Arc<Judge>>);

impl Spokesmen {
    pub(crate) fn new(judge: watch::Receiver<Arc<Judge>>) -> Spokesmen {
        Spokesmen(judge)
    }

    /// Whom the caller of this connection speaks for; `None`: for himself.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE`: the caller is no console, or the person is none whom one may speak for.
    pub(crate) fn read(
        &self,
        caller: &Caller,
        certificate: Option<&Arc<PeerCertificate>>,
        metadata: &MetadataMap,
        generation: &Generation,
    ) -> Result<Option<Spoken>, MeshError> {
        let chain = chain(metadata)?;
        if chain.is_empty() {
            return Ok(None);
        }
        let (Caller::Console { subject }, Some(certificate)) = (caller, certificate) else {
            return Err(refused(format!(
                "{caller} sends {PERSON_KEY}, and only a console speaks for others"
            )));
        };
        let via = Via { console: subject.clone(), certificate: Arc::clone(certificate), chain: chain.into() };
        let (person, certificate) = self.judged(&via, generation)?;
        Ok(Some(Spoken { person, certificate, via }))
    }

    /// Judges again what was judged when a stream began: the person's certificate, and that the console still is one.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE`.
    pub(crate) fn again(&self, via: &Via, generation: &Generation) -> Result<Caller, MeshError> {
        let console = generation.directory().caller(via.certificate.binding());
        if console.role() != Role::Console {
            return Err(refused(format!("the registry no longer knows the console {}", via.console)));
        }
        self.judged(via, generation).map(|(person, _)| person)
    }

    fn judged(
        &self,
        via: &Via,
        generation: &Generation,
    ) -> Result<(Caller, Arc<PeerCertificate>), MeshError> {
        let judge = Arc::clone(&self.0.borrow());
        let certificate =
            judge.judge(&via.chain, Usage::Client, UnixTime::now()).map_err(|refusal| of_person(&refusal))?;
        let person = generation.directory().caller(certificate.binding());
        if PEOPLE.contains(&person.role()) {
            return Ok((person, certificate));
        }
        Err(refused(format!(
            "the console may speak for operators, auditors, officers, stewards and heads of agencies, and this is {person}"
        )))
    }
}

/// The chain of the person, leaf first; empty where none is sent.
fn chain(metadata: &MetadataMap) -> Result<Vec<CertificateDer<'static>>, MeshError> {
    let values = metadata.get_all_bin(PERSON_KEY).iter().take(CHAIN_CERTIFICATES_MAX + 1);
    let chain = values
        .map(|value| value.to_bytes().map(|der| CertificateDer::from(der.to_vec())))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|_| refused(format!("{PERSON_KEY} is not binary metadata")))?;
    if chain.len() > CHAIN_CERTIFICATES_MAX {
        let problem = format!("{PERSON_KEY} holds more than {CHAIN_CERTIFICATES_MAX} certificates");
        return Err(refused(problem));
    }
    Ok(chain)
}

fn of_person(refusal: &CertificateRefusal) -> MeshError {
    refused(format!("the person's certificate is not accepted: {refusal}"))
}

fn refused(detail: String) -> MeshError {
    MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34")
}
