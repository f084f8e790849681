//! Findings as they come: what matching and the watch rules put on record, as soon as it can be listed.
//!
//! The stream is made on demand, one message each time the connection can take one: a slow watcher costs no memory. It
//! names the log index of every finding, so that one who was cut off goes on behind the last one that he saw.

use std::collections::VecDeque;
use std::time::Duration;

use lienthong_proto::lienthong::audit::v1::{
    FindingEntry, FindingKind, WatchFindingsRequest, WatchFindingsResponse,
};
use tokio::time::{Instant, sleep};
use tonic::Status;

use super::findings::{FindingDesk, concerns, unavailable};
use crate::access::Rpc;
use crate::door::Guest;
use crate::limits::{FINDINGS_PAGE_MAX, FINDINGS_WATCH_ALIVE_MS, FINDINGS_WATCH_LOOK_MS};
use crate::places::Place;

/// A watch under way.
pub(super) struct Watching {
    desk: FindingDesk,
    guest: Guest,
    asked: WatchFindingsRequest,
    /// Log index behind which the next look begins; `None`: at the beginning.
    after: Option<u64>,
    /// Found, and not yet sent.
    waiting: VecDeque<FindingEntry>,
    spoken: Instant,
    _place: Place,
}

impl Watching {
    /// Begins where the watcher wants, or at what is matched by now.
    pub(super) fn begin(desk: FindingDesk, guest: Guest, asked: WatchFindingsRequest, place: Place) -> Self {
        let after = asked.after_log_index.or_else(|| desk.progress.matched().checked_sub(1));
        Self { desk, guest, asked, after, waiting: VecDeque::new(), spoken: Instant::now(), _place: place }
    }

    /// The next message of the stream; an error is the last one.
    pub(super) async fn step(
        watching: Option<Self>,
    ) -> Option<(Result<WatchFindingsResponse, Status>, Option<Self>)> {
        let mut watching = watching?;
        match watching.next().await {
            Ok(said) => Some((Ok(said), Some(watching))),
            Err(status) => Some((Err(status), None)),
        }
    }

    async fn next(&mut self) -> Result<WatchFindingsResponse, Status> {
        loop {
            if let Some(finding) = self.waiting.pop_front() {
                return Ok(self.say(Some(finding)));
            }
            self.desk.door.still_allows(Rpc::WatchFindings, &self.guest)?;
            if self.look().await? {
                continue;
            }
            if self.spoken.elapsed() >= Duration::from_millis(FINDINGS_WATCH_ALIVE_MS) {
                return Ok(self.say(None));
            }
            tokio::select! {
                () = sleep(Duration::from_millis(FINDINGS_WATCH_LOOK_MS)) => {}
                _ = self.desk.drain.started() => {
                    return Err(Status::unavailable("the broker is stopping; connect again"));
                }
            }
        }
    }

    /// Looks for findings behind those that were seen; whether there are any.
    async fn look(&mut self) -> Result<bool, Status> {
        let page = self.desk.shelf.findings(self.after, FINDINGS_PAGE_MAX, |_| true).await;
        let (found, _) = page.map_err(|error| unavailable(&error))?;
        let Some(last) = found.last() else { return Ok(false) };
        self.after = Some(last.log_index);
        let wanted =
            |entry: &FindingEntry| is_wanted(&self.asked, entry) && concerns(&self.guest.caller, entry);
        self.waiting.extend(found.into_iter().filter(wanted));
        Ok(true)
    }

    fn say(&mut self, finding: Option<FindingEntry>) -> WatchFindingsResponse {
        self.spoken = Instant::now();
        WatchFindingsResponse { finding, matched_upto: self.desk.progress.matched() }
    }
}

fn is_wanted(asked: &WatchFindingsRequest, entry: &FindingEntry) -> bool {
    let Some(found) = &entry.finding else { return false };
    let kind = asked.kind();
    (kind == FindingKind::Unspecified || found.kind() == kind)
        && (asked.node.is_empty() || found.nodes.contains(&asked.node))
}
