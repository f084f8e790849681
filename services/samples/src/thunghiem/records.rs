//! The records: each is made from its number. No I/O, no clock.

use std::sync::OnceLock;

use lienthong_proto::vn::thunghiem::v1::Record;
use prost::bytes::Bytes;

/// Records there are, and so the longest stream.
pub const RECORDS_MAX: u32 = 999_999;

/// Largest payload of a record, bytes.
pub const PAYLOAD_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Payload byte `i` is `i` modulo this: a prime, so that a block of it repeated or lost is seen.
pub const PAYLOAD_PERIOD: u8 = 251;

/// The record with a number from 1, and `payload_bytes` of payload, of which more than [`PAYLOAD_BYTES_MAX`] are not
/// given. Payloads of all records share one buffer.
pub fn record(number: u32, payload_bytes: usize) -> Record {
    Record {
        ma_ban_ghi: format!("TN-{number:06}"),
        tieu_de: "Bản ghi thử nghiệm".to_owned(),
        so_thu_tu: i64::from(number) - 1,
        du_lieu: payload(payload_bytes),
        ghi_chu: vec!["Dữ liệu giả lập".to_owned(), "Không có giá trị pháp lý".to_owned()],
        noi_bo: "Không cấp cho ai".to_owned(),
    }
}

/// The number of a key, if it is one of a record.
pub fn number_of(key: &str) -> Option<u32> {
    let digits = key.strip_prefix("TN-").filter(|digits| digits.len() == 6)?;
    let number = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    (1..=RECORDS_MAX).contains(&number).then_some(number)
}

fn payload(bytes: usize) -> Bytes {
    static PATTERN: OnceLock<Bytes> = OnceLock::new();
    if bytes == 0 {
        return Bytes::new();
    }
    let pattern = PATTERN.get_or_init(|| (0..PAYLOAD_PERIOD).cycle().take(PAYLOAD_BYTES_MAX).collect());
    pattern.slice(..bytes.min(PAYLOAD_BYTES_MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_a_number_and_a_number_a_key() {
        for number in [1, 7, 4_711, RECORDS_MAX] {
            assert_eq!(number_of(&record(number, 0).ma_ban_ghi), Some(number));
        }
        for rubbish in ["", "TN-", "TN-000000", "TN-0000001", "TN-+00001", "tn-000001", "TN-00000x"] {
            assert_eq!(number_of(rubbish), None, "{rubbish}");
        }
    }

    #[test]
    fn payloads_share_one_buffer_and_end_at_their_bound() {
        let (small, large) = (record(1, 300).du_lieu, record(2, usize::MAX).du_lieu);
        assert_eq!(small.as_ptr(), large.as_ptr());
        assert_eq!((small[250], small[251], large.len()), (250, 0, PAYLOAD_BYTES_MAX));
        assert!(record(1, 0).du_lieu.is_empty());
    }
}
