//! What is done for people, over real TLS: an erased one is found by nobody, and who looks himself up is told of.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code
#![allow(clippy::too_many_lines)] // a story each

use lienthong_audit::record;
use lienthong_audit::verify::VerifyOptions;
use lienthong_audit::verify::verify_dir;
use lienthong_broker::index::keys::IndexKeys;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::{
    EraseSubjectRequest, Finding, FindingKind, GetEvidenceRequest, ListErasuresRequest, RecordFilter,
    RegisterUserRequest, Side, audit_service_client::AuditServiceClient, record::Body,
    search_service_client::SearchServiceClient,
};
use tonic::Code;

use common::asking::{
    House, OTHER, PERSON, about, anywhere_on_disk, closing, copy_files, exchange, found, sealed, search,
    shipping, users, windows,
};
use common::{G01, Line, journal::Journal, soon};

mod common;

/// Nobody finds him, also after an older index was brought back; everybody else is found, and every proof stays.
#[tokio::test(flavor = "multi_thread")]
async fn an_erased_person_is_found_by_nobody_and_stays_erased_when_an_old_index_comes_back() {
    let house = House::new();
    let broker = house.start().await;
    let mut journal = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let (mut shipper, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let mut ship = async |journal: &mut Journal, number: u8, people: Vec<&'static str>| {
        let record = closing(journal, exchange(number, Side::Provider, &format!("cb-{number}")), &people);
        let batch = sealed(journal, &sealer, vec![(record, people)]);
        soon(shipper.ship(batch)).await.unwrap();
    };
    for (number, people) in [(1, vec![PERSON]), (2, vec![OTHER]), (3, vec![PERSON, OTHER])] {
        ship(&mut journal, number, people).await;
    }
    let mut auditor = house.ask(&broker, &house.auditor);
    let mut officer = house.ask(&broker, &house.officer);
    found(&mut auditor, about(PERSON), 2).await;
    let index = house.mesh.data_dir().join("index");
    let token = IndexKeys::open(&index.join("keys")).unwrap().tokens(PERSON)[0];
    let kept = [index.join("tokens"), index.join("blocks")];
    assert!(kept.iter().any(|dir| anywhere_on_disk(dir, &token)));
    let older = house.mesh.path("older");
    copy_files(&index.join("tokens"), &older);

    let asked = EraseSubjectRequest {
        subject: PERSON.to_owned(),
        legal_basis: "Luật 91/2025 Đ14".to_owned(),
        authority: "Tòa án, bản án 5".to_owned(),
        case_id: "XL-1".to_owned(),
    };
    let refused = officer.erase_subject(asked.clone()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for lacking in [
        EraseSubjectRequest { legal_basis: String::new(), ..asked.clone() },
        EraseSubjectRequest { authority: " ".to_owned(), ..asked.clone() },
        EraseSubjectRequest { case_id: String::new(), ..asked.clone() },
        EraseSubjectRequest { subject: String::new(), ..asked.clone() },
    ] {
        assert_eq!(auditor.erase_subject(lacking).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let erased = auditor.erase_subject(asked).await.unwrap().into_inner();
    assert!(erased.applied && erased.records == 2, "{erased:?}");
    let gone = async |client: &mut SearchServiceClient<Line>| {
        let answer = search(client, about(PERSON)).await;
        assert!(answer.records.is_empty() && answer.subjects_missing == 0, "{answer:?}");
        assert_eq!(users(&search(client, about(OTHER)).await), ["cb-3", "cb-2"]);
    };
    gone(&mut auditor).await;
    assert!(!kept.iter().any(|dir| anywhere_on_disk(dir, &token)));

    // Nodes hear which exchanges are concerned, their own only, until they have carried it out.
    let ids = |numbers: &[u8]| -> Vec<Vec<u8>> {
        numbers.iter().map(|number| exchange(*number, Side::Provider, "").id).collect()
    };
    let list = async |who: &Issued, carried_out_index| {
        let request = ListErasuresRequest { carried_out_index, ..ListErasuresRequest::default() };
        AuditServiceClient::new(house.mesh.line(&broker, who))
            .list_erasures(request)
            .await
            .unwrap()
            .into_inner()
    };
    let listed = list(&house.mesh.g01, 0).await;
    assert_eq!((listed.exchange_ids, listed.newest_index), (ids(&[1, 3]), erased.index));
    assert!(list(&house.mesh.g01, erased.index).await.exchange_ids.is_empty());
    assert!(list(&house.mesh.h26, 0).await.exchange_ids.is_empty());
    let request = GetEvidenceRequest { exchange_id: ids(&[3]).remove(0), ..GetEvidenceRequest::default() };
    let evidence = auditor.get_evidence(request).await.unwrap().into_inner().evidence.unwrap();
    assert!(evidence.notes.iter().any(|note| note.contains("erased")), "{:?}", evidence.notes);

    // What comes later is found again.
    ship(&mut journal, 4, vec![PERSON]).await;
    assert_eq!(users(&found(&mut auditor, about(PERSON), 1).await), ["cb-4"]);
    broker.stop().await.unwrap();

    copy_files(&older, &index.join("tokens"));
    assert!(anywhere_on_disk(&index.join("tokens"), &token));
    let broker = house.start().await;
    let mut auditor = house.ask(&broker, &house.auditor);
    let accesses = RecordFilter { kind: "erasure".to_owned(), ..RecordFilter::default() };
    let on_record = found(&mut auditor, accesses, 1).await;
    let Some(Body::SubjectErased(erasure)) = record::decode(&on_record.records[0].entry).unwrap().body else {
        panic!("no erasure")
    };
    assert_eq!((erasure.legal_basis.as_str(), erasure.records), ("Luật 91/2025 Đ14", 2));
    assert!(erasure.tokens.contains(&token.to_vec()));
    assert_eq!(users(&search(&mut auditor, about(PERSON)).await), ["cb-4"]);
    broker.stop().await.unwrap();
    assert!(!windows(&std::fs::read(index.join("tokens/00000001.tokens")).unwrap(), &token));
    let report = verify_dir(&house.mesh.data_dir().join("log"), &VerifyOptions::default());
    assert!(report.is_sound(), "{report}");
    assert!(!anywhere_on_disk(&house.mesh.data_dir(), PERSON.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_end_user_who_asks_about_himself_is_a_finding() {
    let house = House::new();
    let broker = house.start().await;
    let mut officer = house.ask(&broker, &house.officer);
    let mut auditor = house.ask(&broker, &house.auditor);
    let request = |system: &str, user: &str, subject: &str| RegisterUserRequest {
        system: system.to_owned(),
        user: user.to_owned(),
        subject: subject.to_owned(),
    };
    let own = "agencies/H26.90/systems/mot-cua";
    for wrong in [request("agencies/G01/systems/x", "cb-1", PERSON), request(own, "", PERSON)] {
        assert_eq!(officer.register_user(wrong).await.unwrap_err().code(), Code::InvalidArgument);
    }
    let refused = auditor.register_user(request(own, "cb-1", PERSON)).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    for user in ["cb-1", "cb-2"] {
        officer.register_user(request(own, user, PERSON)).await.unwrap();
    }
    officer.register_user(request(own, "cb-2", "")).await.unwrap();

    let mut journal = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let (mut shipper, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let mut entries = Vec::new();
    for (number, user, person) in [(1, "cb-2", PERSON), (2, "cb-1", OTHER), (3, "cb-1", PERSON)] {
        let record = closing(&journal, exchange(number, Side::Provider, user), &[person]);
        entries.push((record, vec![person]));
    }
    let batch = sealed(&mut journal, &sealer, entries);
    soon(shipper.ship(batch)).await.unwrap();
    let findings = RecordFilter { kind: "finding".to_owned(), ..RecordFilter::default() };
    let answer = found(&mut auditor, findings, 1).await;
    let findings: Vec<Finding> = answer
        .records
        .iter()
        .map(|found| match record::decode(&found.entry).unwrap().body {
            Some(Body::Finding(finding)) => finding,
            other => panic!("{other:?}"),
        })
        .filter(|finding| finding.kind() == FindingKind::OwnRecord)
        .collect();
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert_eq!((finding.user.as_str(), finding.nodes.as_slice()), ("cb-1", &[own.to_owned()][..]));
    assert_eq!(finding.exchange_id, exchange(3, Side::Provider, "").id);
    broker.stop().await.unwrap();
    assert!(!anywhere_on_disk(&house.mesh.data_dir(), PERSON.as_bytes()));
}
