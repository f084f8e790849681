//! Providers publish contracts; everybody reads registry and catalog.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use common::watcher::Watcher;
use common::{H26, Mesh, OUTSIDER, soon};
use lienthong_broker::bundle::sha256;
use lienthong_proto::lienthong::catalog::v1::{GetEntryRequest, ListEntriesRequest};
use lienthong_proto::lienthong::control::v1::Right;
use lienthong_proto::lienthong::options::v1::Purpose;
use lienthong_proto::lienthong::registry::v1::{
    GetAgencyRequest, GetContractRequest, ListAgenciesRequest, PublishContractRequest,
};
use lienthong_proto::reason::Reason;
use lienthong_proto::status;
use lienthong_proto::{descriptors, options};
use prost::Message as _;
use prost_types::FileDescriptorSet;
use tonic::Code;
use tonic_types::StatusExt;

fn publish(descriptor_set: &[u8]) -> PublishContractRequest {
    PublishContractRequest { descriptor_set: descriptor_set.to_vec() }
}

/// The same contract in other bytes: a field that no reader knows is appended.
fn in_other_bytes(descriptor_set: &[u8]) -> Vec<u8> {
    [descriptor_set, &[0xfa, 0x7f, 0x01, b'x']].concat()
}

#[tokio::test]
async fn a_published_contract_becomes_rights_and_stays() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    let (before, _) = h26.snapshot().await;
    assert!(!before.rights.iter().any(|right| right.dataset == "dancu.cong_dan"));

    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let published = soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap().into_inner();
    assert_eq!(published.epoch, 2);
    assert_eq!(published.hash, sha256(descriptors::DANCU));
    assert!(published.datasets.contains(&"dancu.cong_dan".to_owned()), "{:?}", published.datasets);

    let (after, _) = h26.snapshot().await;
    assert_eq!(after.epoch, 2);
    let wanted = |right: &&Right| {
        right.dataset == "dancu.cong_dan"
            && right.purpose() == Purpose::AdminProcedure
            && right.consumer == "H26.90"
    };
    let mut fields = after.rights.iter().find(wanted).unwrap().fields.clone();
    fields.sort();
    assert_eq!(fields, ["ho_ten", "noi_thuong_tru", "so_dinh_danh"]);
    assert_eq!(after.contracts[0].descriptor_set, descriptors::DANCU);

    // The same bytes again change nothing.
    let again = soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap().into_inner();
    assert_eq!((again.epoch, again.publish_time), (2, published.publish_time));
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 2, "the contract was kept");
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let kept = soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap().into_inner();
    assert_eq!((kept.epoch, kept.publish_time), (2, published.publish_time));
    // Other bytes are another version, even where they grant the same.
    let other = in_other_bytes(descriptors::DANCU);
    let newer = soon(g01.publish_contract(publish(&other))).await.unwrap().into_inner();
    assert_eq!((newer.epoch, newer.hash.as_slice()), (3, sha256(&other).as_slice()));
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn versions_are_kept_for_the_nodes_that_they_concern() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let newer = in_other_bytes(descriptors::DANCU);
    for version in [descriptors::DANCU, newer.as_slice()] {
        soon(g01.publish_contract(publish(version))).await.unwrap();
    }
    let ask = |provider: &str, version: String| GetContractRequest { provider: provider.to_owned(), version };
    let first = hex::encode(sha256(descriptors::DANCU));
    let mut h26 = mesh.registry(&broker, &mesh.h26);
    for (version, expected) in [
        (first[..8].to_ascii_uppercase(), descriptors::DANCU),
        (first.clone(), descriptors::DANCU),
        (hex::encode(sha256(&newer)), newer.as_slice()),
        (String::new(), newer.as_slice()),
    ] {
        let answer = soon(h26.get_contract(ask("G01", version.clone()))).await.unwrap().into_inner();
        let contract = answer.contract.unwrap();
        assert_eq!(contract.descriptor_set, expected, "{version}");
        assert_eq!(contract.hash, sha256(expected).as_slice());
        assert!(answer.publish_time.is_some());
    }
    let unknown = soon(h26.get_contract(ask("G01", "00000000".to_owned()))).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    assert!(unknown.message().contains(&first[..12]), "{} does not say what is kept", unknown.message());
    let short = soon(h26.get_contract(ask("G01", "0".to_owned()))).await.unwrap_err();
    assert_eq!(short.code(), Code::InvalidArgument);
    let nothing_of_ours = soon(h26.get_contract(ask("G99", String::new()))).await.unwrap_err();
    assert_eq!(nothing_of_ours.code(), Code::NotFound);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_contract_with_mistakes_is_refused_and_names_them() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let rubbish = soon(g01.publish_contract(publish(b"no descriptor set"))).await.unwrap_err();
    assert_eq!(rubbish.code(), Code::InvalidArgument);
    assert!(rubbish.message().contains("cannot be read"), "{rubbish}");

    // The dataset of the records is renamed, that of the methods is not: they exchange what nobody declares.
    let set = replaced(descriptors::DANCU, b"dancu.xac_nhan_cu_tru", b"dancu.xac_nhan_cu_trU");
    let refused = soon(g01.publish_contract(publish(&set))).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    assert!(!violations.is_empty(), "{refused}");
    assert!(violations.iter().all(|violation| violation.field == "descriptor_set"));
    assert!(
        violations.iter().any(|violation| violation.description.contains("xac_nhan_cu_tr")),
        "{violations:?}"
    );
    assert_eq!(broker.epoch(), 1);
    soon(broker.stop()).await.unwrap();
}

