//! The contract at hand, the way to the provider, and how it feels.

use std::time::Duration;

use crate::commands::doctor::{
    facts::{ClientFacts, ContractAtHand, Health, Trip},
    finding::{Check, Finding, Text, text},
};

/// Contract, deadline, health.
pub fn findings(facts: &ClientFacts) -> Vec<Finding> {
    vec![
        contract(&facts.contract, facts.method.is_some()),
        deadline(facts.trip.as_ref(), facts.timeout),
        health(facts.health.as_ref(), ""),
    ]
}

fn contract(contract: &ContractAtHand, has_method: bool) -> Finding {
    let pull =
        text("lấy lại hợp đồng: lienthong proto pull", "pull the contract again: lienthong proto pull");
    match contract {
        ContractAtHand::NotGiven if has_method => Finding::skip(
            Check::Contract,
            text(
                "thêm --contract TỆP để so hợp đồng đang có",
                "add --contract FILE to compare the one at hand",
            ),
        ),
        ContractAtHand::NotGiven => Finding::skip(Check::Contract, no_method()),
        ContractAtHand::Unreadable(why) => Finding::fail(
            Check::Contract,
            text(format!("không đọc được: {why}"), format!("cannot be read: {why}")),
            pull,
        ),
        ContractAtHand::Same => Finding::ok(
            Check::Contract,
            text("đúng phiên bản đang được cung cấp", "the very version that is served"),
        ),
        ContractAtHand::SameButComments => Finding::ok(
            Check::Contract,
            text(
                "như bản đang được cung cấp, trừ chú thích",
                "the version that is served, apart from comments",
            ),
        ),
        ContractAtHand::Differs { have, served } => {
            let (have, served) = (short(have), short(served));
            Finding::warn(
                Check::Contract,
                text(
                    format!("đang có {have}, bên cung cấp dùng {served}"),
                    format!("at hand is {have}, served is {served}"),
                ),
                pull,
            )
        }
        ContractAtHand::NotServed(why) => Finding::skip(
            Check::Contract,
            text(format!("nút không đưa hợp đồng: {why}"), format!("the node did not give it: {why}")),
        ),
    }
}

/// A hash as people compare it.
fn short(hash: &str) -> &str {
    hash.get(..12).unwrap_or(hash)
}

fn deadline(trip: Option<&Trip>, timeout: Duration) -> Finding {
    let limit = timeout.as_millis();
    match trip {
        None => Finding::skip(Check::Deadline, no_provider()),
        Some(Trip::Returned(took)) => {
            let ms = took.as_millis();
            let seen = text(
                format!("đến nút của bên cung cấp và về trong {ms} ms, thời hạn {limit} ms"),
                format!("to the provider's node and back in {ms} ms, of {limit} ms allowed"),
            );
            // Half of the time is gone before the backend has begun.
            if *took * 2 > timeout {
                let fix = text("đặt thời hạn dài hơn cho lời gọi", "state a longer deadline");
                return Finding::warn(Check::Deadline, seen, fix);
            }
            Finding::ok(Check::Deadline, seen)
        }
        Some(Trip::Failed { reason, words }) => {
            let fix = reason.map_or_else(
                || text("thử lại; xem nhật ký của nút", "try again; read the node's log"),
                |reason| {
                    let info = reason.info();
                    text(
                        format!("{}; xem docs/errors/{}.md", info.remedy_vi, info.name),
                        format!("{}; see docs/errors/{}.md", info.remedy_en, info.name),
                    )
                },
            );
            let vi = reason
                .map_or_else(|| words.clone(), |reason| format!("{}: {}", reason.name(), reason.info().vi));
            Finding::fail(Check::Deadline, text(vi, words.clone()), fix)
        }
    }
}

/// Health of a service, as whoever is nearer to it says.
pub fn health(health: Option<&Health>, service: &str) -> Finding {
    let restart = text(
        "kiểm tra hệ thống phía sau nút của bên cung cấp, hoặc báo người vận hành của họ",
        "check the backend behind the provider's node, or have its operator do so",
    );
    match health {
        None => Finding::skip(Check::Health, no_provider()),
        Some(Health::Serving) => Finding::ok(Check::Health, text("đang phục vụ", "serving")),
        Some(Health::NotServing(what)) => Finding::fail(
            Check::Health,
            text(format!("không phục vụ: {what}"), format!("not serving: {what}")),
            restart,
        ),
        Some(Health::NotOffered) => {
            Finding::skip(Check::Health, text("không có grpc.health.v1", "grpc.health.v1 is not offered"))
        }
        Some(Health::Failed(why)) => Finding::fail(
            Check::Health,
            text(format!("không trả lời: {why}"), format!("no answer: {why}")),
            restart,
        ),
    }
    .of(service)
}

fn no_method() -> Text {
    text("chưa nêu --method", "no --method was given")
}

fn no_provider() -> Text {
    text(
        "chưa biết bên cung cấp; nêu --method được phép gọi",
        "no provider is known; give a --method that may be called",
    )
}
