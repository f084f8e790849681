//! Questions to the log, over real TLS: who may ask what, what is found, what goes on record.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // test code
#![allow(clippy::too_many_lines)] // a story each

use std::time::{Duration, SystemTime};

use lienthong_audit::batch::BATCH_RECORDS_MAX;
use lienthong_audit::digest::commit;
use lienthong_audit::record;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, Continuation, CountReasonsRequest, Denial, Disclosure, FoundRecord, GetEvidenceRequest,
    LogAccess, Record, RecordFilter, SearchRecordsRequest, SearchRecordsResponse, SetDisclosureRequest, Side,
    Status as Ending, SubjectAccessRequest, TextMatch, record::Body,
    search_service_client::SearchServiceClient,
};
use prost::Message as _;
use prost_types::Timestamp;
use tonic::Code;

use common::asking::{
    House, OTHER, PERSON, SALT, about, anywhere_on_disk, closing, closings, exchange, found, prove, sealed,
    search, shipping, text, users,
};
use common::{G01, H26, Line, PATIENCE, journal::Journal, soon};

mod common;

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
