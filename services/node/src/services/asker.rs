//! Who asks, and what that caller may call now.

use std::{collections::BTreeSet, sync::Arc};

use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::{catalog::v1::CallableMethod, control::v1::Contract},
    reason::Reason,
    status::MeshError,
};
use prost_reflect::DescriptorPool;
use tonic::Status;

use crate::{call::identify::Caller, clock, core::Core, services::view::Part};

/// An identified caller of one of the node's own services.
#[derive(Clone)]
pub struct Asker {
    /// The thread that answers.
    pub core: Arc<Core>,
    /// Who asks.
    pub caller: Caller,
    /// `mesh-provider`.
    pub provider: Option<String>,
}

impl Asker {
    /// What the node decides by now. It may change during a stream.
    pub fn rights(&self) -> Result<Arc<RightsIndex>, Status> {
        self.core.node.rights.load_full().ok_or_else(|| {
            MeshError::new(Reason::DenyRightsStale, "this node holds no rights yet").to_status()
        })
    }

    /// What the caller may call now, by path and provider. Another agency learns what it may call here, not
    /// elsewhere.
    pub fn callable(&self, rights: &RightsIndex) -> Vec<CallableMethod> {
        let system = (!self.caller.system.is_empty()).then_some(self.caller.system.as_str());
        let mut methods = rights.callable_methods(&self.caller.party, system, clock::now());
        let agency = &self.core.node.agency;
        let provider = self.provider.as_ref().or((self.caller.party != *agency).then_some(agency));
        if let Some(provider) = provider {
            methods.retain(|method| method.provider == *provider);
        }
        methods
    }

    /// Every contract that has something for the caller, cut down to it, as one pool. Where several providers serve one
    /// path, or files of one name differ, the first by code is shown; `mesh-provider` asks for another.
    pub async fn view(&self) -> Result<DescriptorPool, Status> {
        let rights = self.rights()?;
        let callable = self.callable(&rights);
        let providers: BTreeSet<&str> = callable.iter().map(|method| method.provider.as_str()).collect();
        let contracts = providers.into_iter().filter_map(|provider| rights.contract(provider));
        let parts = contracts.map(|contract| part_of(contract, &callable)).collect();
        self.core.node.services.views.with_own_services(parts).await
    }
}

/// What of a contract is callable.
pub fn part_of(contract: &Contract, callable: &[CallableMethod]) -> Part {
    let of_provider = callable.iter().filter(|method| method.provider == contract.provider);
    Part { contract: contract.clone(), paths: of_provider.map(|method| method.path.clone()).collect() }
}

/// The service of a gRPC path, or a service name as it is.
pub fn service_of(path: &str) -> &str {
    path.trim_start_matches('/').split('/').next().unwrap_or_default()
}
