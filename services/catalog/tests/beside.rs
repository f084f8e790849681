//! Options beside a contract: whatever a proto could say of itself can be said of it, and then is the same; what does
//! not fit is found by file, line and name.
#![allow(clippy::unwrap_used, clippy::panic)] // test code

mod common;

use common::proto;
use lienthong_catalog::{Beside, Catalog, ContractModel, Severity, SourceFile};
use lienthong_proto::{descriptors, options};
use proptest::prelude::*;
use prost::Message;
use prost_reflect::{DynamicMessage, SerializeOptions, Value};
use serde_json::{Map, Value as Json, json};

const SAMPLES: [&[u8]; 3] = [descriptors::DANCU, descriptors::DKDN, descriptors::DANHMUC];

/// A contract without any option of the mesh, and with one of its author's own.
const SHOP: &str = r#"syntax = "proto3";
package kho.v1;
import "google/protobuf/descriptor.proto";
extend google.protobuf.FieldOptions { string unit = 50123; }
service KhoService {
  rpc GetHang(GetHangRequest) returns (Hang);
  rpc ListHang(ListHangRequest) returns (stream ListHangResponse);
  rpc Restock(ListHangRequest) returns (ListHangResponse);
}
message Hang {
  string maHang = 1;
  string ten = 2 [(unit) = "chữ"];
  int64 gia = 3;
  message NhaCungCap { string ten = 1; string so_dien_thoai = 2; }
  NhaCungCap nha_cung_cap = 4;
}
message GetHangRequest { string maHang = 1; }
message ListHangRequest { string page_token = 1; }
message ListHangResponse { repeated Hang hang = 1; string next_page_token = 2; }
"#;

const CONTRACTS: &str = r"contracts:
  - provider: G12
    messages:
      kho.v1.Hang:
        dataset:
          id: kho.hang
          name_vi: Hàng hóa
          key_fields: [maHang]
          sharing: SHARED
          importance: OTHER
          secrecy: NONE
          personal: NONE
          application_metadata: {request_keys: [x-kho], status_message: true}
        fields:
          maHang: {label_vi: Mã hàng}
          ten: {label_vi: Tên hàng}
          gia: {label_vi: Giá}
          nha_cung_cap: {label_vi: Nhà cung cấp}
      kho.v1.Hang.NhaCungCap:
        fields:
          ten: {label_vi: Tên nhà cung cấp}
          so_dien_thoai: {label_vi: Số điện thoại, personal: BASIC, masking: PARTIAL}
      kho.v1.ListHangResponse:
        records: [hang]
      kho.v1.GetHangRequest:
        fields:
          maHang: {label_vi: Mã hàng}
    methods:
      kho.v1.KhoService.GetHang:
        exchange: {dataset: kho.hang, kind: QUERY}
        idempotency_level: NO_SIDE_EFFECTS
      kho.v1.KhoService.ListHang:
        exchange: {dataset: kho.hang, kind: METHOD_KIND_QUERY}
";

#[test]
fn a_plain_contract_is_published_as_it_is() {
    let (annotated, model) = ContractModel::read_with(&plain(SHOP), &beside(CONTRACTS)).unwrap();
    assert!(!model.has_errors(), "{:#?}", model.findings());
    let told: Vec<&str> = model.findings().iter().map(|finding| finding.subject.as_str()).collect();
    assert_eq!(
        told,
        ["kho.v1.Hang.maHang", "kho.v1.KhoService.Restock"],
        "a name, and what stays uncallable"
    );
    let dataset = model.dataset("kho.hang").unwrap();
    let ids: Vec<&str> = dataset.fields().iter().map(|field| field.id.as_str()).collect();
    let expected = ["maHang", "ten", "gia", "nha_cung_cap", "nha_cung_cap.ten", "nha_cung_cap.so_dien_thoai"];
    assert_eq!(ids, expected);
    assert!(dataset.application_metadata().passes_request("x-kho"));
    let methods: Vec<(&str, bool)> =
        model.methods().iter().map(|method| (method.path.as_str(), method.no_side_effects)).collect();
    assert_eq!(methods, [("/kho.v1.KhoService/GetHang", true), ("/kho.v1.KhoService/ListHang", false)]);

    // Nodes read the annotated set by itself, and so does everybody who makes a client of it.
    let again = ContractModel::read(&annotated).unwrap();
    assert_eq!(again.findings(), model.findings());
    let pool = descriptors::pool(&annotated).unwrap();
    let file = pool.get_file_by_name("contract.proto").unwrap();
    assert!(file.dependencies().any(|file| file.name() == "lienthong/options/v1/options.proto"));
    let ten = pool.get_message_by_name("kho.v1.Hang").unwrap().get_field_by_name("ten").unwrap();
    let unit = pool.get_extension_by_name("kho.v1.unit").unwrap();
    assert_eq!(ten.options().get_extension(&unit).as_str(), Some("chữ"), "the author's own options stay");
    assert_eq!(options::field(&ten).unwrap().label_vi, "Tên hàng");

    let (same, _) = ContractModel::read_with(&plain(SHOP), &beside(CONTRACTS)).unwrap();
    assert_eq!(same, annotated, "equal input gives equal bytes");
    let (untouched, _) = ContractModel::read_with(&plain(SHOP), &Beside::default()).unwrap();
    assert_eq!(untouched, plain(SHOP));
}

