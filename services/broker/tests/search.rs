//! Questions to the log, over real TLS: who may ask what, what is found, what goes on record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code
#![allow(clippy::too_many_lines, clippy::unnecessary_wraps)] // a story each; fields are optional

use std::time::Duration;

use lienthong_audit::batch::BATCH_RECORDS_MAX;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::digest::commit;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::LogKey;
use lienthong_audit::merkle::verify_inclusion;
use lienthong_audit::record;
use lienthong_audit::sealed::SubjectSealer;
use lienthong_broker::config::OfficerConfig;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::search_service_client::SearchServiceClient;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, Closing, Continuation, Disclosure, Exchange, FoundRecord, GetEvidenceRequest, LogAccess,
    RecordFilter, SearchRecordsRequest, SearchRecordsResponse, SetDisclosureRequest, Side, SignedBatch,
    Status as Ending, SubjectAccessRequest, SubjectIdsOfRecord, TextMatch, record::Body,
};
use prost_types::Timestamp;
use tonic::Code;

use common::journal::{Journal, Shipper};
use common::{G01, H26, Line, Mesh, soon};

mod common;

const PERSON: &str = "999190000001";
const OTHER: &str = "999190000002";
const SALT: [u8; 16] = [7; 16];

struct House {
    mesh: Mesh,
    auditor: Issued,
    officer: Issued,
    stranger: Issued,
}

impl House {
    fn new() -> House {
        let mesh = Mesh::new();
        let auditor = mesh.pki.issue_person("G01.90", "Lê Thị Kiểm", "kiem-toan").unwrap();
        let officer = mesh.pki.issue_person("H26.90", "Phạm Văn An", "an-ninh").unwrap();
        let stranger = mesh.pki.issue_person("G12", "Đỗ Thị Khác", "an-ninh").unwrap();
        House { mesh, auditor, officer, stranger }
    }

    fn config(&self) -> BrokerConfig {
        let officer = |issued: &Issued, agency: &str| OfficerConfig {
            certificate: issued.certificate.clone(),
            agency: agency.to_owned(),
        };
        BrokerConfig {
            auditors: vec![self.auditor.certificate.clone()],
            officers: vec![officer(&self.officer, "H26.90"), officer(&self.stranger, "G12")],
            ..self.mesh.config()
        }
    }

    async fn start(&self) -> Broker {
        Broker::start(self.config()).await.unwrap()
    }

    fn ask(&self, broker: &Broker, who: &Issued) -> SearchServiceClient<Line> {
        SearchServiceClient::new(self.mesh.line(broker, who)).max_decoding_message_size(64 << 20)
    }
}

fn exchange(number: u8, side: Side, user: &str) -> Exchange {
    Exchange {
        id: [&[1, 154, 0, 0, 0, number][..], &[number; 10]].concat(),
        side: side.into(),
        consumer: "H26.90".to_owned(),
        provider: "G01".to_owned(),
        system: "agencies/H26.90/systems/mot-cua".to_owned(),
        dataset: "dancu.cong_dan".to_owned(),
        user: user.to_owned(),
        right: "r-1@1".to_owned(),
        ..Exchange::default()
    }
}

/// A closing record about these people.
fn closing(journal: &Journal, exchange: Exchange, people: &[&str]) -> Vec<u8> {
    let subjects = people.iter().map(|id| commit(&SALT, id).to_vec()).collect();
    let status = Ending::Delivered.into();
    journal.encode(Body::Closing(Closing {
        exchange: Some(exchange),
        subjects,
        status,
        ..Closing::default()
    }))
}

/// A batch with the ids of its people, sealed to the broker's key.
fn sealed(
    journal: &mut Journal,
    shipper_key: &SubjectSealer,
    entries: Vec<(Vec<u8>, Vec<&str>)>,
) -> SignedBatch {
    let first = journal.position.last_seq + 1;
    let (entries, people): (Vec<_>, Vec<_>) = entries.into_iter().unzip();
    let records = (first..)
        .zip(people)
        .filter(|(_, people)| !people.is_empty())
        .map(|(seq, people)| SubjectIdsOfRecord {
            seq,
            salt: SALT.to_vec(),
            ids: people.into_iter().map(str::to_owned).collect(),
        })
        .collect();
    let batch = journal.batch_of(entries, Vec::new());
    let subjects = Some(shipper_key.seal(records, &batch.header).unwrap());
    SignedBatch { subjects, ..batch }
}

