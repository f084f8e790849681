//! Refused certificates and TLS alerts in both languages. English is the judgement's own; Vietnamese is here.

use lienthong_certs::CertificateRefusal;

use super::finding::{Text, text};

/// What is wrong.
pub fn seen(refusal: &CertificateRefusal) -> Text {
    text(seen_vi(refusal), refusal.to_string())
}

/// What to do about one's own certificate.
pub fn fix(refusal: &CertificateRefusal) -> Text {
    text(fix_vi(refusal), refusal.remedy())
}

/// What to do about the other side's.
pub fn fix_of_peer(refusal: &CertificateRefusal) -> Text {
    match refusal {
        // A bad signature, too: an authority of the same name with another key.
        CertificateRefusal::UnknownAuthority { .. }
        | CertificateRefusal::SelfSigned
        | CertificateRefusal::BadSignature => text(
            "thêm tổ chức cấp chứng thư của máy chủ vào `trust`, hoặc kiểm tra địa chỉ có đúng là nút không",
            "add the authority of the server's certificate to `trust`, or check that the address is the node's",
        ),
        CertificateRefusal::WrongName { .. } => text(
            "sửa `server_name` cho khớp tên trong chứng thư của máy chủ",
            "set `server_name` to the name in the server's certificate",
        ),
        CertificateRefusal::DevelopmentCertificate => text(
            "đây là môi trường thử nghiệm: đặt development = true chỉ khi bạn muốn dùng nó",
            "this is a development mesh: set development = true only if that is what you mean",
        ),
        _ => text(
            "báo người vận hành bên kia về chứng thư của họ",
            "tell the other side's operator about its certificate",
        ),
    }
}

/// What the other side meant by an alert, and what to do.
pub fn alert(alert: &str) -> (Text, Text) {
    let (vi, en, fix) = match alert {
        "CertificateExpired" => (
            "chứng thư của mình đã hết hạn",
            "our certificate has expired",
            text(
                "gia hạn chứng thư và kiểm tra đồng hồ máy này",
                "renew the certificate, and check this machine's clock",
            ),
        ),
        "CertificateRevoked" => (
            "chứng thư của mình đã bị thu hồi",
            "our certificate was revoked",
            text("xin cấp chứng thư mới với khóa mới", "request a new certificate with a new key"),
        ),
        "UnknownCA" => (
            "bên kia không tin tổ chức cấp chứng thư của mình",
            "the other side does not trust the authority of our certificate",
            text(
                "dùng chứng thư do tổ chức được nền tảng tin cậy cấp, kèm chứng thư trung gian",
                "use a certificate of an authority that the mesh trusts, with its intermediates",
            ),
        ),
        "CertificateRequired" => (
            "bên kia đòi hỏi chứng thư của máy khách",
            "the other side demands a client certificate",
            text("đặt `certificate` và `key`", "set `certificate` and `key`"),
        ),
        _ => (
            "bên kia từ chối chứng thư của mình",
            "the other side refuses our certificate",
            text(
                "chạy `lienthong certs inspect` với chứng thư, rồi hỏi người vận hành bên kia",
                "run `lienthong certs inspect` on the certificate, then ask the other side's operator",
            ),
        ),
    };
    (text(format!("{vi} (cảnh báo TLS {alert})"), format!("{en} (TLS alert {alert})")), fix)
}

