//! What a synthetic backend says to the sample contracts: typed, the same each time, and never a real person's.

#![allow(clippy::unwrap_used, clippy::panic)] // helpers of tests

use std::collections::BTreeSet;

use lienthong_proto::{descriptors, options};
use lienthong_synthetic::{
    answer::{LIST_RECORDS, NoAnswer, Question, STREAM_MESSAGES, example},
    fake,
};
use prost_reflect::{DescriptorPool, DynamicMessage, MethodDescriptor};
use serde_json::{Value, json};

#[test]
fn a_record_is_typed_and_echoes_its_key() {
    let answer = ask("GetCitizen", &json!({ "soDinhDanh": "999190000001" })).unwrap();
    let citizen = &answer[0]["citizen"];
    assert_eq!(citizen["soDinhDanh"], "999190000001");
    assert_eq!(citizen["quocTich"], "Việt Nam");
    assert_eq!(citizen.as_object().unwrap().len(), 12, "every field is filled: {citizen}");
    let born = citizen["ngaySinh"].as_str().unwrap();
    assert!(born.len() == 10 && born.as_bytes()[4] == b'-', "{born}");
    assert_eq!(answer, ask("GetCitizen", &json!({ "soDinhDanh": "999190000001" })).unwrap());
    assert_ne!(answer, ask("GetCitizen", &json!({ "soDinhDanh": "999190000002" })).unwrap());
}

#[test]
fn the_same_key_is_the_same_record_in_every_method() {
    let listed = ask("ListCitizens", &json!({ "pageSize": 2 })).unwrap();
    let first = &listed[0]["citizens"][0];
    let got = ask("GetCitizen", &json!({ "soDinhDanh": first["soDinhDanh"] })).unwrap();
    assert_eq!(&got[0]["citizen"], first);
    let streamed = ask("SyncCitizens", &json!({})).unwrap();
    assert_eq!(streamed.len(), STREAM_MESSAGES);
    let person = &streamed[3]["citizen"];
    let got = ask("GetCitizen", &json!({ "soDinhDanh": person["soDinhDanh"] })).unwrap();
    assert_eq!(&got[0]["citizen"], person);
}

