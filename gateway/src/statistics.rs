//! What everybody may know of how data is shared: numbers of agencies, none of persons or of who asked whom. Asked of
//! the broker three times a minute through the console's line, and kept in memory, so that no visitor costs a question.

use std::time::Duration;

use lienthong_console::PublicLine;
use lienthong_proto::lienthong::compliance::v1::{AgencyStatistics, GetStatisticsResponse};
use lienthong_telemetry::Identity;
use maud::{Markup, html};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};

use crate::open_data;
use crate::page::{fact, framed, grouped};

/// How often the broker is asked.
pub const STATISTICS_REFRESH_S: u64 = 20;

/// Agencies that are shown, those with the most entries first.
pub const AGENCIES_SHOWN_MAX: usize = 1_000;

/// The numbers as they were last told; `None` before the first.
pub type Told = Option<GetStatisticsResponse>;

/// Keeps the numbers in memory.
#[derive(Debug)]
pub struct StatisticsWatch {
    line: PublicLine,
    told: watch::Sender<Told>,
}

impl StatisticsWatch {
    /// Numbers from this line; none yet.
    pub fn new(line: PublicLine) -> Self {
        Self { line, told: watch::Sender::new(None) }
    }

    /// The numbers, from now on.
    pub fn subscribe(&self) -> watch::Receiver<Told> {
        self.told.subscribe()
    }

    /// Asks again and again. Never ends; drop it to stop. What was told stays where there is no answer: it says of when it is.
    pub async fn keep_asking(self) {
        let mut ticks = interval(Duration::from_secs(STATISTICS_REFRESH_S));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            match self.line.statistics().await {
                Ok(told) => self.told.send_modify(|present| *present = Some(told)),
                Err(status) => tracing::warn!(code = ?status.code(), "the broker tells no statistics now"),
            }
        }
    }
}

/// The page; `witnesses` are those of the mesh, with whether each has signed the checkpoint that is published now.
pub fn page(identity: &Identity, told: &Told, witnesses: &[(String, bool)]) -> Markup {
    let content = html! {
        section aria-labelledby="numbers" {
            h2 #numbers { "Chia sẻ dữ liệu trong năm " span.en lang="en" { "Sharing in this year" } }
            @match told {
                None => p { span.warning { "Chưa có số liệu." } " " span.en lang="en" { "There are no numbers yet." } },
                Some(told) => (numbers(told)),
            }
        }
        @if let Some(told) = told { (open_data::section(&told.open)) }
        section aria-labelledby="witnesses" {
            h2 #witnesses { "Nhân chứng của nhật ký " span.en lang="en" { "Witnesses of the log" } }
            p {
                "Nhân chứng là các tổ chức độc lập, ký vào từng "
                a href="/log/checkpoint" { "điểm kiểm soát" } " để nhật ký không thể có hai lịch sử. "
                span.en lang="en" { "Witnesses are independent bodies that sign each checkpoint, so that the log cannot have two histories." }
            }
            dl {
                @for (name, signed) in witnesses {
                    (fact(name, "", &html! {
                        @if *signed { "đã ký điểm mới nhất " span.en lang="en" { "has signed the newest" } }
                        @else { span.warning { "chưa ký điểm mới nhất" } " " span.en lang="en" { "has not signed the newest yet" } }
                    }))
                }
            }
        }
    };
    framed(identity, "Số liệu công khai", "Public numbers", &content)
}

fn numbers(told: &GetStatisticsResponse) -> Markup {
    let mut agencies: Vec<&AgencyStatistics> = told.agencies.iter().collect();
    agencies.sort_by_key(|agency| (std::cmp::Reverse(agency.entry_count), agency.agency.as_str()));
    html! {
        dl {
            (fact("Năm", "Year", &html! { (told.year) }))
            (fact("Mục phải chia sẻ đang có hiệu lực", "Entries in force", &html! { (grouped(told.entries.into())) }))
            (fact("Trong đó được thực hiện đúng", "Of them kept", &html! { (grouped(told.entries_kept.into())) }))
            (fact("Tập dữ liệu mở", "Open datasets", &html! { (grouped(told.open_datasets.into())) }))
            (fact("Lượt khai thác", "Calls", &html! { (grouped(told.requested)) }))
            (fact("Trong đó được phục vụ", "Of them served", &html! { (grouped(told.served)) }))
            (fact("Điểm trung bình của các cơ quan", "Mean score of agencies", &html! { (told.score) " %" }))
        }
        div.table tabindex="0" role="region" aria-label="Theo cơ quan" {
            table {
                thead { tr {
                    th scope="col" { "Cơ quan " span.en lang="en" { "Agency" } }
                    th.number scope="col" { "Điểm " span.en lang="en" { "Score" } }
                    th.number scope="col" { "Mục " span.en lang="en" { "Entries" } }
                    th.number scope="col" { "Đúng " span.en lang="en" { "Kept" } }
                    th.number scope="col" { "Lượt " span.en lang="en" { "Calls" } }
                    th.number scope="col" { "Phục vụ " span.en lang="en" { "Served" } }
                    th.number scope="col" { "Từ chối không căn cứ " span.en lang="en" { "Unlawful refusals" } }
                } }
                tbody {
                    @for agency in agencies.iter().take(AGENCIES_SHOWN_MAX) {
                        tr {
                            th scope="row" { (agency.name_vi) " (" (agency.agency) ")" }
                            td.number { (agency.score) " %" }
                            td.number { (grouped(agency.entry_count.into())) }
                            td.number { (grouped(agency.entries_kept.into())) }
                            td.number { (grouped(agency.requested)) }
                            td.number { (grouped(agency.served)) }
                            td.number { (grouped(agency.refusals_unlawful.into())) }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identity() -> Identity {
        Identity { role: "gateway".into(), mesh: "m".into(), development: false }
    }

    fn agency(name: &str) -> AgencyStatistics {
        AgencyStatistics {
            agency: "G01".into(),
            name_vi: name.into(),
            requested: 12_345,
            ..Default::default()
        }
    }

    #[test]
    fn numbers_are_shown_and_names_are_text() {
        let hostile = "Bộ \"A\" <script>alert(1)</script> \u{202e}gnud";
        let told =
            GetStatisticsResponse { agencies: vec![agency(hostile)], year: 2026, ..Default::default() };
        let witnesses = [("w1 <b>".to_owned(), true), ("w2".to_owned(), false)];
        let page = page(&identity(), &Some(told), &witnesses).into_string();
        for expected in ["12.345", "2026", "&lt;script&gt;", "đã ký điểm mới nhất", "chưa ký điểm mới nhất"]
        {
            assert!(page.contains(expected), "missing {expected} in {page}");
        }
        assert!(!page.contains("<script") && !page.contains("<b>"), "{page}");
    }

    #[test]
    fn a_thousand_agencies_are_a_page() {
        let agencies = (0..1_500).map(|number| agency(&format!("Cơ quan {number}"))).collect();
        let told = GetStatisticsResponse { agencies, ..Default::default() };
        let page = page(&identity(), &Some(told), &[]).into_string();
        assert_eq!(page.matches("<tr>").count(), 1 + AGENCIES_SHOWN_MAX);
        assert!(page.len() < 1024 * 1024, "{} bytes", page.len());
    }

    #[test]
    fn before_the_first_answer_the_page_says_so() {
        assert!(page(&identity(), &None, &[]).into_string().contains("Chưa có số liệu"));
    }
}