async fn shipping(house: &House, broker: &Broker, who: &Issued, epoch: u64) -> (Shipper, SubjectSealer) {
    let mut shipper = Shipper::open(&house.mesh, broker, who, epoch).await.unwrap();
    let Some(Event::Position(position)) = soon(shipper.hear()).await.unwrap() else { panic!("no position") };
    let sealer = SubjectSealer::new(&position.index_key.unwrap()).unwrap();
    (shipper, sealer)
}

fn text(text: &str) -> Option<TextMatch> {
    Some(TextMatch { text: text.to_owned(), prefix: false })
}

async fn search(client: &mut SearchServiceClient<Line>, filter: RecordFilter) -> SearchRecordsResponse {
    let request = SearchRecordsRequest {
        filter: Some(filter),
        case_id: "VA-2026-17".to_owned(),
        reason: "kiểm tra định kỳ".to_owned(),
        ..SearchRecordsRequest::default()
    };
    client.search_records(request).await.unwrap().into_inner()
}

/// Asks until so many records are found: what was receipted is published within a second.
async fn found(
    client: &mut SearchServiceClient<Line>,
    filter: RecordFilter,
    count: usize,
) -> SearchRecordsResponse {
    soon(async {
        loop {
            let answer = search(client, filter.clone()).await;
            if answer.records.len() >= count {
                return answer;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
}

fn about(subject: &str) -> RecordFilter {
    RecordFilter { subject: subject.to_owned(), ..RecordFilter::default() }
}

fn closings() -> RecordFilter {
    RecordFilter { kind: "closing".to_owned(), ..RecordFilter::default() }
}

fn users(answer: &SearchRecordsResponse) -> Vec<String> {
    answer.records.iter().map(user).collect()
}

fn user(found: &FoundRecord) -> String {
    match record::decode(&found.entry).unwrap().body {
        Some(Body::Closing(Closing { exchange, .. }) | Body::Continuation(Continuation { exchange, .. })) => {
            exchange.unwrap().user
        }
        other => panic!("{other:?}"),
    }
}

fn prove(house: &House, checkpoint: &str, found: &FoundRecord) {
    let key = LogKey::from_skey(&std::fs::read_to_string(house.mesh.path("log.key")).unwrap()).unwrap();
    let checkpoint = Checkpoint::open(checkpoint, key.verifier()).unwrap();
    let path: Vec<Hash> = found.path.iter().map(|hash| Hash::from_slice(hash).unwrap()).collect();
    verify_inclusion(&leaf_hash(&found.entry), found.index, checkpoint.size, &path, &checkpoint.root)
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn people_and_exchanges_are_found_by_those_who_may_and_it_is_on_record() {
    let house = House::new();
    let broker = house.start().await;
    let mut journal = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let (mut shipper, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let mut entries = Vec::new();
    for number in 0..40 {
        let people = if number % 10 == 3 { vec![OTHER, PERSON] } else { vec![OTHER] };
        let record = closing(&journal, exchange(number, Side::Provider, &format!("cb-{number}")), &people);
        entries.push((record, people));
    }
    let continuation = Body::Continuation(Continuation {
        exchange: Some(exchange(77, Side::Provider, "cb-77")),
        part: 1,
        subjects: vec![commit(&SALT, PERSON).to_vec()],
        ..Continuation::default()
    });
    entries.push((journal.encode(continuation), vec![PERSON]));
    let batch = sealed(&mut journal, &sealer, entries);
    soon(shipper.ship(batch)).await.unwrap();

    let mut auditor = house.ask(&broker, &house.auditor);
    let mut officer = house.ask(&broker, &house.officer);
    let mut stranger = house.ask(&broker, &house.stranger);
    let answer = found(&mut auditor, about(PERSON), 5).await;
    assert_eq!(users(&answer), ["cb-77", "cb-33", "cb-23", "cb-13", "cb-3"]);
    assert!(answer.complete_up_to >= 41 && answer.subjects_missing == 0);
    answer.records.iter().for_each(|found| prove(&house, &answer.checkpoint, found));
    assert_eq!(users(&found(&mut officer, about(PERSON), 5).await).len(), 5);
    assert!(search(&mut stranger, about(PERSON)).await.records.is_empty());
    assert!(search(&mut auditor, about("999190000003")).await.records.is_empty());

    // A name without marks; a filter that names another agency opens nothing.
    let by_name = RecordFilter { agency: text("bo cong an"), user: text("cb-7"), ..closings() };
    assert_eq!(users(&search(&mut officer, by_name).await), ["cb-7"]);
    let prefix = Some(TextMatch { text: "cb-3".to_owned(), prefix: true });
    assert_eq!(search(&mut officer, RecordFilter { user: prefix, ..closings() }).await.records.len(), 11);
    let foreign = RecordFilter { agency: text("H26.90"), ..closings() };
    assert!(search(&mut stranger, foreign).await.records.is_empty());

    // Page by page it is the same as at once.
    let mut seen = Vec::new();
    let mut request =
        SearchRecordsRequest { filter: Some(closings()), page_size: 7, ..SearchRecordsRequest::default() };
    loop {
        let page = officer.search_records(request.clone()).await.unwrap().into_inner();
        seen.extend(users(&page));
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
        let stolen = auditor.search_records(request.clone()).await.unwrap_err();
        assert_eq!(stolen.code(), Code::InvalidArgument);
    }
    assert_eq!(seen, (0..40).rev().map(|number| format!("cb-{number}")).collect::<Vec<_>>());

    // Every question is on record, and in none of them stands whom it was about.
    let accesses = RecordFilter { kind: "access".to_owned(), actor: None, ..RecordFilter::default() };
    let is_theirs = |found: &FoundRecord| match record::decode(&found.entry).unwrap().body {
        Some(Body::LogAccess(access)) => {
            Some(access).filter(|access| access.agency == "H26.90" && access.about_subject)
        }
        other => panic!("{other:?}"),
    };
    let (accesses, theirs): (SearchRecordsResponse, LogAccess) = soon(async {
        loop {
            let answer = search(&mut auditor, accesses.clone()).await;
            if let Some(theirs) = answer.records.iter().rev().find_map(is_theirs) {
                return (answer, theirs);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    assert_eq!(
        (theirs.kind(), theirs.results, theirs.case_id.as_str()),
        (AccessKind::Search, 5, "VA-2026-17")
    );
    assert_eq!(theirs.question, "subject=…");
    assert!(
        accesses
            .records
            .iter()
            .all(|found| !found.entry.windows(12).any(|window| window == PERSON.as_bytes()))
    );
    broker.stop().await.unwrap();
    assert!(!anywhere_on_disk(&house.mesh.data_dir(), PERSON.as_bytes()));
}

#[tokio::test(flavor = "multi_thread")]
async fn questions_about_people_need_a_case_and_nobody_else_may_ask() {
    let house = House::new();
    let broker = house.start().await;
    let mut auditor = house.ask(&broker, &house.auditor);
    for (case_id, reason) in [("", "vì sao"), ("VA-1", " "), ("VA-1", "two\nlines")] {
        let request = SearchRecordsRequest {
            filter: Some(about(PERSON)),
            case_id: case_id.to_owned(),
            reason: reason.to_owned(),
            ..SearchRecordsRequest::default()
        };
        assert_eq!(auditor.search_records(request).await.unwrap_err().code(), Code::InvalidArgument);
    }
    for who in [&house.mesh.g01, &house.mesh.h26_system, &house.mesh.officer, &house.mesh.unbound] {
        let mut client = house.ask(&broker, who);
        let refused = client.search_records(SearchRecordsRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
        let refused = client.get_evidence(GetEvidenceRequest::default()).await.unwrap_err();
        assert_eq!(refused.code(), Code::PermissionDenied, "{refused}");
    }
    let mut officer = house.ask(&broker, &house.officer);
    let refused = officer.set_disclosure(SetDisclosureRequest::default()).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_open_costs_no_record_and_is_told() {
    let house = House::new();
    let broker = house.start().await;
    let mut journal = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let (mut shipper, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let record = closing(&journal, exchange(1, Side::Provider, "cb-1"), &[PERSON]);
    let mut batch = sealed(&mut journal, &sealer, vec![(record, vec![PERSON])]);
    batch.subjects.as_mut().unwrap().ciphertext[3] ^= 1;
    soon(shipper.ship(batch)).await.unwrap();
    // A person that the record does not commit to is not taken either.
    let record = closing(&journal, exchange(2, Side::Provider, "cb-2"), &[OTHER]);
    let batch = sealed(&mut journal, &sealer, vec![(record, vec![PERSON])]);
    soon(shipper.ship(batch)).await.unwrap();
    let mut auditor = house.ask(&broker, &house.auditor);
    assert_eq!(users(&found(&mut auditor, closings(), 2).await), ["cb-2", "cb-1"]);
    let nobody = search(&mut auditor, about(PERSON)).await;
    assert!(nobody.records.is_empty());
    assert_eq!(nobody.subjects_missing, 2);
    let told = RecordFilter { resource: text("journal.subjects"), ..RecordFilter::default() };
    assert_eq!(found(&mut auditor, told, 1).await.records.len(), 1);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_learns_who_looked_unless_an_authority_sealed_it() {
    let house = House::new();
    let broker = house.start().await;
    let mut g01 = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let mut h26 = Journal::new(H26, &house.mesh.h26, 1, "h26");
    let (mut providers_line, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let (mut consumers_line, _) = shipping(&house, &broker, &house.mesh.h26, 1).await;
    for number in 1..=9 {
        for (journal, shipper, side) in
            [(&mut h26, &mut consumers_line, Side::Consumer), (&mut g01, &mut providers_line, Side::Provider)]
        {
            let record = closing(journal, exchange(number, side, "cb"), &[PERSON]);
            let batch = sealed(journal, &sealer, vec![(record, vec![PERSON])]);
            soon(shipper.ship(batch)).await.unwrap();
        }
    }
    let mut auditor = house.ask(&broker, &house.auditor);
    let mut officer = house.ask(&broker, &house.officer);
    found(&mut auditor, about(PERSON), 18).await;
    let request = SubjectAccessRequest {
        subject: PERSON.to_owned(),
        page_size: 4,
        case_id: "CD-1".to_owned(),
        reason: "yêu cầu của công dân".to_owned(),
        ..SubjectAccessRequest::default()
    };
    let pages = async |client: &mut SearchServiceClient<Line>| {
        let (mut uses, mut request) = (Vec::new(), request.clone());
        loop {
            let page = client.subject_access(request.clone()).await.unwrap().into_inner();
            page.uses.iter().for_each(|one| prove(&house, &page.checkpoint, one.record.as_ref().unwrap()));
            uses.extend(page.uses);
            if page.next_page_token.is_empty() {
                return uses;
            }
            request.page_token = page.next_page_token;
        }
    };
    let uses = pages(&mut officer).await;
    let ids: Vec<u8> = uses.iter().map(|one| one.exchange_id[15]).collect();
    assert_eq!(ids, [9, 8, 7, 6, 5, 4, 3, 2, 1]);
    let first = &uses[0];
    assert_eq!((first.consumer.as_str(), first.dataset.as_str()), ("H26.90", "dancu.cong_dan"));
    assert_eq!((first.provider_name.as_str(), first.status()), ("Bộ Công an", Ending::Delivered));
    assert_eq!(first.disclosure(), Disclosure::Now);

    let seal = |number: u8, disclosure: Disclosure, disclose_time| SetDisclosureRequest {
        exchange_id: exchange(number, Side::Provider, "").id,
        disclosure: disclosure.into(),
        disclose_time,
        authority: "Cơ quan điều tra, quyết định 12".to_owned(),
        case_id: "VA-2026-17".to_owned(),
    };
    let later = Some(Timestamp { seconds: 4_000_000_000, nanos: 0 });
    let past = Some(Timestamp { seconds: 1_000_000_000, nanos: 0 });
    auditor.set_disclosure(seal(9, Disclosure::Sealed, None)).await.unwrap();
    auditor.set_disclosure(seal(5, Disclosure::After, later)).await.unwrap();
    auditor.set_disclosure(seal(4, Disclosure::After, past)).await.unwrap();
    auditor.set_disclosure(seal(3, Disclosure::Sealed, None)).await.unwrap();
    auditor.set_disclosure(seal(3, Disclosure::Now, None)).await.unwrap();
    let unknown = auditor.set_disclosure(seal(99, Disclosure::Sealed, None)).await.unwrap_err();
    assert_eq!(unknown.code(), Code::NotFound);
    // The last two acts of all are about exchange 3: once they are published, the others are.
    let id = exchange(3, Side::Provider, "").id;
    found(
        &mut auditor,
        RecordFilter { exchange_id: id, kind: "access".to_owned(), ..RecordFilter::default() },
        2,
    )
    .await;
    let shown: Vec<u8> = pages(&mut officer).await.iter().map(|one| one.exchange_id[15]).collect();
    assert_eq!(shown, [8, 7, 6, 4, 3, 2, 1]);
    let all = pages(&mut auditor).await;
    assert_eq!(all.len(), 9);
    assert_eq!(all[0].disclosure(), Disclosure::Sealed);
    let mut stranger = house.ask(&broker, &house.stranger);
    assert!(pages(&mut stranger).await.is_empty());
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_holds_both_sides_and_what_proves_them() {
    let house = House::new();
    let broker = house.start().await;
    let mut g01 = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let mut h26 = Journal::new(H26, &house.mesh.h26, 1, "h26");
    let (mut providers_line, _) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let (mut consumers_line, _) = shipping(&house, &broker, &house.mesh.h26, 1).await;
    for (journal, shipper, side) in
        [(&mut h26, &mut consumers_line, Side::Consumer), (&mut g01, &mut providers_line, Side::Provider)]
    {
        let entries = (0..20).map(|number| closing(journal, exchange(number, side, "cb"), &[])).collect();
        soon(shipper.ship(journal.batch_of(entries, Vec::new()))).await.unwrap();
    }
    let mut auditor = house.ask(&broker, &house.auditor);
    let id = exchange(11, Side::Provider, "").id;
    found(&mut auditor, RecordFilter { exchange_id: id.clone(), ..closings() }, 2).await;
    let request = GetEvidenceRequest { exchange_id: id.clone(), ..GetEvidenceRequest::default() };
    for who in [&house.auditor, &house.officer] {
        let evidence = house
            .ask(&broker, who)
            .get_evidence(request.clone())
            .await
            .unwrap()
            .into_inner()
            .evidence
            .unwrap();
        assert_eq!(evidence.records.len(), 2);
        assert_eq!(evidence.batches.len(), 2);
        assert!(
            evidence
                .batches
                .iter()
                .all(|batch| batch.leaf_hashes.len() == 20 && batch.leaf_hashes.len() <= BATCH_RECORDS_MAX)
        );
        assert_eq!(evidence.certificates.len(), 2, "{:?}", evidence.notes);
        let proofs =
            evidence.records.iter().chain(evidence.batches.iter().filter_map(|batch| batch.seal.as_ref()));
        proofs.for_each(|found| prove(&house, &evidence.checkpoint, found));
    }
    let refused = house.ask(&broker, &house.stranger).get_evidence(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    broker.stop().await.unwrap();
}

fn anywhere_on_disk(dir: &std::path::Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return anywhere_on_disk(&path, needle);
        }
        std::fs::read(&path).unwrap().windows(needle.len()).any(|window| window == needle)
    })
}
