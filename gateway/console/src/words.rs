//! Words of the protocol, in two languages.

use lienthong_proto::lienthong::audit::v1::{AccessKind, FindingKind, Status};
use lienthong_proto::lienthong::catalog::v1::{ChangeKind, ChangeState};
use lienthong_proto::lienthong::options::v1::{MethodKind, Purpose};
use lienthong_proto::lienthong::registry::v1::{
    ConnectionRequestState, DisputeCause, DisputeOutcome, DisputeStage, RefusalState,
};
use lienthong_proto::reason::Reason;

use crate::format::capital;
use crate::lang::Lang;

/// A purpose.
pub const fn purpose(purpose: Purpose, lang: Lang) -> &'static str {
    match purpose {
        Purpose::Unspecified => "–",
        Purpose::AdminProcedure => lang.of("Giải quyết thủ tục hành chính", "Administrative procedure"),
        Purpose::PublicService => lang.of("Cung cấp dịch vụ công", "Public service"),
        Purpose::StateManagement => lang.of("Quản lý nhà nước", "State management"),
        Purpose::DirectionAndAdministration => lang.of("Chỉ đạo, điều hành", "Direction and administration"),
        Purpose::NationalSync => {
            lang.of("Đồng bộ cơ sở dữ liệu tổng hợp quốc gia", "Synchronisation with the national database")
        }
        Purpose::Verification => lang.of("Xác minh", "Verification"),
        Purpose::Statistics => lang.of("Thống kê", "Statistics"),
        Purpose::DisputeAudit => lang.of("Giải quyết vướng mắc, kiểm toán", "Dispute or audit"),
        Purpose::Commercial => lang.of("Thương mại", "Trade"),
    }
}

/// How an exchange ended.
pub const fn status(status: Status, lang: Lang) -> &'static str {
    match status {
        Status::Unspecified => "–",
        Status::Delivered => lang.of("Đã cung cấp", "Delivered"),
        Status::Empty => lang.of("Không có bản ghi", "Empty"),
        Status::Denied => lang.of("Bị chặn", "Denied"),
        Status::Refused => lang.of("Bị từ chối", "Refused"),
        Status::Failed => lang.of("Thất bại", "Failed"),
        Status::Partial => lang.of("Một phần", "Partial"),
        Status::UnknownAfterCrash => lang.of("Không rõ sau sự cố", "Unknown after a crash"),
    }
}

/// What a reason of the closed list means; the word itself where the list does not have it.
pub fn reason(name: &str, lang: Lang) -> String {
    Reason::from_name(name)
        .map_or_else(|| name.to_owned(), |reason| capital(lang.of(reason.info().vi, reason.info().en)))
}

/// How a replayed call ends: the fields that it gets, or the reason why none.
pub fn ending(ending: &str, lang: Lang) -> String {
    match ending.strip_prefix("ALLOW") {
        Some(fields) => format!("{}{fields}", lang.of("Được phép", "Permitted")),
        None => reason(ending, lang),
    }
}

/// Agencies that an entry names: codes as they are, groups of them in words.
pub fn consumers(codes: &[String], lang: Lang) -> Vec<&str> {
    codes.iter().map(|code| registered(code, lang)).collect()
}

/// A kind of record, as the search names it.
pub fn kind(kind: &str, lang: Lang) -> &str {
    KINDS.iter().find(|(word, ..)| *word == kind).map_or(kind, |(_, vi, en)| lang.of(vi, en))
}

/// Kinds of records that people search for.
pub const KINDS: &[(&str, &str, &str)] = &[
    ("closing", "Kết thúc trao đổi", "Exchange closed"),
    ("denial", "Bị chặn", "Denial"),
    ("opening", "Bắt đầu trao đổi", "Exchange opened"),
    ("continuation", "Chủ thể bổ sung", "More subjects"),
    ("progress", "Đang truyền", "In progress"),
    ("aggregate", "Bản ghi gộp", "Aggregate"),
    ("administration", "Quản trị", "Administration"),
    ("access", "Tra cứu nhật ký", "Question to the log"),
    ("bundle", "Gói quyền", "Rights bundle"),
    ("seal", "Niêm phong lô", "Batch seal"),
    ("manifest", "Mục lục chỉ mục", "Index manifest"),
    ("finding", "Phát hiện", "Finding"),
    ("finding-closed", "Đóng phát hiện", "Finding closed"),
    ("pruning", "Hết thời hạn lưu", "Pruned after its retention"),
    ("erasure", "Xóa chủ thể", "Subject erased"),
];

