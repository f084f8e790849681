//! What a proposed change would do: objects, rights, and calls of the last days decided again. The broker is asked anew each
//! time: the same change means something else once the catalog has moved.

use futures_util::stream;
use lienthong_proto::lienthong::catalog::v1::propose_change_request::{Head, Part};
use lienthong_proto::lienthong::catalog::v1::{
    Change, ChangeKind, ObjectChange, Plan, ProposeChangeRequest, ReadFilesRequest, Replay, ReplayedCalls,
    RightChange,
};
use maud::{Markup, html};

use crate::failure::Failure;
use crate::format::{NAMES_SHOWN_MAX, first, grouped};
use crate::lang::Lang;
use crate::pages::table::{
    Column::{Number, Text},
    table,
};
use crate::visit::Visit;
use crate::words;

/// Days of calls that are decided again.
const REPLAY_DAYS: u32 = 7;

/// Objects, rights, and groups of calls that are shown of each.
const SHOWN_MAX: usize = 200;

/// Lines that tell how one object or right changes.
const LINES_SHOWN_MAX: usize = 50;

/// Largest answer that is taken, bytes: a plan lists thousands of rights.
const PLAN_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the change would do now.
///
/// # Errors
/// [`Failure`].
pub async fn plan(visit: &Visit, change: &Change) -> Result<Plan, Failure> {
    let mut changes = visit.desk().changes().max_decoding_message_size(PLAN_BYTES_MAX);
    let mut files = changes.read_files(ReadFilesRequest { name: change.name.clone() }).await?.into_inner();
    let head = Head {
        base_hash: change.base_hash.clone(),
        content_hash: change.content_hash.clone(),
        validate_only: true,
        replay_days: REPLAY_DAYS,
        ..Head::default()
    };
    let mut parts = vec![ProposeChangeRequest { part: Some(Part::Head(head)) }];
    while let Some(message) = files.message().await? {
        parts.extend(message.file.map(|file| ProposeChangeRequest { part: Some(Part::File(file)) }));
    }
    let answer = changes.propose_change(stream::iter(parts)).await?.into_inner();
    Ok(answer.plan.unwrap_or_default())
}

/// A plan, for people.
pub fn show(visit: &Visit, plan: &Plan) -> Markup {
    let lang = visit.lang;
    html! {
        h2 { (lang.of("Thay đổi này làm gì", "What this change does")) }
        @for finding in &plan.findings { p.warning { (finding) } }
        (replayed(visit, plan.replay.as_ref()))
        @if !plan.rights.is_empty() { (rights(visit, &plan.rights, u64::from(plan.rights_more))) }
        @if plan.objects.is_empty() {
            p { (lang.of("Không đối tượng nào trong danh mục thay đổi.", "No object of the catalog changes.")) }
        } @else {
            (objects(visit, &plan.objects))
        }
    }
}

fn replayed(visit: &Visit, replay: Option<&Replay>) -> Markup {
    let lang = visit.lang;
    let Some(replay) = replay else { return html! {} };
    html! {
        p {
            (grouped(replay.calls)) " " (lang.of("cuộc gọi của", "calls of the last")) " " (replay.days) " "
            (lang.of("ngày qua được xét lại:", "days were decided again:")) " "
            @if replay.differing == 0 {
                span.good { (lang.of("không cuộc gọi nào có kết quả khác.", "none would end otherwise.")) }
            } @else {
                strong.warning { (grouped(replay.differing)) " " (lang.of("cuộc gọi có kết quả khác.", "would end otherwise.")) }
            }
            @if replay.cut { " " span.soft { (lang.of("Chỉ xét những cuộc gọi mới nhất.", "Only the newest were taken.")) } }
        }
        @if !replay.groups.is_empty() {
            (table(
                lang.of("Cuộc gọi có kết quả khác", "Calls that would end otherwise"),
                &[
                    Text(lang.of("Khai thác", "Consumer")),
                    Text(lang.of("Cung cấp", "Provider")),
                    Text(lang.of("Phương thức", "Method")),
                    Text(lang.of("Trước", "Before")),
                    Text(lang.of("Sau", "After")),
                    Number(lang.of("Số lần", "Times")),
                ],
                &html! { @for group in replay.groups.iter().take(SHOWN_MAX) { (calls(visit, group)) } },
            ))
        }
    }
}

