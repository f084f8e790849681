//! Publishing the agency's contract: what its backends serve, told to the broker once at start.

use std::{fs, io, path::PathBuf};

use lienthong_proto::{
    descriptors::{self, DescriptorSetError},
    lienthong::registry::v1::{PublishContractRequest, registry_service_client::RegistryServiceClient},
};
use prost::Message;
use prost_types::FileDescriptorSet;
use tokio_util::sync::CancellationToken;

use crate::{
    config::BackendConfig,
    control::broker::{Broker, Patience},
};

/// Why the contract of the configuration cannot be published.
#[derive(Debug, thiserror::Error)]
pub enum ContractFileError {
    /// The file.
    #[error("the contract {path} cannot be read: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Its contents.
    #[error("the contract {path}: {source}")]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: DescriptorSetError,
    },
    /// A backend's service that no contract has.
    #[error("backends: the contract {path} has no service {service}")]
    NoSuchService {
        /// The file.
        path: PathBuf,
        /// The service.
        service: String,
    },
}

/// Reads the contracts of all backends as one descriptor set, without repeating shared imports; `None`
/// where the agency provides nothing.
///
/// The files are joined as bytes: their options are extensions that a decode would drop.
pub fn read(backends: &[BackendConfig]) -> Result<Option<Vec<u8>>, ContractFileError> {
    let mut joined = Vec::new();
    let mut names = Vec::new();
    for backend in backends {
        let path = &backend.contract;
        let bytes = fs::read(path).map_err(|source| ContractFileError::Io { path: path.clone(), source })?;
        let pool = descriptors::pool(&bytes)
            .map_err(|source| ContractFileError::Malformed { path: path.clone(), source })?;
        if let Some(service) =
            backend.services.iter().find(|service| pool.get_service_by_name(service).is_none())
        {
            return Err(ContractFileError::NoSuchService { path: path.clone(), service: service.clone() });
        }
        for file in files(&bytes) {
            if !names.contains(&file.name) {
                names.push(file.name);
                joined.extend_from_slice(file.bytes);
            }
        }
    }
    Ok((!joined.is_empty()).then_some(joined))
}

/// Publishes until the broker has taken the contract. A contract that the broker refuses is not tried again:
/// it says why, once.
pub async fn run(contract: Vec<u8>, broker: Broker, stop: CancellationToken) {
    let mut patience = Patience::default();
    loop {
        let mut client = RegistryServiceClient::new(broker.channel.clone());
        let request = PublishContractRequest { descriptor_set: contract.clone() };
        match client.publish_contract(request).await {
            Ok(response) => {
                let response = response.into_inner();
                for finding in &response.findings {
                    tracing::warn!(finding, "the broker remarks on the contract");
                }
                tracing::info!(datasets = ?response.datasets, epoch = response.epoch, "contract published");
                return;
            }
            Err(status) if status.code() == tonic::Code::InvalidArgument => {
                tracing::error!(error = %status.message(), "the broker refuses the contract; mend it and restart");
                return;
            }
            Err(status) => tracing::warn!(error = %status.message(), "the contract is not published yet"),
        }
        tokio::select! {
            () = stop.cancelled() => return,
            () = patience.wait() => {}
        }
    }
}

/// One file of a serialized descriptor set, with its tag and length.
struct RawFile<'a> {
    name: String,
    bytes: &'a [u8],
}

/// Cuts a descriptor set that was read well into its files.
fn files(set: &[u8]) -> Vec<RawFile<'_>> {
    let names = FileDescriptorSet::decode(set).map(|set| set.file).unwrap_or_default();
    let mut rest = set;
    let mut files = Vec::with_capacity(names.len());
    for file in names {
        let before = rest;
        // Tag of field 1, then its length: the set was decoded, so both are there.
        let mut cursor = rest;
        let (Ok(_tag), Ok(length)) =
            (prost::encoding::decode_varint(&mut cursor), prost::encoding::decode_varint(&mut cursor))
        else {
            break;
        };
        let head = before.len() - cursor.len();
        let whole = head + usize::try_from(length).unwrap_or(usize::MAX);
        let Some(bytes) = before.get(..whole) else { break };
        rest = &before[whole..];
        files.push(RawFile { name: file.name.unwrap_or_default(), bytes });
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contracts_are_joined_without_losing_options() {
        let folder = tempfile::tempdir().unwrap();
        let backend = |name: &str, bytes: &[u8], service: &str| {
            let contract = folder.path().join(name);
            fs::write(&contract, bytes).unwrap();
            BackendConfig {
                services: vec![service.to_owned()],
                endpoint: crate::config::BackendEndpointConfig::Unix("/nowhere".into()),
                contract,
            }
        };
        let joined = read(&[
            backend("a", descriptors::DANCU, "vn.dancu.v1.CitizenService"),
            backend("b", descriptors::DKDN, "vn.dkdn.v1.EnterpriseService"),
        ])
        .unwrap()
        .unwrap();
        let pool = descriptors::pool(&joined).unwrap();
        for (message, dataset) in
            [("vn.dancu.v1.Citizen", "dancu.cong_dan"), ("vn.dkdn.v1.Enterprise", "dkdn.doanh_nghiep")]
        {
            let message = pool.get_message_by_name(message).unwrap();
            assert_eq!(lienthong_proto::options::dataset(&message).unwrap().id, dataset);
        }
        let names: Vec<_> = files(&joined).into_iter().map(|file| file.name).collect();
        let mut unique = names.clone();
        unique.dedup();
        assert_eq!(names.len(), unique.len());
    }

    #[test]
    fn a_wrong_contract_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let contract = folder.path().join("c.binpb");
        fs::write(&contract, b"rubbish").unwrap();
        let backend = BackendConfig {
            services: vec!["x.Y".to_owned()],
            endpoint: crate::config::BackendEndpointConfig::Unix("/nowhere".into()),
            contract: contract.clone(),
        };
        assert!(matches!(read(std::slice::from_ref(&backend)), Err(ContractFileError::Malformed { .. })));
        fs::write(&contract, descriptors::DANCU).unwrap();
        assert!(matches!(read(&[backend]), Err(ContractFileError::NoSuchService { .. })));
    }
}
