//! `SearchService`: questions to the log. Each is admitted, bounded to what its asker may see, put on record, answered.

use std::sync::Arc;
use std::time::Duration;

use lienthong_audit::record;
use lienthong_index::{Clause, Query, Want};
use lienthong_proto::lienthong::audit::v1::search_service_server::SearchService;
use lienthong_proto::lienthong::audit::v1::{
    AccessKind, CountReasonsRequest, CountReasonsResponse, Disclosure, EraseSubjectRequest,
    EraseSubjectResponse, GetEvidenceRequest, GetEvidenceResponse, LogAccess, RecordFilter,
    RegisterUserRequest, RegisterUserResponse, SearchRecordsRequest, SearchRecordsResponse,
    SetDisclosureRequest, SetDisclosureResponse, SubjectAccessRequest, SubjectAccessResponse, SubjectErased,
    record::Body,
};
use tokio::task::spawn_blocking;
use tokio::time::Instant;
use tonic::{Request, Response, Status};

use crate::access::Rpc;
use crate::clock;
use crate::door::{Door, Guest};
use crate::generation::Generation;
use crate::identity::Caller;
use crate::index::disclosure::{self, Disclosed};
use crate::index::evidence::{Proofs, gather};
use crate::index::indexer::LOOK_INTERVAL;
use crate::index::question::{PartyName, QuestionError, query, without_numbers, words};
use crate::index::subject::{Names, uses};
use crate::index::usual;
use crate::index::{Index, SearchError};
use crate::ledger::{Ledger, LedgerError};
use crate::limits::{ERASE_WAIT_MS, ERASED_RECORDS_COUNTED_MAX, ERASED_TOKENS_PER_RECORD_MAX};
use crate::records::{Act, administration};
use crate::service::page::PageToken;

/// Records, or uses, of a page unless told otherwise.
const PAGE_RECORDS_DEFAULT: usize = 50;

/// Records, or uses, of a page at most.
const PAGE_RECORDS_MAX: usize = 500;

/// Longest case id, characters.
const CASE_CHARS_MAX: usize = 64;

/// Longest reason, and longest authority, characters.
const REASON_CHARS_MAX: usize = 256;

/// Longest number of a person or company, characters.
const SUBJECT_CHARS_MAX: usize = 64;

/// The service.
#[derive(Clone, Debug)]
pub struct Search {
    pub(crate) door: Door,
    pub(crate) ledger: Ledger,
    pub(crate) index: Index,
}

/// Who asks, why, and what he may see.
struct Asker {
    /// Subject of the certificate.
    actor: String,
    /// Subject of the console through which he asks; empty: he asks himself.
    via: String,
    /// Code of the agency whose exchanges he may see; `None`: all.
    agency: Option<String>,
    /// Case and reason, as he stated them.
    case_id: String,
    reason: String,
    generation: Arc<Generation>,
}

#[tonic::async_trait]
impl SearchService for Search {
    async fn search_records(
        &self,
        request: Request<SearchRecordsRequest>,
    ) -> Result<Response<SearchRecordsResponse>, Status> {
        let guest = self.door.admit(Rpc::SearchRecords, &request)?;
        let SearchRecordsRequest { filter, page_size, page_token, case_id, reason, export } =
            request.into_inner();
        let filter = filter.unwrap_or_default();
        let asker = Asker::of(guest, case_id, reason, !filter.subject.is_empty())?;
        let page = PageToken::read(&page_token, &(&filter, &asker.actor))?;
        let entries_max = page_size_of(page_size)?;
        let subject = self.subject_terms(&filter.subject)?;
        let query = query(&filter, subject, asker.agency.as_deref(), &asker.parties())
            .map_err(|error: QuestionError| Status::invalid_argument(error.to_string()))?;
        let index = self.index.clone();
        let mut answer = blocking(move || {
            let found = index.search(&query, page.below, page.complete_up_to, entries_max)?;
            let proofs = Proofs::now(&index)?;
            let records =
                found.entries.iter().map(|entry| proofs.found(*entry)).collect::<Result<Vec<_>, _>>()?;
            let below = found.entries.last().copied().filter(|_| found.more);
            Ok(SearchRecordsResponse {
                records,
                next_page_token: below
                    .map_or_else(String::new, |below| page.next(below, found.complete_up_to)),
                checkpoint: proofs.checkpoint,
                complete_up_to: found.complete_up_to,
                indexed_up_to: found.indexed_up_to,
                subjects_missing: found.subjects_missing,
                minimum_index: found.minimum,
            })
        })
        .await?;
        // What an answer may hold is bounded; the rest is on the next page.
        bound(&mut answer);
        let kind = if export { AccessKind::Export } else { AccessKind::Search };
        let access = asker.access(kind, &words(&filter), answer.records.len(), answer.complete_up_to);
        self.put_on_record(LogAccess { about_subject: !filter.subject.is_empty(), ..access }).await?;
        Ok(Response::new(answer))
    }

