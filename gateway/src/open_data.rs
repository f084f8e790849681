//! The open datasets by name, and how whoever is in the mesh calls them.

use lienthong_proto::lienthong::compliance::v1::OpenDataset;
use maud::{Markup, html};

/// Datasets that are shown.
pub const OPEN_SHOWN_MAX: usize = 1_000;

/// The section of them; nothing where there is none.
pub fn section(open: &[OpenDataset]) -> Markup {
    let example = open.iter().find_map(|dataset| dataset.methods.first());
    html! {
        @if !open.is_empty() {
            section aria-labelledby="open" {
                h2 #open { "Dữ liệu mở " span.en lang="en" { "Open data" } }
                div.table tabindex="0" role="region" aria-label="Dữ liệu mở" {
                    table {
                        thead { tr {
                            th scope="col" { "Tập dữ liệu " span.en lang="en" { "Dataset" } }
                            th scope="col" { "Cơ quan " span.en lang="en" { "Agency" } }
                            th scope="col" { "Phương thức " span.en lang="en" { "Methods" } }
                        } }
                        tbody { @for dataset in open.iter().take(OPEN_SHOWN_MAX) { (line(dataset)) } }
                    }
                }
                @if let Some(method) = example { (how(method)) }
            }
        }
    }
}

fn line(dataset: &OpenDataset) -> Markup {
    html! {
        tr {
            th scope="row" {
                @if !dataset.name_vi.is_empty() { (dataset.name_vi) " " }
                @if !dataset.name_en.is_empty() { span.en lang="en" { (dataset.name_en) } " " }
                code { (dataset.dataset) }
            }
            td { (dataset.provider_name_vi) " (" (dataset.provider) ")" }
            td {
                @for method in &dataset.methods { div { code { (method) } } }
                @if dataset.methods.is_empty() {
                    span.warning { "chưa công bố" } " " span.en lang="en" { "not published yet" }
                }
            }
        }
    }
}

fn how(method: &str) -> Markup {
    html! {
        p {
            "Hệ thống của mọi cơ quan trong mạng gọi được, với bất kỳ mục đích nào, tại nút của cơ quan mình. "
            span.en lang="en" {
                "Any agency's system in the mesh may call them, for any purpose, at its own agency's node. "
            }
        }
        pre tabindex="0" {
            code {
                "curl --cert system.crt --key system.key --cacert authority.crt \\\n  \
                 -H 'mesh-purpose: STATISTICS' -H 'content-type: application/json' -d '{}' \\\n  https://NODE:7081"
                (method)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_datasets_stand_by_name_with_a_call_and_names_are_text() {
        let open = [
            OpenDataset {
                dataset: "danhmuc.dvhc".into(),
                name_vi: "Danh mục <script>alert(1)</script>".into(),
                provider: "G09".into(),
                provider_name_vi: "Tổng cục \"Mẫu\"".into(),
                methods: vec!["/vn.danhmuc.v1.Service/List".into()],
                ..OpenDataset::default()
            },
            OpenDataset { dataset: "danhmuc.khac".into(), ..OpenDataset::default() },
        ];
        let page = section(&open).into_string();
        for expected in [
            "&lt;script&gt;",
            "https://NODE:7081/vn.danhmuc.v1.Service/List",
            "(G09)",
            "danhmuc.khac",
            "chưa công bố",
            "authority.crt \\\n  -H 'mesh-purpose: STATISTICS'",
        ] {
            assert!(page.contains(expected), "{expected} is missing in {page}");
        }
        assert!(!page.contains("<script"), "{page}");
        assert_eq!(section(&[]).into_string(), "");
    }
}