fn calls(visit: &Visit, group: &ReplayedCalls) -> Markup {
    html! {
        tr {
            th scope="row" { (group.consumer) }
            td { (group.provider) }
            td { code { (group.method) } div.soft { (words::purpose(group.purpose(), visit.lang)) } }
            td { (words::ending(&group.before, visit.lang)) }
            td { (words::ending(&group.after, visit.lang)) }
            td.number { (grouped(group.calls)) }
        }
    }
}

fn rights(visit: &Visit, rights: &[RightChange], more: u64) -> Markup {
    let lang = visit.lang;
    html! {
        h2 { (lang.of("Quyền thay đổi", "Rights that change")) }
        (table(
            lang.of("Quyền thay đổi", "Rights that change"),
            &[
                Text(lang.of("Quyền", "Right")),
                Text(lang.of("Khai thác", "Consumer")),
                Text(lang.of("Tập dữ liệu", "Dataset")),
                Text(lang.of("Thay đổi", "Change")),
            ],
            &html! {
                @for right in rights.iter().take(SHOWN_MAX) {
                    tr {
                        th scope="row" { code { (right.right) } div.soft { (words::altered(right.kind(), lang)) } }
                        td { @if right.consumer.is_empty() { (lang.of("mọi cơ quan", "every agency")) } @else { (right.consumer) } }
                        td { code { (right.dataset) } div.soft { (right.provider) " · " (words::purpose(right.purpose(), lang)) } }
                        td {
                            @if !right.fields_gained.is_empty() { div { "+ " (first(&right.fields_gained, NAMES_SHOWN_MAX, lang)) } }
                            @if !right.fields_lost.is_empty() { div.bad { (first(&right.fields_lost, NAMES_SHOWN_MAX, lang)) } }
                            (told(&right.lines, lang))
                        }
                    }
                }
            },
        ))
        @let hidden = more + rights.len().saturating_sub(SHOWN_MAX) as u64;
        @if hidden > 0 { p.soft { "… " (grouped(hidden)) " " (lang.of("quyền nữa", "more rights")) } }
    }
}

fn told(lines: &[String], lang: Lang) -> Markup {
    let more = lines.len().saturating_sub(LINES_SHOWN_MAX);
    html! {
        @for line in lines.iter().take(LINES_SHOWN_MAX) { div { (line) } }
        @if more > 0 { div.soft { "… " (grouped(more as u64)) " " (lang.of("dòng nữa", "more lines")) } }
    }
}

fn objects(visit: &Visit, objects: &[ObjectChange]) -> Markup {
    let lang = visit.lang;
    html! {
        h2 { (lang.of("Đối tượng thay đổi", "Objects that change")) }
        (table(
            lang.of("Đối tượng thay đổi", "Objects that change"),
            &[
                Text(lang.of("Đối tượng", "Object")),
                Text(lang.of("Việc", "How")),
                Text(lang.of("Nội dung", "What")),
            ],
            &html! {
                @for object in objects.iter().take(SHOWN_MAX) {
                    tr {
                        th scope="row" { code { (object.object) } }
                        td { span class=(if object.kind() == ChangeKind::Removed { "warning" } else { "" }) { (words::altered(object.kind(), lang)) } }
                        td.said { (told(&object.lines, lang)) }
                    }
                }
            },
        ))
        @if objects.len() > SHOWN_MAX { p.soft { "… " (grouped((objects.len() - SHOWN_MAX) as u64)) " " (lang.of("đối tượng nữa", "more objects")) } }
    }
}
