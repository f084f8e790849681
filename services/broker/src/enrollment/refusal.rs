//! Why a step of an enrollment is refused: what happened and what to do, in English and Vietnamese.

use lienthong_proto::lienthong::registry::v1::EnrollmentState as State;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::limits::{ENROLLMENT_REASON_CHARS_MAX, ENROLLMENTS_MAX, ENROLLMENTS_OPEN_MAX, RENEWAL_DAYS_MAX};

/// Why a step is refused. Nothing has changed then, but the count of wrong tries of a token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Not the name of a node or system.
    #[error("the holder is written agencies/<code>/nodes/<id> or agencies/<code>/systems/<id>")]
    Holder,
    /// The agency is unknown to the catalog.
    #[error(
        "{0} is no active party of the catalog; agencies come from the catalog: have it listed there first"
    )]
    UnknownAgency(String),
    /// The system is unknown to the catalog.
    #[error("{0} is no system of the catalog; have it approved and listed under its agency first (R-31)")]
    UnknownSystem(String),
    /// The registry file binds it.
    #[error("{0} is declared in the registry file; change its certificates there, or take it out first")]
    Declared(String),
    /// It is enrolled, or about to be.
    #[error(
        "{holder} has {enrollment} already; reject or unbind that first, or let the holder renew its certificate"
    )]
    Open {
        /// The holder.
        holder: String,
        /// Its open enrollment.
        enrollment: String,
    },
    /// No certificate is named.
    #[error("name the expected certificate: its issuer, and its subject or the SHA-256 of its key")]
    Expectation,
    /// Longer than a day.
    #[error("a token is good for at most 24 hours")]
    ValidTooLong,
    /// Too many are open, or remembered.
    #[error(
        "{ENROLLMENTS_OPEN_MAX} tokens and certificates wait already, or {ENROLLMENTS_MAX} enrollments are kept; decide or withdraw some first"
    )]
    TooMany,
    /// No such token.
    #[error("this token is not known here; ask the operator for one")]
    UnknownToken,
    /// Not a token at all.
    #[error("this is no enrollment token; it begins with lte1_ and has 86 characters: copy all of it")]
    NoToken,
    /// Too late.
    #[error("the token has expired; ask the operator for a new one")]
    Expired,
    /// Used with another certificate.
    #[error(
        "the token was used already, with another certificate; if that was not you, tell the operator at once"
    )]
    Spent,
    /// Withdrawn, refused or unbound.
    #[error("the enrollment of this token has ended; ask the operator for a new one")]
    Ended,
    /// Not from the expected authority.
    #[error("the token was made for a certificate of another issuer than \"{found}\"")]
    WrongIssuer {
        /// Issuer of the certificate that was shown.
        found: String,
    },
    /// Not the expected subject.
    #[error("the token was made for a certificate of another subject than \"{found}\"")]
    WrongSubject {
        /// Subject of the certificate that was shown.
        found: String,
    },
    /// Not the expected key.
    #[error("the token was made for a certificate with another key")]
    WrongKey,
    /// The certificate names another agency.
    #[error("the certificate names agency {found}, and stands for no other (R-34)")]
    OtherAgency {
        /// Code in the certificate.
        found: String,
    },
    /// A public authority vouches for no agency.
    #[error(
        "a public authority vouches for this certificate: it stands for parties outside the political system alone (R-39)"
    )]
    PublicAuthority,
    /// The certificate cannot be connected to.
    #[error(
        "a node's certificate must allow TLS server authentication; have one issued with that use (R-35)"
    )]
    NotAServer,
    /// The certificate is bound.
    #[error("this certificate stands for {0} already; one certificate stands for one holder (R-34)")]
    BoundElsewhere(String),
    /// Not host and port.
    #[error("give the address at which other nodes reach this node, as host:port")]
    Address,
    /// Not a name of the certificate.
    #[error("the server name must be one of the certificate's DNS names: {found}")]
    ServerName {
        /// Its DNS names.
        found: String,
    },
    /// A system has no address.
    #[error("an information system is enrolled without address and server name")]
    PlaceOfSystem,
    /// Nothing waits for approval.
    #[error("nothing waits for approval here: the enrollment is {}", word(*.0))]
    NotWaiting(State),
    /// Nothing is left to reject.
    #[error("only what was offered or waits can be rejected: the enrollment is {}", word(*.0))]
    NotOpen(State),
    /// Nothing is bound.
    #[error("nothing is bound here: the enrollment is {}", word(*.0))]
    NotBound(State),
    /// One person, one pair of eyes.
    #[error("whoever made the token cannot approve its certificate: another operator must (four eyes, R-09)")]
    SameOfficer,
    /// Not what the approver saw.
    #[error("the certificate is not the one with that fingerprint; look at it again before approving")]
    OtherCertificate,
    /// The certificate has ended meanwhile.
    #[error("the certificate's validity has ended; reject this, and have a new one enrolled")]
    CertificateExpired,
    /// A reason is needed.
    #[error("say why, in 1 to {ENROLLMENT_REASON_CHARS_MAX} characters on one line")]
    Reason,
    /// Not the newest certificate.
    #[error("a renewal is asked for with the newest certificate that is bound; this is an older one")]
    NotThePresent,
    /// The caller is not enrolled.
    #[error(
        "this certificate was not enrolled, so that it is not renewed here; it is declared in the operator's registry file"
    )]
    NotEnrolled,
    /// Not later than the present one.
    #[error("the next certificate must be valid, and not end before the present one")]
    NotLater,
    /// Longer than a renewal may be.
    #[error("a renewed certificate is valid for at most {RENEWAL_DAYS_MAX} days (R-35)")]
    RenewedTooLong,
    /// The next certificate is not accepted.
    #[error("the next certificate is not accepted: {0}")]
    NotAccepted(String),
    /// The next key has not signed.
    #[error("the next certificate's key has not signed this renewal")]
    NotSigned,
    /// No such enrollment, or none of the caller's.
    #[error(
        "no enrollment \"{0}\" is known, or it is none of yours; a name looks like enrollments/3f9c2a71d04be856"
    )]
    NotFound(String),
    /// Asked too often.
    #[error("this certificate asks too often; wait a minute")]
    TooOften,
}