/// The bytes with the first occurrence of `from` replaced by `to`, which is as long.
fn replaced(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let place = bytes.windows(from.len()).position(|window| window == from).unwrap();
    let mut bytes = bytes.to_vec();
    bytes[place..place + to.len()].copy_from_slice(to);
    bytes
}

/// What the catalog says beside the population register's contract, as if its proto could not be changed.
const BESIDE: &str = "contracts:
  - provider: G01
    messages:
      vn.dancu.v1.Citizen:
        dataset:
          {id: dancu.cong_dan, name_vi: Công dân, key_fields: [so_dinh_danh], master: true, sharing: SHARED,
           importance: OTHER, secrecy: NONE, personal: BASIC}
        fields:
          so_dinh_danh: {label_vi: Số định danh, subject: true}
      vn.dancu.v1.GetCitizenResponse:
        records: [citizen]
    methods:
      vn.dancu.v1.CitizenService.GetCitizen:
        exchange: {dataset: dancu.cong_dan, kind: QUERY}
";

/// The same contract without any option: `prost_types` does not know them.
fn plain(descriptor_set: &[u8]) -> Vec<u8> {
    let mut set = FileDescriptorSet::decode(descriptor_set).unwrap();
    set.file.retain(|file| file.package() == "vn.dancu.v1" || file.package() == "google.protobuf");
    for file in &mut set.file {
        file.dependency.retain(|name| !name.starts_with("lienthong/"));
    }
    set.encode_to_vec()
}

