//! What a call carries: headers, frames, compressed messages, answers to be filtered.

use std::sync::LazyLock;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue};
use lienthong_catalog::ContractModel;
use lienthong_filter::{Annotations, Grant, Plan, Report};
use lienthong_node::call::compression::Encoding;
use lienthong_node::call::framing::{Deframer, PREFIX_BYTES};
use lienthong_node::call::metadata::{CallMetadata, PeerCall};
use lienthong_node::message_space::MessageSpace;
use lienthong_proto::descriptors;
use lienthong_proto::vn::dancu::v1::{Citizen, GetCitizenResponse};
use prost::Message;
use prost_reflect::FieldDescriptor;

use crate::number;

/// Small, so that what is too large is soon reached.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;

static SPACE: LazyLock<MessageSpace> =
    LazyLock::new(|| MessageSpace::new(MESSAGE_BYTES_MAX, 16 * MESSAGE_BYTES_MAX));

/// Headers, one `name: value` a line: what a backend states, what a peer's node says, a deadline, a status.
pub fn headers(data: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in data.split(|byte| *byte == b'\n').take(64) {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let name = HeaderName::from_bytes(&line[..colon]);
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii());
        if let (Ok(name), Ok(value)) = (name, value) {
            headers.append(name, value);
        }
    }
    drop(CallMetadata::read(&headers));
    drop(PeerCall::read(&headers));
    let _ = Encoding::read(&headers);
    let _ = lienthong_transport::deadline::stated(&headers);
    let _ = lienthong_node::call::words::of_the_mesh(&headers);
    let _ = lienthong_node::call::words::read_status(&headers);
}

pub fn headers_seeds() -> Vec<Vec<u8>> {
    [
        "mesh-purpose: ADMIN_PROCEDURE\nmesh-dossier: H26.90-261121-0001\nmesh-user: cb-17\nmesh-fields: ho_ten,ngay_sinh\nmesh-min-epoch: 12",
        "mesh-call-bin: ChABkPy8tHp3c4tUEhAQAQ\ngrpc-timeout: 1500m\ngrpc-encoding: gzip",
        "grpc-status: 7\ngrpc-message: kh%C3%B4ng\ngrpc-status-details-bin: CAcSAng",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// Frames in chunks of so many bytes: what is cut together again is what was sent.
pub fn framing(data: &[u8]) {
    let (size, rest) = number(data);
    let mut deframer = Deframer::new(&SPACE);
    let mut again = Vec::new();
    for chunk in rest.chunks(size.max(1)) {
        deframer.push(Bytes::copy_from_slice(chunk));
        loop {
            match deframer.next_message() {
                Ok(Some(message)) => {
                    assert!(message.body().len() <= MESSAGE_BYTES_MAX);
                    again.extend_from_slice(&message.into_frame());
                }
                Ok(None) => break,
                Err(_) => return,
            }
        }
    }
    assert!(rest.starts_with(&again), "other bytes than were sent");
    assert_eq!(deframer.finish().is_ok(), again.len() == rest.len());
}

pub fn framing_seeds() -> Vec<Vec<u8>> {
    let frame = |body: &[u8], packed: u8| {
        let mut frame = vec![packed];
        frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        frame.extend(body);
        frame
    };
    let frames = [frame(b"", 0), frame(b"mot", 0), frame(&[7; 300], 1)].concat();
    [1_u16, 3, 7, 1024].into_iter().map(|size| [&size.to_be_bytes(), frames.as_slice()].concat()).collect()
}

/// A compressed message unpacks within its bound or not at all.
pub fn compression(data: &[u8]) {
    let Some((kind, packed)) = data.split_first() else { return };
    let mut headers = HeaderMap::new();
    let name = ["identity", "gzip", "zstd", "deflate"][usize::from(kind % 4)];
    headers.insert("grpc-encoding", HeaderValue::from_static(name));
    let Ok(encoding) = Encoding::read(&headers) else { return };
    if let Ok(plain) = encoding.unpack(packed, MESSAGE_BYTES_MAX) {
        assert!(plain.len() <= MESSAGE_BYTES_MAX);
    }
}

pub fn compression_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (kind, name) in [(1, "gzip"), (2, "zstd")] {
        let mut headers = HeaderMap::new();
        headers.insert("grpc-encoding", HeaderValue::from_static(name));
        let Ok(encoding) = Encoding::read(&headers) else { continue };
        for plain in [&b"mot hai ba"[..], &[7; 5_000]] {
            let packed = encoding.pack(plain, &SPACE).unwrap();
            seeds.push([&[kind], &packed[PREFIX_BYTES..]].concat());
        }
    }
    seeds
}

/// An answer that nobody vouches for passes the filter as a message with granted fields only, or not at all.
pub fn filter(data: &[u8]) {
    let (plan, _) = &*PLAN;
    let (mut kept, mut report) = (Vec::new(), Report::new());
    if plan.apply(data, &mut kept, &mut report).is_err() {
        return;
    }
    let (mut again, mut second) = (Vec::new(), Report::new());
    plan.apply(&kept, &mut again, &mut second)
        .unwrap_or_else(|error| panic!("its own output is refused: {error}"));
    assert_eq!(kept, again, "what was kept is kept");
    assert_eq!(second.dropped_unknown, 0, "unknown fields were kept");
    let _ = plan.subjects(data, &mut Report::new());
}

pub fn filter_seeds() -> Vec<Vec<u8>> {
    let citizen = Citizen {
        so_dinh_danh: "999190000001".to_owned(),
        ho_ten: "Nguyễn Thị Mẫu".to_owned(),
        ..Citizen::default()
    };
    vec![GetCitizenResponse { citizen: Some(citizen) }.encode_to_vec(), Vec::new()]
}

static PLAN: LazyLock<(Plan, ContractModel)> = LazyLock::new(|| {
    let model = ContractModel::read(descriptors::DANCU).unwrap();
    let pool = descriptors::pool(descriptors::DANCU).unwrap();
    let response = pool.get_message_by_name("vn.dancu.v1.GetCitizenResponse").unwrap();
    let grant = Grant::new(["so_dinh_danh", "ho_ten", "ngay_sinh"].into_iter().collect());
    (Plan::compile(&response, &ByName, &grant).unwrap(), model)
});

/// The record of the population register, by its names.
struct ByName;

impl Annotations for ByName {
    fn is_record(&self, field: &FieldDescriptor) -> bool {
        field.name() == "citizen"
    }

    fn is_subject(&self, field: &FieldDescriptor) -> bool {
        field.name() == "so_dinh_danh"
    }
}
