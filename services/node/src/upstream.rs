//! Where a traffic thread sends requests: the nodes of other agencies, and the agency's own backends.
//! Each thread has its own connections, so that no request ever changes thread.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};

use arc_swap::ArcSwapOption;
use lienthong_certs::{Freshness, Judge, PeerCertificate};
use lienthong_proto::lienthong::control::v1;
use lienthong_transport::{
    Channel, ChannelOptions, Connections, Endpoint, Limits, SharedMaterial, VerifyPeer,
};

use rustls_pki_types::UnixTime;

use crate::{
    call::{
        identify::{binding_of, fits_branch},
        request_body::RequestBody,
    },
    config::{BackendEndpointConfig, BrokerEndpointConfig},
    control::broker::{self, BrokerChannel},
    limits::UPSTREAM_CONNECTION_WINDOW_BYTES,
    node::Node,
};

/// One remote endpoint with what this thread has under way there.
pub struct Upstream {
    /// The channel.
    pub channel: Channel<RequestBody>,
    /// A connection of its own for questions that are no exchanges; made when first used.
    pub questions: Channel<tonic::body::Body>,
    in_flight: AtomicU32,
}

/// Counts a request as under way until it is dropped.
pub struct InFlight(Arc<Upstream>);

impl Upstream {
    fn new(endpoint: Endpoint, options: ChannelOptions) -> Arc<Self> {
        Arc::new(Self {
            channel: Channel::new(endpoint.clone(), options.clone()),
            questions: Channel::new(endpoint, options),
            in_flight: AtomicU32::new(0),
        })
    }

    /// Begins a request.
    pub fn begin(self: &Arc<Self>) -> InFlight {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(self))
    }

    /// Requests under way.
    pub fn load(&self) -> u32 {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A node of a provider, with the connection of this thread to it.
pub struct ProviderNode {
    /// Resource name.
    pub name: String,
    /// The certificate that it last showed.
    proved: Arc<ArcSwapOption<PeerCertificate>>,
    /// Who issued those that the registry binds to it.
    issuers: Vec<String>,
    /// The way there.
    pub upstream: Arc<Upstream>,
}

impl ProviderNode {
    /// How fresh the knowledge of revocation is above the certificate that it shows; before it has shown one, above the
    /// best of those that are bound to it. And who issued it.
    pub fn revocation(&self, judge: &Judge, now: UnixTime) -> (Freshness, String) {
        if let Some(certificate) = &*self.proved.load() {
            return (judge.freshness(certificate, now), certificate.binding().issuer.clone());
        }
        let bound = self.issuers.iter().map(|issuer| (judge.lists().freshness(issuer, now), issuer.clone()));
        bound.min().unwrap_or((Freshness::Missing, String::new()))
    }
}

/// Resource name, address, and the DNS name that the certificate must carry.
type PeerKey = (String, String, String);

/// The upstreams of one traffic thread.
pub struct Upstreams {
    material: SharedMaterial,
    register: Connections,
    broker: BrokerChannel,
    /// By resource name and place: a node that moves gets a new channel.
    peers: Mutex<HashMap<PeerKey, Arc<ProviderNode>>>,
    /// By gRPC service.
    backends: HashMap<String, Arc<Upstream>>,
}

impl Upstreams {
    /// The upstreams of a node that serves these backends.
    pub fn new(
        material: &SharedMaterial,
        register: &Connections,
        broker: &BrokerEndpointConfig,
        backends: &[(Vec<String>, BackendEndpointConfig)],
    ) -> Self {
        let mut by_service = HashMap::new();
        for (services, endpoint) in backends {
            let endpoint = match endpoint {
                BackendEndpointConfig::Unix(path) => Endpoint::Unix(path.clone()),
                BackendEndpointConfig::Tls(tls) => Endpoint::Mesh {
                    address: tls.address.clone(),
                    server_name: Some(tls.server_name.clone()),
                    material: material.clone(),
                },
            };
            let upstream = Upstream::new(endpoint, options(register));
            for service in services {
                by_service.insert(service.clone(), Arc::clone(&upstream));
            }
        }
        Self {
            material: material.clone(),
            register: register.clone(),
            broker: broker::channel(broker, material, register),
            peers: Mutex::default(),
            backends: by_service,
        }
    }

    /// The backend of a gRPC path.
    pub fn backend(&self, path: &str) -> Option<&Arc<Upstream>> {
        let service = path.trim_start_matches('/').split('/').next()?;
        self.backends.get(service)
    }

    /// The way to the broker.
    pub fn broker(&self) -> &BrokerChannel {
        &self.broker
    }

    /// The way to a node. Its certificate must be one that the registry binds to it, each time a
    /// connection is made.
    pub fn peer(&self, node: &Arc<Node>, identity: &v1::Node) -> Arc<ProviderNode> {
        let key = (identity.name.clone(), identity.address.clone(), identity.server_name.clone());
        let mut peers = self.peers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = peers.get(&key) {
            return Arc::clone(known);
        }
        peers.retain(|(name, _, _), _| *name != identity.name);
        let endpoint = Endpoint::Mesh {
            address: identity.address.clone(),
            server_name: Some(identity.server_name.clone()),
            material: self.material.clone(),
        };
        let proved = Arc::default();
        let verify_peer = Some(bound_to(node, &identity.name, &proved));
        let options = ChannelOptions { verify_peer, ..options(&self.register) };
        let issuers = identity.certificates.iter().map(|bound| bound.issuer.clone()).collect();
        let provider = Arc::new(ProviderNode {
            name: identity.name.clone(),
            proved,
            issuers,
            upstream: Upstream::new(endpoint, options),
        });
        peers.insert(key, Arc::clone(&provider));
        provider
    }
}

/// One connection a thread, whose window no group of stalled callers can fill.
fn options(register: &Connections) -> ChannelOptions {
    let limits = Limits { connection_window_bytes: UPSTREAM_CONNECTION_WINDOW_BYTES, ..Limits::default() };
    ChannelOptions { limits, ..ChannelOptions::new(register.clone()) }
}

fn bound_to(node: &Arc<Node>, name: &str, proved: &Arc<ArcSwapOption<PeerCertificate>>) -> VerifyPeer {
    let node = Arc::downgrade(node);
    let (name, proved) = (name.to_owned(), Arc::clone(proved));
    Arc::new(move |peer| {
        let Some(node) = node.upgrade() else {
            return Err("this node is stopping".to_owned());
        };
        let Some(rights) = node.rights.load_full() else {
            return Err("this node holds no rights".to_owned());
        };
        let binding = peer.certificate().map(|certificate| binding_of(certificate));
        match binding.as_ref().and_then(|binding| rights.node_of_certificate(binding)) {
            Some(identity) if identity.name == name => {
                fits_branch(&rights, peer, &identity.agency).map_err(|error| error.detail)?;
                proved.store(peer.certificate().cloned());
                Ok(())
            }
            Some(identity) => {
                Err(format!("the registry binds its certificate to {}, not to {name}", identity.name))
            }
            None => Err(format!("the registry binds its certificate to nobody, and not to {name}")),
        }
    })
}