#[test]
fn what_is_not_there_is_named_with_the_nearest_that_is() {
    for (old, new, subject, words) in [
        (
            "      kho.v1.ListHangResponse:",
            "      kho.v1.ListHangResponce:",
            "contracts.yaml:23: kho.v1.ListHangResponce",
            "the nearest is kho.v1.ListHangResponse",
        ),
        (
            "          gia: {",
            "          gia_ban: {",
            "contracts.yaml:17: kho.v1.Hang.gia_ban",
            "no such field; the nearest is kho.v1.Hang.gia",
        ),
        (
            "KhoService.GetHang:",
            "KhoService.GetHangs:",
            "contracts.yaml:29: kho.v1.KhoService.GetHangs",
            "the nearest is kho.v1.KhoService.GetHang",
        ),
        ("Hang.NhaCungCap:", "Hang.Khach:", "contracts.yaml:19: kho.v1.Hang.Khach", "no such message"),
        (
            "KhoService.ListHang:",
            "Zzzzzzzzzzz.Qqqqqqqqqqq:",
            "contracts.yaml:32: kho.v1.Zzzzzzzzzzz.Qqqqqqqqqqq",
            "no such method",
        ),
    ] {
        assert_eq!(CONTRACTS.matches(old).count(), 1, "{old}");
        let text = CONTRACTS.replace(old, new);
        let (_, model) = ContractModel::read_with(&plain(SHOP), &beside(&text)).unwrap();
        let errors: Vec<_> =
            model.findings().iter().filter(|finding| finding.severity == Severity::Error).collect();
        assert!(
            errors.iter().any(|error| error.subject == subject && error.message.contains(words)),
            "{errors:#?}"
        );
        let missing = errors.iter().filter(|error| error.message.contains("no such")).count();
        assert_eq!(missing, 1, "the fields of a missing message are not told each by itself: {errors:#?}");
    }
}

#[test]
fn an_option_is_declared_once_inside_or_beside() {
    for set in SAMPLES {
        let everything = beside(&moved_out(set, |_| true).1);
        let (_, model) = ContractModel::read_with(set, &everything).unwrap();
        let twice: Vec<_> =
            model.findings().iter().filter(|finding| finding.message.contains("is declared in")).collect();
        assert!(twice.len() > 10, "{:#?}", model.findings());
        let one = twice[0].to_string();
        assert!(one.starts_with("error: contracts.yaml:") && one.contains(".proto already"), "{one}");
    }
}

#[test]
fn what_is_no_descriptor_set_is_refused() {
    let given = beside(CONTRACTS);
    assert!(ContractModel::read_with(b"rubbish", &given).is_err());
    assert!(ContractModel::read_with(&vec![0; 2 << 20], &given).is_err());
    let (_, empty) = ContractModel::read_with(b"", &given).unwrap();
    assert!(empty.has_errors());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    /// Any part of a contract's options may move out of the proto, and nothing changes.
    #[test]
    fn what_is_said_beside_is_as_if_it_were_said_inside(sample in 0..3usize, chosen in prop::collection::vec(any::<bool>(), 64)) {
        let original = SAMPLES[sample];
        let moves = |number: usize| chosen[number % chosen.len()];
        let (rest, catalog) = moved_out(original, moves);
        let (annotated, model) = ContractModel::read_with(&rest, &beside(&catalog)).unwrap();
        let plain = ContractModel::read(original).unwrap();
        prop_assert_eq!(model.findings(), plain.findings());
        prop_assert_eq!(said(&annotated), said(original));
    }

    #[test]
    fn damaged_descriptors_are_annotated_or_refused_without_a_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut bytes = plain(SHOP);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        let _ = ContractModel::read_with(&bytes, &beside(CONTRACTS));
    }
}

fn plain(text: &str) -> Vec<u8> {
    proto::compile(text)
}

/// The options beside the contract of G12 that a catalog of this file and its agency gives.
fn beside(contracts: &str) -> Beside {
    let agencies =
        "agencies: [{code: G12, name_vi: Kho, bloc: GOVERNMENT, level: CENTRAL, roles: [PROVIDER]}]";
    let files = [("agencies.yaml", agencies), ("contracts.yaml", contracts)]
        .map(|(name, text)| SourceFile { name: name.to_owned(), text: text.to_owned() });
    Catalog::read(&files)
        .unwrap_or_else(|mistakes| panic!("{mistakes:#?}\n{contracts}"))
        .beside("G12")
        .clone()
}