impl Refused {
    /// Whether it counts against the token: somebody showed it with what it was not made for.
    pub const fn is_wrong_try(&self) -> bool {
        matches!(
            self,
            Refused::WrongIssuer { .. }
                | Refused::WrongSubject { .. }
                | Refused::WrongKey
                | Refused::OtherAgency { .. }
                | Refused::PublicAuthority
                | Refused::BoundElsewhere(_)
        )
    }

    /// The gRPC code.
    pub const fn code(&self) -> Code {
        match self {
            Refused::Holder
            | Refused::Expectation
            | Refused::ValidTooLong
            | Refused::NoToken
            | Refused::Address
            | Refused::ServerName { .. }
            | Refused::PlaceOfSystem
            | Refused::Reason
            | Refused::NotLater
            | Refused::RenewedTooLong
            | Refused::NotAccepted(_)
            | Refused::NotAServer => Code::InvalidArgument,
            Refused::TooMany | Refused::TooOften => Code::ResourceExhausted,
            Refused::NotFound(_) => Code::NotFound,
            Refused::UnknownToken
            | Refused::Spent
            | Refused::WrongIssuer { .. }
            | Refused::WrongSubject { .. }
            | Refused::WrongKey
            | Refused::OtherAgency { .. }
            | Refused::PublicAuthority
            | Refused::SameOfficer
            | Refused::NotSigned => Code::PermissionDenied,
            _ => Code::FailedPrecondition,
        }
    }

