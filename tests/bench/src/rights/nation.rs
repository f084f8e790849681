//! A catalog of the whole nation: a thousand agencies, each of which provides five datasets to others. The first one keeps a
//! national register, to which everybody has rights. Pure but for the clock of the approvals. JSON is YAML.

use anyhow::ensure;
use lienthong_catalog::catalog::{Enrolled, node_name};
use lienthong_catalog::{Catalog, ContractModel, Published, SourceFile};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::{CertificateBinding, Contract, Node};
use protox::file::{ChainFileResolver, DescriptorSetFileResolver, File, FileResolver, GoogleFileResolver};
use serde_json::{Value, json};

/// Datasets that each agency provides.
pub const DATASETS_EACH: usize = 5;
/// Consumers of a dataset that is not of the national register.
const CONSUMERS: usize = 20;
/// Fields of a record; entries grant half of them.
const FIELDS: usize = 12;
/// Agencies in one file.
const AGENCIES_PER_FILE: usize = 50;
/// Stands for an agency's number in the one contract that is compiled: as long as the number, so that it can be written in
/// its place.
const TOKEN: &str = "9z9z";

/// Catalog and contracts.
pub struct Nation {
    /// The catalog's files.
    pub files: Vec<SourceFile>,
    /// What they say, with the nodes of the first two agencies.
    pub catalog: Catalog,
    contracts: Vec<(Contract, ContractModel)>,
}

impl Nation {
    /// Of so many agencies. `version` is that of the first entry; each grants other fields.
    pub fn of(agencies: usize, version: u32) -> anyhow::Result<Self> {
        let files = files(agencies, version);
        let catalog = Catalog::read(&files).map_err(|mistakes| anyhow::anyhow!("{:?}", mistakes.first()))?;
        let catalog =
            catalog.with_enrolled(&Enrolled { nodes: vec![node(0), node(1)], ..Enrolled::default() });
        let template = contract_template()?;
        let contracts = (0..agencies).map(|number| {
            let descriptor_set = written_over(&template, TOKEN, &digits(number));
            let model = ContractModel::read(&descriptor_set)?;
            ensure!(!model.has_errors(), "{:?}", model.findings());
            let contract = Contract {
                provider: code(number),
                descriptor_set: descriptor_set.into(),
                ..Contract::default()
            };
            Ok((contract, model))
        });
        Ok(Self { files, catalog, contracts: contracts.collect::<anyhow::Result<_>>()? })
    }

    /// The contracts, as they are compiled.
    pub fn published(&self) -> Vec<Published<'_>> {
        self.contracts.iter().map(|(contract, model)| Published { contract, model }).collect()
    }
}

/// Code of an agency.
fn code(number: usize) -> String {
    format!("H26.{}", digits(number))
}

/// The node of the national register, whose bundle is the largest.
pub fn largest_node() -> String {
    node_name(&code(0), "n1")
}

fn digits(number: usize) -> String {
    format!("{number:04}")
}

fn node(number: usize) -> Node {
    let agency = code(number);
    Node {
        name: node_name(&agency, "n1"),
        agency,
        address: "127.0.0.1:7000".to_owned(),
        server_name: "n1.bench.invalid".to_owned(),
        certificates: vec![CertificateBinding {
            issuer: "CN=DEMO – CA".to_owned(),
            serial: digits(number).into_bytes(),
            spki_sha256: vec![7; 32],
        }],
    }
}

fn files(agencies: usize, version: u32) -> Vec<SourceFile> {
    let numbers: Vec<usize> = (0..agencies).collect();
    let file = |numbers: &[usize]| {
        let entries = numbers.iter().flat_map(|number| {
            (0..DATASETS_EACH).map(move |dataset| entry(agencies, *number, dataset, version))
        });
        json!({
            "agencies": numbers.iter().map(|number| agency(*number)).collect::<Vec<_>>(),
            "databases": numbers.iter().map(|number| database(*number)).collect::<Vec<_>>(),
            "entries": entries.collect::<Vec<_>>(),
        })
    };
    let named = |(number, file): (usize, Value)| SourceFile {
        name: format!("{number:03}.yaml"),
        text: file.to_string(),
    };
    numbers.chunks(AGENCIES_PER_FILE).map(file).enumerate().map(named).collect()
}

fn agency(number: usize) -> Value {
    json!({
        "code": code(number), "name_vi": format!("DEMO {number}"), "bloc": "LOCAL", "level": "COMMUNE",
        "roles": ["PROVIDER", "CONSUMER"], "security_level": 3,
        "systems": [{"id": "mot-cua", "name_vi": "DEMO một cửa", "security_level": 3}],
    })
}

fn database(number: usize) -> Value {
    let datasets: Vec<Value> =
        (0..DATASETS_EACH).map(|dataset| json!({"id": dataset_id(number, dataset)})).collect();
    json!({
        "id": format!("co_so_{}", digits(number)), "name_vi": format!("DEMO {number}"), "kind": "SECTORAL_DB",
        "owner_code": code(number), "legal_basis": basis(), "datasets": datasets,
    })
}

fn dataset_id(number: usize, dataset: usize) -> String {
    format!("co_so_{}.ho_so_{dataset}", digits(number))
}

