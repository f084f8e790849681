//! Questions to the log, over real TLS: who may ask what, what is found, what goes on record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code
#![allow(clippy::too_many_lines, clippy::unnecessary_wraps)] // a story each; fields are optional

use std::path::Path;
use std::time::{Duration, SystemTime};

use lienthong_audit::batch::BATCH_RECORDS_MAX;
use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::digest::commit;
use lienthong_audit::hash::{Hash, leaf_hash};
use lienthong_audit::log::LogKey;
use lienthong_audit::merkle::verify_inclusion;
use lienthong_audit::record;
use lienthong_audit::sealed::SubjectSealer;
use lienthong_audit::verify::{VerifyOptions, verify_dir};
use lienthong_broker::config::OfficerConfig;
use lienthong_broker::index::keys::IndexKeys;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::audit_service_client::AuditServiceClient;
use lienthong_proto::lienthong::audit::v1::search_service_client::SearchServiceClient;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, Closing, Continuation, CountReasonsRequest, Denial, Disclosure, EraseSubjectRequest,
    Exchange, Finding, FindingKind, FoundRecord, GetEvidenceRequest, ListErasuresRequest, LogAccess, Record,
    RecordFilter, RegisterUserRequest, SearchRecordsRequest, SearchRecordsResponse, SetDisclosureRequest,
    Side, SignedBatch, Status as Ending, SubjectAccessRequest, SubjectIdsOfRecord, TextMatch, record::Body,
};
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Code;

use common::journal::{Journal, Shipper};
use common::{G01, H26, Line, Mesh, PATIENCE, soon};

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

fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn anywhere_on_disk(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return anywhere_on_disk(&path, needle);
        }
        windows(&std::fs::read(&path).unwrap(), needle)
    })
}

fn windows(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}

/// Somebody was denied at that time.
fn denial(journal: &Journal, number: u8, reason: &str, time: SystemTime) -> Vec<u8> {
    let denial = Denial {
        exchange: Some(exchange(number, Side::Provider, "cb-1")),
        reason: reason.to_owned(),
        ..Denial::default()
    };
    let record = Record::decode(journal.encode(Body::Denial(denial)).as_slice()).unwrap();
    Record { time: Some(time.into()), ..record }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn reasons_of_today_are_counted_beside_the_same_hours_of_the_weeks_before() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
    let vietnamese_day = || {
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs().saturating_add(7 * 3_600)
            / 86_400
    };
    let day = vietnamese_day();
    let house = House::new();
    let broker = house.start().await;
    let mut journal = Journal::new(G01, &house.mesh.g01, 1, "g01");
    let (mut shipper, sealer) = shipping(&house, &broker, &house.mesh.g01, 1).await;
    let now = SystemTime::now();
    let mut entries: Vec<(Vec<u8>, Vec<&str>)> = Vec::new();
    for (number, reason, time) in [
        (1, "DENY_PURPOSE", now - 2 * WEEK),
        (2, "DENY_PURPOSE", now - WEEK),
        (3, "DENY_PURPOSE", now - WEEK),
        // Another hour, though the same weekday: of tomorrow's usual, not of today's.
        (4, "DENY_PURPOSE", now - WEEK + Duration::from_secs(3_600)),
        (5, "DENY_PURPOSE", now),
        (6, "DENY_PURPOSE", now),
        (7, "DENY_PURPOSE", now),
        (8, "DENY_FIELD", now),
    ] {
        entries.push((denial(&journal, number, reason, time), Vec::new()));
    }
    let batch = sealed(&mut journal, &sealer, entries);
    soon(shipper.ship(batch)).await.unwrap();
    let mut officer = house.ask(&broker, &house.officer);
    let until = tokio::time::Instant::now() + PATIENCE;
    let counts = loop {
        let counts = officer.count_reasons(CountReasonsRequest {}).await.unwrap().into_inner().counts;
        if counts.len() == 2 {
            break counts;
        }
        assert!(tokio::time::Instant::now() < until, "{counts:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    // Around midnight, what was today is yesterday: nothing to say then.
    if vietnamese_day() == day {
        assert_eq!((counts[0].reason.as_str(), counts[0].today, counts[0].more), ("DENY_PURPOSE", 3, false));
        assert_eq!(counts[0].earlier, [2, 1], "a week and two weeks ago; the log is no older");
        assert_eq!((counts[1].reason.as_str(), counts[1].today), ("DENY_FIELD", 1));
        assert_eq!(counts[1].earlier, [0, 0]);
    }
    // An agency sees what it is party to; whoever sees no log, nothing.
    let mut stranger = house.ask(&broker, &house.stranger);
    assert!(stranger.count_reasons(CountReasonsRequest {}).await.unwrap().into_inner().counts.is_empty());
    let mut operator = house.ask(&broker, &house.mesh.officer);
    let refused = operator.count_reasons(CountReasonsRequest {}).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    broker.stop().await.unwrap();
}
