//! `ComplianceService`: how the duty to share is kept. An agency sees itself, the operator and its auditors see all, and
//! everybody sees what tells nobody apart.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use lienthong_catalog::catalog::Entry;
use lienthong_compliance::{card, day, entry};
use lienthong_duty::timestamp;
use lienthong_proto::lienthong::compliance::v1::compliance_service_server::ComplianceService;
use lienthong_proto::lienthong::compliance::v1::{
    EntryCompliance, ExportReportRequest, ExportReportResponse, GetScorecardRequest, GetScorecardResponse,
    GetStatisticsRequest, GetStatisticsResponse, ListCoverage, ListEntryComplianceRequest,
    ListEntryComplianceResponse, ListScorecardsRequest, ListScorecardsResponse, ReportRow, Scorecard,
};
use time::OffsetDateTime;
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::arbiter::Actor;
use crate::compliance::Examiner;
use crate::door::{Door, Guest};
use crate::generation::Generation;
use crate::paging::Page;
use crate::query::Filter;
use crate::service::open_data;

/// Years of which a report can be made, this one included; the examiner keeps as many.
const REPORT_YEARS: i32 = lienthong_compliance::observed::YEARS_KEPT;

/// The service.
#[derive(Clone, Debug)]
pub struct Compliance {
    pub(crate) door: Door,
    pub(crate) examiner: Arc<Examiner>,
}

#[tonic::async_trait]
impl ComplianceService for Compliance {
    async fn get_scorecard(
        &self,
        request: Request<GetScorecardRequest>,
    ) -> Result<Response<GetScorecardResponse>, Status> {
        let guest = self.door.admit(Rpc::GetScorecard, &request)?;
        let name = &request.get_ref().name;
        let code = name.strip_prefix("agencies/").and_then(|rest| rest.strip_suffix("/scorecard"));
        let known =
            code.filter(|code| sees(&guest, code) && guest.generation.catalog().agency(code).is_some());
        let code = known.ok_or_else(|| super::not_found("scorecard", name, "agencies/G01/scorecard"))?;
        let now = OffsetDateTime::now_utc();
        let mut entries = self.examiner.entries(now).await;
        entries.retain(|one| one.provider == code);
        let scorecard = Some(self.card(&guest.generation, code, entries, now));
        Ok(Response::new(GetScorecardResponse { scorecard }))
    }