#[test]
fn pages_give_every_record_once() {
    let (mut seen, mut token) = (BTreeSet::new(), String::new());
    loop {
        let page = ask("ListCitizens", &json!({ "pageSize": 3, "pageToken": token })).unwrap();
        for citizen in page[0]["citizens"].as_array().unwrap() {
            assert!(seen.insert(citizen["soDinhDanh"].to_string()));
        }
        token = page[0]["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(seen.len(), LIST_RECORDS);
    assert_eq!(ask("ListCitizens", &json!({ "pageToken": "x" })), Err(NoAnswer::PageToken));
}

#[test]
fn keys_that_have_no_record_are_not_found() {
    for key in ["999190000404", "001190000001"] {
        let answer = ask("GetCitizen", &json!({ "soDinhDanh": key }));
        assert!(matches!(answer, Err(NoAnswer::NotFound { .. })), "{key}: {answer:?}");
    }
    for key in ["", "12", "99919000000x"] {
        let answer = ask("GetCitizen", &json!({ "soDinhDanh": key }));
        assert!(matches!(answer, Err(NoAnswer::Malformed { .. })), "{key}: {answer:?}");
    }
    // A number in a field that is no key, and no record of it would say so.
    let claim = json!({ "soDinhDanh": "999190000001", "hoTen": "001190000001" });
    assert!(matches!(ask("VerifyRecord", &claim), Err(NoAnswer::NotFound { .. })));
}

#[test]
fn a_question_that_streams_is_answered_as_a_whole() {
    let method = method("GetCitizen");
    let message = |key: &str| read(&method, &json!({ "soDinhDanh": key }));
    let both = Question::new(&method, message("999190000001")).and(message("999190000002"));
    let other = Question::new(&method, message("999190000003")).and(message("999190000002"));
    assert_ne!(both.clone().answers().unwrap().len(), 0);
    let answer = both.answer(0).unwrap();
    assert_eq!(json_of(&answer)["citizen"]["soDinhDanh"], "999190000002", "the last one is echoed");
    assert_eq!(answer, other.answer(0).unwrap(), "a record follows from its key alone");
}

#[test]
fn every_method_of_every_sample_answers_and_shows_nobody_real() {
    for contract in [descriptors::DANCU, descriptors::DKDN, descriptors::DANHMUC, descriptors::THUNGHIEM] {
        let pool = descriptors::pool(contract).unwrap();
        for service in pool.services() {
            for method in service.methods() {
                for n in 0..20 {
                    let key = json!({
                        "soDinhDanh": format!("9991900000{n:02}"),
                        "maSoDoanhNghiep": format!("99000000{n:02}"),
                        "maDvhc": format!("000{n:02}"),
                        "maBanGhi": format!("TN-0000{n:02}"),
                    });
                    let answers = Question::new(&method, read(&method, &key)).answers();
                    for answer in answers.unwrap_or_else(|error| panic!("{}: {error}", method.full_name())) {
                        let text = json_of(&answer).to_string();
                        assert!(!fake::may_be_real(&text), "{text}");
                        check_patterns(&answer);
                    }
                }
            }
        }
    }
}

#[test]
fn a_record_that_is_sent_comes_back() {
    let pool = descriptors::pool(descriptors::THUNGHIEM).unwrap();
    let service = pool.get_service_by_name("vn.thunghiem.v1.TrialService").unwrap();
    let put = service.methods().find(|method| method.name() == "PutRecord").unwrap();
    let question = read(&put, &json!({ "record": { "maBanGhi": "TN-000001", "tieuDe": "của tôi" } }));
    let answers = Question::new(&put, question).answers().unwrap();
    let record = &json_of(&answers[0])["record"];
    assert_eq!((&record["maBanGhi"], &record["tieuDe"]), (&json!("TN-000001"), &json!("của tôi")));
    assert!(record["duLieu"].is_string(), "the rest is filled: {record}");
}

#[test]
fn the_example_of_a_method_has_an_answer() {
    for name in ["GetCitizen", "ListCitizens", "SyncCitizens", "VerifyRecord"] {
        let method = method(name);
        let question = example(&method);
        assert_eq!(question, example(&method));
        assert!(Question::new(&method, question).answers().is_ok(), "{name}");
    }
    let get = example(&method("GetCitizen"));
    assert!(json_of(&get)["soDinhDanh"].as_str().unwrap().starts_with("999"));
}

/// Every text of a record matches the pattern that the contract declares.
fn check_patterns(message: &DynamicMessage) {
    for (field, value) in message.fields() {
        if let Some(said) = options::field(&field).filter(|said| !said.regex.is_empty()) {
            let text = value.as_str().unwrap();
            assert!(regex::Regex::new(&said.regex).unwrap().is_match(text), "{}: {text}", field.full_name());
        }
        let inner = value.as_list().into_iter().flatten().chain(std::iter::once(value));
        inner.filter_map(prost_reflect::Value::as_message).for_each(check_patterns);
    }
}

proptest::proptest! {
    /// Whatever bytes a question is made of, it is answered or refused, and the same way twice.
    #[test]
    fn any_question_has_one_answer(bytes in proptest::collection::vec(0u8..=255, 0..64)) {
        for contract in [descriptors::DANCU, descriptors::DANHMUC] {
            let pool = descriptors::pool(contract).unwrap();
            let methods: Vec<_> = pool.services().flat_map(|s| s.methods().collect::<Vec<_>>()).collect();
            for method in methods {
                if let Ok(message) = DynamicMessage::decode(method.input(), bytes.as_slice()) {
                    let once = Question::new(&method, message.clone()).answers();
                    proptest::prop_assert_eq!(once, Question::new(&method, message).answers());
                }
            }
        }
    }
}

fn ask(name: &str, question: &Value) -> Result<Vec<Value>, NoAnswer> {
    let method = method(name);
    let answers = Question::new(&method, read(&method, question)).answers()?;
    Ok(answers.iter().map(json_of).collect())
}

fn method(name: &str) -> MethodDescriptor {
    let pool: DescriptorPool = descriptors::pool(descriptors::DANCU).unwrap();
    let service = pool.get_service_by_name("vn.dancu.v1.CitizenService").unwrap();
    service.methods().find(|method| method.name() == name).unwrap()
}

/// Reads the fields that the question has; others are left out.
fn read(method: &MethodDescriptor, question: &Value) -> DynamicMessage {
    let known = question.as_object().unwrap().iter();
    let known = known.filter(|(name, _)| method.input().get_field_by_json_name(name).is_some());
    let known: serde_json::Map<_, _> = known.map(|(name, value)| (name.clone(), value.clone())).collect();
    DynamicMessage::deserialize(method.input(), Value::Object(known)).unwrap()
}

fn json_of(message: &DynamicMessage) -> Value {
    serde_json::to_value(message).unwrap()
}
