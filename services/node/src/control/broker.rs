//! The way to the broker: one channel for everything that is not traffic.

use std::{sync::Arc, time::Duration};

use lienthong_certs::mesh_key;
use lienthong_transport::{Channel, ChannelOptions, Connections, Endpoint, Limits, SharedMaterial};

use crate::{config::BrokerEndpointConfig, limits::RECONNECT_MS_MAX, trust::Trust};

/// A channel for tonic's clients.
pub type BrokerChannel = Channel<tonic::body::Body>;

/// The way to the broker, and the trust by which its signatures are checked.
#[derive(Clone)]
pub struct Broker {
    /// The channel.
    pub channel: BrokerChannel,
    trust: Arc<Trust>,
}

/// Why a signature does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadSignature {
    /// Nobody trusts the key.
    #[error(
        "it is signed with a key named {0:?}, which the mesh trust file does not name as bundle key, now or next"
    )]
    UnknownKey(String),
    /// The signature does not fit.
    #[error("its signature is not that of the key {0:?}")]
    Wrong(String),
}

impl Broker {
    /// Prepares the channel; it connects when first used.
    pub fn new(config: &BrokerEndpointConfig, trust: &Arc<Trust>, register: &Connections) -> Self {
        Self { channel: channel(config, &trust.material, register), trust: Arc::clone(trust) }
    }

    /// Checks the signature of something that the broker said, in its domain.
    pub fn verify(
        &self,
        domain: &str,
        bytes: &[u8],
        key_name: &str,
        signature: &[u8],
    ) -> Result<(), BadSignature> {
        let mesh = self.trust.mesh();
        let key = mesh.trust().bundle_key(key_name);
        let key = key.ok_or_else(|| BadSignature::UnknownKey(key_name.to_owned()))?;
        let mut message = Vec::with_capacity(domain.len() + 1 + bytes.len());
        message.extend_from_slice(domain.as_bytes());
        message.push(b'\n');
        message.extend_from_slice(bytes);
        mesh_key::verify(key.public(), &message, signature)
            .map_err(|_| BadSignature::Wrong(key_name.to_owned()))
    }
}

/// A channel to the broker, which belongs to the runtime that first uses it.
pub fn channel(
    config: &BrokerEndpointConfig,
    material: &SharedMaterial,
    register: &Connections,
) -> BrokerChannel {
    let endpoint = Endpoint::Mesh {
        address: config.address.clone(),
        server_name: Some(config.server_name.clone()),
        material: material.clone(),
    };
    // Long, often silent streams: pings notice a broker that hangs.
    let options = ChannelOptions { limits: Limits::control(), ..ChannelOptions::new(register.clone()) };
    Channel::new(endpoint, options)
}

/// Doubles from 100 ms to [`RECONNECT_MS_MAX`]; begins anew after a success.
#[derive(Debug)]
pub struct Patience(u64);

impl Default for Patience {
    fn default() -> Self {
        Self(Self::FIRST_MS)
    }
}

impl Patience {
    const FIRST_MS: u64 = 100;

    /// Waits before the next attempt.
    pub async fn wait(&mut self) {
        tokio::time::sleep(Duration::from_millis(self.0)).await;
        self.0 = (self.0 * 2).min(RECONNECT_MS_MAX);
    }

    /// An attempt went well.
    pub fn reset(&mut self) {
        self.0 = Self::FIRST_MS;
    }
}
