//! A provider's contract for one caller: the version in force from the rights bundle, an older one from the broker,
//! cut down to what the caller may call.

use std::{collections::BTreeSet, time::Duration};

use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::{
        catalog::v1::{CallableMethod, GetContractRequest, GetContractResponse},
        control::v1::Contract,
        registry::v1::{GetContractRequest as FromRegistry, registry_service_client::RegistryServiceClient},
    },
    reason::Reason,
    status::MeshError,
};
use tonic::{Code, Status};

use crate::{
    limits::{CONTRACT_VERSION_DIGITS_MIN, REGISTRY_ANSWER_BYTES_MAX, REGISTRY_QUESTION_MS},
    services::{
        asker::{Asker, part_of, service_of},
        view::Part,
    },
};

/// Gets a contract.
pub async fn get(asker: &Asker, request: GetContractRequest) -> Result<GetContractResponse, Status> {
    let GetContractRequest { symbol, provider, version } = request;
    let version = read_version(&version)?;
    let rights = asker.rights()?;
    let callable = asker.callable(&rights);
    let provider = provider_of(asker, &callable, &symbol, provider)?;
    let agency = &asker.core.node.agency;
    let own = provider == *agency && asker.caller.party == *agency;
    // One's own agency's contract is no secret to its own systems.
    let in_force = rights
        .contract(&provider)
        .filter(|_| own || callable.iter().any(|method| method.provider == provider));
    let in_force = in_force.ok_or_else(|| nothing(&symbol, &provider))?;
    let wanted = hex::encode(&in_force.hash).starts_with(&version);
    let contract = if wanted { in_force.clone() } else { older(asker, &rights, &provider, &version).await? };
    let part = if own && symbol.is_empty() { whole(contract)? } else { part_of(&contract, &callable) };
    let (provider, hash) = (part.contract.provider.clone(), part.contract.hash.to_vec());
    let view = asker.core.node.services.views.of(vec![part]).await?;
    let descriptor_set = view.encode_to_vec();
    Ok(GetContractResponse { provider, hash, descriptor_set, in_force: wanted })
}

/// Whose contract is meant.
fn provider_of(
    asker: &Asker,
    callable: &[CallableMethod],
    symbol: &str,
    provider: String,
) -> Result<String, Status> {
    let serves = |method: &&CallableMethod| {
        service_of(&method.path) == service_of(symbol) && (provider.is_empty() || method.provider == provider)
    };
    match (symbol, &*provider) {
        ("", "") => Ok(asker.core.node.agency.clone()),
        ("", _) => Ok(provider),
        // In the order of codes.
        _ => {
            let first = callable.iter().filter(serves).map(|method| &method.provider).min();
            first.cloned().ok_or_else(|| nothing(symbol, &provider))
        }
    }
}

/// The digits of a version, in lower case.
fn read_version(version: &str) -> Result<String, Status> {
    let digits = version.to_ascii_lowercase();
    let enough = (CONTRACT_VERSION_DIGITS_MIN..=64).contains(&digits.len());
    if digits.is_empty() || (enough && digits.bytes().all(|byte| byte.is_ascii_hexdigit())) {
        return Ok(digits);
    }
    let detail =
        format!("version is {CONTRACT_VERSION_DIGITS_MIN} to 64 hexadecimal digits of a contract's hash");
    Err(MeshError::new(Reason::DenyContext, detail).to_status())
}

/// An older version, which only the broker keeps.
async fn older(
    asker: &Asker,
    rights: &RightsIndex,
    provider: &str,
    version: &str,
) -> Result<Contract, Status> {
    tracing::debug!(provider, version, epoch = rights.epoch(), "an older contract is asked for");
    let mut registry = RegistryServiceClient::new(asker.core.upstreams.broker().clone())
        .max_decoding_message_size(REGISTRY_ANSWER_BYTES_MAX);
    let question = FromRegistry { provider: provider.to_owned(), version: version.to_owned() };
    let answer = registry.get_contract(question);
    let answered = tokio::time::timeout(Duration::from_millis(REGISTRY_QUESTION_MS), answer).await;
    let unreachable = |detail: &str| MeshError::new(Reason::DenyBrokerUnreachable, detail).to_status();
    match answered {
        Err(_) => {
            Err(unreachable("older versions of a contract are kept by the broker, which did not answer"))
        }
        Ok(Err(status)) if matches!(status.code(), Code::NotFound | Code::InvalidArgument) => Err(status),
        Ok(Err(status)) => {
            tracing::warn!(error = %status.message(), "the broker gave no contract");
            Err(unreachable("older versions of a contract are kept by the broker, which gave none"))
        }
        Ok(Ok(answer)) => answer.into_inner().contract.ok_or_else(|| {
            unreachable("older versions of a contract are kept by the broker, which gave none")
        }),
    }
}

/// Everything that a contract has.
fn whole(contract: Contract) -> Result<Part, Status> {
    let pool = lienthong_proto::descriptors::pool(&contract.descriptor_set).map_err(|error| {
        tracing::error!(%error, "a contract of the rights bundle cannot be read");
        Status::internal("the contract cannot be read; the node's log says why")
    })?;
    let services: Vec<_> = pool.services().collect();
    let paths: BTreeSet<String> = services
        .iter()
        .flat_map(|service| {
            service.methods().map(|method| format!("/{}/{}", service.full_name(), method.name()))
        })
        .collect();
    Ok(Part { contract, paths })
}

fn nothing(symbol: &str, provider: &str) -> Status {
    let detail = match (symbol, provider) {
        ("", provider) => format!("nothing of {provider} that you may call"),
        (_, "") => "nothing that you may call".to_owned(),
        (_, provider) => format!("nothing of {provider} that you may call there"),
    };
    MeshError::new(Reason::DenyUnknownMethod, detail).to_status()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_hexadecimal_digits_enough_to_mean_one() {
        assert_eq!(read_version("").unwrap(), "");
        assert_eq!(read_version("0123ABCD").unwrap(), "0123abcd");
        for bad in ["0123abc", "0123abcg", "../../..", &"0".repeat(65)] {
            assert!(read_version(bad).is_err(), "{bad}");
        }
    }
}