    async fn count_reasons(
        &self,
        request: Request<CountReasonsRequest>,
    ) -> Result<Response<CountReasonsResponse>, Status> {
        let guest = self.door.admit(Rpc::CountReasons, &request)?;
        let asker = Asker::of(guest, String::new(), String::new(), false)?;
        let (index, parties, agency) = (self.index.clone(), asker.parties(), asker.agency.clone());
        let now_s = clock::now().seconds;
        let answer = blocking(move || {
            usual::count(&index, now_s, |filter| query(filter, Vec::new(), agency.as_deref(), &parties))
        })
        .await?;
        let question = "reasons of today, and of the same hours of the four weeks before";
        let access = asker.access(AccessKind::Search, question, answer.counts.len(), answer.complete_up_to);
        self.put_on_record(access).await?;
        Ok(Response::new(answer))
    }

    async fn get_evidence(
        &self,
        request: Request<GetEvidenceRequest>,
    ) -> Result<Response<GetEvidenceResponse>, Status> {
        let guest = self.door.admit(Rpc::GetEvidence, &request)?;
        let GetEvidenceRequest { exchange_id, case_id, reason } = request.into_inner();
        let asker = Asker::of(guest, case_id, reason, false)?;
        check_exchange(&exchange_id)?;
        let (index, visible_to, id) = (self.index.clone(), asker.agency.clone(), exchange_id.clone());
        let generation = Arc::clone(&asker.generation);
        let evidence =
            blocking(move || gather(&index, &id, visible_to.as_deref(), |node| generation.bundle(node)))
                .await?;
        let records = evidence.as_ref().map_or(0, |evidence| evidence.records.len());
        let access = asker.access(AccessKind::Evidence, "", records, self.index.upto());
        self.put_on_record(LogAccess { exchange_id, ..access }).await?;
        match evidence {
            Some(evidence) => Ok(Response::new(GetEvidenceResponse { evidence: Some(evidence) })),
            None => Err(nothing_seen()),
        }
    }

    async fn subject_access(
        &self,
        request: Request<SubjectAccessRequest>,
    ) -> Result<Response<SubjectAccessResponse>, Status> {
        let guest = self.door.admit(Rpc::SubjectAccess, &request)?;
        let SubjectAccessRequest { subject, from_time, to_time, page_size, page_token, case_id, reason } =
            request.into_inner();
        if subject.is_empty() {
            return Err(Status::invalid_argument("subject: give the citizen number or business number"));
        }
        let asker = Asker::of(guest, case_id, reason, true)?;
        let filter = RecordFilter { subject, from_time, to_time, ..RecordFilter::default() };
        let page = PageToken::read(&page_token, &(&filter, &asker.actor))?;
        let uses_max = page_size_of(page_size)?;
        let terms = self.subject_terms(&filter.subject)?;
        let query = query(&filter, terms, asker.agency.as_deref(), &[])
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let (index, names) = (self.index.clone(), Names(asker.parties()));
        let (visible_to, now) = (asker.agency.clone(), clock::now());
        let answer =
            blocking(move || uses(&index, &query, visible_to.as_deref(), &page, uses_max, &names, &now))
                .await?;
        let access = asker.access(
            AccessKind::SubjectAccess,
            &words(&filter),
            answer.uses.len(),
            answer.complete_up_to,
        );
        self.put_on_record(LogAccess { about_subject: true, ..access }).await?;
        Ok(Response::new(answer))
    }

    async fn set_disclosure(
        &self,
        request: Request<SetDisclosureRequest>,
    ) -> Result<Response<SetDisclosureResponse>, Status> {
        let guest = self.door.admit(Rpc::SetDisclosure, &request)?;
        let SetDisclosureRequest { exchange_id, disclosure, disclose_time, authority, case_id } =
            request.into_inner();
        check_exchange(&exchange_id)?;
        let asker = Asker::of(guest, case_id, authority, true)?;
        let disclosed = match (Disclosure::try_from(disclosure), disclose_time) {
            (Ok(Disclosure::Now), None) => Disclosed::Now,
            (Ok(Disclosure::Sealed), None) => Disclosed::Sealed,
            (Ok(Disclosure::After), Some(time)) => Disclosed::After(time),
            _ => {
                let what = "disclosure: give NOW or SEALED without disclose_time, or AFTER with it";
                return Err(Status::invalid_argument(what));
            }
        };
        let (index, id) = (self.index.clone(), exchange_id.clone());
        let known = blocking(move || disclosure::is_known(&index, &id)).await?;
        if !known {
            return Err(nothing_seen());
        }
        let access = asker.access(AccessKind::Disclosure, &disclosed.to_string(), 0, self.index.upto());
        let index = self.put_on_record(LogAccess { exchange_id, ..access }).await?;
        Ok(Response::new(SetDisclosureResponse { index }))
    }

