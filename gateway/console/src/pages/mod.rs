//! The pages, a file each, and the one table of them: who may see which.

use crate::lang::Lang;
use crate::visit::Role::{self, Auditor, Head, Officer, Operator, Steward};

pub mod agencies;
pub mod catalog;
pub mod certificates;
pub mod changes;
pub mod compliance;
pub mod duty;
pub mod exchange;
pub mod findings;
pub mod form;
pub mod health;
pub mod nodes;
pub mod overview;
pub mod preview;
pub mod reading;
pub mod records;
pub mod rules;
pub mod table;

/// Where a page stands in the menu.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Group {
    /// What happened.
    Log,
    /// What must be shared.
    Sharing,
    /// What runs.
    Running,
}

/// The groups, in the order of the menu.
pub const GROUPS: &[Group] = &[Group::Log, Group::Sharing, Group::Running];

impl Group {
    /// Its title.
    pub const fn title(self, lang: Lang) -> &'static str {
        match self {
            Group::Log => lang.of("Nhật ký", "The log"),
            Group::Sharing => lang.of("Chia sẻ dữ liệu", "Sharing"),
            Group::Running => lang.of("Vận hành", "Operations"),
        }
    }
}

/// A page.
#[derive(Debug)]
pub struct PageInfo {
    /// Its address behind the language.
    pub path: &'static str,
    vi: &'static str,
    en: &'static str,
    /// Who may see it.
    pub roles: &'static [Role],
    /// Where it stands in the menu; `None`: it is reached from another page.
    pub group: Option<Group>,
}

impl PageInfo {
    /// Its title.
    pub const fn title(&self, lang: Lang) -> &'static str {
        lang.of(self.vi, self.en)
    }
}

const ALL: &[Role] = &[Operator, Auditor, Officer, Steward, Head];
const WATCHING: &[Role] = &[Operator, Auditor, Officer];
const OF_THE_LOG: &[Role] = &[Auditor, Officer];
const OF_THE_OPERATOR: &[Role] = &[Operator, Auditor];
const OPERATOR: &[Role] = &[Operator];
const OF_THE_CATALOG: &[Role] = &[Operator, Steward];

macro_rules! pages {
    ($($path:literal $vi:literal $en:literal $roles:ident $group:expr;)*) => {
        &[$(PageInfo { path: $path, vi: $vi, en: $en, roles: $roles, group: $group }),*]
    };
}

/// Every page. `tests/golden/pages.txt` is the table as people review it.
pub const PAGES: &[PageInfo] = pages! {
    "/" "Tổng quan" "Overview" ALL Some(Group::Log);
    "/records" "Tìm trong nhật ký" "Search the log" OF_THE_LOG Some(Group::Log);
    "/records.csv" "Tệp kết quả" "Results as a file" OF_THE_LOG None;
    "/exchanges/{id}" "Một lần trao đổi" "One exchange" OF_THE_LOG None;
    "/exchanges/{id}/evidence.json" "Tệp chứng cứ" "Evidence file" OF_THE_LOG None;
    "/findings" "Phát hiện" "Findings" WATCHING Some(Group::Log);
    "/findings/close" "Đóng phát hiện" "Close a finding" OPERATOR None;
    "/findings/note" "Ghi chú vào phát hiện" "Note at a finding" OPERATOR None;
    "/findings/live" "Phát hiện mới" "New findings" WATCHING None;
    "/rules" "Quy tắc giám sát" "Watch rules" OF_THE_OPERATOR Some(Group::Log);
    "/readings" "Việc tra cứu đã ghi" "Questions on record" OF_THE_LOG Some(Group::Log);
    "/catalog" "Danh mục chia sẻ" "Catalog" ALL Some(Group::Sharing);
    "/catalog/{entry}" "Mục danh mục" "Catalog entry" ALL None;
    "/compliance" "Phiếu điểm tuân thủ" "Compliance" ALL Some(Group::Sharing);
    "/compliance/{code}" "Phiếu điểm của một cơ quan" "One agency's scorecard" ALL None;
    "/agencies" "Cơ quan" "Agencies" ALL Some(Group::Sharing);
    "/agencies/{code}" "Một cơ quan" "One agency" ALL None;
    "/requests" "Yêu cầu kết nối" "Connection requests" ALL Some(Group::Sharing);
    "/refusals" "Từ chối" "Refusals" ALL Some(Group::Sharing);
    "/disputes" "Vướng mắc" "Disputes" ALL Some(Group::Sharing);
    "/disputes/{id}" "Một vướng mắc" "One dispute" ALL None;
    "/outages" "Bảo trì" "Outages" ALL Some(Group::Sharing);
    "/changes" "Thay đổi danh mục" "Catalog changes" OF_THE_CATALOG Some(Group::Running);
    "/changes/{id}" "Một thay đổi" "One change" OF_THE_CATALOG None;
    "/nodes" "Các nút" "Nodes" OF_THE_OPERATOR Some(Group::Running);
    "/certificates" "Chứng thư và thu hồi" "Certificates" OF_THE_OPERATOR Some(Group::Running);
    "/health" "Nhật ký và nhân chứng" "Log and witnesses" OF_THE_OPERATOR Some(Group::Running);
};

/// The page with this address, as the router writes it.
pub fn find(path: &str) -> Option<&'static PageInfo> {
    let path = match path {
        // Inside each language, what is nowhere: anybody may learn that.
        "" | "/{*rest}" => "/",
        path => path,
    };
    PAGES.iter().find(|page| page.path == path)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    /// The table as people review it: a change of who sees what is a change of this file.
    #[test]
    fn the_table_is_the_one_that_was_reviewed() {
        let mut table = format!("{:<32}", "page");
        for role in Role::ALL {
            write!(table, " {:<9}", role.word()).unwrap();
        }
        for page in PAGES {
            write!(table, "\n{:<32}", page.path).unwrap();
            for role in Role::ALL {
                write!(table, " {:<9}", if page.roles.contains(&role) { "yes" } else { "-" }).unwrap();
            }
        }
        let table: String = table.lines().flat_map(|line| [line.trim_end(), "\n"]).collect();
        if std::env::var_os("LIENTHONG_GOLDEN").is_some_and(|set| set == "write") {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/pages.txt"), &table).unwrap();
            return;
        }
        assert_eq!(table, include_str!("../../tests/golden/pages.txt"));
    }
}
