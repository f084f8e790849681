//! `CatalogChangeService`: how the catalog changes, with four eyes on it.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use lienthong_approval::folder_hash;
use lienthong_catalog::SourceFile;
use lienthong_catalog::compile::RightDifference;
use lienthong_catalog::source::{Difference, differences};
use lienthong_certs::PeerCertificate;
use lienthong_proto::lienthong::catalog::v1::catalog_change_service_server::CatalogChangeService;
use lienthong_proto::lienthong::catalog::v1::propose_change_request::{Head, Part};
use lienthong_proto::lienthong::catalog::v1::{
    ApproveChangeRequest, ApproveChangeResponse, Change, ChangeKind, FilePart, GetChangeRequest,
    GetChangeResponse, ListChangesRequest, ListChangesResponse, ObjectChange, Plan, ProposeChangeRequest,
    ProposeChangeResponse, ReadFilesRequest, ReadFilesResponse, RejectChangeRequest, RejectChangeResponse,
    RightChange,
};
use tokio::time::timeout;
use tonic::{Request, Response, Status, Streaming};

use crate::access::Rpc;
use crate::chancery::{Chancery, ChanceryError, Proposal, Unfit};
use crate::door::{Door, Guest};
use crate::identity::Caller;
use crate::limits::{
    CATALOG_BYTES_MAX, CATALOG_FILES_MAX, FILE_PART_BYTES_MAX, FOLDER_TIMEOUT_MS, NAME_SHOWN_BYTES_MAX,
    PLAN_RIGHTS_MAX, REPLAY_DAYS_MAX,
};
use crate::paging::Page;
use crate::steward::Preview;

/// The service.
#[derive(Clone, Debug)]
pub struct Changes {
    pub(crate) door: Door,
    pub(crate) chancery: Arc<Chancery>,
}

#[tonic::async_trait]
impl CatalogChangeService for Changes {
    async fn propose_change(
        &self,
        request: Request<Streaming<ProposeChangeRequest>>,
    ) -> Result<Response<ProposeChangeResponse>, Status> {
        let guest = self.door.admit(Rpc::ProposeChange, &request)?;
        let may_propose = matches!(guest.caller, Caller::Operator { .. });
        let officer = certificate(guest)?;
        let received = timeout(Duration::from_millis(FOLDER_TIMEOUT_MS), receive(request.into_inner()));
        let (head, files) =
            received.await.map_err(|_| Status::deadline_exceeded("the folder did not arrive in time"))??;
        if !may_propose && !head.validate_only {
            return Err(Status::permission_denied(
                "a steward asks what a change would do (validate_only); an operator proposes it, with his signature",
            ));
        }
        let days = head.replay_days;
        if days > REPLAY_DAYS_MAX {
            return Err(Status::invalid_argument(format!("replay_days is at most {REPLAY_DAYS_MAX}")));
        }
        let proposal = Proposal {
            files: files.clone(),
            base_hash: head.base_hash,
            content_hash: head.content_hash,
            approval: head.approval,
            note: head.note,
            request_id: head.request_id,
            validate_only: head.validate_only,
        };
        let before = self.chancery.files("").await.map_err(|error| error.to_status())?;
        let proposed =
            self.step(move |chancery| async move { chancery.propose(&officer, proposal).await }).await?;
        let mut replayed = None;
        if let Some(preview) = proposed.preview.as_ref().filter(|_| days > 0) {
            let replay = self.chancery.replay(preview, days).await;
            replayed = Some(replay.map_err(|error| ChanceryError::from(error).to_status())?);
        }
        let plan =
            proposed.preview.map(|preview| Plan { replay: replayed, ..plan(&before, &files, preview) });
        Ok(Response::new(ProposeChangeResponse { change: Some(proposed.change), plan }))
    }

    async fn get_change(
        &self,
        request: Request<GetChangeRequest>,
    ) -> Result<Response<GetChangeResponse>, Status> {
        self.door.admit(Rpc::GetChange, &request)?;
        let change = self.chancery.get(&request.get_ref().name).await.map_err(|unfit| unfit.to_status())?;
        Ok(Response::new(GetChangeResponse { change: Some(change) }))
    }

