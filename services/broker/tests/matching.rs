//! Both sides' records, shipped by real nodes, laid side by side; findings that stay until somebody closes them.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // a panic is how a test fails

mod common;

use std::time::{Duration, SystemTime};

use common::journal::{Journal, Shipper};
use common::{G01, H26, Line, Listening, Mesh, PATIENCE};
use lienthong_broker::config::MatchingConfig;
use lienthong_broker::{Broker, BrokerConfig};
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::finding_service_client::FindingServiceClient;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    CloseFindingRequest, Closing, Denial, Digest, Exchange, FindingEntry, FindingKind, ListFindingsRequest,
    ListWatchRulesRequest, NoteFindingRequest, Record, Side, Status, WatchFindingsRequest,
    WatchFindingsResponse,
};
use prost::Message as _;
use tonic::{Code, Streaming};

const GRACE_MS: u64 = 300;

fn config(mesh: &Mesh) -> BrokerConfig {
    let matching =
        MatchingConfig { grace_ms: GRACE_MS, silent_after_ms: 600_000, ..MatchingConfig::default() };
    BrokerConfig { matching, ..mesh.config() }
}

fn desk(mesh: &Mesh, broker: &impl Listening, who: &Issued) -> FindingServiceClient<Line> {
    FindingServiceClient::new(mesh.line(broker, who))
}

/// One side's record of an exchange that went well, made now.
fn side(journal: &Journal, number: u8, side: Side, answer: u8) -> Vec<u8> {
    side_at(journal, number, side, answer, SystemTime::now())
}

fn side_at(journal: &Journal, number: u8, side: Side, answer: u8, time: SystemTime) -> Vec<u8> {
    let digest = |content: u8| Some(Digest { hmac: vec![content; 32], messages: 1, bytes: 9 });
    let exchange = Exchange {
        id: vec![number; 16],
        attempt: 1,
        side: side.into(),
        consumer: "H26.90".into(),
        consumer_node: H26.into(),
        provider: "G01".into(),
        provider_node: G01.into(),
        dataset: "dancu.cong_dan".into(),
        ..Exchange::default()
    };
    let closing = Closing {
        exchange: Some(exchange),
        status: Status::Delivered.into(),
        request: digest(1),
        response: digest(answer),
        records: 1,
        ..Closing::default()
    };
    let record = Record::decode(journal.encode(Body::Closing(closing)).as_slice()).unwrap();
    Record { time: Some(time.into()), ..record }.encode_to_vec()
}

async fn findings(desk: &mut FindingServiceClient<Line>, all: bool) -> Vec<FindingEntry> {
    let asked = ListFindingsRequest { include_closed: all, page_size: 1, ..ListFindingsRequest::default() };
    let (mut found, mut page_token) = (Vec::new(), String::new());
    loop {
        let page = desk.list_findings(ListFindingsRequest { page_token, ..asked.clone() }).await;
        let page = page.unwrap().into_inner();
        found.extend(page.findings);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            return found;
        }
    }
}

