//! The way to somebody: name, TCP, TLS.

use time::OffsetDateTime;

use crate::commands::doctor::{
    facts::{Handshake, Reached},
    finding::{Check, Finding, text},
    judge::certificate::{DAYS_SOON, validity},
    refusals,
};

/// Name, TCP, TLS; each as far as the one before allows.
pub fn findings(reached: &Reached, now: OffsetDateTime) -> Vec<Finding> {
    let each = [name(reached), tcp(reached), tls(reached, now)];
    each.map(|finding| finding.of(&reached.subject)).into()
}

fn name(reached: &Reached) -> Finding {
    let address = &reached.address;
    match &reached.lookup {
        Ok(found) if found.is_empty() => Finding::fail(
            Check::Name,
            text(format!("{address} không có địa chỉ IP"), format!("{address} has no address")),
            correct_name(),
        ),
        Ok(found) => {
            let shown: Vec<_> = found.iter().take(3).map(ToString::to_string).collect();
            let shown = shown.join(", ");
            Finding::ok(Check::Name, text(format!("{address} là {shown}"), format!("{address} is {shown}")))
        }
        Err(why) => Finding::fail(
            Check::Name,
            text(format!("không tra được {address}: {why}"), format!("{address} cannot be looked up: {why}")),
            correct_name(),
        ),
    }
}

fn correct_name() -> crate::commands::doctor::finding::Text {
    text(
        "kiểm tra địa chỉ trong tệp cấu hình và máy chủ DNS (getent hosts TÊN)",
        "check the address in the file given, and the resolver (getent hosts NAME)",
    )
}

fn tcp(reached: &Reached) -> Finding {
    match &reached.tcp {
        None => Finding::skip(Check::Tcp, text("chưa có địa chỉ", "there is no address")),
        Some(Ok(took)) => {
            let ms = took.as_millis();
            Finding::ok(Check::Tcp, text(format!("kết nối trong {ms} ms"), format!("connected in {ms} ms")))
        }
        Some(Err(why)) => Finding::fail(
            Check::Tcp,
            text(format!("không ai trả lời: {why}"), format!("nobody answers: {why}")),
            text(
                format!("kiểm tra bên kia đang chạy và tường lửa cho phép {}", reached.address),
                format!("check that the other side runs and that firewalls let {} through", reached.address),
            ),
        ),
    }
}

fn tls(reached: &Reached, now: OffsetDateTime) -> Finding {
    match &reached.tls {
        None if matches!(reached.tcp, Some(Ok(_))) => Finding::skip(
            Check::Tls,
            text("chứng thư của mình chưa dùng được", "the own certificate cannot be used"),
        ),
        None => Finding::skip(Check::Tls, text("chưa có kết nối", "there is no connection")),
        Some(Handshake::Accepted { names, not_after }) => {
            let names = names.join(", ");
            let seen =
                text(format!("TLS 1.3, HTTP/2, máy chủ {names}"), format!("TLS 1.3, HTTP/2, server {names}"));
            let days = (*not_after - now).whole_days();
            if days >= DAYS_SOON {
                return Finding::ok(Check::Tls, seen);
            }
            let validity = validity(*not_after, now);
            Finding::warn(
                Check::Tls,
                text(
                    format!("{}; {}", seen.vi, validity.seen.vi),
                    format!("{}; {}", seen.en, validity.seen.en),
                ),
                text(
                    "báo người vận hành bên kia gia hạn chứng thư",
                    "tell the other side's operator to renew its certificate",
                ),
            )
        }
        Some(Handshake::ServerRefused(refusal)) => Finding::fail(
            Check::Tls,
            text(
                format!("không chấp nhận chứng thư của máy chủ: {}", refusals::seen(refusal).vi),
                format!("the server's certificate is not accepted: {}", refusals::seen(refusal).en),
            ),
            refusals::fix_of_peer(refusal),
        ),
        Some(Handshake::RefusedUs(alert)) => {
            let (seen, fix) = refusals::alert(alert);
            Finding::fail(Check::Tls, seen, fix)
        }
        Some(Handshake::NoHttp2) => Finding::fail(
            Check::Tls,
            text("bên kia không nói HTTP/2 (ALPN h2)", "the other side does not speak HTTP/2 (ALPN h2)"),
            text(
                "trỏ thẳng đến nút, không qua proxy kết thúc TLS",
                "point at the node itself, not at a proxy that ends TLS",
            ),
        ),
        Some(Handshake::Failed(why)) => Finding::fail(
            Check::Tls,
            text(format!("bắt tay TLS không thành: {why}"), format!("the handshake failed: {why}")),
            text(
                "kiểm tra địa chỉ là của một nút và bên kia hỗ trợ TLS 1.3",
                "check that the address is a node's and that the other side speaks TLS 1.3",
            ),
        ),
    }
}