    async fn list_changes(
        &self,
        request: Request<ListChangesRequest>,
    ) -> Result<Response<ListChangesResponse>, Status> {
        self.door.admit(Rpc::ListChanges, &request)?;
        let request = request.into_inner();
        let page = Page::read(request.page_size, &request.page_token)?;
        let all = self.chancery.list(request.state()).await;
        let (changes, next_page_token) = page.cut(&all, |one: &Change| &one.name);
        Ok(Response::new(ListChangesResponse { changes: changes.to_vec(), next_page_token }))
    }

    async fn approve_change(
        &self,
        request: Request<ApproveChangeRequest>,
    ) -> Result<Response<ApproveChangeResponse>, Status> {
        let officer = self.officer(Rpc::ApproveChange, &request)?;
        let ApproveChangeRequest { name, approval, etag } = request.into_inner();
        let change = self
            .step(move |chancery| async move { chancery.approve(&officer, &name, approval, &etag).await })
            .await?;
        Ok(Response::new(ApproveChangeResponse { change: Some(change) }))
    }

    async fn reject_change(
        &self,
        request: Request<RejectChangeRequest>,
    ) -> Result<Response<RejectChangeResponse>, Status> {
        let officer = self.officer(Rpc::RejectChange, &request)?;
        let RejectChangeRequest { name, reason } = request.into_inner();
        let change =
            self.step(move |chancery| async move { chancery.reject(&officer, &name, &reason).await }).await?;
        Ok(Response::new(RejectChangeResponse { change: Some(change) }))
    }

    type ReadFilesStream = Pin<Box<dyn Stream<Item = Result<ReadFilesResponse, Status>> + Send>>;

    async fn read_files(
        &self,
        request: Request<ReadFilesRequest>,
    ) -> Result<Response<Self::ReadFilesStream>, Status> {
        self.door.admit(Rpc::ReadFiles, &request)?;
        let files = self.chancery.files(&request.get_ref().name).await.map_err(|error| error.to_status())?;
        let head = ReadFilesResponse { content_hash: folder_hash(&files).0.to_vec(), file: None };
        let parts =
            parts(&files).map(|file| ReadFilesResponse { content_hash: Vec::new(), file: Some(file) });
        let messages: Vec<_> = std::iter::once(head).chain(parts).map(Ok).collect();
        Ok(Response::new(Box::pin(futures_util::stream::iter(messages))))
    }
}

impl Changes {
    /// The person of the operator who calls.
    fn officer<T>(&self, rpc: Rpc, request: &Request<T>) -> Result<Arc<PeerCertificate>, Status> {
        certificate(self.door.admit(rpc, request)?)
    }

    /// Takes a step; it goes on when the caller hangs up.
    async fn step<T, F>(&self, step: impl FnOnce(Arc<Chancery>) -> F + Send) -> Result<T, Status>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, ChanceryError>> + Send + 'static,
    {
        let work = tokio::spawn(step(Arc::clone(&self.chancery)));
        let done = work.await.map_err(|_| Status::internal("the step ended unexpectedly"))?;
        done.map_err(|error| error.to_status())
    }
}

/// The certificate of a person.
fn certificate(guest: Guest) -> Result<Arc<PeerCertificate>, Status> {
    guest.certificate.ok_or_else(|| Status::unauthenticated("this call needs a certificate"))
}

