//! The closed list of reasons: each one's gRPC code, the rule behind it, and its texts.
//!
//! The names are those of the proto enum [`Reason`]; a test checks that every one has its row here
//! and its page in `docs/errors/`.

use tonic::Code;

pub use crate::lienthong::options::v1::Reason;

/// `google.rpc.ErrorInfo.domain` of every error that the mesh itself makes.
pub const DOMAIN: &str = "lienthong";

/// What both nodes record, and the broker follows, where a backend itself refuses a consumer that the catalog entitles: no
/// reason of the mesh, which refuses nothing there (R-06; design §6, Outcomes).
pub const UNDECLARED_REFUSAL: &str = "UNDECLARED_REFUSAL";

/// What everybody needs to know of one reason.
#[derive(Debug)]
pub struct ReasonInfo {
    /// The reason.
    pub reason: Reason,
    /// `google.rpc.ErrorInfo.reason`, for example `DENY_FIELD`.
    pub name: &'static str,
    /// gRPC status code that the caller sees.
    pub code: Code,
    /// Rules behind it (domain rules `R-nn`, or the design's section).
    pub rule: &'static str,
    /// What happened, English.
    pub en: &'static str,
    /// What happened, Vietnamese.
    pub vi: &'static str,
    /// What to do, English.
    pub remedy_en: &'static str,
    /// What to do, Vietnamese.
    pub remedy_vi: &'static str,
}

impl Reason {
    /// The row of this reason.
    pub fn info(self) -> &'static ReasonInfo {
        // INVARIANT: every reason has a row (tested); UNSPECIFIED, which nothing raises, has the first.
        TABLE.iter().find(|info| info.reason == self).unwrap_or(&TABLE[0])
    }

    /// The name that callers read, for example `DENY_FIELD`.
    pub fn name(self) -> &'static str {
        self.info().name
    }

    /// The reason of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        TABLE.iter().find(|info| info.name == name).map(|info| info.reason)
    }

    /// True where the mesh applied the catalog: the call was denied, nobody refused it.
    pub fn is_denial(self) -> bool {
        self.name().starts_with("DENY_")
    }

    /// Every reason, in the order of the list.
    pub fn all() -> impl Iterator<Item = &'static ReasonInfo> {
        TABLE.iter()
    }
}

macro_rules! table {
    ($($reason:ident $name:literal $code:ident $rule:literal { en: $en:literal, vi: $vi:literal, remedy_en: $remedy_en:literal, remedy_vi: $remedy_vi:literal })*) => {
        &[$(ReasonInfo {
            reason: Reason::$reason, name: $name, code: Code::$code, rule: $rule,
            en: $en, vi: $vi, remedy_en: $remedy_en, remedy_vi: $remedy_vi,
        }),*]
    };
}

