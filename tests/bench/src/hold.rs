//! Connections that are only held: systems of the consumer's agency that have connected, and say nothing.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use futures_util::stream::{self, StreamExt as _, TryStreamExt as _};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio_rustls::TlsConnector;

use crate::load::http2;
use crate::pki::{Pki, SERVER_NAME};

/// Connections of one system: below the bound of a node for one peer.
pub const CONNECTIONS_PER_HOLDER: usize = 250;
/// Connections that are being made at one time.
const CONNECTING_MAX: usize = 32;

/// Systems that so many connections need.
pub const fn holders(connections: usize) -> usize {
    connections.div_ceil(CONNECTIONS_PER_HOLDER)
}

/// Connections, held.
pub struct Held(JoinSet<anyhow::Error>);

impl Held {
    /// Connects so often.
    pub async fn open(pki: &Pki, address: SocketAddr, connections: usize) -> anyhow::Result<Self> {
        let configs = (0..holders(connections))
            .map(|holder| pki.client_config_of(&pki.issued_to_holder(holder)?))
            .collect::<anyhow::Result<Vec<_>>>()?;
        let connecting = (0..connections).map(|number| {
            let config = Arc::clone(&configs[number / CONNECTIONS_PER_HOLDER]);
            connect(address, config)
        });
        let made: Vec<_> = stream::iter(connecting).buffer_unordered(CONNECTING_MAX).try_collect().await?;
        let mut held = JoinSet::new();
        for connection in made {
            held.spawn(connection);
        }
        Ok(Self(held))
    }

    /// Waits for the first that ends: none should.
    pub async fn failed(mut self) -> anyhow::Error {
        match self.0.join_next().await {
            Some(Ok(error)) => error,
            Some(Err(error)) => error.into(),
            None => std::future::pending().await,
        }
    }
}

/// One connection; what is returned runs until it ends.
async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> anyhow::Result<impl Future<Output = anyhow::Error> + Send + 'static> {
    let socket = TcpStream::connect(address).await.with_context(|| format!("cannot reach {address}"))?;
    let tls = TlsConnector::from(config).connect(ServerName::try_from(SERVER_NAME)?, socket).await;
    let (sender, connection) = http2::client().handshake::<_, bytes::Bytes>(tls.context("no TLS")?).await?;
    Ok(async move {
        let ended = connection.await;
        // Held to the end: a connection without a sender says goodbye.
        drop(sender);
        match ended {
            Ok(()) => anyhow::anyhow!("a connection that was only held was ended"),
            Err(error) => anyhow::Error::new(error).context("a connection that was only held broke"),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn enough_systems_for_all_connections() {
        assert_eq!([0, 1, 250, 251, 1_000, 10_000].map(holders), [0, 1, 1, 2, 4, 40]);
    }
}
