//! `lienthong enroll notices`: what data contacts should know of their certificates, for a person or a mail relay.

use std::process::ExitCode;

use anyhow::Result;
use lienthong_proto::lienthong::registry::v1::{ListNoticesRequest, Notice, NoticeKind};
use serde_json::{Value, json};

use crate::{
    commands::enroll::{BrokerArgs, PAGE_ITEMS, service, show},
    out,
};

/// Prints them all.
pub async fn run(args: BrokerArgs) -> Result<ExitCode> {
    let mut service = service(&args)?;
    let (mut all, mut page_token) = (Vec::new(), String::new());
    loop {
        let request = ListNoticesRequest { page_size: PAGE_ITEMS, page_token };
        let page =
            service.list_notices(request).await.map_err(|status| show::explained(&status))?.into_inner();
        all.extend(page.notices);
        page_token = page.next_page_token;
        if page_token.is_empty() {
            break;
        }
    }
    if args.json {
        let all: Vec<Value> = all.iter().map(to_json).collect();
        out::line(&json!({ "notices": all }).to_string());
    } else if all.is_empty() {
        out::note(
            "Không có thông báo: không chứng thư nào vừa gia hạn hoặc sắp hết hạn.\n\
             No notice: no certificate was renewed of late or ends soon.",
        );
    }
    if !args.json {
        // What is most urgent goes first.
        all.sort_by_key(|notice| (std::cmp::Reverse(notice.kind), end(notice)));
        for notice in &all {
            out::line(&whole(notice));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn whole(notice: &Notice) -> String {
    let until = notice.certificate.as_ref().map(|certificate| show::local(certificate.not_after));
    let until = until.unwrap_or_default();
    let (en, vi) = match notice.kind() {
        NoticeKind::Renewed => (
            format!(
                "renewed {}, good until {until}; if nobody there knows of it, unbind it",
                show::local(notice.time)
            ),
            "đã được gia hạn; nếu cơ quan không biết việc này, hãy gỡ gắn kết ngay",
        ),
        NoticeKind::EndsSoon => (format!("ends {until}: renew it"), "sắp hết hạn, cần gia hạn"),
        NoticeKind::Ended => (
            format!("ended {until} and is refused everywhere: renew it at once"),
            "đã hết hạn và bị từ chối ở mọi nơi",
        ),
        NoticeKind::Unspecified => (String::new(), ""),
    };
    let mut lines = vec![
        format!("{}  the certificate {en}", notice.holder),
        format!("  chứng thư {vi}"),
        format!("  enrollment  {}", notice.enrollment),
    ];
    if let Some(contact) = &notice.contact {
        let ways = [&contact.display_name, &contact.position, &contact.email, &contact.phone];
        let ways: Vec<&str> = ways.into_iter().map(String::as_str).filter(|way| !way.is_empty()).collect();
        lines.push(format!("  tell        {}", ways.join(", ")));
    }
    lines.join("\n")
}

fn to_json(notice: &Notice) -> Value {
    let contact = notice.contact.as_ref().map(|contact| {
        json!({
            "name": contact.display_name,
            "position": contact.position,
            "email": contact.email,
            "phone": contact.phone,
        })
    });
    json!({
        "name": notice.name,
        "kind": word(notice.kind()),
        "time": show::rfc3339(notice.time),
        "agency": notice.agency,
        "contact": contact,
        "holder": notice.holder,
        "enrollment": notice.enrollment,
        "certificate": notice.certificate.as_ref().map(show::certificate_json),
    })
}

const fn word(kind: NoticeKind) -> &'static str {
    match kind {
        NoticeKind::Unspecified => "unknown",
        NoticeKind::Renewed => "renewed",
        NoticeKind::EndsSoon => "ends-soon",
        NoticeKind::Ended => "ended",
    }
}

fn end(notice: &Notice) -> Option<i64> {
    notice.certificate.as_ref()?.not_after.map(|end| end.seconds)
}
