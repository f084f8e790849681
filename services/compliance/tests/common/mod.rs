//! Records as nodes write them, and facts as the broker knows them.

#![allow(dead_code)] // each test file uses its own part

use std::time::Duration;

use lienthong_compliance::{ContractStanding, EntryFacts, Observed, day};
use lienthong_proto::lienthong::audit::v1::record::Body;
use lienthong_proto::lienthong::audit::v1::{
    Closing, Denial, Exchange, Opening, Progress, Record, SampledQuality, Side, Status,
};
use lienthong_proto::lienthong::compliance::v1::{Check, CheckKind, CheckState, EntryCompliance};
use lienthong_proto::lienthong::options::v1::MethodKind;
use prost_types::Timestamp;
use time::OffsetDateTime;
use time::macros::datetime;

/// A moment of the tests: noon in Việt Nam.
pub const NOON: OffsetDateTime = datetime!(2026-11-22 12:00 +7);

pub const SYNC: &str = "/vn.thu.v1.Thu/Sync";
pub const COPY: &str = "/vn.thu.v1.Thu/Copy";
pub const QUERY: &str = "/vn.thu.v1.Thu/Get";

/// How the methods of the tests exchange records.
pub fn kind(_provider: &str, path: &str) -> Option<MethodKind> {
    match path {
        SYNC => Some(MethodKind::SyncToNationalDb),
        COPY => Some(MethodKind::SyncToConsumer),
        QUERY => Some(MethodKind::Query),
        _ => None,
    }
}

pub fn ms(at: OffsetDateTime) -> i64 {
    day::unix_ms(at)
}

/// A UUIDv7 of this moment.
pub fn id(at_ms: i64, number: u8) -> Vec<u8> {
    let mut id = at_ms.to_be_bytes()[2..].to_vec();
    id.extend([0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, number]);
    id
}

pub fn exchange(side: Side, consumer: &str, method: &str, id: Vec<u8>) -> Exchange {
    Exchange {
        id,
        attempt: 1,
        side: side.into(),
        consumer: consumer.to_owned(),
        provider: "G24".to_owned(),
        provider_node: "agencies/G24/nodes/n1".to_owned(),
        dataset: "bhxh.qua_trinh_dong".to_owned(),
        method: method.to_owned(),
        ..Exchange::default()
    }
}

pub fn record(exchange: &Exchange, at_ms: i64, body: Body) -> Record {
    let agency = if exchange.side() == Side::Consumer { &exchange.consumer } else { &exchange.provider };
    Record {
        recorder: format!("agencies/{agency}/nodes/n1"),
        time: Some(Timestamp { seconds: at_ms.div_euclid(1_000), nanos: 0 }),
        body: Some(body),
        ..Record::default()
    }
}

pub fn closed(side: Side, consumer: &str, method: &str, status: Status, at_ms: i64, number: u8) -> Record {
    let exchange = exchange(side, consumer, method, id(at_ms, number));
    let closing = Closing {
        exchange: Some(exchange.clone()),
        status: status.into(),
        records: 3,
        duration_us: 1_500,
        quality: (side == Side::Provider).then(|| SampledQuality { records: 3, ..SampledQuality::default() }),
        ..Closing::default()
    };
    record(&exchange, at_ms, Body::Closing(closing))
}

pub fn opened(consumer: &str, method: &str, at_ms: i64, number: u8) -> Record {
    let exchange = exchange(Side::Provider, consumer, method, id(at_ms, number));
    record(&exchange, at_ms, Body::Opening(Opening { exchange: Some(exchange.clone()) }))
}

pub fn goes_on(id: Vec<u8>, at_ms: i64) -> Record {
    let progress =
        Progress { exchange_id: id, side: Side::Provider.into(), records: 9, ..Progress::default() };
    record(&exchange(Side::Provider, "H26", SYNC, Vec::new()), at_ms, Body::Progress(progress))
}

pub fn denied(consumer: &str, at_ms: i64) -> Record {
    let exchange = exchange(Side::Consumer, consumer, QUERY, id(at_ms, 0));
    record(&exchange, at_ms, Body::Denial(Denial { exchange: Some(exchange.clone()), ..Denial::default() }))
}

/// Both sides of a call that went well.
pub fn served(observed: &mut Observed, consumer: &str, method: &str, at_ms: i64, number: u8) {
    for side in [Side::Consumer, Side::Provider] {
        observed.take(&closed(side, consumer, method, Status::Delivered, at_ms, number), &kind, at_ms);
    }
}

pub fn facts() -> EntryFacts {
    EntryFacts {
        id: "CE-0004".to_owned(),
        versioned_id: "CE-0004@1".to_owned(),
        dataset: "bhxh.qua_trinh_dong".to_owned(),
        provider: "G24".to_owned(),
        is_in_force: true,
        contract: ContractStanding::Fits,
        is_connected: true,
        freshness: Some(Duration::from_secs(3_600)),
        is_synchronised: true,
        copy_age_max: None,
        entitled_consumers: 4,
        deadline: None,
        reviewed: NOON - Duration::from_secs(86_400),
        refusals: lienthong_compliance::facts::Refusals::default(),
        is_dated: true,
        is_planned_outage: false,
    }
}

pub fn state(entry: &EntryCompliance, kind: CheckKind) -> CheckState {
    entry.checks.iter().find(|check| check.kind() == kind).map(Check::state).unwrap()
}