fn entry(agencies: usize, number: usize, dataset: usize, version: u32) -> Value {
    let is_first = number == 0 && dataset == 0;
    // Another agency each: the step and the number of agencies have no common divisor.
    let step = if agencies < 1_000 { 1 } else { 49 };
    let consumers: Vec<String> = match number {
        0 => vec!["ALL".to_owned()],
        _ => (0..CONSUMERS.min(agencies - 1))
            .map(|place| code((number + 1 + step * place) % agencies))
            .collect(),
    };
    let version = if is_first { version } else { 1 };
    let granted = FIELDS / 2 + usize::from(version > 1);
    let fields: Vec<String> = (1..=granted).map(|field| format!("truong_{field}")).collect();
    json!({
        "id": format!("CE-{:05}", number * DATASETS_EACH + dataset), "version": version,
        "dataset_id": dataset_id(number, dataset), "provider_code": code(number), "legal_basis": basis(),
        "mandatory_consumers": consumers, "purposes": ["STATE_MANAGEMENT", "STATISTICS"],
        "fields_by_purpose": {"STATE_MANAGEMENT": fields, "STATISTICS": fields},
        "classification": {"sharing": "SHARED", "importance": "OTHER", "secrecy": "NONE", "personal": "BASIC"},
        "methods": ["QUERY", "SYNC_TO_NATIONAL_DB"], "freshness": "REALTIME", "min_security_level": 3,
        "fee_policy": {"state_bodies": "EXEMPT"}, "effective_from": "2025-11-01", "deadline": "2026-12-31",
        "approved_by": ["operator.catalog.01", "operator.legal.02"], "status": "ACTIVE",
    })
}

fn basis() -> Value {
    json!([{"instrument": "278/2025/NĐ-CP", "article": "Điều 8", "note": "demo – verify"}])
}

/// The contract of the agency whose number is [`TOKEN`].
fn contract_template() -> anyhow::Result<Vec<u8>> {
    let head = format!(
        "syntax = \"proto3\"; package vn.co{TOKEN}.v1; import \"lienthong/options/v1/options.proto\";"
    );
    let text: Vec<String> = std::iter::once(head).chain((0..DATASETS_EACH).map(declaration)).collect();
    let mut resolver = ChainFileResolver::new();
    resolver.add(Text(text.concat()));
    resolver.add(DescriptorSetFileResolver::decode(descriptors::MESH)?);
    resolver.add(GoogleFileResolver::new());
    let mut compiler = protox::Compiler::with_file_resolver(resolver);
    compiler.include_imports(true).open_file(NAME)?;
    Ok(compiler.encode_file_descriptor_set())
}

/// One dataset of the contract, with the methods by which it is asked for and synchronised.
fn declaration(dataset: usize) -> String {
    let fields: Vec<String> = (1..=FIELDS)
        .map(|field| {
            format!("string truong_{field} = {field} [(lienthong.options.v1.field) = {{label_vi: \"Trường {field}\"}}];")
        })
        .collect();
    format!(
        "service HoSo{dataset}Service {{
           rpc Get(Get{dataset}Request) returns (Get{dataset}Response) {{
             option (lienthong.options.v1.exchange) = {{dataset: \"co_so_{TOKEN}.ho_so_{dataset}\" kind: METHOD_KIND_QUERY}};
           }}
           rpc Sync(Sync{dataset}Request) returns (stream Sync{dataset}Response) {{
             option (lienthong.options.v1.exchange) = {{dataset: \"co_so_{TOKEN}.ho_so_{dataset}\" kind: METHOD_KIND_SYNC_TO_NATIONAL_DB}};
           }}
         }}
         message HoSo{dataset} {{
           option (lienthong.options.v1.dataset) = {{
             id: \"co_so_{TOKEN}.ho_so_{dataset}\" name_vi: \"Hồ sơ\" key_fields: \"truong_1\" sharing: SHARING_SHARED
             importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_BASIC
           }};
           {}
         }}
         message Get{dataset}Request {{ string truong_1 = 1; }}
         message Get{dataset}Response {{ HoSo{dataset} record = 1 [(lienthong.options.v1.record) = true]; }}
         message Sync{dataset}Request {{ string page_token = 1; }}
         message Sync{dataset}Response {{ HoSo{dataset} record = 1 [(lienthong.options.v1.record) = true]; }}",
        fields.concat()
    )
}

const NAME: &str = "hop_dong.proto";

/// The one file that is text.
struct Text(String);

impl FileResolver for Text {
    fn open_file(&self, name: &str) -> Result<File, protox::Error> {
        if name == NAME { File::from_source(name, &self.0) } else { Err(protox::Error::file_not_found(name)) }
    }
}

/// The bytes with one text in the place of another of the same length.
fn written_over(bytes: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut written = bytes.to_vec();
    for place in 0..bytes.len() {
        if bytes[place..].starts_with(old.as_bytes()) {
            written[place..place + old.len()].copy_from_slice(new.as_bytes());
        }
    }
    written
}

#[cfg(test)]
mod tests {
    use lienthong_catalog::compile;

    use super::*;

    #[test]
    fn every_entry_compiles_for_its_consumers() {
        let nation = Nation::of(40, 1).unwrap();
        let rights = compile(&nation.catalog, &nation.published());
        let entitled = rights.rights().iter().filter(|right| right.id.starts_with("CE-")).count();
        // Two purposes; the register's own agency needs no right to what it provides.
        let of_register = DATASETS_EACH * 2 * 39;
        assert_eq!(entitled, of_register + 39 * DATASETS_EACH * 2 * CONSUMERS);
        assert_eq!(nation.catalog.entries().len(), 40 * DATASETS_EACH);
    }
}
