//! Who takes part, and how the chain of processes of each is put together: consumer → … → backend.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::{Deserialize, Serialize};

use crate::load::Shape;
use crate::mesh::{Mesh, free_addresses};
use crate::nginx;
use crate::pki::Role;
use crate::plan::Case;
use crate::process::{Process, Stdout};

/// What stands between consumer and backend. The letters are those of the project's goals.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, clap::ValueEnum,
)]
pub enum Contestant {
    /// Nothing.
    #[value(name = "a")]
    Direct,
    /// Two naive tonic proxies.
    #[value(name = "b")]
    Naive,
    /// Two nginx.
    #[value(name = "c")]
    Nginx,
    /// Two nodes of ours, with their broker.
    #[value(name = "d")]
    Ours,
    /// The same, where no answer leaves before the broker's log has its record.
    #[value(name = "e")]
    Receipted,
    /// The naive proxies with a signature on every message and an `fsync` a record.
    #[value(name = "f")]
    Notarised,
    /// Two bare hyper proxies.
    #[value(name = "g")]
    Bare,
}

impl Contestant {
    /// All, in the order of the tables.
    pub const ALL: [Self; 7] =
        [Self::Direct, Self::Naive, Self::Nginx, Self::Ours, Self::Receipted, Self::Notarised, Self::Bare];

    /// Its letter.
    pub const fn letter(self) -> &'static str {
        match self {
            Self::Direct => "a",
            Self::Naive => "b",
            Self::Nginx => "c",
            Self::Ours => "d",
            Self::Receipted => "e",
            Self::Notarised => "f",
            Self::Bare => "g",
        }
    }

    /// Letter and short name, for tables.
    pub const fn title(self) -> &'static str {
        match self {
            Self::Direct => "a direct",
            Self::Naive => "b two naive tonic proxies",
            Self::Nginx => "c two nginx",
            Self::Ours => "d ours, everything on",
            Self::Receipted => "e ours, gate RECEIPT",
            Self::Notarised => "f b, RSA and fsync",
            Self::Bare => "g two bare hyper proxies",
        }
    }

    /// What it is, for people who read the numbers.
    pub const fn description(self) -> &'static str {
        match self {
            Self::Direct => {
                "the consumer calls the backend itself. The ceiling: what client and backend cost"
            }
            Self::Naive => {
                "two byte-forwarding proxies written with tonic as a competent engineer would: raw codec, multi-thread \
                 runtime, tonic's own transport. No policy, no record"
            }
            Self::Nginx => {
                "two nginx of Debian with client certificates on every hop and an access log, a worker per core. No \
                 policy, no proof"
            }
            Self::Receipted => {
                "d, where no answer leaves before the broker's log has its record durably (release gate RECEIPT)"
            }
            Self::Notarised => {
                "a model with per-message RSA and fsync: the proxies of b, and the side that a message comes from signs \
                 it with RSA-2048, the other verifies, each makes one record of the exchange durable before it answers"
            }
            Self::Bare => {
                "two forwarding proxies on hyper, one current-thread runtime per core, through the acceptor and \
                 connector of our nodes. No policy, no record. The floor: what any node must cost"
            }
            Self::Ours => {
                "two nodes and a broker, everything on: identity from the certificate, decision by rights, both \
                 durable journals, signed batches shipped to the broker's Merkle log, release filter, digests"
            }
        }
    }

    /// Whether the consumer receives granted fields only.
    pub const fn releases(self) -> bool {
        matches!(self, Self::Ours | Self::Receipted)
    }

    /// Whether it is measured in a case: e and f only where they are compared.
    pub fn takes(self, case: Case) -> bool {
        match self {
            Self::Receipted => case.shape == Shape::Closed { concurrency: 256 } || case == Case::open(256),
            Self::Notarised => case == Case::closed(256, 256),
            Self::Direct | Self::Naive | Self::Nginx | Self::Ours | Self::Bare => true,
        }
    }
}