    async fn erase_subject(
        &self,
        request: Request<EraseSubjectRequest>,
    ) -> Result<Response<EraseSubjectResponse>, Status> {
        let guest = self.door.admit(Rpc::EraseSubject, &request)?;
        let EraseSubjectRequest { subject, legal_basis, authority, case_id } = request.into_inner();
        let asker = Asker::of(guest, case_id, authority, true)?;
        stated("legal_basis", &legal_basis, REASON_CHARS_MAX)?;
        let terms = self.subject_terms(stated("subject", &subject, SUBJECT_CHARS_MAX)?)?;
        let (index, wants) = (self.index.clone(), terms.into_iter().map(Want::Exactly).collect());
        let query = Query { clauses: vec![Clause(wants)], times_ms: None };
        let counted = blocking(move || {
            Ok(index.search(&query, u64::MAX, None, ERASED_RECORDS_COUNTED_MAX)?.entries.len())
        });
        let records = counted.await? as u64;
        // With the one by which he is known as an end user.
        let mut tokens = self.index.keys().tokens(&subject);
        tokens.push(self.index.keys().own(&subject));
        let bodies = tokens.chunks(ERASED_TOKENS_PER_RECORD_MAX).map(|tokens| {
            Body::SubjectErased(SubjectErased {
                actor: asker.actor.chars().take(REASON_CHARS_MAX).collect(),
                legal_basis: legal_basis.clone(),
                authority: asker.reason.clone(),
                case_id: asker.case_id.clone(),
                tokens: tokens.iter().map(|token| token.to_vec()).collect(),
                records,
            })
        });
        let recorded = self.ledger.record(bodies.collect()).await.map_err(|error| not_on_record(&error))?;
        let until = Instant::now() + Duration::from_millis(ERASE_WAIT_MS);
        let behind = recorded.first_index + recorded.entries;
        while self.index.upto() < behind && Instant::now() < until {
            tokio::time::sleep(LOOK_INTERVAL).await;
        }
        let applied = self.index.upto() >= behind;
        Ok(Response::new(EraseSubjectResponse { index: recorded.first_index, records, applied }))
    }

    async fn register_user(
        &self,
        request: Request<RegisterUserRequest>,
    ) -> Result<Response<RegisterUserResponse>, Status> {
        let guest = self.door.admit(Rpc::RegisterUser, &request)?;
        let RegisterUserRequest { system, user, subject } = request.into_inner();
        let Caller::Officer { subject: actor, agency } = &guest.caller else {
            return Err(Status::permission_denied("an agency's officer says who its end users are"));
        };
        if !system.starts_with(&format!("agencies/{agency}/systems/")) || system.contains(' ') {
            let problem = format!("system: give the resource name of a system of {agency}");
            return Err(Status::invalid_argument(problem));
        }
        stated("system", &system, REASON_CHARS_MAX)?;
        stated("user", &user, SUBJECT_CHARS_MAX)?;
        if !subject.is_empty() {
            stated("subject", &subject, SUBJECT_CHARS_MAX)?;
        }
        let action = if subject.is_empty() { "user.forget" } else { "user.register" };
        let detail = format!("end user {}", without_numbers(&user));
        let act = Act { actor, action, resource: &system, detail: &detail, ..Act::default() };
        let recorded = self.ledger.record(vec![administration(act)]).await;
        let recorded = recorded.map_err(|error| not_on_record(&error))?;
        let index = self.index.clone();
        let token = (!subject.is_empty()).then(|| index.keys().own(&subject));
        let kept = spawn_blocking(move || index.own().set(&system, &user, token)).await;
        match kept {
            Ok(Ok(())) => Ok(Response::new(RegisterUserResponse { index: recorded.first_index })),
            Ok(Err(error)) => {
                Err(Status::unavailable(format!("who the end user is cannot be kept: {error}")))
            }
            Err(_) => Err(Status::internal("registering was interrupted")),
        }
    }
}

impl Search {
    /// Puts a question on record; without that there is no answer.
    async fn put_on_record(&self, access: LogAccess) -> Result<u64, Status> {
        let recorded = self.ledger.record(vec![Body::LogAccess(access)]).await;
        Ok(recorded.map_err(|error| not_on_record(&error))?.first_index)
    }

