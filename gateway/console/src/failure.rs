//! Why there is no page: in words, with what to do.

use axum::http::StatusCode;
use lienthong_proto::reason::Reason;
use lienthong_proto::status;
use tonic::{Code, Status};

use crate::format::sentences;
use crate::lang::Lang;

/// Why there is no page.
#[derive(Debug)]
pub enum Failure {
    /// The broker says so.
    Broker(Status),
    /// The page is for other roles.
    Role,
    /// Nobody has signed in.
    NobodySignedIn,
    /// There is no page of this address.
    NoSuchPage,
    /// What was entered cannot be read: what, and an example, in both languages.
    Input {
        /// Vietnamese.
        vi: String,
        /// English.
        en: String,
    },
    /// A form that was not made by this console for this person.
    Forged,
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Failure::Broker(status)
    }
}

impl Failure {
    /// The HTTP status of the page.
    pub fn code(&self) -> StatusCode {
        match self {
            Failure::Role | Failure::Forged => StatusCode::FORBIDDEN,
            Failure::NobodySignedIn => StatusCode::UNAUTHORIZED,
            Failure::NoSuchPage => StatusCode::NOT_FOUND,
            Failure::Input { .. } => StatusCode::BAD_REQUEST,
            Failure::Broker(status) => match status.code() {
                Code::PermissionDenied | Code::Unauthenticated => StatusCode::FORBIDDEN,
                Code::NotFound => StatusCode::NOT_FOUND,
                Code::InvalidArgument | Code::OutOfRange => StatusCode::BAD_REQUEST,
                Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => StatusCode::CONFLICT,
                Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
                Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
                Code::DeadlineExceeded => StatusCode::GATEWAY_TIMEOUT,
                _ => StatusCode::BAD_GATEWAY,
            },
        }
    }

    /// What happened.
    pub fn title(&self, lang: Lang) -> &'static str {
        match self.code() {
            StatusCode::FORBIDDEN => lang.of("Không được phép", "Not permitted"),
            StatusCode::UNAUTHORIZED => lang.of("Chưa đăng nhập", "Not signed in"),
            StatusCode::NOT_FOUND => lang.of("Không tìm thấy", "Not found"),
            StatusCode::BAD_REQUEST => lang.of("Yêu cầu chưa đúng", "The request is not right"),
            StatusCode::CONFLICT => lang.of("Không thực hiện được lúc này", "This cannot be done now"),
            StatusCode::TOO_MANY_REQUESTS => lang.of("Quá nhiều yêu cầu", "Too many requests"),
            _ => lang.of("Nền tảng điều phối chưa trả lời", "The broker gives no answer"),
        }
    }

    /// In more words, and what to do.
    pub fn text(&self, lang: Lang) -> String {
        match self {
            Failure::Role => lang
                .of(
                    "Trang này dành cho vai trò khác. Nếu công việc của bạn cần trang này, đề nghị đơn vị vận hành gắn chứng \
                     thư của bạn với vai trò tương ứng.",
                    "This page is for other roles. If your work needs it, ask the operator to bind your certificate to that \
                     role.",
                )
                .to_owned(),
            Failure::NobodySignedIn => lang
                .of(
                    "Hãy mở trang bằng trình duyệt có chứng thư số công vụ của bạn.",
                    "Open the page with a browser that holds your official-use certificate.",
                )
                .to_owned(),
            Failure::NoSuchPage => {
                lang.of("Không có trang nào ở địa chỉ này.", "There is no page at this address.").to_owned()
            }
            Failure::Input { vi, en } => lang.of(vi, en).to_owned(),
            Failure::Forged => lang
                .of(
                    "Biểu mẫu này không do trang này tạo cho bạn, hoặc đã quá cũ. Hãy mở lại trang và gửi lại.",
                    "This form was not made here for you, or is too old. Open the page again and send it anew.",
                )
                .to_owned(),
            Failure::Broker(said) => match reason(said) {
                Some(reason) => {
                    let info = reason.info();
                    let told = sentences(lang.of(info.vi, info.en), lang.of(info.remedy_vi, info.remedy_en));
                    format!("{}: {told}", info.name)
                }
                None if said.code() == Code::Unavailable || said.code() == Code::DeadlineExceeded => lang
                    .of(
                        "Trang chưa hỏi được nền tảng điều phối. Hãy thử lại sau ít phút; nếu vẫn vậy, báo đơn vị vận hành.",
                        "The broker could not be asked. Try again in a few minutes; if it stays so, tell the operator.",
                    )
                    .to_owned(),
                None => plain(said.code(), lang).to_owned(),
            },
        }
    }

    /// The broker's own words, for those who ask for help.
    pub fn detail(&self) -> &str {
        match self {
            Failure::Broker(said) => said.message(),
            _ => "",
        }
    }
}

/// What the broker's code says to people.
fn plain(code: Code, lang: Lang) -> &'static str {
    match code {
        Code::NotFound => lang.of(
            "Không có mục này trong phạm vi bạn được xem.",
            "There is no such thing among what you may see.",
        ),
        Code::PermissionDenied | Code::Unauthenticated => {
            lang.of("Bạn không được xem hoặc làm việc này.", "You may not see or do this.")
        }
        Code::InvalidArgument | Code::OutOfRange => {
            lang.of("Hãy kiểm tra lại những gì đã nhập.", "Look again at what you entered.")
        }
        Code::FailedPrecondition | Code::Aborted | Code::AlreadyExists => lang.of(
            "Tình trạng đã thay đổi. Hãy mở lại trang rồi thử lại.",
            "Something has changed meanwhile. Open the page again and try anew.",
        ),
        Code::ResourceExhausted => lang.of("Hãy thử lại sau ít phút.", "Try again in a few minutes."),
        _ => lang.of(
            "Nền tảng điều phối gặp lỗi. Hãy thử lại sau ít phút; nếu vẫn vậy, báo đơn vị vận hành.",
            "The broker failed. Try again in a few minutes; if it stays so, tell the operator.",
        ),
    }
}

fn reason(said: &Status) -> Option<Reason> {
    Some(status::read(said)?.reason)
}