    async fn list_scorecards(
        &self,
        request: Request<ListScorecardsRequest>,
    ) -> Result<Response<ListScorecardsResponse>, Status> {
        let guest = self.door.admit(Rpc::ListScorecards, &request)?;
        let ListScorecardsRequest { page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let now = OffsetDateTime::now_utc();
        let mut by_agency: BTreeMap<String, Vec<EntryCompliance>> = BTreeMap::new();
        for one in self.visible(&guest, now).await {
            by_agency.entry(one.provider.clone()).or_default().push(one);
        }
        let cards: Vec<Scorecard> = by_agency
            .into_iter()
            .map(|(agency, entries)| Scorecard {
                entries: Vec::new(),
                ..self.card(&guest.generation, &agency, entries, now)
            })
            .collect();
        let (scorecards, next_page_token) = page.cut(&cards, |one| &one.agency);
        Ok(Response::new(ListScorecardsResponse { scorecards: scorecards.to_vec(), next_page_token }))
    }

    async fn list_entry_compliance(
        &self,
        request: Request<ListEntryComplianceRequest>,
    ) -> Result<Response<ListEntryComplianceResponse>, Status> {
        let guest = self.door.admit(Rpc::ListEntryCompliance, &request)?;
        let ListEntryComplianceRequest { page_size, page_token, filter, failing_only } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let filter = Filter::read(&filter, &["provider", "dataset"])?;
        let mut all = self.visible(&guest, OffsetDateTime::now_utc()).await;
        all.retain(|one| {
            (!failing_only || entry::is_failing(one))
                && filter.matches(|field| {
                    [if field == "provider" { one.provider.as_str() } else { one.dataset.as_str() }]
                })
        });
        let (entries, next_page_token) = page.cut(&all, |one| &one.entry);
        Ok(Response::new(ListEntryComplianceResponse { entries: entries.to_vec(), next_page_token }))
    }

    async fn export_report(
        &self,
        request: Request<ExportReportRequest>,
    ) -> Result<Response<ExportReportResponse>, Status> {
        let guest = self.door.admit(Rpc::ExportReport, &request)?;
        let ExportReportRequest { year, page_size, page_token } = request.into_inner();
        let page = Page::read(page_size, &page_token)?;
        let now = OffsetDateTime::now_utc();
        let this_year = day::of(now).year();
        let year = if year == 0 { this_year } else { year };
        if !(this_year - REPORT_YEARS + 1..=this_year).contains(&year) {
            return Err(Status::invalid_argument(format!(
                "the broker keeps the numbers of {REPORT_YEARS} years; ask for {} to {this_year}",
                this_year - REPORT_YEARS + 1
            )));
        }
        let mut entries = self.examiner.report(year, now).await;
        entries.retain(|one| sees(&guest, &one.provider));
        let rows: Vec<ReportRow> = entries.into_iter().map(card::row).collect();
        let (rows, next_page_token) = page.cut(&rows, |one| &one.entry);
        Ok(Response::new(ExportReportResponse {
            year,
            rows: rows.to_vec(),
            coverage: coverage(&guest.generation),
            open_datasets: open_data::count(guest.generation.catalog()),
            next_page_token,
            as_of_time: Some(timestamp(now)),
        }))
    }

    async fn get_statistics(
        &self,
        request: Request<GetStatisticsRequest>,
    ) -> Result<Response<GetStatisticsResponse>, Status> {
        let guest = self.door.admit(Rpc::GetStatistics, &request)?;
        let now = OffsetDateTime::now_utc();
        let catalog = guest.generation.catalog();
        let entries = self.examiner.entries(now).await;
        let names = catalog.agencies().iter().map(|agency| (agency.code.clone(), agency.name_vi.clone()));
        Ok(Response::new(GetStatisticsResponse {
            open_datasets: open_data::count(catalog),
            open: open_data::list(&guest.generation),
            as_of_time: Some(timestamp(now)),
            year: day::of(now).year(),
            ..card::statistics(&entries, &names.collect())
        }))
    }
}

impl Compliance {
    async fn visible(&self, guest: &Guest, now: OffsetDateTime) -> Vec<EntryCompliance> {
        let mut entries = self.examiner.entries(now).await;
        entries.retain(|one| sees(guest, &one.provider));
        entries
    }

    fn card(
        &self,
        generation: &Generation,
        agency: &str,
        entries: Vec<EntryCompliance>,
        now: OffsetDateTime,
    ) -> Scorecard {
        let named = generation.catalog().agency(agency);
        Scorecard {
            name_vi: named.map(|agency| agency.name_vi.clone()).unwrap_or_default(),
            name_en: named.map(|agency| agency.name_en.clone()).unwrap_or_default(),
            as_of_time: Some(timestamp(now)),
            year: day::of(now).year(),
            counted_upto: self.examiner.position(),
            ..card::of(agency, entries)
        }
    }
}

/// Whether a caller may see how this agency keeps its duty.
fn sees(guest: &Guest, agency: &str) -> bool {
    Actor::of(&guest.caller).is_some_and(|actor| actor.sees_all || actor.agency == agency)
}

/// How much of each national list is connected: by an entry in force, and a contract that declares its dataset.
fn coverage(generation: &Generation) -> Vec<ListCoverage> {
    let catalog = generation.catalog();
    let is_shared = |entry: &&Entry| {
        let contract = generation.contracts().get(&entry.provider_code);
        entry.status.is_in_force()
            && contract.is_some_and(|contract| contract.model.dataset(&entry.dataset_id).is_some())
    };
    let shared: HashSet<&str> =
        catalog.entries().iter().filter(is_shared).map(|entry| entry.dataset_id.as_str()).collect();
    let mut lists: BTreeMap<&str, (u32, u32)> = BTreeMap::new();
    for database in catalog.databases() {
        let is_connected = database.datasets.iter().any(|dataset| shared.contains(dataset.id.as_str()));
        for list in &database.lists {
            let counts = lists.entry(list).or_default();
            counts.0 += 1;
            counts.1 += u32::from(is_connected);
        }
    }
    let coverage = |(list, (databases, connected)): (&str, (u32, u32))| ListCoverage {
        list: list.to_owned(),
        databases,
        connected,
    };
    lists.into_iter().map(coverage).collect()
}