/// What kind of finding.
pub const fn finding(kind: FindingKind, lang: Lang) -> &'static str {
    let (vi, en) = match kind {
        FindingKind::Unspecified => ("–", "–"),
        FindingKind::MissingSide => ("Thiếu bản ghi của một bên", "One side is missing"),
        FindingKind::Contradiction => ("Hai bên ghi khác nhau", "Both sides contradict"),
        FindingKind::LateSide => ("Bản ghi đến muộn", "A side came late"),
        FindingKind::DuplicateExchange => ("Trao đổi bị ghi trùng", "Recorded twice"),
        FindingKind::UnknownAfterCrash => ("Không rõ kết quả sau sự cố", "Unknown after a crash"),
        FindingKind::SilentNode => ("Nút im lặng", "Silent node"),
        FindingKind::ClockSkew => ("Đồng hồ lệch", "Clock skew"),
        FindingKind::Journal => ("Nhật ký của nút không liền mạch", "A node's journal does not go on"),
        FindingKind::LogForked => ("Nhật ký có hai lịch sử", "The log showed two histories"),
        FindingKind::LogUnwitnessed => ("Nhật ký chưa được chứng kiến", "The log was not witnessed in time"),
        FindingKind::VolumeSpike => ("Khai thác tăng đột biến", "Volume spike"),
        FindingKind::OffHours => ("Khai thác ngoài giờ", "Outside working hours"),
        FindingKind::Enumeration => ("Dò quét nhiều người", "Enumeration"),
        FindingKind::OwnRecord => ("Tự tra cứu bản thân", "Own record"),
        FindingKind::RepeatedDenials => ("Bị chặn nhiều lần", "Repeated denials"),
        FindingKind::StaleData => ("Dữ liệu chậm cập nhật", "Stale data"),
        FindingKind::InvalidCopy => ("Bản sao hết hiệu lực", "A copy is no longer valid"),
        FindingKind::ContractDrift => ("Hợp đồng đang chạy khác đăng ký", "Running contract differs"),
        FindingKind::UndeclaredRefusal => ("Từ chối không khai báo", "Undeclared refusal"),
        FindingKind::CountsDiffer => ("Số đếm hai bên khác nhau", "The sides' counts differ"),
    };
    lang.of(vi, en)
}

/// Kinds of findings, for a choice.
pub fn findings() -> impl Iterator<Item = FindingKind> {
    (1..64).filter_map(|number| FindingKind::try_from(number).ok())
}

/// Purposes, for a choice.
pub fn purposes() -> impl Iterator<Item = Purpose> {
    (1..64).filter_map(|number| Purpose::try_from(number).ok())
}

/// Endings, for a choice.
pub fn statuses() -> impl Iterator<Item = Status> {
    (1..64).filter_map(|number| Status::try_from(number).ok())
}

/// What was asked of the log.
pub const fn access(kind: AccessKind, lang: Lang) -> &'static str {
    match kind {
        AccessKind::Search => lang.of("Tìm kiếm", "Search"),
        AccessKind::Export => lang.of("Xuất tệp", "Export"),
        AccessKind::Evidence => lang.of("Lấy chứng cứ", "Evidence"),
        AccessKind::SubjectAccess => lang.of("Tra cứu theo chủ thể", "Subject access"),
        AccessKind::Disclosure => lang.of("Đổi việc công khai", "Disclosure"),
        AccessKind::Unspecified => "–",
    }
}

/// Why the console itself asks the log, as it is put on record: to show the questions on record.
pub const OF_READINGS: &str = "console: questions on record";

/// See [`OF_READINGS`]: to write an evidence file.
pub const OF_EVIDENCE: &str = "console: evidence file";

/// See [`OF_READINGS`]: to show one exchange.
pub const OF_EXCHANGE: &str = "console: one exchange";

/// Why somebody asked the log: in his own words, or in ours where the console asked for him.
pub fn why(reason: &str, lang: Lang) -> &str {
    match reason {
        OF_READINGS => lang.of("mở trang việc tra cứu đã ghi", "opened the questions on record"),
        OF_EVIDENCE => lang.of("lấy tệp chứng cứ", "took an evidence file"),
        OF_EXCHANGE => lang.of("mở trang một lần trao đổi", "opened one exchange"),
        own => own,
    }
}

/// A method's kind.
pub fn method(kind: MethodKind, lang: Lang) -> &'static str {
    registered(kind.as_str_name().trim_start_matches("METHOD_KIND_"), lang)
}

