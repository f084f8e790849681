//! The one exchange that every contestant carries: a question about a citizen, and an answer of exactly the size asked.
//!
//! Pure: bytes in memory, made once, compared with what arrives. The citizen number in the question says how large
//! the answer shall be, so that one backend serves every payload. Every row is visibly fake.

use bytes::{BufMut, Bytes, BytesMut};
use lienthong_proto::vn::dancu::v1::{Citizen, GetCitizenRequest, GetCitizenResponse, SyncCitizensRequest};
use prost::Message;

/// gRPC path of the method under test.
pub const PATH: &str = "/vn.dancu.v1.CitizenService/GetCitizen";
/// gRPC service of the method under test.
pub const SERVICE: &str = "vn.dancu.v1.CitizenService";
/// Purpose that the consumer states.
pub const PURPOSE: &str = "ADMIN_PROCEDURE";
/// Dossier that the consumer states; the purpose needs one.
pub const DOSSIER: &str = "H26.90-261121-0001";
/// Fields of the record that the catalog grants to the consumer; the others are dropped on the way.
pub const GRANTED: [&str; 4] = ["so_dinh_danh", "ho_ten", "ngay_sinh", "noi_thuong_tru"];

/// The payloads measured: encoded bytes of the backend's answer.
pub const PAYLOADS_BYTES: [usize; 2] = [256, 4096];
/// Smallest answer that can be made: a citizen with every field filled.
pub const PAYLOAD_BYTES_MIN: usize = 200;

/// gRPC path of the streaming method under test.
pub const STREAM_PATH: &str = "/vn.dancu.v1.CitizenService/SyncCitizens";
/// Purpose that the consumer of a stream states.
pub const STREAM_PURPOSE: &str = "NATIONAL_SYNC";
/// Encoded bytes of each message of a stream.
pub const STREAM_MESSAGE_BYTES: usize = 64 * 1024;

/// Bytes before each gRPC message: the compressed flag and the length.
const FRAME_HEADER_BYTES: usize = 5;

/// The question and what comes back, framed as gRPC sends them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// What the consumer sends.
    pub request: Bytes,
    /// What the backend answers.
    pub answer: Bytes,
    /// What the consumer receives where the mesh applies the catalog: granted fields only.
    pub released: Bytes,
}

impl Exchange {
    /// The exchange whose answer encodes to `payload_bytes`, or `None` below [`PAYLOAD_BYTES_MIN`].
    pub fn of(payload_bytes: usize) -> Option<Self> {
        let citizen = response(payload_bytes)?.citizen?;
        let released = Citizen {
            so_dinh_danh: citizen.so_dinh_danh.clone(),
            ho_ten: citizen.ho_ten.clone(),
            ngay_sinh: citizen.ngay_sinh.clone(),
            noi_thuong_tru: citizen.noi_thuong_tru.clone(),
            ..Citizen::default()
        };
        Some(Self {
            request: frame(&GetCitizenRequest { so_dinh_danh: number(payload_bytes) }),
            answer: frame(&response_with(citizen)),
            released: frame(&response_with(released)),
        })
    }
}

impl Exchange {
    /// A stream: its question, and each of its messages. One message of the stream is encoded as the answer of the
    /// unary method is: the same record in the same field.
    pub fn stream() -> Option<Self> {
        let request = frame(&SyncCitizensRequest::default());
        Some(Self { request, ..Self::of(STREAM_MESSAGE_BYTES)? })
    }
}

/// What the backend answers: a response that encodes to `payload_bytes`, or `None` below [`PAYLOAD_BYTES_MIN`].
pub fn response(payload_bytes: usize) -> Option<GetCitizenResponse> {
    let citizen = (payload_bytes >= PAYLOAD_BYTES_MIN).then(|| citizen_of(payload_bytes)).flatten()?;
    Some(response_with(citizen))
}

/// A citizen number that names a size, and that nobody has: no province has the code 000.
fn number(payload_bytes: usize) -> String {
    format!("{payload_bytes:012}")
}

