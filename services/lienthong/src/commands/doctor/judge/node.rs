//! What the node said: clocks, registry, rights, and the call that is meant.

use std::time::Duration;

use lienthong_proto::{
    lienthong::node::v1::{CallOutlook, GetDiagnosisResponse, Problem},
    reason::Reason,
};

use crate::commands::doctor::{
    facts::Asked,
    finding::{Check, Finding, Text, text},
};

/// Difference of clocks above which something is wrong, milliseconds: the bound that nodes are held to.
pub const SKEW_WARN_MS: i64 = 5_000;

/// Difference above which calls fail, milliseconds: an exchange id further off is outside the replay window.
pub const SKEW_FAIL_MS: i64 = 120_000;

/// Silence of the broker above which somebody should look, seconds; it gives a sign of life every second.
pub const SILENCE_WARN_S: u64 = 60;

/// Clock, registry, bundle, right.
pub fn findings(asked: Option<&Asked>, method: Option<&str>) -> Vec<Finding> {
    match asked {
        Some(Asked::Answered { diagnosis, here_unix_ms, uncertain_ms }) => {
            vec![
                clock(diagnosis, *here_unix_ms, *uncertain_ms),
                registry(diagnosis),
                bundle(diagnosis),
                right(diagnosis.call.as_ref(), method),
            ]
        }
        Some(Asked::Failed(why)) => {
            let failed = Finding::fail(
                Check::Registry,
                text(
                    format!("nút không trả lời chẩn đoán: {why}"),
                    format!("the node gave no diagnosis: {why}"),
                ),
                text("xem nhật ký của nút", "read the node's log"),
            );
            let mut findings = not_looked_at(&text("nút không trả lời", "the node did not answer"));
            findings[1] = failed;
            findings
        }
        Some(Asked::NotOffered) => {
            not_looked_at(&text("nút này chưa có dịch vụ chẩn đoán", "this node offers no diagnosis"))
        }
        None => not_looked_at(&text("chưa kết nối được nút", "there is no connection to the node")),
    }
}

fn not_looked_at(why: &Text) -> Vec<Finding> {
    [Check::Clock, Check::Registry, Check::Bundle, Check::Right]
        .map(|check| Finding::skip(check, why.clone()))
        .into()
}

fn clock(diagnosis: &GetDiagnosisResponse, here_unix_ms: i64, uncertain_ms: i64) -> Finding {
    if diagnosis.state.as_ref().is_some_and(|state| state.clock_behind) {
        return Finding::fail(
            Check::Clock,
            text(
                "đồng hồ của nút chậm hơn nền tảng điều phối: nút từ chối mọi lời gọi (DENY_CLOCK)",
                "the node's clock is behind the broker's: it denies every call (DENY_CLOCK)",
            ),
            text("đồng bộ đồng hồ của nút (NTP)", "synchronise the node's clock (NTP)"),
        );
    }
    let time = diagnosis.time.unwrap_or_default();
    let there = time.seconds.saturating_mul(1000).saturating_add(i64::from(time.nanos) / 1_000_000);
    let skew = here_unix_ms.saturating_sub(there);
    // What lies within the time that the question took is no difference.
    let sure = (skew.abs() - uncertain_ms).max(0);
    let seen = skew_text(skew, uncertain_ms);
    let fix = text("đồng bộ đồng hồ máy này (NTP)", "synchronise this machine's clock (NTP)");
    match sure {
        SKEW_FAIL_MS.. => Finding::fail(Check::Clock, seen, fix),
        SKEW_WARN_MS.. => Finding::warn(Check::Clock, seen, fix),
        _ => Finding::ok(Check::Clock, seen),
    }
}

fn skew_text(skew_ms: i64, uncertain_ms: i64) -> Text {
    let (vi, en) = if skew_ms < 0 { ("chậm hơn", "behind") } else { ("nhanh hơn", "ahead of") };
    let (skew, give) = (skew_ms.abs(), uncertain_ms);
    text(
        format!("máy này {vi} nút {skew} ms (±{give} ms)"),
        format!("this machine is {skew} ms {en} the node (±{give} ms)"),
    )
}

