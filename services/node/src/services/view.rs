//! Contracts as one caller sees them: cut down to the methods that it may call. Callers with the same rights see the
//! same, so it is made once and kept.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{LazyLock, Mutex, PoisonError},
};

use aws_lc_rs::digest::{Context, SHA256};
use lienthong_proto::{
    descriptors,
    lienthong::{
        catalog::v1::node_catalog_service_server as catalog_v1, control::v1::Contract,
        node::v1::diagnosis_service_server as diagnosis_v1,
    },
};
use lienthong_schema::{merge, narrow};
use prost_reflect::DescriptorPool;
use tonic::Status;

use crate::limits::VIEWS_MAX;

/// A contract, and what of it the caller may call.
#[derive(Debug, Clone)]
pub struct Part {
    /// The whole contract.
    pub contract: Contract,
    /// gRPC paths.
    pub paths: BTreeSet<String>,
}

/// The views of this node's callers, the newest [`VIEWS_MAX`] of them.
#[derive(Debug, Default)]
pub struct Views(Mutex<VecDeque<([u8; 32], DescriptorPool)>>);

impl Views {
    /// The parts in one pool.
    pub async fn of(&self, parts: Vec<Part>) -> Result<DescriptorPool, Status> {
        self.made(parts, false).await
    }

    /// The parts in one pool, together with the services that the node itself answers.
    pub async fn with_own_services(&self, parts: Vec<Part>) -> Result<DescriptorPool, Status> {
        self.made(parts, true).await
    }

    async fn made(&self, parts: Vec<Part>, own_services: bool) -> Result<DescriptorPool, Status> {
        let key = key(&parts, own_services);
        if let Some(known) = self.known(&key) {
            return Ok(known);
        }
        // A contract may have a megabyte: traffic does not wait for it.
        let view = tokio::task::spawn_blocking(move || make(&parts, own_services))
            .await
            .map_err(|error| failed(&error.to_string()))??;
        let mut views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !views.iter().any(|(known, _)| *known == key) {
            views.truncate(VIEWS_MAX - 1);
            views.push_front((key, view.clone()));
        }
        Ok(view)
    }

    fn known(&self, key: &[u8; 32]) -> Option<DescriptorPool> {
        let views = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        views.iter().find(|(known, _)| known == key).map(|(_, view)| view.clone())
    }
}

/// The contracts of the node's own services, whole.
pub fn own_contracts() -> &'static DescriptorPool {
    static POOL: LazyLock<DescriptorPool> = LazyLock::new(|| merge(&DescriptorPool::new(), OWN).pool);
    &POOL
}

/// True for a service that the node itself answers to the agency's own systems.
pub fn is_own_service(service: &str) -> bool {
    OWN_SERVICES.contains(&service)
}

fn make(parts: &[Part], own_services: bool) -> Result<DescriptorPool, Status> {
    let own = own_services.then_some(OWN).into_iter().flatten();
    let contracts = parts.iter().map(|part| (&*part.contract.provider, &*part.contract.descriptor_set));
    let merged = merge(&DescriptorPool::new(), own.chain(contracts));
    for left_out in &merged.left_out {
        tracing::warn!(
            provider = left_out.provider,
            problem = left_out.problem,
            "a contract is not shown beside the others; mesh-provider asks for it alone"
        );
    }
    let shown = |part: &&Part| merged.left_out.iter().all(|out| out.provider != part.contract.provider);
    let mut paths: BTreeSet<String> =
        parts.iter().filter(shown).flat_map(|part| part.paths.iter().cloned()).collect();
    if own_services {
        let own = |service: &prost_reflect::ServiceDescriptor| is_own_service(service.full_name());
        for service in merged.pool.services().filter(own) {
            paths.extend(
                service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name())),
            );
        }
    }
    narrow(&merged.pool, &paths).map_err(|error| failed(&error.to_string()))
}