#[tokio::test]
async fn a_contract_that_says_nothing_is_annotated_by_the_catalog() {
    let plain = plain(descriptors::DANCU);
    let mesh = Mesh::new();
    std::fs::write(mesh.catalog_dir().join("contracts.yaml"), BESIDE).unwrap();
    mesh.approve();
    let broker = mesh.start().await;
    let mut h26 = Watcher::new(&mesh, &broker, &mesh.h26).await;
    h26.snapshot().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let published = soon(g01.publish_contract(publish(&plain))).await.unwrap().into_inner();
    assert_eq!((published.epoch, published.datasets.as_slice()), (2, &["dancu.cong_dan".to_owned()][..]));
    assert_eq!(published.hash, sha256(&plain), "the provider hears of what it sent");
    let (first, _) = h26.snapshot().await;
    let carried = &first.contracts[0];
    assert!(first.rights.iter().any(|right| right.dataset == "dancu.cong_dan"));
    assert_eq!(carried.published_hash, sha256(&plain).as_slice());
    assert_eq!(carried.hash, sha256(&carried.descriptor_set).as_slice());
    assert_ne!(carried.hash, carried.published_hash);
    assert_eq!(label(&carried.descriptor_set), "Số định danh");
    let again = soon(g01.publish_contract(publish(&plain))).await.unwrap().into_inner();
    assert_eq!(again.epoch, 2, "the same bytes again change nothing");

    // The catalog says something else: the contract in force is annotated anew, without its provider.
    mesh.edit("contracts.yaml", "label_vi: Số định danh", "label_vi: Số định danh cá nhân");
    assert!(broker.reload().await.unwrap());
    let (second, _) = h26.snapshot().await;
    assert_eq!(second.contracts[0].published_hash, carried.published_hash);
    assert_eq!(label(&second.contracts[0].descriptor_set), "Số định danh cá nhân");

    // Who asks for a version gets it as nodes carry it, and by that hash.
    let carried = &second.contracts[0];
    let mut registry = mesh.registry(&broker, &mesh.h26);
    for version in [String::new(), hex::encode(&carried.hash)] {
        let request = GetContractRequest { provider: "G01".to_owned(), version };
        let answer = soon(registry.get_contract(request)).await.unwrap().into_inner();
        assert_eq!(answer.contract.as_ref(), Some(carried));
    }

    // What does not fit the contract in force is refused whole.
    mesh.edit("contracts.yaml", "          so_dinh_danh: {", "          so_dinh_danhh: {");
    let error = broker.reload().await.unwrap_err().to_string();
    assert!(error.contains("contract that G01 has published"), "{error}");
    assert!(error.contains("contracts.yaml:9: vn.dancu.v1.Citizen.so_dinh_danhh"), "{error}");
    assert!(error.contains("the nearest is vn.dancu.v1.Citizen.so_dinh_danh"), "{error}");
    assert_eq!(broker.epoch(), 3);
    mesh.edit("contracts.yaml", "so_dinh_danhh", "so_dinh_danh");

    // A contract that says it itself now says it twice.
    let refused = soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap_err();
    let violations = refused.get_details_bad_request().unwrap().field_violations;
    let twice = "option dataset is declared in vn/dancu/v1/citizen.proto already";
    assert!(violations.iter().any(|violation| violation.description.contains(twice)), "{violations:?}");
    soon(broker.stop()).await.unwrap();

    let broker = mesh.start().await;
    assert_eq!(broker.epoch(), 3, "what was published is annotated alike after a restart");
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let kept = soon(g01.publish_contract(publish(&plain))).await.unwrap().into_inner();
    assert_eq!((kept.epoch, kept.publish_time), (3, published.publish_time));
    soon(broker.stop()).await.unwrap();
}

/// The Vietnamese label of the citizen's number.
fn label(descriptor_set: &[u8]) -> String {
    let pool = descriptors::pool(descriptor_set).unwrap();
    let citizen = pool.get_message_by_name("vn.dancu.v1.Citizen").unwrap();
    options::field(&citizen.get_field_by_name("so_dinh_danh").unwrap()).unwrap().label_vi
}