/// Waits until as many findings are open.
async fn open(desk: &mut FindingServiceClient<Line>, count: usize) -> Vec<FindingEntry> {
    let until = tokio::time::Instant::now() + PATIENCE;
    loop {
        let found = findings(desk, false).await;
        if found.len() >= count {
            assert_eq!(found.len(), count, "{found:#?}");
            return found;
        }
        assert!(tokio::time::Instant::now() < until, "{count} findings were expected: {found:#?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn watch(
    desk: &mut FindingServiceClient<Line>,
    asked: WatchFindingsRequest,
) -> Streaming<WatchFindingsResponse> {
    desk.watch_findings(asked).await.unwrap().into_inner()
}

/// The next finding that the stream tells.
async fn next(watch: &mut Streaming<WatchFindingsResponse>) -> FindingEntry {
    let told = async {
        loop {
            let said = watch.message().await.unwrap().expect("the stream goes on");
            if let Some(finding) = said.finding {
                return finding;
            }
        }
    };
    tokio::time::timeout(PATIENCE, told).await.expect("a finding is told")
}

fn kind(entry: &FindingEntry) -> FindingKind {
    entry.finding.as_ref().unwrap().kind()
}

/// Ships records, or none: a sign of life. Waits for the receipt.
async fn ship(shipper: &mut Shipper, journal: &mut Journal, records: Vec<Vec<u8>>) {
    let batch = journal.batch_of(records, Vec::new());
    shipper.send(batch).await;
    shipper.receipt().await.unwrap();
}

/// A node goes on after the grace without a record.
async fn goes_on(shipper: &mut Shipper, journal: &mut Journal) {
    tokio::time::sleep(Duration::from_millis(GRACE_MS + 50)).await;
    ship(shipper, journal, Vec::new()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[allow(clippy::too_many_lines)] // one story
async fn what_does_not_match_is_found_once_and_stays_until_it_is_closed() {
    let mesh = Mesh::new();
    let broker = Broker::start(config(&mesh)).await.unwrap();
    let mut desk = desk(&mesh, &broker, &mesh.officer);
    let (mut g01, mut h26) = (Journal::new(G01, &mesh.g01, 7, "g01"), Journal::new(H26, &mesh.h26, 7, "h26"));
    let (mut provider, _) = Shipper::new(&mesh, &broker, &mesh.g01, 7).await;
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    let mut watch = watch(&mut desk, WatchFindingsRequest::default()).await;

    let late = vec![side(&g01, 3, Side::Provider, 5)];
    // 1 matches, 2 contradicts, 3 has no provider's record.
    let theirs = vec![side(&g01, 1, Side::Provider, 5), side(&g01, 2, Side::Provider, 5)];
    ship(&mut provider, &mut g01, theirs).await;
    let ours = (1..=3).map(|number| side(&h26, number, Side::Consumer, if number == 2 { 6 } else { 5 }));
    let ours = ours.collect();
    ship(&mut consumer, &mut h26, ours).await;
    let found = open(&mut desk, 1).await;
    assert_eq!(kind(&found[0]), FindingKind::Contradiction);
    let contradiction = found[0].finding.clone().unwrap();
    assert_eq!((contradiction.exchange_id, contradiction.entries.len()), (vec![2; 16], 2));
    goes_on(&mut provider, &mut g01).await;
    let found = open(&mut desk, 2).await;
    let missing = found.iter().find(|entry| kind(entry) == FindingKind::MissingSide).unwrap();
    assert_eq!(missing.finding.as_ref().unwrap().nodes, [G01, H26]);
    // The stream tells the same, in the order in which it is on record.
    let told = [next(&mut watch).await, next(&mut watch).await];
    assert_eq!(
        told.clone().map(|entry| kind(&entry)),
        [FindingKind::Contradiction, FindingKind::MissingSide]
    );
    drop(watch);

    // A broker that comes back tells nothing again, and still knows what it waits for.
    drop((provider, consumer));
    broker.stop().await.unwrap();
    let broker = Broker::start(config(&mesh)).await.unwrap();
    let mut desk = self::desk(&mesh, &broker, &mesh.officer);
    let (mut provider, _) = Shipper::new(&mesh, &broker, &mesh.g01, 7).await;
    ship(&mut provider, &mut g01, late).await;
    let found = open(&mut desk, 3).await;
    assert_eq!(kind(&found[2]), FindingKind::LateSide);
    // Who was cut off goes on behind what he saw, and sees only what he asks for.
    let behind = Some(told[0].log_index);
    let on = WatchFindingsRequest { after_log_index: behind, ..WatchFindingsRequest::default() };
    let mut all = self::watch(&mut desk, on.clone()).await;
    assert_eq!(next(&mut all).await.log_index, told[1].log_index);
    assert_eq!(kind(&next(&mut all).await), FindingKind::LateSide);
    let late_only = WatchFindingsRequest { kind: FindingKind::LateSide.into(), ..on };
    assert_eq!(kind(&next(&mut self::watch(&mut desk, late_only).await).await), FindingKind::LateSide);

    // Who follows it up, and what he found out, is noted while it is open.
    let id = missing.finding.as_ref().unwrap().id.clone();
    let note = |note: &str, assignee: &str| NoteFindingRequest {
        id: id.clone(),
        note: note.to_owned(),
        assignee: assignee.to_owned(),
    };
    for (wrong, code) in [
        (note(" ", ""), Code::InvalidArgument),
        (note("hai\ndòng", ""), Code::InvalidArgument),
        (note(&"x".repeat(257), ""), Code::InvalidArgument),
        (NoteFindingRequest { id: "abc".into(), ..note("x", "") }, Code::NotFound),
    ] {
        assert_eq!(desk.note_finding(wrong).await.unwrap_err().code(), code);
    }
    let noted = desk.note_finding(note("Đã gọi G01", "Trần Thị Mẫu")).await.unwrap().into_inner().finding;
    let noted = noted.unwrap();
    assert_eq!(noted.assignee, "Trần Thị Mẫu");
    assert_eq!(noted.notes.len(), 2);
    assert_eq!((noted.notes[0].note.as_str(), noted.notes[0].assignee.as_str()), ("Đã gọi G01", ""));
    assert!(noted.notes[1].log_index > noted.notes[0].log_index && noted.notes[0].time.is_some());
    assert!(noted.notes[0].actor.contains("Nguyễn Văn Mẫu"), "{:?}", noted.notes[0]);
    let refused = self::desk(&mesh, &broker, &mesh.h26).note_finding(note("x", "")).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);

    // Closing needs a reason, and happens once.
    let close = |id: &str, reason: &str| CloseFindingRequest { id: id.to_owned(), reason: reason.to_owned() };
    assert_eq!(desk.close_finding(close(&id, " ")).await.unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(desk.close_finding(close("abc", "x")).await.unwrap_err().code(), Code::NotFound);
    let closed =
        desk.close_finding(close(&id, "Mất điện tại G01")).await.unwrap().into_inner().finding.unwrap();
    let by = closed.closed.unwrap();
    assert_eq!((by.reason.as_str(), by.actor.contains("Nguyễn Văn Mẫu")), ("Mất điện tại G01", true));
    let again = desk.close_finding(close(&id, "again")).await.unwrap_err();
    assert_eq!(again.code(), Code::FailedPrecondition);
    let late = desk.note_finding(note("too late", "")).await.unwrap_err();
    assert_eq!(late.code(), Code::FailedPrecondition);
    // The list follows as matching does.
    let until = tokio::time::Instant::now() + PATIENCE;
    while findings(&mut desk, false).await.len() != 2 {
        assert!(tokio::time::Instant::now() < until, "the finding stays open");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert_eq!(findings(&mut desk, true).await.len(), 3);
    // Findings are for the operator's officers.
    let refused = self::desk(&mesh, &broker, &mesh.h26).list_findings(ListFindingsRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    let refused = self::desk(&mesh, &broker, &mesh.h26).watch_findings(WatchFindingsRequest::default()).await;
    assert_eq!(refused.unwrap_err().code(), Code::PermissionDenied);
    broker.stop().await.unwrap();
}

/// Somebody was denied, now.
fn denial(journal: &Journal, number: u8, user: &str) -> Vec<u8> {
    let exchange = Exchange {
        id: vec![number; 16],
        side: Side::Consumer.into(),
        consumer: "H26.90".into(),
        system: "agencies/H26.90/systems/mot-cua".into(),
        user: user.into(),
        ..Exchange::default()
    };
    let denial = Denial { exchange: Some(exchange), reason: "DENY_PURPOSE".into(), ..Denial::default() };
    let record = Record::decode(journal.encode(Body::Denial(denial)).as_slice()).unwrap();
    Record { time: Some(SystemTime::now().into()), ..record }.encode_to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_rule_that_trips_is_a_finding_once_also_across_a_restart() {
    const RULE: &str = "[[rule]]\nkind = \"repeated-denials\"\nname = \"tries\"\nof = \"user\"\n\
                        window_minutes = 1440\nleast = 5\n";
    let mesh = Mesh::new();
    let rules = mesh.path("watch.toml");
    std::fs::write(&rules, RULE.replace("least", "leats")).unwrap();
    let config = BrokerConfig { watch_rules: Some(rules.clone()), ..config(&mesh) };
    let refused = Broker::start(config.clone()).await.unwrap_err().to_string();
    assert!(refused.contains("watch_rules") && refused.contains("leats"), "{refused}");
    std::fs::write(&rules, RULE).unwrap();

    let broker = Broker::start(config.clone()).await.unwrap();
    let mut h26 = Journal::new(H26, &mesh.h26, 7, "h26");
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    let some =
        (0..4).flat_map(|n| [denial(&h26, n, "canbo.17"), denial(&h26, 100 + n, "canbo.18")]).collect();
    ship(&mut consumer, &mut h26, some).await;
    // Four are not five, though the broker is started anew between them.
    drop(consumer);
    broker.stop().await.unwrap();
    let broker = Broker::start(config.clone()).await.unwrap();
    let mut desk = desk(&mesh, &broker, &mesh.officer);
    assert!(findings(&mut desk, true).await.is_empty());
    let told = desk.list_watch_rules(ListWatchRulesRequest {}).await.unwrap().into_inner().rules;
    let told: Vec<_> = told.iter().map(|rule| (&*rule.name, &*rule.kind, &*rule.of, rule.least)).collect();
    assert_eq!(told, [("tries", "repeated-denials", "user", 5)]);
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    let one = vec![denial(&h26, 9, "canbo.17")];
    ship(&mut consumer, &mut h26, one).await;
    let found = open(&mut desk, 1).await[0].finding.clone().unwrap();
    assert_eq!((found.kind(), found.user.as_str()), (FindingKind::RepeatedDenials, "canbo.17"));
    assert_eq!((found.rule.as_str(), found.entries.len()), ("tries", 1));
    assert_eq!(found.nodes, ["agencies/H26.90/systems/mot-cua"]);
    // It is not told again by more of the same, nor by a broker that reads it again.
    let more = vec![denial(&h26, 10, "canbo.17")];
    ship(&mut consumer, &mut h26, more).await;
    drop(consumer);
    broker.stop().await.unwrap();
    let broker = Broker::start(config).await.unwrap();
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(findings(&mut self::desk(&mesh, &broker, &mesh.officer), true).await.len(), 1);
    broker.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_is_bounded_however_many_wait_for_a_silent_node() {
    const WAITING: u32 = 3_000;
    let mesh = Mesh::new();
    let broker = Broker::start(config(&mesh)).await.unwrap();
    let (mut g01, mut h26) = (Journal::new(G01, &mesh.g01, 7, "g01"), Journal::new(H26, &mesh.h26, 7, "h26"));
    let (mut consumer, _) = Shipper::new(&mesh, &broker, &mesh.h26, 7).await;
    // Both sides record when the exchange is; the provider's journal is cut off for a while.
    let begun = SystemTime::now();
    let of = |number: u32, journal: &Journal, which: Side| {
        let time = begun + Duration::from_millis(number.into());
        let mut record = Record::decode(side_at(journal, 0, which, 5, time).as_slice()).unwrap();
        let Some(Body::Closing(closing)) = &mut record.body else { panic!("no closing") };
        let id = [&number.to_be_bytes()[..], &[7; 12]].concat();
        closing.exchange.as_mut().unwrap().id = id;
        record.encode_to_vec()
    };
    for first in (0..WAITING).step_by(300) {
        let some = (first..first + 300).map(|number| of(number, &h26, Side::Consumer)).collect();
        ship(&mut consumer, &mut h26, some).await;
    }
    // Stopped at some point of the way, with most of them put away.
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    drop(consumer);
    broker.stop().await.unwrap();
    let broker = Broker::start(config(&mesh)).await.unwrap();
    let mut desk = desk(&mesh, &broker, &mesh.officer);
    let (mut provider, _) = Shipper::new(&mesh, &broker, &mesh.g01, 7).await;
    // All but one come; the node has gone on without that one.
    for first in (0..WAITING).step_by(300) {
        let some = (first..first + 300).filter(|number| *number != 1_234);
        let some = some.map(|number| of(number, &g01, Side::Provider)).collect();
        ship(&mut provider, &mut g01, some).await;
    }
    goes_on(&mut provider, &mut g01).await;
    let found = open(&mut desk, 1).await;
    let finding = found[0].finding.clone().unwrap();
    assert_eq!(finding.kind(), FindingKind::MissingSide);
    assert_eq!(finding.exchange_id[..4], 1_234_u32.to_be_bytes());
    // And nothing else, after a look at all that was put away.
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(findings(&mut desk, true).await.len(), 1);
    broker.stop().await.unwrap();
}