/// Takes a folder in, within its bounds.
async fn receive(mut parts: Streaming<ProposeChangeRequest>) -> Result<(Head, Vec<SourceFile>), Status> {
    let Some(ProposeChangeRequest { part: Some(Part::Head(head)) }) = parts.message().await? else {
        return Err(Status::invalid_argument("the first message must be the head"));
    };
    let (mut files, mut bytes): (BTreeMap<String, Vec<u8>>, usize) = (BTreeMap::new(), 0);
    while let Some(message) = parts.message().await? {
        let Some(Part::File(FilePart { name, content })) = message.part else {
            return Err(Status::invalid_argument("only files may follow the head"));
        };
        bytes += content.len() + name.len();
        if !is_file_name(&name) {
            return Err(Status::invalid_argument("a file of the catalog is called like entries.yaml"));
        }
        files.entry(name).or_default().extend(content);
        if bytes > CATALOG_BYTES_MAX || files.len() > CATALOG_FILES_MAX {
            return Err(Status::resource_exhausted(format!(
                "a catalog has at most {CATALOG_FILES_MAX} files and {CATALOG_BYTES_MAX} bytes"
            )));
        }
    }
    let read = |(name, bytes): (String, Vec<u8>)| match String::from_utf8(bytes) {
        Ok(text) => Ok(SourceFile { name, text }),
        Err(_) => Err(Status::invalid_argument(format!("{name} is not UTF-8"))),
    };
    let files = files.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
    Ok((head, files))
}

/// A plain name that a folder can hold, and that leads nowhere else when the folder is written again.
fn is_file_name(name: &str) -> bool {
    name.len() <= NAME_SHOWN_BYTES_MAX
        && name.strip_suffix(".yaml").is_some_and(|stem| !stem.is_empty() && !stem.starts_with('.'))
        && name.chars().all(|one| one.is_alphanumeric() || "-_.".contains(one))
}

/// The parts of a folder.
pub fn parts(files: &[SourceFile]) -> impl Iterator<Item = FilePart> + '_ {
    files.iter().flat_map(|file| {
        let whole = file.text.as_bytes();
        let cut = if whole.is_empty() { vec![whole] } else { whole.chunks(FILE_PART_BYTES_MAX).collect() };
        cut.into_iter().map(|content| FilePart { name: file.name.clone(), content: content.to_vec() })
    })
}

/// What a change means, for people.
fn plan(before: &[SourceFile], after: &[SourceFile], preview: Preview) -> Plan {
    let kind = |difference| match difference {
        Difference::Added => ChangeKind::Added,
        Difference::Removed => ChangeKind::Removed,
        Difference::Altered => ChangeKind::Altered,
    };
    // Both were read as a catalog before, so that nothing is left to refuse.
    let objects = differences(before, after).unwrap_or_default();
    let more = preview.rights.len().saturating_sub(PLAN_RIGHTS_MAX);
    let right = |one: RightDifference| RightChange {
        right: one.id,
        consumer: one.consumer,
        provider: one.provider,
        dataset: one.dataset,
        purpose: one.purpose.into(),
        kind: kind(one.difference).into(),
        fields_gained: one.gained,
        fields_lost: one.lost,
        lines: one.lines,
    };
    Plan {
        objects: objects
            .into_iter()
            .map(|one| ObjectChange {
                kind: kind(one.difference).into(),
                object: one.object,
                lines: one.lines,
            })
            .collect(),
        rights: preview.rights.into_iter().take(PLAN_RIGHTS_MAX).map(right).collect(),
        rights_more: u32::try_from(more).unwrap_or(u32::MAX),
        findings: preview.findings,
        replay: None,
    }
}

impl From<Unfit> for Status {
    fn from(unfit: Unfit) -> Status {
        unfit.to_status()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_name_leads_nowhere() {
        assert!(is_file_name("entries.yaml") && is_file_name("y-tế_2.yaml"));
        for name in ["", ".yaml", "a.yml", "../a.yaml", "a/b.yaml", "..yaml", "a\0.yaml", &"a".repeat(200)] {
            assert!(!is_file_name(name), "{name:?}");
        }
    }

    #[test]
    fn a_folder_is_cut_and_nothing_is_lost() {
        let text = "é".repeat(FILE_PART_BYTES_MAX);
        let files = [
            SourceFile { name: "a.yaml".to_owned(), text: String::new() },
            SourceFile { name: "b.yaml".to_owned(), text: text.clone() },
        ];
        let parts: Vec<FilePart> = parts(&files).collect();
        assert_eq!(parts.len(), 3);
        assert!(parts.iter().all(|part| part.content.len() <= FILE_PART_BYTES_MAX));
        let b: Vec<u8> = parts[1..].iter().flat_map(|part| part.content.clone()).collect();
        assert_eq!(b, text.as_bytes());
    }
}