/// Fills every field, then pads granted ones until the response has the size asked.
fn citizen_of(payload_bytes: usize) -> Option<Citizen> {
    let mut citizen = Citizen {
        so_dinh_danh: number(payload_bytes),
        ho_ten: "DEMO Nguyen Van Mau".into(),
        ngay_sinh: "1990-01-01".into(),
        gioi_tinh: "Nam".into(),
        dan_toc: "Kinh".into(),
        quoc_tich: "VN".into(),
        que_quan: "Xa Mau, tinh Mau".into(),
        noi_thuong_tru: "So 1 duong Mau".into(),
        noi_o_hien_tai: "So 2 duong Mau".into(),
        tinh_trang_hon_nhan: "doc than".into(),
        trang_thai: "song".into(),
        cap_nhat_luc: Some(prost_types::Timestamp { seconds: 1_795_000_000, nanos: 0 }),
    };
    // Each round may overshoot by the bytes by which a length prefix grows; the name takes up what is then missing.
    let missing = missing_bytes(&citizen, payload_bytes)?;
    citizen.noi_thuong_tru.push_str(&"x".repeat(missing));
    while missing_bytes(&citizen, payload_bytes).is_none() {
        citizen.noi_thuong_tru.pop();
    }
    let missing = missing_bytes(&citizen, payload_bytes)?;
    citizen.ho_ten.push_str(&"x".repeat(missing));
    (missing_bytes(&citizen, payload_bytes) == Some(0)).then_some(citizen)
}

/// How many bytes the response with this citizen lacks; `None` if it is too large.
fn missing_bytes(citizen: &Citizen, payload_bytes: usize) -> Option<usize> {
    payload_bytes.checked_sub(response_with(citizen.clone()).encoded_len())
}

fn response_with(citizen: Citizen) -> GetCitizenResponse {
    GetCitizenResponse { citizen: Some(citizen) }
}

fn frame(message: &impl Message) -> Bytes {
    let mut framed = BytesMut::with_capacity(FRAME_HEADER_BYTES + message.encoded_len());
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.encoded_len()).unwrap_or(u32::MAX));
    framed.put_slice(&message.encode_to_vec());
    framed.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_exactly_the_size_asked() {
        for bytes in (PAYLOAD_BYTES_MIN..1_000).chain([4_096, 65_536]) {
            let exchange = Exchange::of(bytes).unwrap_or_else(|| panic!("no answer of {bytes} bytes"));
            assert_eq!(exchange.answer.len(), FRAME_HEADER_BYTES + bytes);
        }
        assert_eq!(Exchange::of(100), None);
    }

    #[test]
    fn the_mesh_has_something_to_drop_and_something_to_keep() {
        let exchange = Exchange::of(256).unwrap();
        let released = GetCitizenResponse::decode(&exchange.released[FRAME_HEADER_BYTES..]).unwrap();
        let citizen = released.citizen.unwrap();
        assert!(!citizen.noi_thuong_tru.is_empty());
        assert!(citizen.tinh_trang_hon_nhan.is_empty() && citizen.cap_nhat_luc.is_none());
        assert!(exchange.released.len() < exchange.answer.len());
    }

    #[test]
    fn a_message_of_a_stream_is_encoded_as_an_answer_is() {
        use lienthong_proto::vn::dancu::v1::SyncCitizensResponse;
        let exchange = Exchange::stream().unwrap();
        assert_eq!(exchange.answer.len(), FRAME_HEADER_BYTES + STREAM_MESSAGE_BYTES);
        let message = SyncCitizensResponse::decode(&exchange.answer[FRAME_HEADER_BYTES..]).unwrap();
        assert_eq!(frame(&message), exchange.answer);
    }

    #[test]
    fn the_question_tells_the_payloads_apart() {
        assert_ne!(Exchange::of(256).unwrap().request, Exchange::of(4096).unwrap().request);
    }
}