/// A word of the registry and the catalog (bloc, level, role, status, method, group of agencies, reason of a refusal) as people
/// say it; one that is not known stays as it is.
pub fn registered(word: &str, lang: Lang) -> &str {
    let known = REGISTERED.iter().find(|(known, ..)| *known == word);
    known.map_or(word, |(_, vi, en)| lang.of(vi, en))
}

const REGISTERED: &[(&str, &str, &str)] = &[
    ("PARTY", "Đảng", "Party"),
    ("NATIONAL_ASSEMBLY", "Quốc hội", "National Assembly"),
    ("GOVERNMENT", "Chính phủ", "Government"),
    ("COURT", "Tòa án", "Courts"),
    ("PROCURACY", "Viện kiểm sát", "Procuracy"),
    ("STATE_AUDIT", "Kiểm toán nhà nước", "State Audit"),
    ("PRESIDENT_OFFICE", "Văn phòng Chủ tịch nước", "Office of the President"),
    ("FATHERLAND_FRONT", "Mặt trận Tổ quốc", "Fatherland Front"),
    ("LOCAL", "Địa phương", "Local"),
    ("OUTSIDE", "Ngoài hệ thống chính trị", "Outside the political system"),
    ("CENTRAL", "Trung ương", "Central"),
    ("PROVINCE", "Cấp tỉnh", "Province"),
    ("COMMUNE", "Cấp xã", "Commune"),
    ("PROVIDER", "cung cấp", "provider"),
    ("CONSUMER", "khai thác", "consumer"),
    ("OPERATOR", "vận hành", "operator"),
    ("AUDITOR", "kiểm toán", "auditor"),
    ("DRAFT", "Dự thảo", "Draft"),
    ("IN_REVIEW", "Đang thẩm định", "In review"),
    ("ACTIVE", "Có hiệu lực", "In force"),
    ("SUSPENDED", "Tạm ngừng", "Suspended"),
    ("RETIRED", "Hết hiệu lực", "Retired"),
    ("QUERY", "hỏi trực tuyến", "query"),
    ("SYNC_TO_CONSUMER", "đồng bộ cho bên khai thác", "sync to the consumer"),
    ("SYNC_TO_NATIONAL_DB", "đồng bộ về cơ sở dữ liệu tổng hợp quốc gia", "sync to the national database"),
    ("OFFLINE_PACKAGE", "gói ngoại tuyến", "offline package"),
    ("ALL", "mọi cơ quan", "every agency"),
    ("MINISTRY.ALL", "mọi bộ, ngành", "every ministry"),
    ("LOCAL.ALL", "mọi cơ quan địa phương", "every local agency"),
    ("UNLAWFUL_REQUEST", "Yêu cầu trái quy định của pháp luật", "The request is unlawful"),
    ("STATE_SECRET", "Dữ liệu thuộc bí mật nhà nước", "The data is a state secret"),
    (
        "PERSONAL_DATA_RULE",
        "Trái quy định về bảo vệ dữ liệu cá nhân",
        "A rule of personal data protection forbids it",
    ),
    (
        "RIGHTS_INFRINGED",
        "Xâm phạm quyền, lợi ích hợp pháp của tổ chức, cá nhân",
        "Rights of others would be infringed",
    ),
    (
        "TECH_STANDARD_NOT_MET",
        "Không đáp ứng tiêu chuẩn, quy chuẩn kỹ thuật kết nối",
        "The consumer does not meet the technical standard",
    ),
    (
        "UNAUTHORISED_ACTIVITY",
        "Phát hiện hoạt động khai thác không được phép",
        "Unauthorised activity was found",
    ),
    ("CONFIDENTIALITY_BREACH", "Vi phạm bảo mật thông tin", "Confidentiality was breached"),
    ("OVERLOAD", "Hệ thống quá tải, cần tạm ngừng", "The system is overloaded"),
];

/// How far a change has come.
pub const fn change(state: ChangeState, lang: Lang) -> &'static str {
    match state {
        ChangeState::Unspecified => "–",
        ChangeState::Proposed => lang.of("Chờ người thứ hai", "Waits for the second person"),
        ChangeState::Applied => lang.of("Có hiệu lực", "In force"),
        ChangeState::Rejected => lang.of("Bị bác", "Rejected"),
        ChangeState::Overtaken => lang.of("Bị thay đổi khác vượt qua", "Overtaken"),
    }
}