#[tokio::test]
async fn only_nodes_of_providers_publish() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    for who in [&mesh.h26_system, &mesh.officer, &mesh.unbound] {
        let refused = soon(mesh.registry(&broker, who).publish_contract(publish(descriptors::DANCU)))
            .await
            .unwrap_err();
        assert_eq!(status::read(&refused).unwrap().reason, Reason::DenyCertificate);
    }
    // H26.90 is a consumer: nobody is to be served by it.
    let mut h26 = mesh.registry(&broker, &mesh.h26);
    let refused = soon(h26.publish_contract(publish(descriptors::DANCU))).await.unwrap_err();
    assert_eq!(status::read(&refused).unwrap().reason, Reason::DenyNotEntitled);
    assert!(refused.message().contains("PROVIDER"), "{refused}");
    assert_eq!(broker.epoch(), 1);
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn the_registry_is_read_page_by_page() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut registry = mesh.registry(&broker, &mesh.officer);
    let (mut codes, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = ListAgenciesRequest { page_size: 4, page_token, ..ListAgenciesRequest::default() };
        let page = soon(registry.list_agencies(page)).await.unwrap().into_inner();
        codes.extend(page.agencies.into_iter().map(|agency| agency.code));
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    assert!(codes.is_sorted() && codes.len() > 8, "{codes:?}");
    let get = |name: &str| GetAgencyRequest { name: name.to_owned() };
    let h26 = soon(registry.get_agency(get("agencies/H26.90"))).await.unwrap().into_inner().agency.unwrap();
    assert_eq!(h26.nodes[0].name, H26);
    assert_eq!(h26.systems[0].certificates.len(), 1);
    let outsider =
        soon(registry.get_agency(get(&format!("agencies/{OUTSIDER}")))).await.unwrap().into_inner();
    assert_eq!(outsider.agency.unwrap().bloc, "OUTSIDE");
    for nobody in ["agencies/X99", "G01", "", "agencies/\u{7}"] {
        assert_eq!(soon(registry.get_agency(get(nobody))).await.unwrap_err().code(), Code::NotFound);
    }
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn the_catalog_says_what_is_published() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    let mut catalog = mesh.catalog(&broker, &mesh.h26_system);
    let get = || GetEntryRequest { name: "entries/CE-0001".to_owned() };
    let entry = soon(catalog.get_entry(get())).await.unwrap().into_inner().entry.unwrap();
    assert!(!entry.published && entry.dataset == "dancu.cong_dan", "{entry:?}");
    soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap();
    assert!(soon(catalog.get_entry(get())).await.unwrap().into_inner().entry.unwrap().published);
    let list = ListEntriesRequest::default();
    let entries = soon(catalog.list_entries(list)).await.unwrap().into_inner().entries;
    assert!(entries.len() >= 13 && entries.is_sorted_by_key(|entry| entry.name.clone()));
    let bad = ListEntriesRequest { page_token: "?".to_owned(), ..ListEntriesRequest::default() };
    assert_eq!(soon(catalog.list_entries(bad)).await.unwrap_err().code(), Code::InvalidArgument);

    let mut stranger = mesh.catalog(&broker, &mesh.unbound);
    let refused = soon(stranger.get_entry(get())).await.unwrap_err();
    assert_eq!(status::read(&refused).unwrap().reason, Reason::DenyCertificate);
    soon(broker.stop()).await.unwrap();
}

/// A version of the contract in which a field has another name of the same length.
fn renamed(from: &str, to: &str) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = descriptors::DANCU.to_vec();
    let places: Vec<usize> = bytes
        .windows(from.len())
        .enumerate()
        .filter(|(_, at)| *at == from.as_bytes())
        .map(|(place, _)| place)
        .collect();
    assert!(!places.is_empty());
    for place in places {
        bytes[place..place + to.len()].copy_from_slice(to.as_bytes());
    }
    bytes
}

#[tokio::test]
async fn a_version_that_breaks_integrators_is_refused_and_names_them() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let mut g01 = mesh.registry(&broker, &mesh.g01);
    soon(g01.publish_contract(publish(descriptors::DANCU))).await.unwrap();
    let refused = soon(g01.publish_contract(publish(&renamed("que_quan", "que_quam")))).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition, "{refused}");
    assert!(refused.message().contains("breaks 1 integrators of 1 agencies (H26.90)"), "{refused}");
    assert!(refused.message().contains("que_quan"), "{refused}");
    assert_eq!(broker.epoch(), 2, "the contract in force stays");

    // Where nobody calls, nobody is broken.
    mesh.write_registry(&[("G01", &mesh.g01)]);
    let registry = std::fs::read_to_string(mesh.path("registry.yaml")).unwrap();
    let nodes = registry.split("systems:").next().unwrap();
    std::fs::write(mesh.path("registry.yaml"), nodes).unwrap();
    broker.reload().await.unwrap();
    soon(g01.publish_contract(publish(&renamed("que_quan", "que_quam")))).await.unwrap();
    soon(broker.stop()).await.unwrap();
}

#[tokio::test]
async fn a_contract_that_many_send_at_once_takes_effect_once() {
    let mesh = Mesh::new();
    let broker = mesh.start().await;
    let sent = (0..12).map(|_| {
        let mut g01 = mesh.registry(&broker, &mesh.g01);
        async move { g01.publish_contract(publish(descriptors::DANCU)).await.unwrap().into_inner().epoch }
    });
    assert_eq!(soon(futures_util::future::join_all(sent)).await, [2; 12]);
    soon(broker.stop()).await.unwrap();
}