fn registry(diagnosis: &GetDiagnosisResponse) -> Finding {
    let caller = diagnosis.caller.clone().unwrap_or_default();
    match &caller.problem {
        Some(problem) => of_problem(Check::Registry, problem),
        None => Finding::ok(
            Check::Registry,
            text(
                format!("nút {} nhận ra {}", diagnosis.node, caller.system),
                format!("the node {} knows {}", diagnosis.node, caller.system),
            ),
        ),
    }
}

fn bundle(diagnosis: &GetDiagnosisResponse) -> Finding {
    let Some(state) = &diagnosis.state else {
        return Finding::skip(
            Check::Bundle,
            text("nút không nói với người nó không nhận ra", "the node does not tell whom it does not know"),
        );
    };
    let fix = text(
        "báo người vận hành nút kiểm tra kết nối đến nền tảng điều phối (lienthong doctor --config)",
        "have the node's operator check its way to the broker (lienthong doctor --config)",
    );
    let Some(age) = state.rights_age.and_then(|age| Duration::try_from(age).ok()) else {
        return Finding::fail(
            Check::Bundle,
            text("nút chưa từng nghe nền tảng điều phối", "the node never heard the broker"),
            fix,
        );
    };
    let (epoch, seconds) = (state.epoch, age.as_secs());
    let about = if state.sandbox {
        ("; đây là môi trường thử, dữ liệu giả lập", "; this is a sandbox, all data is synthetic")
    } else if state.development {
        ("; đây là môi trường phát triển", "; this is a development mesh")
    } else {
        ("", "")
    };
    let seen = text(
        format!("phiên bản {epoch}, nghe nền tảng điều phối {seconds} giây trước{}", about.0),
        format!("epoch {epoch}, broker heard {seconds} s ago{}", about.1),
    );
    let allowed = diagnosis.call.as_ref().and_then(|call| call.rights_age_max);
    let allowed = allowed.and_then(|age| Duration::try_from(age).ok());
    let is_stale = diagnosis.call.as_ref().and_then(|call| call.problem.as_ref());
    let is_stale = is_stale.is_some_and(|problem| problem.reason == Reason::DenyRightsStale.name());
    if is_stale || allowed.is_some_and(|allowed| age > allowed) {
        return Finding::fail(Check::Bundle, seen, fix);
    }
    if seconds > SILENCE_WARN_S {
        Finding::warn(Check::Bundle, seen, fix)
    } else {
        Finding::ok(Check::Bundle, seen)
    }
}

fn right(outlook: Option<&CallOutlook>, method: Option<&str>) -> Finding {
    let Some(method) = method else {
        return Finding::skip(
            Check::Right,
            text(
                "thêm --method và --purpose để kiểm tra một lời gọi",
                "add --method and --purpose to check a call",
            ),
        );
    };
    let Some(outlook) = outlook else {
        return Finding::skip(
            Check::Right,
            text("nút không nói với người nó không nhận ra", "the node does not tell whom it does not know"),
        );
    };
    if let Some(problem) = &outlook.problem {
        return of_problem(Check::Right, problem);
    }
    let fields = outlook.fields.join(", ");
    Finding::ok(
        Check::Right,
        text(
            format!("được gọi {method} của {} theo {}: {fields}", outlook.provider, outlook.grant),
            format!("{method} of {} may be called under {}: {fields}", outlook.provider, outlook.grant),
        ),
    )
}

/// A reason of the closed list, as a finding with its page.
fn of_problem(check: Check, problem: &Problem) -> Finding {
    let detail = if problem.detail.is_empty() { String::new() } else { format!(" ({})", problem.detail) };
    let Some(reason) = Reason::from_name(&problem.reason) else {
        let seen = format!("{}{detail}", problem.reason);
        let update = text("cập nhật chương trình này", "update this program");
        return Finding::fail(check, text(seen.clone(), seen), update);
    };
    let info = reason.info();
    Finding::fail(
        check,
        text(format!("{}: {}{detail}", info.name, info.vi), format!("{}: {}{detail}", info.name, info.en)),
        text(
            format!("{}; xem docs/errors/{}.md", info.remedy_vi, info.name),
            format!("{}; see docs/errors/{}.md", info.remedy_en, info.name),
        ),
    )
}