/// How something changes.
pub const fn altered(kind: ChangeKind, lang: Lang) -> &'static str {
    match kind {
        ChangeKind::Unspecified => "–",
        ChangeKind::Added => lang.of("Thêm", "Added"),
        ChangeKind::Removed => lang.of("Bỏ", "Removed"),
        ChangeKind::Altered => lang.of("Sửa", "Altered"),
    }
}

/// What became of a refusal.
pub const fn refusal(state: RefusalState, lang: Lang) -> &'static str {
    match state {
        RefusalState::Unspecified => "–",
        RefusalState::Suspending => lang.of("Đang tạm ngừng quyền", "Suspends the right"),
        RefusalState::Unjustified => lang.of("Không có căn cứ", "Unjustified"),
        RefusalState::Withdrawn => lang.of("Đã rút", "Withdrawn"),
        RefusalState::Expired => lang.of("Đã hết hạn", "Expired"),
        RefusalState::Overturned => lang.of("Bị bác bỏ", "Overturned"),
    }
}

/// Why there is a dispute.
pub const fn cause(cause: DisputeCause, lang: Lang) -> &'static str {
    match cause {
        DisputeCause::Unspecified => "–",
        DisputeCause::Refusal => lang.of("Từ chối có lý do", "A refusal with a lawful reason"),
        DisputeCause::UnjustifiedRefusal => lang.of("Từ chối không có căn cứ", "A refusal without one"),
        DisputeCause::UndeclaredRefusal => lang.of("Từ chối không khai báo", "An undeclared refusal"),
    }
}

/// Who has to act.
pub const fn stage(stage: DisputeStage, lang: Lang) -> &'static str {
    match stage {
        DisputeStage::Unspecified => "–",
        DisputeStage::Provider => lang.of("Cơ quan cung cấp", "The provider"),
        DisputeStage::ItUnit => lang.of("Đơn vị chuyên trách CNTT", "The information-technology unit"),
        DisputeStage::Operator => lang.of("Đơn vị vận hành", "The operator"),
        DisputeStage::Government => lang.of("Chính phủ", "The Government"),
    }
}

/// How a dispute ended.
pub const fn outcome(outcome: DisputeOutcome, lang: Lang) -> &'static str {
    match outcome {
        DisputeOutcome::Unspecified => lang.of("Đang giải quyết", "Open"),
        DisputeOutcome::Upheld => lang.of("Giữ nguyên việc từ chối", "The refusal stands"),
        DisputeOutcome::Overturned => lang.of("Bác việc từ chối", "The refusal is overturned"),
        DisputeOutcome::Unjustified => lang.of("Không có căn cứ", "There was no lawful reason"),
        DisputeOutcome::Settled => lang.of("Đã ổn thỏa", "Settled"),
    }
}

/// How a connection request stands.
pub const fn request(state: ConnectionRequestState, lang: Lang) -> &'static str {
    match state {
        ConnectionRequestState::Unspecified => "–",
        ConnectionRequestState::Pending => lang.of("Chờ trả lời", "Waits for an answer"),
        ConnectionRequestState::Overdue => lang.of("Quá hạn trả lời", "Overdue"),
        ConnectionRequestState::Accepted => lang.of("Được chấp thuận", "Accepted"),
        ConnectionRequestState::Declined => lang.of("Bị từ chối", "Declined"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lawful_reason_to_refuse_is_called_what_the_duty_file_calls_it() {
        let file = include_str!("../../../services/duty/src/vietnam.toml");
        let reasons = file.split("[[reasons]]").skip(1);
        let value = |reason: &str, key: &str| {
            let (_, behind) = reason.split_once(&format!("{key} = \"")).unwrap();
            behind.split_once('"').unwrap().0.to_owned()
        };
        let mut known = 0;
        for reason in reasons {
            assert_eq!(registered(&value(reason, "code"), Lang::Vi), value(reason, "name_vi"));
            known += 1;
        }
        assert!(known > 5, "the duty file has another form now");
    }

    #[test]
    fn an_ending_and_a_group_of_agencies_are_words() {
        assert_eq!(ending("ALLOW (ho_ten)", Lang::Vi), "Được phép (ho_ten)");
        assert_ne!(ending("DENY_FIELD", Lang::Vi), "DENY_FIELD");
        let codes = ["G01".to_owned(), "LOCAL.ALL".to_owned()];
        assert_eq!(consumers(&codes, Lang::Vi), ["G01", "mọi cơ quan địa phương"]);
    }
}
