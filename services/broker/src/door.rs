//! The door that every call passes: from the proven certificate of its connection to a caller whom the access table
//! admits. A handler gets a [`Guest`] here and takes node and agency from it, never from the request.

use std::sync::Arc;

use lienthong_catalog::code::is_state_code;
use lienthong_certs::{Branch, Judge, PeerCertificate};
use lienthong_proto::reason::Reason;
use lienthong_proto::status::MeshError;
use lienthong_transport::Peer;
use tokio::sync::watch;
use tonic::{Request, Status};

use crate::access::{self, Rpc};
use crate::generation::Generation;
use crate::identity::Caller;
use crate::metrics::BrokerMetrics;
use crate::quiet::Quiet;
use crate::spokesman::{Spoken, Spokesmen, Via};

/// Who may come in, by the newest generation of the registry. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Door {
    generations: watch::Receiver<Arc<Generation>>,
    spokesmen: Spokesmen,
    metrics: BrokerMetrics,
    quiet: Quiet,
}

/// A caller who was admitted.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What the registry binds its certificate to.
    pub caller: Caller,
    /// The certificate, as proved in the handshake, or to the console; `None` on hops that prove none.
    pub certificate: Option<Arc<PeerCertificate>>,
    /// The console through which a person calls; `None`: he calls himself.
    pub via: Option<Via>,
    /// The generation of the registry that says so.
    pub generation: Arc<Generation>,
}

impl Guest {
    /// Subject of the console through which a person calls; empty: he calls himself.
    pub fn console(&self) -> &str {
        self.via.as_ref().map_or("", |via| &via.console)
    }
}

/// A node that was admitted.
#[derive(Clone, Debug)]
pub struct NodeGuest {
    /// Resource name, for example `agencies/G01/nodes/n1`.
    pub name: String,
    /// Code of its party.
    pub agency: String,
    /// Its certificate.
    pub certificate: Arc<PeerCertificate>,
    /// The generation of the registry that says so.
    pub generation: Arc<Generation>,
}

impl Door {
    /// A door for the registry that `generations` shows; `judge` judges those for whom consoles speak.
    pub fn new(
        generations: watch::Receiver<Arc<Generation>>,
        judge: watch::Receiver<Arc<Judge>>,
        metrics: BrokerMetrics,
    ) -> Door {
        Door { generations, spokesmen: Spokesmen::new(judge), metrics, quiet: Quiet::default() }
    }

    /// Admits the caller of `request` to `rpc`.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE`, counted and logged.
    pub fn admit<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<Guest, Status> {
        let peer = request.extensions().get::<Peer>();
        let certificate = peer.and_then(Peer::certificate).cloned();
        let generation = self.generations.borrow().clone();
        let caller = caller(&generation, certificate.as_deref());
        let spoken = self.spokesmen.read(&caller, certificate.as_ref(), request.metadata(), &generation);
        let guest = match spoken {
            Ok(None) => Guest { caller, certificate, via: None, generation },
            Ok(Some(Spoken { person, certificate, via })) => {
                Guest { caller: person, certificate: Some(certificate), via: Some(via), generation }
            }
            Err(error) => return Err(self.refuse(rpc, &caller, &error)),
        };
        let certificate = guest.certificate.as_deref();
        match access::admit(rpc, &guest.caller).and_then(|()| agrees(&guest.caller, certificate)) {
            Ok(()) => Ok(guest),
            Err(error) => Err(self.refuse(rpc, &guest.caller, &error)),
        }
    }

    /// Admits the node that makes `request` to `rpc`, one that the access table opens to nodes only.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE`, counted and logged.
    pub fn admit_node<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<NodeGuest, Status> {
        let guest = self.admit(rpc, request)?;
        match (guest.caller, guest.certificate) {
            (Caller::Node { name, agency }, Some(certificate)) => {
                Ok(NodeGuest { name, agency, certificate, generation: guest.generation })
            }
            (caller, _) => {
                let error =
                    MeshError::new(Reason::DenyCertificate, format!("{} is for nodes only", rpc.path()));
                Err(self.refuse(rpc, &caller, &error))
            }
        }
    }

    /// Whether `node` may stay, now that the registry may have changed.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE` once its certificate stands for somebody else, or nobody.
    pub fn still_admits(&self, rpc: Rpc, node: &NodeGuest) -> Result<Arc<Generation>, Status> {
        let generation = self.generations.borrow().clone();
        let caller = caller(&generation, Some(&node.certificate));
        if matches!(&caller, Caller::Node { name, .. } if *name == node.name) {
            return Ok(generation);
        }
        let detail = format!("the registry no longer binds this certificate to {}", node.name);
        let error = MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34");
        Err(self.refuse(rpc, &caller, &error))
    }

    /// Whether a caller of any kind may stay, now that the registry may have changed.
    ///
    /// # Errors
    /// `DENY_CERTIFICATE` once its certificate stands for somebody else, or nobody.
    pub fn still_allows(&self, rpc: Rpc, guest: &Guest) -> Result<(), Status> {
        let generation = self.generations.borrow().clone();
        let caller = match &guest.via {
            None => caller(&generation, guest.certificate.as_deref()),
            Some(via) => self
                .spokesmen
                .again(via, &generation)
                .map_err(|error| self.refuse(rpc, &guest.caller, &error))?,
        };
        if caller.to_string() == guest.caller.to_string() && access::admit(rpc, &caller).is_ok() {
            return Ok(());
        }
        let detail = format!("the registry no longer binds this certificate to {}", guest.caller);
        let error = MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34");
        Err(self.refuse(rpc, &caller, &error))
    }

    /// Whether one more line about a caller may go into the broker's own log.
    pub fn may_log(&self) -> bool {
        self.quiet.allows()
    }

    fn refuse(&self, rpc: Rpc, caller: &Caller, error: &MeshError) -> Status {
        self.metrics.refused(rpc, caller.role());
        if self.quiet.allows() {
            let reason = error.reason.name();
            tracing::warn!(rpc = rpc.path(), %caller, reason, detail = error.detail, "call refused");
        }
        error.to_status()
    }
}

fn caller(generation: &Generation, certificate: Option<&PeerCertificate>) -> Caller {
    match certificate {
        Some(certificate) => generation.directory().caller(certificate.binding()),
        None => Caller::Anonymous { certificate: "none was presented".to_owned() },
    }
}

/// The agency code in a certificate is no proof, but it must not contradict the registry: one of the two is wrong.
fn agrees(caller: &Caller, certificate: Option<&PeerCertificate>) -> Result<(), MeshError> {
    let (Caller::Node { agency, .. } | Caller::System { agency, .. }) = caller else {
        return Ok(());
    };
    if certificate.is_some_and(|certificate| certificate.branch == Some(Branch::Public))
        && is_state_code(agency)
    {
        let detail =
            format!("a public authority vouches for the certificate, and {agency} is an agency of the state");
        return Err(MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34"));
    }
    match certificate.and_then(|certificate| certificate.agency_urn.as_ref()) {
        Some(code) if code != agency => {
            let detail = format!("the certificate names agency {code}, the registry binds it to {agency}");
            Err(MeshError::new(Reason::DenyCertificate, detail).with_rule("R-34"))
        }
        _ => Ok(()),
    }
}