static TABLE: &[ReasonInfo] = table! {
    DenyNotEntitled "DENY_NOT_ENTITLED" PermissionDenied "R-01, R-15" {
        en: "the catalog gives this consumer no right to this dataset",
        vi: "danh mục không cấp cho cơ quan này quyền khai thác tập dữ liệu này",
        remedy_en: "check the catalog entry; an agency that needs the data files a connection request",
        remedy_vi: "xem lại mục danh mục; cơ quan có nhu cầu gửi yêu cầu kết nối"
    }
    DenyPurpose "DENY_PURPOSE" PermissionDenied "R-24" {
        en: "the purpose is missing, unknown, or not granted for this dataset",
        vi: "thiếu mục đích, mục đích không có trong danh sách hoặc không được cấp cho tập dữ liệu này",
        remedy_en: "send mesh-purpose with one of the purposes that the catalog grants",
        remedy_vi: "gửi mesh-purpose với một mục đích mà danh mục đã cấp"
    }
    DenyField "DENY_FIELD" PermissionDenied "R-24, R-25, R-26" {
        en: "a field was asked for by name that is not granted for this purpose",
        vi: "yêu cầu đích danh một trường không được cấp cho mục đích này",
        remedy_en: "remove the field from mesh-fields, or leave mesh-fields out to get what is granted",
        remedy_vi: "bỏ trường đó khỏi mesh-fields, hoặc bỏ mesh-fields để nhận các trường được cấp"
    }
    DenyRowScope "DENY_ROW_SCOPE" PermissionDenied "R-24" {
        en: "the row lies outside the scope of the right",
        vi: "bản ghi nằm ngoài phạm vi của quyền",
        remedy_en: "ask only for rows inside the scope that the right states",
        remedy_vi: "chỉ yêu cầu các bản ghi trong phạm vi mà quyền đã ghi"
    }
    DenyCertificate "DENY_CERTIFICATE" PermissionDenied "R-32, R-34, R-35, R-36" {
        en: "the certificate is not bound to a node or system of the registry, or is no longer accepted",
        vi: "chứng thư chưa được gắn với nút hay hệ thống nào trong sổ đăng ký, hoặc không còn được chấp nhận",
        remedy_en: "run `lienthong certs inspect` on the certificate; have it bound in the registry",
        remedy_vi: "chạy `lienthong certs inspect` với chứng thư; đề nghị gắn chứng thư vào sổ đăng ký"
    }
    DenySecurityLevel "DENY_SECURITY_LEVEL" PermissionDenied "R-30, R-31" {
        en: "the approved information-security level of a system is below what the dataset demands",
        vi: "cấp độ an toàn đã phê duyệt của hệ thống thấp hơn mức tập dữ liệu yêu cầu",
        remedy_en: "have the system's security level approved and registered",
        remedy_vi: "phê duyệt và đăng ký cấp độ an toàn của hệ thống"
    }
    DenyStateSecret "DENY_STATE_SECRET" PermissionDenied "R-21" {
        en: "state secrets never enter the mesh",
        vi: "bí mật nhà nước không được truyền qua nền tảng này",
        remedy_en: "use the channel that the law on state secrets provides",
        remedy_vi: "sử dụng kênh theo quy định của pháp luật về bảo vệ bí mật nhà nước"
    }
    DenySuspended "DENY_SUSPENDED" PermissionDenied "R-04, R-17" {
        en: "the right is suspended by a recorded act",
        vi: "quyền đang bị tạm ngừng theo một quyết định đã được ghi nhận",
        remedy_en: "see the suspension in the catalog for its reason and expected end",
        remedy_vi: "xem lý do và thời điểm dự kiến khôi phục của việc tạm ngừng trong danh mục"
    }
    DenyQuota "DENY_QUOTA" ResourceExhausted "R-24" {
        en: "more calls than the right allows",
        vi: "vượt quá số lượt gọi mà quyền cho phép",
        remedy_en: "wait as RetryInfo says; ask for a larger quota if the duty needs it",
        remedy_vi: "chờ theo RetryInfo; đề nghị hạn mức lớn hơn nếu nhiệm vụ cần"
    }
    DenyExpiredRight "DENY_EXPIRED_RIGHT" PermissionDenied "R-24" {
        en: "the right is not yet valid, or no longer",
        vi: "quyền chưa có hiệu lực hoặc đã hết hiệu lực",
        remedy_en: "see the entry's dates; have the right renewed",
        remedy_vi: "xem thời hạn của mục danh mục; đề nghị gia hạn quyền"
    }
    RefusedByProvider "REFUSED_BY_PROVIDER" PermissionDenied "R-04, R-05, R-06" {
        en: "the provider refused, with a reason and a legal basis on record",
        vi: "cơ quan cung cấp từ chối, lý do và căn cứ pháp lý đã được ghi nhận",
        remedy_en: "read the refusal; contest it as a dispute",
        remedy_vi: "xem nội dung từ chối; gửi vướng mắc nếu không đồng ý"
    }
    DenyContext "DENY_CONTEXT" InvalidArgument "R-24" {
        en: "call metadata is missing or malformed",
        vi: "siêu dữ liệu của lời gọi thiếu hoặc sai định dạng",
        remedy_en: "send what the message names, in the form that it names",
        remedy_vi: "gửi đúng siêu dữ liệu và định dạng mà thông báo nêu"
    }
    DenyMethod "DENY_METHOD" PermissionDenied "R-02" {
        en: "the right does not grant this method of exchange",
        vi: "quyền không bao gồm phương thức chia sẻ này",
        remedy_en: "use one of the methods that the catalog entry lists",
        remedy_vi: "dùng một trong các phương thức mà mục danh mục liệt kê"
    }
    DenyUnknownMethod "DENY_UNKNOWN_METHOD" Unimplemented "R-01" {
        en: "no dataset is served under this method, as far as this node knows",
        vi: "nút này không biết tập dữ liệu nào được cung cấp qua phương thức này",
        remedy_en: "check the path, and mesh-provider where several agencies serve it",
        remedy_vi: "kiểm tra đường dẫn, và mesh-provider khi nhiều cơ quan cùng cung cấp"
    }
    DenyReplay "DENY_REPLAY" PermissionDenied "design: replay and retry" {
        en: "the exchange id was used before, or is outside the replay window",
        vi: "mã trao đổi đã được dùng hoặc nằm ngoài cửa sổ chống phát lại",
        remedy_en: "make a new call; check the clocks of both nodes",
        remedy_vi: "thực hiện lời gọi mới; kiểm tra đồng hồ của hai nút"
    }
    DenyClock "DENY_CLOCK" Unavailable "design: freshness and clock" {
        en: "the node's clock is behind the broker's",
        vi: "đồng hồ của nút chậm hơn đồng hồ của nền tảng điều phối",
        remedy_en: "synchronise the node's clock",
        remedy_vi: "đồng bộ lại đồng hồ của nút"
    }
    DenyRightsStale "DENY_RIGHTS_STALE" Unavailable "design: freshness and clock" {
        en: "the node's rights are older than this dataset's class allows",
        vi: "bản quyền truy cập của nút đã cũ hơn mức lớp dữ liệu này cho phép",
        remedy_en: "restore the node's connection to the broker",
        remedy_vi: "khôi phục kết nối của nút tới nền tảng điều phối"
    }
    DenyEpoch "DENY_EPOCH" Unavailable "design: the broker decides" {
        en: "the node has not yet seen the epoch that the call demands",
        vi: "nút chưa nhận được phiên bản quyền mà lời gọi yêu cầu",
        remedy_en: "retry in a moment",
        remedy_vi: "thử lại sau giây lát"
    }
    DenyBrokerUnreachable "DENY_BROKER_UNREACHABLE" Unavailable "design: the broker decides" {
        en: "this dataset is decided online and the broker cannot be reached",
        vi: "tập dữ liệu này cần quyết định trực tuyến nhưng không liên lạc được nền tảng điều phối",
        remedy_en: "retry when the broker is back",
        remedy_vi: "thử lại khi nền tảng điều phối hoạt động trở lại"
    }
    DenyAuditUnavailable "DENY_AUDIT_UNAVAILABLE" Unavailable "R-01, R-47" {
        en: "the exchange cannot be put on record, so nothing is released",
        vi: "không thể ghi nhật ký cho lần trao đổi này nên không cung cấp dữ liệu",
        remedy_en: "the node's operator checks the journal's disk and the shipping backlog",
        remedy_vi: "người vận hành nút kiểm tra ổ đĩa nhật ký và lượng bản ghi chờ gửi"
    }
    DenyRevokedLive "DENY_REVOKED_LIVE" PermissionDenied "R-36" {
        en: "the right or certificate behind this live call was withdrawn",
        vi: "quyền hoặc chứng thư của lời gọi đang mở đã bị thu hồi",
        remedy_en: "see the catalog and the registry for what changed",
        remedy_vi: "xem thay đổi trong danh mục và sổ đăng ký"
    }
    DenyCommercial "DENY_COMMERCIAL" PermissionDenied "R-29" {
        en: "trade is no purpose of this mesh",
        vi: "mục đích thương mại không được phục vụ qua nền tảng này",
        remedy_en: "commercial use follows the rules of the data exchange floor",
        remedy_vi: "khai thác thương mại thực hiện theo quy định của sàn dữ liệu"
    }
    FailProviderUnreachable "FAIL_PROVIDER_UNREACHABLE" Unavailable "R-19" {
        en: "no node of the provider could be reached; nothing was sent",
        vi: "không kết nối được nút nào của cơ quan cung cấp; chưa gửi dữ liệu nào",
        remedy_en: "retry; see the provider's health in the catalog",
        remedy_vi: "thử lại; xem tình trạng của cơ quan cung cấp trong danh mục"
    }
    FailBackendUnreachable "FAIL_BACKEND_UNREACHABLE" Unavailable "R-19" {
        en: "the provider's node could not reach its own backend",
        vi: "nút của cơ quan cung cấp không kết nối được hệ thống phía sau",
        remedy_en: "retry; the provider's operator checks the backend",
        remedy_vi: "thử lại; người vận hành bên cung cấp kiểm tra hệ thống phía sau"
    }
    FailMessageTooLarge "FAIL_MESSAGE_TOO_LARGE" ResourceExhausted "design: limits" {
        en: "a message is larger than the node accepts",
        vi: "thông điệp lớn hơn mức nút chấp nhận",
        remedy_en: "ask for smaller pages, or use a streaming method",
        remedy_vi: "yêu cầu trang nhỏ hơn, hoặc dùng phương thức truyền luồng"
    }
    FailMalformedMessage "FAIL_MALFORMED_MESSAGE" Internal "R-40" {
        en: "a message is not what its contract says; nothing of it was released",
        vi: "thông điệp không đúng hợp đồng dữ liệu; không phần nào được cung cấp",
        remedy_en: "regenerate the client or the backend from the published contract",
        remedy_vi: "sinh lại phần mềm khách hoặc hệ thống phía sau từ hợp đồng đã công bố"
    }
    FailDeadline "FAIL_DEADLINE" DeadlineExceeded "design: limits" {
        en: "the deadline passed before the answer was complete",
        vi: "quá thời hạn trước khi có đủ câu trả lời",
        remedy_en: "allow more time, or ask for less",
        remedy_vi: "tăng thời hạn hoặc giảm phạm vi yêu cầu"
    }
    FailInterrupted "FAIL_INTERRUPTED" Unavailable "R-45" {
        en: "the connection broke while the answer was on its way",
        vi: "kết nối bị ngắt khi câu trả lời đang được truyền",
        remedy_en: "retry; both sides have the interruption on record",
        remedy_vi: "thử lại; cả hai bên đã ghi nhận việc gián đoạn"
    }
    FailOverloaded "FAIL_OVERLOADED" Unavailable "design: limits" {
        en: "the node is stopping, or holds as many calls as it may",
        vi: "nút đang dừng hoặc đang xử lý số lời gọi tối đa",
        remedy_en: "retry in a moment",
        remedy_vi: "thử lại sau giây lát"
    }
    FailUnsupportedEncoding "FAIL_UNSUPPORTED_ENCODING" Unimplemented "gRPC: compression" {
        en: "a message is compressed in a way that the mesh cannot read",
        vi: "thông điệp được nén theo cách mà nền tảng không đọc được",
        remedy_en: "compress with gzip or zstd, or not at all",
        remedy_vi: "nén bằng gzip hoặc zstd, hoặc không nén"
    }
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_of_the_proto_has_its_row() {
        for number in 1..100 {
            if let Ok(reason) = Reason::try_from(number) {
                assert_eq!(reason.as_str_name(), format!("REASON_{}", reason.name()));
                assert_eq!(Reason::from_name(reason.name()), Some(reason));
            }
        }
        assert_eq!(Reason::all().count(), (1..100).filter(|n| Reason::try_from(*n).is_ok()).count());
    }

    #[test]
    fn every_reason_has_a_page() {
        for info in Reason::all() {
            let page = format!("{}/../docs/errors/{}.md", env!("CARGO_MANIFEST_DIR"), info.name);
            let text = std::fs::read_to_string(&page).unwrap_or_else(|_| panic!("no page {page}"));
            for text_of_the_table in [info.en, info.vi, info.remedy_en, info.remedy_vi] {
                assert!(text.contains(text_of_the_table), "{page} does not say: {text_of_the_table}");
            }
        }
    }

    #[test]
    fn names_fit_aip_193() {
        for info in Reason::all() {
            assert!(info.name.len() <= 63);
            assert!(info.name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_'));
        }
    }
}