fn seen_vi(refusal: &CertificateRefusal) -> String {
    use CertificateRefusal as Refusal;
    match refusal {
        Refusal::Expired { not_after } => {
            format!("chứng thư, hoặc chứng thư của tổ chức cấp, hết hạn ngày {} (R-35)", not_after.date())
        }
        Refusal::NotYetValid { not_before } => {
            format!("chứng thư chưa có hiệu lực trước ngày {} (R-35)", not_before.date())
        }
        Refusal::UnknownAuthority { issuer } => {
            format!("không có đường dẫn từ tổ chức cấp \"{issuer}\" đến tổ chức được tin cậy ở đây (R-32)")
        }
        Refusal::Revoked { serial, authority, when, .. } => {
            let whose = if *authority { "chứng thư của tổ chức cấp" } else { "chứng thư" };
            format!("{whose} số hiệu {serial} đã bị thu hồi ngày {} (R-35, R-36)", when.date())
        }
        Refusal::LifetimeTooLong { years_max } => format!("chứng thư có thời hạn quá {years_max} năm (R-35)"),
        Refusal::KeyTooWeak { found } => format!("khóa ({found}) không được chấp nhận (R-35)"),
        Refusal::WrongName { expected } => format!("chứng thư không mang tên máy chủ \"{expected}\""),
        Refusal::SelfSigned => "chứng thư tự ký, không tổ chức nào bảo đảm (R-32)".to_owned(),
        Refusal::BadSignature => "một chữ ký trong chuỗi không khớp khóa của tổ chức cấp (R-32)".to_owned(),
        Refusal::WeakSignature => "chuỗi dùng thuật toán ký không được chấp nhận (R-35)".to_owned(),
        Refusal::WrongUsage { .. } => "chứng thư không được cấp cho mục đích sử dụng này (R-35)".to_owned(),
        Refusal::BadSan(_) => "tên thay thế trong chứng thư sai hoặc nêu hai cơ quan (R-34)".to_owned(),
        Refusal::NameNotNormalised { .. } => "tên trong chứng thư không ở dạng chuẩn Unicode NFC".to_owned(),
        Refusal::ChainTooLong => "chuỗi chứng thư quá dài".to_owned(),
        Refusal::WrongPlace => "một chứng thư trong chuỗi đứng sai chỗ".to_owned(),
        Refusal::NameConstraint => "tổ chức cấp không được bảo đảm cho các tên này".to_owned(),
        Refusal::UnknownCriticalExtension => "chứng thư có phần mở rộng bắt buộc không được biết".to_owned(),
        Refusal::Malformed(_) => "chứng thư sai định dạng".to_owned(),
        Refusal::DevelopmentCertificate => "chứng thư chỉ dùng cho thử nghiệm, nơi này chạy thật".to_owned(),
    }
}

fn fix_vi(refusal: &CertificateRefusal) -> &'static str {
    use CertificateRefusal as Refusal;
    match refusal {
        Refusal::Expired { .. } => "gia hạn chứng thư và kiểm tra đồng hồ máy này",
        Refusal::NotYetValid { .. } => "chờ đến ngày hiệu lực và kiểm tra đồng hồ máy này",
        Refusal::UnknownAuthority { .. } => {
            "kèm cả chứng thư trung gian; nếu tổ chức cấp là mới, thêm vào danh sách tin cậy"
        }
        Refusal::SelfSigned | Refusal::DevelopmentCertificate => "dùng chứng thư chuyên dùng công vụ",
        Refusal::BadSignature => "lấy lại chứng thư và chuỗi từ tổ chức cấp",
        Refusal::WeakSignature => "xin chuỗi ký bằng RSA từ 2048 bit, ECDSA P-256 hoặc P-384, hoặc Ed25519",
        Refusal::Revoked { .. } => "xin cấp chứng thư mới với khóa mới",
        Refusal::WrongUsage { .. } => "xin chứng thư có clientAuth và serverAuth",
        Refusal::LifetimeTooLong { .. } => "xin chứng thư có thời hạn ngắn hơn",
        Refusal::KeyTooWeak { .. } => {
            "xin chứng thư với khóa ECDSA P-256, P-384, Ed25519 hoặc RSA từ 2048 bit"
        }
        Refusal::BadSan(_) => "xin chứng thư nêu đúng một cơ quan và tên miền hợp lệ",
        Refusal::WrongName { .. } => "gọi bằng tên có trong chứng thư, hoặc xin chứng thư cho tên đó",
        Refusal::NameNotNormalised { .. } => "xin chứng thư có tên ở dạng NFC",
        Refusal::ChainTooLong => "chỉ trình chứng thư của mình và các chứng thư trung gian",
        Refusal::WrongPlace => "đặt chứng thư của mình trước, các tổ chức cấp sau",
        Refusal::NameConstraint => "xin chứng thư từ tổ chức phụ trách các tên này",
        Refusal::UnknownCriticalExtension => "xin chứng thư không có phần mở rộng đó",
        Refusal::Malformed(_) => "dùng đúng tệp mà tổ chức cấp đã phát hành",
    }
}
