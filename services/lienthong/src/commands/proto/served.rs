//! What one's own node serves: callable methods, and contracts at a version.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Result, bail, ensure};
use lienthong_proto::{
    descriptors,
    lienthong::catalog::v1::{CallableMethod, GetContractRequest, ListCallableMethodsRequest},
    status,
};
use prost_reflect::DescriptorPool;
use tonic::Status;

use super::AskArgs;
use crate::client::{self, Client, within};

/// Pages of callable methods that are read: a million methods.
const PAGES_MAX: usize = 1_000;
/// Methods of one page.
const PAGE_SIZE: i32 = 1_000;
/// Hexadecimal digits by which people are shown a version.
const VERSION_DIGITS: usize = 12;

/// A node, asked for contracts.
pub struct Served {
    client: Client,
    timeout: Duration,
    /// `--provider`.
    pub provider: Option<String>,
}

/// A provider's contract, as far as one may call it.
pub struct PulledContract {
    /// Code of the provider.
    pub provider: String,
    /// Its version: SHA-256 of what the provider published, hexadecimal.
    pub version: String,
    /// False for a version that is no longer in force.
    pub in_force: bool,
    /// Its files.
    pub pool: DescriptorPool,
}

impl Served {
    /// Prepares to ask.
    pub fn new(args: AskArgs) -> Result<Self> {
        let client = Client::new(&client::profile(&args.profile)?)?;
        Ok(Self { client, timeout: Duration::from_secs(args.timeout), provider: args.provider })
    }

    /// What one may call, by path and provider.
    pub async fn callable(&self) -> Result<Vec<CallableMethod>> {
        let mut methods = Vec::new();
        let mut page_token = String::new();
        for _ in 0..PAGES_MAX {
            let request = ListCallableMethodsRequest { page_size: PAGE_SIZE, page_token };
            let page = within(self.timeout, self.client.catalog().list_callable_methods(request)).await;
            let page = page.map_err(|status| explained(&status))?.into_inner();
            methods.extend(page.methods);
            if page.next_page_token.is_empty() {
                let wanted = |method: &CallableMethod| {
                    self.provider.as_ref().is_none_or(|provider| method.provider == *provider)
                };
                methods.retain(wanted);
                return Ok(methods);
            }
            page_token = page.next_page_token;
        }
        bail!("the node lists more than {} methods", PAGES_MAX * 1_000)
    }

    /// The contract of a provider; without a version, the one in force.
    pub async fn contract(&self, provider: &str, version: Option<&str>) -> Result<PulledContract> {
        let request = GetContractRequest {
            symbol: String::new(),
            provider: provider.to_owned(),
            version: version.unwrap_or_default().to_owned(),
        };
        let contract = within(self.timeout, self.client.catalog().get_contract(request)).await;
        let contract = contract.map_err(|status| explained(&status))?.into_inner();
        Ok(PulledContract {
            provider: contract.provider,
            version: hex::encode(&contract.hash),
            in_force: contract.in_force,
            pool: descriptors::pool(&contract.descriptor_set)?,
        })
    }

    /// The contracts of every provider of these methods, at `version` where one is given: then there must be one
    /// provider.
    pub async fn contracts(
        &self,
        methods: &[CallableMethod],
        version: Option<&str>,
    ) -> Result<Vec<PulledContract>> {
        let providers: BTreeSet<&str> = methods.iter().map(|method| method.provider.as_str()).collect();
        ensure!(
            !providers.is_empty(),
            "there is nothing that you may call here; `lienthong proto list` shows what there is"
        );
        ensure!(
            version.is_none() || providers.len() == 1,
            "a version is one provider's; name it with --provider: {}",
            providers.iter().copied().collect::<Vec<_>>().join(", ")
        );
        let mut contracts = Vec::new();
        for provider in providers {
            contracts.push(self.contract(provider, version).await?);
        }
        Ok(contracts)
    }
}

/// A version as people are shown it.
pub fn short(version: &str) -> &str {
    version.get(..VERSION_DIGITS).unwrap_or(version)
}

/// What the node said, in both languages where it is the mesh's.
fn explained(status: &Status) -> anyhow::Error {
    let vi = status::read(status).and_then(|read| read.vi).map(|vi| format!("\n{vi}")).unwrap_or_default();
    anyhow::anyhow!("the node answered: {}{vi}", status.message())
}