/// The contracts of the node's own services.
const OWN: [(&str, &[u8]); 4] = [
    ("", descriptors::MESH),
    ("", tonic_health::pb::FILE_DESCRIPTOR_SET),
    ("", tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET),
    ("", tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET),
];

/// Those of their services that the agency's own systems may call.
const OWN_SERVICES: [&str; 5] = [
    catalog_v1::SERVICE_NAME,
    diagnosis_v1::SERVICE_NAME,
    tonic_health::pb::health_server::SERVICE_NAME,
    tonic_reflection::pb::v1::server_reflection_server::SERVICE_NAME,
    tonic_reflection::pb::v1alpha::server_reflection_server::SERVICE_NAME,
];

/// Tells views apart: by the contracts they are made from and the paths they show.
fn key(parts: &[Part], own_services: bool) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    let mut text = |text: &[u8]| {
        context.update(&(text.len() as u64).to_be_bytes());
        context.update(text);
    };
    text(&[u8::from(own_services)]);
    for part in parts {
        text(part.contract.provider.as_bytes());
        text(&part.contract.hash);
        text(&(part.paths.len() as u64).to_be_bytes());
        part.paths.iter().for_each(|path| text(path.as_bytes()));
    }
    let mut key = [0; 32];
    key.copy_from_slice(context.finish().as_ref());
    key
}

fn failed(problem: &str) -> Status {
    tracing::error!(problem, "a contract cannot be shown");
    Status::internal("the contract cannot be shown; the node's log says why")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(provider: &str, descriptor_set: &'static [u8], path: &str) -> Part {
        let contract = Contract {
            provider: provider.to_owned(),
            hash: bytes::Bytes::from_static(b"version"),
            descriptor_set: bytes::Bytes::from_static(descriptor_set),
            ..Contract::default()
        };
        Part { contract, paths: [path.to_owned()].into() }
    }

    fn services(pool: &DescriptorPool) -> Vec<String> {
        pool.services().map(|service| service.full_name().to_owned()).collect()
    }

    #[tokio::test]
    async fn a_caller_sees_its_methods_and_the_nodes_own() {
        let views = Views::default();
        let dancu = part("G01", descriptors::DANCU, "/vn.dancu.v1.CitizenService/GetCitizen");
        let dkdn = part("G12", descriptors::DKDN, "/vn.dkdn.v1.EnterpriseService/GetEnterprise");
        let view = views.with_own_services(vec![dancu.clone(), dkdn]).await.unwrap();
        let seen = services(&view);
        for service in OWN_SERVICES {
            assert!(seen.iter().any(|name| name == service), "{service} is not in {seen:?}");
        }
        assert!(view.get_service_by_name("vn.dkdn.v1.EnterpriseService").is_some());
        assert_eq!(view.get_service_by_name("vn.dancu.v1.CitizenService").unwrap().methods().len(), 1);
        assert!(view.get_service_by_name("lienthong.audit.v1.AuditService").is_none());
        assert_eq!(services(&views.of(vec![dancu]).await.unwrap()), ["vn.dancu.v1.CitizenService"]);
    }

    #[tokio::test]
    async fn what_is_kept_is_bounded_and_told_apart() {
        let views = Views::default();
        for path in ["GetCitizen", "ListCitizens", "GetCitizen"] {
            let path = format!("/vn.dancu.v1.CitizenService/{path}");
            let view = views.of(vec![part("G01", descriptors::DANCU, &path)]).await.unwrap();
            assert!(path.ends_with(view.services().next().unwrap().methods().next().unwrap().name()));
        }
        assert_eq!(views.0.lock().unwrap().len(), 2);
        for number in 0..VIEWS_MAX + 5 {
            views.of(vec![part("G01", descriptors::DANCU, &format!("/{number}"))]).await.unwrap();
        }
        assert_eq!(views.0.lock().unwrap().len(), VIEWS_MAX);
    }
}
