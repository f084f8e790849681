//! A node's journal in memory, and its side of shipping.

use lienthong_audit::batch::{Position, seal};
use lienthong_audit::chain;
use lienthong_audit::hash::leaf_hash;
use lienthong_certs::pki::Issued;
use lienthong_certs::{Credentials, Signer};
use lienthong_proto::lienthong::audit::v1::batch_item::Item;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::ship_journal_request::Event as Say;
use lienthong_proto::lienthong::audit::v1::ship_journal_response::Event;
use lienthong_proto::lienthong::audit::v1::{
    BatchHeader, BatchItem, Closing, Opening, Receipt, Record, ShipHello, ShipJournalRequest,
    ShipJournalResponse, SignedBatch,
};
use prost::Message as _;
use prost_types::Timestamp;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::{Listening, Mesh, soon};

/// A journal of closing records, each distinct.
pub struct Journal {
    node: String,
    credentials: Credentials,
    pub position: Position,
    /// What history this is: two journals of one seed have the same records.
    seed: &'static str,
}

impl Journal {
    pub fn new(node: &str, issued: &Issued, epoch: u64, seed: &'static str) -> Journal {
        let credentials = issued.credentials().unwrap();
        Journal { node: node.to_owned(), credentials, position: Position::start(epoch), seed }
    }

    /// The record with this sequence number.
    pub fn record(&self, seq: u64) -> Vec<u8> {
        let closing = Closing { reason: format!("{} {seq}", self.seed), ..Closing::default() };
        self.encode(Body::Closing(closing))
    }

    pub fn opening(&self, salt: u8) -> Vec<u8> {
        let record = Record { salt: vec![salt; 16], ..self.blank(Body::Opening(Opening::default())) };
        record.encode_to_vec()
    }

    pub fn encode(&self, body: Body) -> Vec<u8> {
        self.blank(body).encode_to_vec()
    }

    fn blank(&self, body: Body) -> Record {
        Record { version: 1, recorder: self.node.clone(), body: Some(body), ..Record::default() }
    }

    /// The next `count` records as a signed batch.
    pub fn batch(&mut self, count: u64) -> SignedBatch {
        let first = self.position.last_seq + 1;
        let entries = (first..first + count).map(|seq| self.record(seq)).collect();
        self.batch_of(entries, Vec::new())
    }

    /// These records as a signed batch.
    pub fn batch_of(&mut self, entries: Vec<Vec<u8>>, late_openings: Vec<Vec<u8>>) -> SignedBatch {
        let before = self.position;
        let leaves: Vec<_> = entries.iter().map(|entry| leaf_hash(entry)).collect();
        self.position = Position {
            epoch: before.epoch,
            last_seq: before.last_seq + entries.len() as u64,
            head: chain::advance(&before.head, &leaves),
        };
        let header = BatchHeader {
            node: self.node.clone(),
            journal_epoch: before.epoch,
            first_seq: before.last_seq + 1,
            last_seq: self.position.last_seq,
            previous_head: before.head.0.to_vec(),
            head: self.position.head.0.to_vec(),
            seal_time: Some(Timestamp::from(std::time::SystemTime::now())),
            ..BatchHeader::default()
        };
        let items =
            entries.into_iter().map(|entry| BatchItem { item: Some(Item::Entry(entry.into())) }).collect();
        let signer = self.credentials.signer();
        seal(&header, items, late_openings, |message| Signer::sign(&*signer, message)).unwrap()
    }
}

/// A stream that ships.
pub struct Shipper {
    say: mpsc::Sender<ShipJournalRequest>,
    heard: Streaming<ShipJournalResponse>,
}

impl Shipper {
    /// Connects and says hello; the first answer, the position, is left to be heard.
    pub async fn open(
        mesh: &Mesh,
        broker: &impl Listening,
        who: &Issued,
        journal_epoch: u64,
    ) -> Result<Shipper, Status> {
        let (say, said) = mpsc::channel(64);
        let hello = Say::Hello(ShipHello { journal_epoch, ..ShipHello::default() });
        say.send(ShipJournalRequest { event: Some(hello) }).await.unwrap();
        let heard = soon(mesh.audit(broker, who).ship_journal(ReceiverStream::new(said))).await?.into_inner();
        Ok(Shipper { say, heard })
    }

    /// The same, and hears the position.
    pub async fn new(
        mesh: &Mesh,
        broker: &impl Listening,
        who: &Issued,
        journal_epoch: u64,
    ) -> (Shipper, Position) {
        let mut shipper = Shipper::open(mesh, broker, who, journal_epoch).await.unwrap();
        match shipper.hear().await.unwrap().unwrap() {
            Event::Position(position) => (shipper, Position::from_proto(&position).unwrap()),
            Event::Receipt(_) => panic!("a receipt came before the position"),
        }
    }

    pub async fn send(&self, batch: SignedBatch) {
        self.say.send(ShipJournalRequest { event: Some(Say::Batch(batch)) }).await.unwrap();
    }

    /// As [`Shipper::send`], where the broker may be gone or behind.
    pub fn try_send(&self, batch: SignedBatch) -> Result<(), ()> {
        self.say.try_send(ShipJournalRequest { event: Some(Say::Batch(batch)) }).map_err(drop)
    }

    pub async fn hear(&mut self) -> Result<Option<Event>, Status> {
        Ok(soon(self.heard.message()).await?.map(|response| response.event.unwrap()))
    }

    pub async fn receipt(&mut self) -> Result<Receipt, Status> {
        match self.hear().await? {
            Some(Event::Receipt(receipt)) => Ok(receipt),
            other => panic!("no receipt but {other:?}"),
        }
    }

    pub async fn ship(&mut self, batch: SignedBatch) -> Result<Receipt, Status> {
        self.send(batch).await;
        self.receipt().await
    }

    /// Says that there is nothing more, and hears the rest.
    pub async fn finish(self) -> Result<(), Status> {
        let Shipper { say, mut heard } = self;
        drop(say);
        while soon(heard.message()).await?.is_some() {}
        Ok(())
    }
}
