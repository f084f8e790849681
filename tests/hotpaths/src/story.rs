//! Records as they are usual: closing records of an exchange, of some hundred bytes, each about one person. Pure.

use lienthong_audit::digest::commit;
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Digest, Exchange, Record, Side, Status, SubjectIdsOfRecord,
};
use lienthong_proto::lienthong::options::v1::Purpose;
use prost::Message as _;
use prost_types::Timestamp;

/// Seconds since 1970 at which records begin.
const BEGINS: i64 = 1_790_000_000;
/// Agencies, systems, end users, dossiers and people that take part.
const AGENCIES: u64 = 200;
const USERS: u64 = 5_000;
const DOSSIERS: u64 = 200_000;
const PEOPLE: u64 = 1_000_000;

/// What one record is about. The same number gives the same.
#[derive(Debug, Clone)]
pub struct Story {
    /// Code of the agency that asks.
    pub consumer: String,
    /// Code of the agency that answers.
    pub provider: String,
    /// The system that asks.
    pub system: String,
    /// What is asked for.
    pub dataset: String,
    /// Who asks.
    pub user: String,
    /// The dossier that he works on.
    pub dossier: String,
    /// Whom it is about: the number of a person who does not exist.
    pub person: String,
    /// What for.
    pub purpose: Purpose,
    /// Id of the exchange.
    pub exchange_id: [u8; 16],
    /// When, milliseconds since 1970.
    pub time_ms: i64,
}

impl Story {
    /// The story with this number. Two neighbours are the two sides of one exchange.
    pub fn of(number: u64) -> Self {
        let pick = |salt: u64, of: u64| mix((number / 2) ^ salt.rotate_left(32)) % of;
        let consumer = format!("H{:02}.{:02}", 1 + pick(1, AGENCIES) / 10, 10 + pick(1, AGENCIES) % 10);
        let mut exchange_id = [0; 16];
        exchange_id[..8].copy_from_slice(&mix(number / 2).to_be_bytes());
        exchange_id[8..].copy_from_slice(&(number / 2).to_be_bytes());
        Self {
            system: format!("agencies/{consumer}/systems/mot-cua"),
            consumer,
            provider: format!("G{:02}", 1 + pick(2, 20)),
            dataset: ["dancu.cong_dan", "dat_dai.thua_dat", "ho_tich.khai_sinh"]
                [usize::try_from(pick(3, 3)).unwrap_or(0)]
            .to_owned(),
            user: format!("canbo.{}", pick(4, USERS)),
            dossier: format!("H26.90-261121-{:06}", pick(5, DOSSIERS)),
            person: format!("999{:09}", pick(6, PEOPLE)),
            purpose: if pick(7, 10) == 0 { Purpose::Verification } else { Purpose::AdminProcedure },
            exchange_id,
            time_ms: BEGINS * 1000 + i64::try_from(number).unwrap_or(i64::MAX),
        }
    }

    /// As a record of `recorder`, which stands on both sides, so that everything matches; and who it is about.
    pub fn record(&self, recorder: &str, seq: u64) -> (Vec<u8>, SubjectIdsOfRecord) {
        let salt = mix(seq).to_be_bytes().repeat(2);
        let fixed = <[u8; 16]>::try_from(salt.as_slice()).unwrap_or_default();
        let exchange = Exchange {
            id: self.exchange_id.to_vec(),
            attempt: 1,
            side: if seq.is_multiple_of(2) { Side::Consumer } else { Side::Provider }.into(),
            consumer: self.consumer.clone(),
            system: self.system.clone(),
            consumer_node: recorder.to_owned(),
            provider: self.provider.clone(),
            provider_node: recorder.to_owned(),
            method: "/vn.dancu.v1.CitizenService/GetCitizen".to_owned(),
            dataset: self.dataset.clone(),
            purpose: self.purpose.into(),
            dossier: self.dossier.clone(),
            user: self.user.clone(),
            right: "CE-0001/H26.90/ADMIN_PROCEDURE@27".to_owned(),
            peer_certificate: vec![7; 32],
            ..Exchange::default()
        };
        let digest = Some(Digest { hmac: vec![9; 32], messages: 1, bytes: 200 });
        let closing = Closing {
            exchange: Some(exchange),
            opening_hash: vec![3; 32],
            status: Status::Delivered.into(),
            request: digest.clone(),
            response: digest,
            records: 1,
            subjects: vec![commit(&fixed, &self.person).to_vec()],
            duration_us: 900,
            ..Closing::default()
        };
        let time = Timestamp { seconds: self.time_ms / 1000, nanos: 0 };
        let record = Record {
            version: 1,
            salt: mix(seq ^ 1).to_be_bytes().repeat(2),
            recorder: recorder.to_owned(),
            time: Some(time),
            body: Some(Body::Closing(closing)),
            ..Record::default()
        };
        (record.encode_to_vec(), SubjectIdsOfRecord { seq, salt, ids: vec![self.person.clone()] })
    }
}

/// A number that looks like chance and is the same each time (the finalizer of `SplitMix64`).
pub const fn mix(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