    /// By which terms a person may be found.
    fn subject_terms(&self, subject: &str) -> Result<Vec<lienthong_index::Term>, Status> {
        if subject.is_empty() {
            return Ok(Vec::new());
        }
        if subject.chars().count() > SUBJECT_CHARS_MAX {
            return Err(Status::invalid_argument("subject: give at most 64 characters"));
        }
        Ok(self.index.keys().terms(subject))
    }
}

impl Asker {
    fn of(guest: Guest, case_id: String, reason: String, needs_case: bool) -> Result<Asker, Status> {
        for (field, text, chars_max) in
            [("case_id", &case_id, CASE_CHARS_MAX), ("reason", &reason, REASON_CHARS_MAX)]
        {
            if text.chars().count() > chars_max || text.chars().any(char::is_control) {
                let problem = format!("{field}: give one line of at most {chars_max} characters");
                return Err(Status::invalid_argument(problem));
            }
            if needs_case && text.trim().is_empty() {
                let problem = format!(
                    "{field}: a question about a person states its case and its reason, which go on record (R-49)"
                );
                return Err(Status::invalid_argument(problem));
            }
        }
        let via = guest.console().to_owned();
        let (actor, agency) = match guest.caller {
            Caller::Auditor { subject } => (subject, None),
            Caller::Officer { subject, agency } => (subject, Some(agency)),
            other => return Err(Status::permission_denied(format!("searching the log is not for {other}"))),
        };
        Ok(Asker { actor, via, agency, case_id, reason, generation: guest.generation })
    }

    fn parties(&self) -> Vec<PartyName> {
        let catalog = self.generation.catalog();
        let agencies = catalog.agencies().iter().map(|agency| PartyName {
            code: agency.code.clone(),
            names: vec![agency.name_vi.clone(), agency.name_en.clone()],
        });
        let others = catalog
            .outside_parties()
            .iter()
            .map(|party| PartyName { code: party.code.clone(), names: vec![party.name_vi.clone()] });
        agencies.chain(others).collect()
    }

    fn access(&self, kind: AccessKind, question: &str, results: usize, complete_up_to: u64) -> LogAccess {
        LogAccess {
            actor: self.actor.chars().take(REASON_CHARS_MAX).collect(),
            agency: self.agency.clone().unwrap_or_default(),
            kind: kind.into(),
            question: question.to_owned(),
            about_subject: false,
            case_id: self.case_id.clone(),
            reason: self.reason.clone(),
            results: results as u64,
            complete_up_to,
            exchange_id: Vec::new(),
            via: self.via.chars().take(REASON_CHARS_MAX).collect(),
        }
    }
}

/// A text that a request must state, on one line.
fn stated<'a>(field: &str, text: &'a str, chars_max: usize) -> Result<&'a str, Status> {
    if text.trim().is_empty() || text.chars().count() > chars_max || text.chars().any(char::is_control) {
        return Err(Status::invalid_argument(format!(
            "{field}: give one line of 1 to {chars_max} characters"
        )));
    }
    Ok(text)
}

fn not_on_record(error: &LedgerError) -> Status {
    Status::unavailable(format!("this cannot be put on record, so it is not done: {error}"))
}

fn page_size_of(page_size: i32) -> Result<usize, Status> {
    match usize::try_from(page_size) {
        Ok(0) => Ok(PAGE_RECORDS_DEFAULT),
        Ok(size) => Ok(size.min(PAGE_RECORDS_MAX)),
        Err(_) => Err(Status::invalid_argument("page_size is negative; leave it out or ask for 1 to 500")),
    }
}

fn check_exchange(exchange_id: &[u8]) -> Result<(), Status> {
    if exchange_id.len() == 16 {
        return Ok(());
    }
    Err(Status::invalid_argument("exchange_id: give the 16 bytes of an exchange id"))
}

/// The same whether there is nothing or nothing that the asker may see.
fn nothing_seen() -> Status {
    Status::not_found("no exchange of this id is on record among those that you may see")
}

/// An entry has at most 64 KiB, a page 500 of them: only entries of unusual size could overrun an answer.
fn bound(answer: &mut SearchRecordsResponse) {
    debug_assert!(answer.records.len() <= PAGE_RECORDS_MAX);
    for found in &mut answer.records {
        // What is no record of this program's is shown by its place and proof alone.
        if found.entry.len() > record::RECORD_BYTES_MAX {
            found.entry.clear();
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SearchError> + Send + 'static,
) -> Result<T, Status> {
    let answer = spawn_blocking(work).await.map_err(|_| Status::internal("the search was interrupted"))?;
    answer.map_err(|error| {
        tracing::error!(%error, "a search has no answer");
        Status::unavailable(format!("the log cannot be searched now: {error}"))
    })
}
