//! Changes of the catalog for people.

use lienthong_catalog::source::{Difference, ObjectDifference};
use lienthong_proto::lienthong::{
    catalog::v1::{Change, ChangeKind, ChangeState, ObjectChange, Plan, Replay, RightChange},
    options::v1::Purpose,
};

use crate::commands::enroll::show::{grouped, time};

/// One line of a listing.
pub fn row(one: &Change) -> String {
    format!("{}  {:<9}  {}  {}", one.name, word(one.state()), time(one.create_time), one.note)
}

/// Everything of one change, a line a fact.
pub fn whole(one: &Change) -> String {
    let name = if one.name.is_empty() { "not proposed" } else { &one.name };
    let mut lines = vec![
        format!("{name}  {}", word(one.state())),
        format!("  folder       {} files, {} bytes", one.files, one.bytes),
        format!("  content      {}", grouped(&one.content_hash)),
        format!(
            "  stands on    {}",
            if one.base_hash.is_empty() { "–".to_owned() } else { grouped(&one.base_hash) }
        ),
    ];
    if !one.note.is_empty() {
        lines.push(format!("  for          {}", one.note));
    }
    let times = one.approved.iter().flat_map(|approved| &approved.approvals).map(|approval| approval.time);
    for (approver, at) in one.approvers.iter().zip(times) {
        lines.push(format!("  signed       {} by {approver}", time(at)));
    }
    if !one.rejected_by.is_empty() {
        lines.push(format!(
            "  rejected     {} by {}: {}",
            time(one.decide_time),
            one.rejected_by,
            one.reason
        ));
    }
    if one.epoch > 0 {
        lines.push(format!("  rights       epoch {}", one.epoch));
    }
    if !one.activates.is_empty() {
        lines.push(format!("  activates    {}", one.activates.join(", ")));
    }
    lines.join("\n")
}

/// What a change means.
pub fn plan(plan: &Plan) -> String {
    let mut lines = Vec::new();
    heading(&mut lines, "Catalog · Danh mục", plan.objects.iter().flat_map(object));
    let more = (plan.rights_more > 0).then(|| format!("  … and {} more", plan.rights_more));
    heading(&mut lines, "Rights · Quyền khai thác", plan.rights.iter().flat_map(right).chain(more));
    heading(&mut lines, "Noticed · Lưu ý", plan.findings.iter().map(|finding| format!("  {finding}")));
    if let Some(replay) = &plan.replay {
        heading(&mut lines, "Calls · Các lượt gọi", replayed(replay));
    }
    if lines.is_empty() {
        lines.push(
            "Nothing changes but the text of the files. Nội dung không đổi, chỉ khác cách trình bày."
                .to_owned(),
        );
    }
    lines.join("\n")
}

/// What differs between two folders.
pub fn differences(differences: &[ObjectDifference]) -> Vec<String> {
    differences
        .iter()
        .flat_map(|one| {
            let kind = match one.difference {
                Difference::Added => ChangeKind::Added,
                Difference::Removed => ChangeKind::Removed,
                Difference::Altered => ChangeKind::Altered,
            };
            object(&ObjectChange { kind: kind.into(), object: one.object.clone(), lines: one.lines.clone() })
        })
        .collect()
}

fn heading(lines: &mut Vec<String>, title: &str, under: impl Iterator<Item = String>) {
    let mut under = under.peekable();
    if under.peek().is_some() {
        lines.push(title.to_owned());
        lines.extend(under);
    }
}

fn object(one: &ObjectChange) -> Vec<String> {
    let mut lines = vec![format!("  {} {}", sign(one.kind()), one.object)];
    lines.extend(one.lines.iter().map(|line| format!("      {line}")));
    lines
}

fn right(one: &RightChange) -> Vec<String> {
    let consumer = if one.consumer.is_empty() { "every agency" } else { &one.consumer };
    let purpose = match one.purpose() {
        Purpose::Unspecified => "any purpose",
        purpose => purpose.as_str_name().trim_start_matches("PURPOSE_"),
    };
    let mut lines =
        vec![format!("  {} {consumer} ← {} {} for {purpose}", sign(one.kind()), one.provider, one.dataset)];
    if !one.fields_gained.is_empty() {
        lines.push(format!("      gains {}", one.fields_gained.join(", ")));
    }
    if !one.fields_lost.is_empty() {
        lines.push(format!("      loses {}", one.fields_lost.join(", ")));
    }
    lines.extend(one.lines.iter().map(|line| format!("      {line}")));
    lines
}

fn replayed(replay: &Replay) -> impl Iterator<Item = String> + '_ {
    let cut = if replay.cut { ", the newest of them" } else { "" };
    let days = if replay.days == 1 { "day".to_owned() } else { format!("{} days", replay.days) };
    let head = format!(
        "  of {} calls of the last {days}{cut}, {} would be decided differently",
        replay.calls, replay.differing
    );
    let groups = replay.groups.iter().map(|group| {
        format!(
            "      {} × {} ← {} {} for {}: {} → {}",
            group.calls,
            group.consumer,
            group.provider,
            group.dataset,
            group.purpose().as_str_name().trim_start_matches("PURPOSE_"),
            group.before,
            group.after
        )
    });
    std::iter::once(head).chain(groups)
}

fn sign(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::Added => "+",
        ChangeKind::Removed => "−",
        ChangeKind::Altered => "~",
        ChangeKind::Unspecified => "?",
    }
}

fn word(state: ChangeState) -> &'static str {
    match state {
        ChangeState::Proposed => "proposed",
        ChangeState::Applied => "applied",
        ChangeState::Rejected => "rejected",
        ChangeState::Overtaken => "overtaken",
        ChangeState::Unspecified => "checked",
    }
}
