//! A catalog as large as the country, beside the demonstration's: communes with what each must share, and the contract of the
//! one of them that has most.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use lienthong::demo::{layout::Layout, plan::Plan};
use serde_json::{Value, json};

/// Communes.
pub const AGENCIES: usize = 1_000;

/// Entries of the first of them, which has more than anybody else; the others have [`ENTRIES_EACH`].
pub const ENTRIES_OF_ONE: usize = 1_004;

/// See [`ENTRIES_OF_ONE`].
pub const ENTRIES_EACH: usize = 4;

/// Datasets of the first commune whose contract is published, each with [`METHODS_EACH`] methods.
pub const PUBLISHED: usize = 1_000;

/// See [`PUBLISHED`].
pub const METHODS_EACH: usize = 5;

/// Nodes: the first commune's runs, the others never connect.
pub const NODES: usize = 1_000;

/// What the hostile commune calls itself.
const HOSTILE: &str = "\"><script>alert(1)</script>' onload=alert(1) \u{202e}gnud&lt;";

/// Communes of one file: the whole country would be over the bound of what one file may hold.
const AGENCIES_OF_A_FILE: usize = 100;

/// Code of a commune.
pub fn code(number: usize) -> String {
    format!("H27.{number:04}")
}

/// The demonstration with a gateway, in such a country.
pub fn plan() -> Plan {
    let mut plan = Plan::demo().with_gateway();
    let files = (0..AGENCIES / AGENCIES_OF_A_FILE).map(|part| (format!("country-{part}.yaml"), file(part)));
    plan.catalog.extend(files);
    plan.nodes.push((code(1), "Ủy ban nhân dân xã Mẫu số 1".to_owned()));
    plan
}

/// A part of the country. JSON is YAML.
fn file(part: usize) -> String {
    let basis = json!([{ "instrument": "278/2025/NĐ-CP", "article": "Điều 8", "note": "demo – verify" }]);
    let (mut agencies, mut databases, mut entries) = (Vec::new(), Vec::new(), Vec::new());
    for number in part * AGENCIES_OF_A_FILE + 1..=(part + 1) * AGENCIES_OF_A_FILE {
        let name = if number == 2 {
            HOSTILE.to_owned()
        } else {
            format!("Ủy ban nhân dân xã Mẫu số {number}")
        };
        agencies.push(json!({
            "code": code(number), "name_vi": name, "name_en": format!("Commune {number}"), "bloc": "LOCAL",
            "level": "PROVINCE", "roles": ["PROVIDER", "CONSUMER"], "security_level": 3,
        }));
        let count = if number == 1 { ENTRIES_OF_ONE } else { ENTRIES_EACH };
        let datasets: Vec<Value> = (0..count).map(|place| json!({ "id": dataset(number, place) })).collect();
        databases.push(json!({
            "id": format!("mau_{number:04}"), "name_vi": "Cơ sở dữ liệu mẫu", "kind": "SECTORAL_DB",
            "owner_code": code(number), "legal_basis": basis, "datasets": datasets,
        }));
        entries.extend((0..count).map(|place| {
            json!({
                "id": format!("CE-{}", 10_000 + number * 2_000 + place), "version": 1,
                "dataset_id": dataset(number, place),
                "provider_code": code(number), "legal_basis": basis, "mandatory_consumers": ["H26.90"],
                "purposes": ["STATE_MANAGEMENT"], "fields_by_purpose": { "STATE_MANAGEMENT": ["*"] },
                "classification": { "sharing": "SHARED", "importance": "OTHER", "secrecy": "NONE", "personal": "NONE" },
                "methods": ["QUERY"], "freshness": "24h", "fee_policy": { "state_bodies": "EXEMPT" },
                "effective_from": "2025-11-01", "deadline": "2026-12-31",
                "approved_by": ["operator.catalog.01", "operator.legal.02"], "status": "ACTIVE",
            })
        }));
    }
    json!({ "agencies": agencies, "databases": databases, "entries": entries }).to_string()
}

fn dataset(agency: usize, place: usize) -> String {
    format!("mau{agency:04}.d{place}")
}

/// Puts into a mesh that is laid out what a plan does not say: the nodes that never connect, and the contract of the first
/// commune, whose backend never answers.
///
/// # Errors
/// What cannot be read, compiled or written.
pub fn settle(layout: &Layout) -> Result<()> {
    let path = layout.dir.join("registry.yaml");
    let mut registry: Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
    let nodes = registry["nodes"].as_array_mut().context("no nodes")?;
    nodes.extend((2..=NODES).map(|number| {
        json!({
            "agency": code(number), "id": "n1", "address": "127.0.0.1:9",
            "server_name": format!("n1.h27-{number:04}.demo.invalid"),
            "certificates": [{ "issuer": "CN=DEMO", "serial": format!("{number:08x}"), "spki_sha256": format!("{number:064x}") }],
        })
    }));
    fs::write(path, registry.to_string())?;

    let contract = layout.dir.join("contracts/mau.binpb");
    fs::write(&contract, compiled(&layout.dir)?)?;
    let path = layout.dir.join(format!("config/node-{}.toml", code(1)));
    let services: Vec<String> = (0..PUBLISHED).map(|place| format!("vn.mau.v1.Service{place}")).collect();
    let backend = json!({
        "services": services, "contract": contract, "endpoint": { "unix": layout.dir.join("nobody.sock") },
    });
    let mut config: toml::Table = toml::from_str(&fs::read_to_string(&path)?)?;
    config.insert("backends".to_owned(), toml::Value::try_from([backend])?);
    Ok(fs::write(path, toml::to_string(&config)?)?)
}

/// The contract: a service a dataset.
fn compiled(folder: &Path) -> Result<Vec<u8>> {
    let mut proto = String::from(
        "syntax = \"proto3\";\npackage vn.mau.v1;\nimport \"lienthong/options/v1/options.proto\";\nmessage Question { string ma = 1; }\n",
    );
    for place in 0..PUBLISHED {
        let id = dataset(1, place);
        writeln!(
            proto,
            "message Record{place} {{
               option (lienthong.options.v1.dataset) = {{
                 id: \"{id}\" name_vi: \"Dữ liệu mẫu {place}\" key_fields: \"ma\"
                 sharing: SHARING_SHARED importance: IMPORTANCE_OTHER secrecy: SECRECY_NONE personal: PERSONAL_NONE
               }};
               string ma = 1 [(lienthong.options.v1.field) = {{label_vi: \"Mã\"}}];
             }}
             message Answer{place} {{ Record{place} ban_ghi = 1 [(lienthong.options.v1.record) = true]; }}
             service Service{place} {{"
        )?;
        for method in 0..METHODS_EACH {
            writeln!(
                proto,
                "rpc Get{method}(Question) returns (Answer{place}) {{
                   option idempotency_level = NO_SIDE_EFFECTS;
                   option (lienthong.options.v1.exchange) = {{dataset: \"{id}\" kind: METHOD_KIND_QUERY}};
                 }}"
            )?;
        }
        writeln!(proto, "}}")?;
    }
    let protos = folder.join("mau");
    fs::create_dir_all(&protos)?;
    fs::write(protos.join("mau.proto"), proto)?;
    let options = Path::new(env!("CARGO_MANIFEST_DIR")).join("../proto");
    let mut compiler = protox::Compiler::new([&protos, &options])?;
    compiler.include_imports(true).open_file("mau.proto")?;
    Ok(compiler.encode_file_descriptor_set())
}