/// Everything that a descriptor set says in options of the mesh, by full name.
fn said(set: &[u8]) -> Vec<String> {
    let pool = descriptors::pool(set).unwrap();
    let mut said = Vec::new();
    for message in pool.all_messages().filter(|message| !message.full_name().starts_with("google.")) {
        said.push(format!("{} {:?}", message.full_name(), options::dataset(&message)));
        for field in message.fields() {
            let (name, options) = (field.full_name(), options::field(&field));
            said.push(format!("{name} {options:?} {}", options::is_record(&field)));
        }
    }
    for method in pool.services().flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let (name, exchange) = (method.full_name(), options::exchange(&method));
        said.push(format!("{name} {exchange:?} {}", options::has_no_side_effects(&method)));
    }
    said.sort();
    said
}

/// Takes the mesh's options out of the elements whose number, counted through the set, is chosen. Gives what is left,
/// and a catalog file of what was taken: as protobuf writes JSON, which is YAML.
fn moved_out(set: &[u8], chosen: impl Fn(usize) -> bool) -> (Vec<u8>, String) {
    let mut rest = descriptors::empty_set();
    rest.merge(set).unwrap();
    let mut out = Out { chosen, number: 0, messages: Map::new(), methods: Map::new() };
    for file in inside(&mut rest, "file") {
        let package = text(file, "package");
        for message in inside(file, "message_type") {
            out.message(message, &package);
        }
        for service in inside(file, "service") {
            let name = format!("{package}.{}", text(service, "name"));
            for method in inside(service, "method") {
                out.method(method, &name);
            }
        }
    }
    let Out { messages, methods, .. } = out;
    let file = json!({"contracts": [{"provider": "G12", "messages": messages, "methods": methods}]});
    (rest.encode_to_vec(), serde_json::to_string_pretty(&file).unwrap())
}

struct Out<C> {
    chosen: C,
    number: usize,
    messages: Map<String, Json>,
    methods: Map<String, Json>,
}

impl<C: Fn(usize) -> bool> Out<C> {
    fn message(&mut self, message: &mut DynamicMessage, around: &str) {
        let name = format!("{around}.{}", text(message, "name"));
        if let Some(dataset) = self.take(message, "dataset") {
            object(&mut self.messages, &name).insert("dataset".into(), dataset);
        }
        for field in inside(message, "field") {
            let own = text(field, "name");
            if let Some(options) = self.take(field, "field") {
                object(object(&mut self.messages, &name), "fields").insert(own.clone(), options);
            }
            if self.take(field, "record").is_some() {
                let records = object(&mut self.messages, &name).entry("records").or_insert_with(|| json!([]));
                records.as_array_mut().unwrap().push(json!(own));
            }
        }
        for nested in inside(message, "nested_type") {
            self.message(nested, &name);
        }
    }

    fn method(&mut self, method: &mut DynamicMessage, service: &str) {
        let name = format!("{service}.{}", text(method, "name"));
        if let Some(exchange) = self.take(method, "exchange") {
            object(&mut self.methods, &name).insert("exchange".into(), exchange);
            let options = method.get_field_by_name_mut("options").unwrap().as_message_mut().unwrap();
            if options.has_field_by_name("idempotency_level") {
                options.clear_field_by_name("idempotency_level");
                object(&mut self.methods, &name).insert("idempotency_level".into(), json!("NO_SIDE_EFFECTS"));
            }
        }
    }

    fn take(&mut self, node: &mut DynamicMessage, option: &str) -> Option<Json> {
        let extension =
            descriptors::mesh().get_extension_by_name(&format!("lienthong.options.v1.{option}")).unwrap();
        let options = node.get_field_by_name_mut("options")?.as_message_mut()?;
        if !options.has_extension(&extension) {
            return None;
        }
        self.number += 1;
        if !(self.chosen)(self.number) {
            return None;
        }
        let as_written = SerializeOptions::new().use_proto_field_name(true);
        Some(match options.take_extension(&extension)? {
            Value::Message(message) => {
                message.serialize_with_options(serde_json::value::Serializer, &as_written).unwrap()
            }
            other => json!(other.as_bool()),
        })
    }
}

fn object<'m>(map: &'m mut Map<String, Json>, key: &str) -> &'m mut Map<String, Json> {
    map.entry(key).or_insert_with(|| json!({})).as_object_mut().unwrap()
}

fn inside<'m>(
    node: &'m mut DynamicMessage,
    field: &str,
) -> impl Iterator<Item = &'m mut DynamicMessage> + use<'m> {
    let list = node.get_field_by_name_mut(field).unwrap().as_list_mut().unwrap();
    list.iter_mut().map(|value| value.as_message_mut().unwrap())
}

fn text(node: &DynamicMessage, field: &str) -> String {
    node.get_field_by_name(field).unwrap().as_str().unwrap().to_owned()
}
