//! Those who question the log, and records with people in them to ask about.

use std::path::Path;
use std::time::Duration;

use lienthong_audit::checkpoint::Checkpoint;
use lienthong_audit::digest::commit;
use lienthong_audit::hash::Hash;
use lienthong_audit::hash::leaf_hash;
use lienthong_audit::log::LogKey;
use lienthong_audit::merkle::verify_inclusion;
use lienthong_audit::record;
use lienthong_audit::sealed::SubjectSealer;
use lienthong_broker::Broker;
use lienthong_broker::BrokerConfig;
use lienthong_broker::config::OfficerConfig;
use lienthong_certs::pki::Issued;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Continuation, Exchange, FoundRecord, RecordFilter, SearchRecordsRequest, SearchRecordsResponse,
    Side, SignedBatch, Status as Ending, SubjectIdsOfRecord, TextMatch, record::Body,
    search_service_client::SearchServiceClient, ship_journal_response::Event,
};

use super::{Line, Mesh, journal::Journal, journal::Shipper, soon};

pub const PERSON: &str = "999190000001";
pub const OTHER: &str = "999190000002";
pub const SALT: [u8; 16] = [7; 16];

pub struct House {
    pub mesh: Mesh,
    pub auditor: Issued,
    pub officer: Issued,
    pub stranger: Issued,
}

impl House {
    pub fn new() -> House {
        let mesh = Mesh::new();
        let auditor = mesh.pki.issue_person("G01.90", "Lê Thị Kiểm", "kiem-toan").unwrap();
        let officer = mesh.pki.issue_person("H26.90", "Phạm Văn An", "an-ninh").unwrap();
        let stranger = mesh.pki.issue_person("G12", "Đỗ Thị Khác", "an-ninh").unwrap();
        House { mesh, auditor, officer, stranger }
    }

    pub fn config(&self) -> BrokerConfig {
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

    pub async fn start(&self) -> Broker {
        Broker::start(self.config()).await.unwrap()
    }

    pub fn ask(&self, broker: &Broker, who: &Issued) -> SearchServiceClient<Line> {
        SearchServiceClient::new(self.mesh.line(broker, who)).max_decoding_message_size(64 << 20)
    }
}

pub fn exchange(number: u8, side: Side, user: &str) -> Exchange {
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
pub fn closing(journal: &Journal, exchange: Exchange, people: &[&str]) -> Vec<u8> {
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
pub fn sealed(
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

pub async fn shipping(house: &House, broker: &Broker, who: &Issued, epoch: u64) -> (Shipper, SubjectSealer) {
    let mut shipper = Shipper::open(&house.mesh, broker, who, epoch).await.unwrap();
    let Some(Event::Position(position)) = soon(shipper.hear()).await.unwrap() else { panic!("no position") };
    let sealer = SubjectSealer::new(&position.index_key.unwrap()).unwrap();
    (shipper, sealer)
}

#[allow(clippy::unnecessary_wraps)] // fields are optional
pub fn text(text: &str) -> Option<TextMatch> {
    Some(TextMatch { text: text.to_owned(), prefix: false })
}

pub async fn search(client: &mut SearchServiceClient<Line>, filter: RecordFilter) -> SearchRecordsResponse {
    let request = SearchRecordsRequest {
        filter: Some(filter),
        case_id: "VA-2026-17".to_owned(),
        reason: "kiểm tra định kỳ".to_owned(),
        ..SearchRecordsRequest::default()
    };
    client.search_records(request).await.unwrap().into_inner()
}

/// Asks until so many records are found: what was receipted is published within a second.
pub async fn found(
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

pub fn about(subject: &str) -> RecordFilter {
    RecordFilter { subject: subject.to_owned(), ..RecordFilter::default() }
}

pub fn closings() -> RecordFilter {
    RecordFilter { kind: "closing".to_owned(), ..RecordFilter::default() }
}

pub fn users(answer: &SearchRecordsResponse) -> Vec<String> {
    answer.records.iter().map(user).collect()
}

pub fn user(found: &FoundRecord) -> String {
    match record::decode(&found.entry).unwrap().body {
        Some(Body::Closing(Closing { exchange, .. }) | Body::Continuation(Continuation { exchange, .. })) => {
            exchange.unwrap().user
        }
        other => panic!("{other:?}"),
    }
}

pub fn prove(house: &House, checkpoint: &str, found: &FoundRecord) {
    let key = LogKey::from_skey(&std::fs::read_to_string(house.mesh.path("log.key")).unwrap()).unwrap();
    let checkpoint = Checkpoint::open(checkpoint, key.verifier()).unwrap();
    let path: Vec<Hash> = found.path.iter().map(|hash| Hash::from_slice(hash).unwrap()).collect();
    verify_inclusion(&leaf_hash(&found.entry), found.index, checkpoint.size, &path, &checkpoint.root)
        .unwrap();
}

pub fn copy_files(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

pub fn anywhere_on_disk(dir: &Path, needle: &[u8]) -> bool {
    std::fs::read_dir(dir).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        if path.is_dir() {
            return anywhere_on_disk(&path, needle);
        }
        windows(&std::fs::read(&path).unwrap(), needle)
    })
}

pub fn windows(bytes: &[u8], needle: &[u8]) -> bool {
    bytes.windows(needle.len()).any(|window| window == needle)
}