/// What every chain is made from.
#[derive(Debug, Clone)]
pub struct Site {
    /// This program, which plays load generator, backend and proxies.
    pub program: PathBuf,
    /// The `lienthong` program, which plays node and broker.
    pub lienthong: PathBuf,
    /// The certificates.
    pub pki: PathBuf,
    /// Folder of data and logs.
    pub data: PathBuf,
    /// Rights in the provider's bundle.
    pub rights: u32,
    /// Systems that are registered besides, to hold connections.
    pub holders: usize,
}

impl Site {
    /// Starts this program in another role.
    pub fn start(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Process> {
        let pki = text(&self.pki)?;
        let arguments = arguments.iter().copied().chain(["--pki", pki]);
        Process::start(name, &self.program, arguments, &self.data, Stdout::Read)
    }
}

/// A path as an argument or a configuration value.
pub fn text(path: &Path) -> anyhow::Result<&str> {
    path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))
}

/// The processes of one contestant, running.
pub enum Chain {
    /// None of its own.
    Direct(SocketAddr),
    /// Two proxies, the consumer's side first.
    Proxies {
        /// Where the consumer calls.
        address: SocketAddr,
        /// The proxies.
        hops: Box<[Process; 2]>,
    },
    /// Nodes and broker.
    Mesh(Box<Mesh>),
}

impl Chain {
    /// Starts a contestant before the backend.
    pub async fn start(contestant: Contestant, site: &Site, backend: SocketAddr) -> anyhow::Result<Self> {
        match contestant {
            Contestant::Direct => Ok(Self::Direct(backend)),
            Contestant::Naive => proxies(site, "proxy-naive", backend).await,
            Contestant::Nginx => nginx(site, backend).await,
            Contestant::Notarised => proxies(site, "proxy-notarised", backend).await,
            Contestant::Bare => proxies(site, "proxy-bare", backend).await,
            Contestant::Ours => Ok(Self::Mesh(Box::new(Mesh::start(site, backend, "JOURNAL").await?))),
            Contestant::Receipted => Ok(Self::Mesh(Box::new(Mesh::start(site, backend, "RECEIPT").await?))),
        }
    }

    /// Where the consumer calls.
    pub fn address(&self) -> SocketAddr {
        match self {
            Self::Direct(address) | Self::Proxies { address, .. } => *address,
            Self::Mesh(mesh) => mesh.address(),
        }
    }

    /// What stands between consumer and backend, the consumer's side first; a broker last.
    pub fn hops(&self) -> Vec<&Process> {
        match self {
            Self::Direct(_) => Vec::new(),
            Self::Proxies { hops, .. } => hops.iter().collect(),
            Self::Mesh(mesh) => mesh.processes().collect(),
        }
    }
}

async fn nginx(site: &Site, backend: SocketAddr) -> anyhow::Result<Chain> {
    let [address, next] = free_addresses()?;
    let provider = nginx::start(site, Role::ProviderNode, "nginx-provider-node", next, backend).await?;
    let consumer = nginx::start(site, Role::ConsumerNode, "nginx-consumer-node", address, next).await?;
    Ok(Chain::Proxies { address, hops: Box::new([consumer, provider]) })
}

async fn proxies(site: &Site, command: &str, backend: SocketAddr) -> anyhow::Result<Chain> {
    let start = async |role: &str, upstream: SocketAddr| {
        let name = format!("{command}-{role}");
        let (upstream, data) = (upstream.to_string(), text(&site.data)?);
        let arguments = [command, "--role", role, "--upstream", &upstream, "--data", data];
        let mut proxy = site.start(&name, &arguments)?;
        let address = proxy.address().await?;
        anyhow::Ok((proxy, address))
    };
    let (provider, next) = start("provider-node", backend).await?;
    let (consumer, address) = start("consumer-node", next).await?;
    Ok(Chain::Proxies { address, hops: Box::new([consumer, provider]) })
}