    /// The same in Vietnamese.
    pub fn vi(&self) -> String {
        match self {
            Refused::Holder => "Ghi chủ thể theo dạng agencies/<mã>/nodes/<id> hoặc agencies/<mã>/systems/<id>.".to_owned(),
            Refused::UnknownAgency(code) => format!("{code} không phải là bên đang hoạt động trong danh mục; hãy bổ sung vào danh mục trước."),
            Refused::UnknownSystem(name) => format!("{name} không có trong danh mục; hệ thống phải được phê duyệt và ghi vào danh mục trước (R-31)."),
            Refused::Declared(name) => format!("{name} đã khai báo trong tệp đăng ký; hãy sửa chứng thư tại đó hoặc bỏ khai báo trước."),
            Refused::Open { holder, enrollment } => format!("{holder} đã có {enrollment}; hãy từ chối hoặc hủy gắn trước, hoặc gia hạn chứng thư."),
            Refused::Expectation => "Nêu chứng thư dự kiến: tổ chức cấp, cùng với chủ thể hoặc SHA-256 của khóa.".to_owned(),
            Refused::ValidTooLong => "Mã kết nạp chỉ có hiệu lực tối đa 24 giờ.".to_owned(),
            Refused::TooMany => "Có quá nhiều hồ sơ kết nạp đang chờ; hãy xử lý hoặc thu hồi bớt.".to_owned(),
            Refused::UnknownToken => "Không có mã kết nạp này; hãy xin mã từ đơn vị vận hành.".to_owned(),
            Refused::NoToken => "Đây không phải là mã kết nạp; mã bắt đầu bằng lte1_ và dài 86 ký tự.".to_owned(),
            Refused::Expired => "Mã kết nạp đã hết hạn; hãy xin mã mới.".to_owned(),
            Refused::Spent => "Mã kết nạp đã được dùng với chứng thư khác; nếu không phải do đơn vị mình dùng, hãy báo ngay cho đơn vị vận hành.".to_owned(),
            Refused::Ended => "Hồ sơ kết nạp của mã này đã kết thúc; hãy xin mã mới.".to_owned(),
            Refused::WrongIssuer { .. } => "Mã kết nạp dành cho chứng thư do tổ chức khác cấp.".to_owned(),
            Refused::WrongSubject { .. } => "Mã kết nạp dành cho chứng thư của chủ thể khác.".to_owned(),
            Refused::WrongKey => "Mã kết nạp dành cho chứng thư có khóa khác.".to_owned(),
            Refused::OtherAgency { found } => format!("Chứng thư ghi cơ quan {found}, không dùng được cho cơ quan khác (R-34)."),
            Refused::PublicAuthority => "Chứng thư công cộng chỉ dùng cho bên ngoài hệ thống chính trị, không đại diện cho cơ quan nhà nước (R-39).".to_owned(),
            Refused::NotAServer => "Chứng thư của nút phải cho phép xác thực máy chủ TLS (R-35).".to_owned(),
            Refused::BoundElsewhere(name) => format!("Chứng thư này đã gắn với {name}; một chứng thư chỉ đại diện cho một chủ thể (R-34)."),
            Refused::Address => "Nêu địa chỉ để các nút khác kết nối, dạng máy:cổng.".to_owned(),
            Refused::ServerName { found } => format!("Tên máy chủ phải là một trong các tên DNS của chứng thư: {found}."),
            Refused::PlaceOfSystem => "Hệ thống thông tin được kết nạp không kèm địa chỉ và tên máy chủ.".to_owned(),
            Refused::NotWaiting(_) => "Hồ sơ này không ở trạng thái chờ phê duyệt.".to_owned(),
            Refused::NotOpen(_) => "Chỉ từ chối được hồ sơ đã mời hoặc đang chờ phê duyệt.".to_owned(),
            Refused::NotBound(_) => "Hồ sơ này không có chứng thư nào đang gắn.".to_owned(),
            Refused::SameOfficer => "Người tạo mã kết nạp không được tự phê duyệt: cần một cán bộ vận hành khác (nguyên tắc bốn mắt, R-09).".to_owned(),
            Refused::OtherCertificate => "Chứng thư không khớp với dấu vân tay đã nêu; hãy xem lại trước khi phê duyệt.".to_owned(),
            Refused::CertificateExpired => "Chứng thư đã hết hiệu lực; hãy từ chối và kết nạp chứng thư mới.".to_owned(),
            Refused::Reason => format!("Nêu lý do, từ 1 đến {ENROLLMENT_REASON_CHARS_MAX} ký tự."),
            Refused::NotThePresent => "Chỉ gia hạn được bằng chứng thư mới nhất đang gắn.".to_owned(),
            Refused::NotEnrolled => "Chứng thư này do tệp đăng ký khai báo, không gia hạn qua kết nạp.".to_owned(),
            Refused::NotLater => "Chứng thư mới phải còn hiệu lực và không hết hạn trước chứng thư hiện tại.".to_owned(),
            Refused::RenewedTooLong => format!("Chứng thư gia hạn có hiệu lực tối đa {RENEWAL_DAYS_MAX} ngày (R-35)."),
            Refused::NotAccepted(_) => "Chứng thư mới không được chấp nhận.".to_owned(),
            Refused::NotSigned => "Khóa của chứng thư mới chưa ký yêu cầu gia hạn này.".to_owned(),
            Refused::NotFound(_) => "Không có hồ sơ kết nạp này, hoặc hồ sơ không thuộc về đơn vị.".to_owned(),
            Refused::TooOften => "Chứng thư này hỏi quá nhiều lần; hãy đợi một phút.".to_owned(),
        }
    }

    /// The status as a caller reads it, with the Vietnamese text as a detail (AIP-193).
    pub fn to_status(&self) -> Status {
        let mut details = ErrorDetails::new();
        details.set_localized_message("vi", self.vi());
        Status::with_error_details(self.code(), self.to_string(), details)
    }
}

/// A state as a word.
const fn word(state: State) -> &'static str {
    match state {
        State::Unspecified => "in no state",
        State::Offered => "offered, nobody has redeemed its token",
        State::Waiting => "waiting for approval",
        State::Active => "active",
        State::Rejected => "rejected",
        State::Unbound => "unbound",
        State::Expired => "expired",
    }
}
