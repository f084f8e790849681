//! What the doctor says of one thing: how it is, what was seen, and the fix in one line, in both languages.

use serde::Serialize;

/// A text in both languages of the house.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Text {
    /// Vietnamese.
    pub vi: String,
    /// English.
    pub en: String,
}

/// A text in both languages.
pub fn text(vi: impl Into<String>, en: impl Into<String>) -> Text {
    Text { vi: vi.into(), en: en.into() }
}

/// How one thing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// As it should be.
    Ok,
    /// It works, but not for ever, or not as well as it should.
    Warn,
    /// Calls fail because of it.
    Fail,
    /// It could not be looked at, or nobody asked.
    Skip,
}

/// What is looked at. The order is that of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Check {
    /// The configuration and everything that it names.
    Configuration,
    /// The mesh trust file.
    Trust,
    /// File mode of the private key.
    Key,
    /// Certificate and key: readable, a pair.
    Certificate,
    /// Days of validity left.
    Validity,
    /// From the own certificate to a trust anchor, and the profile.
    Chain,
    /// Whether it was revoked, and how fresh that knowledge is.
    Revocation,
    /// The name has an address.
    Name,
    /// The address answers.
    Tcp,
    /// Both sides accept each other.
    Tls,
    /// The running process.
    Process,
    /// Clocks of both sides.
    Clock,
    /// Whom the registry takes the certificate for.
    Registry,
    /// The rights that the node decides by.
    Bundle,
    /// Whether the call may be made.
    Right,
    /// The contract at hand against the one that is served.
    Contract,
    /// The way to the provider within the stated time.
    Deadline,
    /// Provider and backend.
    Health,
    /// Records that wait for the broker.
    Journal,
    /// Room for more of them.
    Disk,
    /// Encryption at rest.
    Encryption,
}

impl Check {
    /// What it is called.
    pub fn title(self) -> Text {
        let (vi, en) = match self {
            Self::Configuration => ("Cấu hình", "Configuration"),
            Self::Trust => ("Tệp tin cậy", "Trust file"),
            Self::Key => ("Khóa riêng", "Private key"),
            Self::Certificate => ("Chứng thư", "Certificate"),
            Self::Validity => ("Thời hạn chứng thư", "Validity"),
            Self::Chain => ("Chuỗi tin cậy", "Chain to trust"),
            Self::Revocation => ("Thu hồi", "Revocation"),
            Self::Name => ("Tên miền", "Name"),
            Self::Tcp => ("Kết nối TCP", "TCP"),
            Self::Tls => ("Kết nối TLS", "TLS"),
            Self::Process => ("Tiến trình", "Process"),
            Self::Clock => ("Đồng hồ", "Clock"),
            Self::Registry => ("Sổ đăng ký", "Registry"),
            Self::Bundle => ("Gói quyền", "Rights bundle"),
            Self::Right => ("Quyền gọi", "Right"),
            Self::Contract => ("Hợp đồng dữ liệu", "Contract"),
            Self::Deadline => ("Thời hạn gọi", "Deadline"),
            Self::Health => ("Hệ thống cung cấp", "Provider"),
            Self::Journal => ("Nhật ký", "Journal"),
            Self::Disk => ("Dung lượng đĩa", "Disk"),
            Self::Encryption => ("Mã hóa ổ đĩa", "Volume encryption"),
        };
        text(vi, en)
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at.
    pub check: Check,
    /// Which one, where there are several: `node`, `broker`, `backend vn.dancu.v1.CitizenService`; may be empty.
    pub subject: String,
    /// How it is.
    pub status: Status,
    /// What was seen.
    pub seen: Text,
    /// What to do; absent where nothing is.
    pub fix: Option<Text>,
}

impl Finding {
    /// As it should be.
    pub fn ok(check: Check, seen: Text) -> Self {
        Self { check, subject: String::new(), status: Status::Ok, seen, fix: None }
    }

    /// Worth a look.
    pub fn warn(check: Check, seen: Text, fix: Text) -> Self {
        Self { status: Status::Warn, fix: Some(fix), ..Self::ok(check, seen) }
    }

    /// Broken.
    pub fn fail(check: Check, seen: Text, fix: Text) -> Self {
        Self { status: Status::Fail, fix: Some(fix), ..Self::ok(check, seen) }
    }

    /// Not looked at.
    pub fn skip(check: Check, why: Text) -> Self {
        Self { status: Status::Skip, ..Self::ok(check, why) }
    }

    /// The same about one of several.
    #[must_use]
    pub fn of(self, subject: &str) -> Self {
        Self { subject: subject.to_owned(), ..self }
    }
}

/// True where nothing is broken.
pub fn is_well(findings: &[Finding]) -> bool {
    !findings.iter().any(|finding| finding.status == Status::Fail)
}
