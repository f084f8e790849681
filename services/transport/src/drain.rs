//! Leaving in order: finish what is in flight, take nothing new, and be gone by a deadline.

use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// One switch for all listeners of a process. Clones share it.
#[derive(Clone, Debug)]
pub struct Drain {
    deadline: watch::Sender<Option<Instant>>,
}

impl Drain {
    /// A switch that is not yet turned.
    pub fn new() -> Self {
        Self { deadline: watch::Sender::new(None) }
    }

    /// Asks every listener to leave within `patience`. The first call counts; a later one can only shorten
    /// it.
    pub fn start(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        self.deadline.send_if_modified(|current| {
            let sooner = current.is_none_or(|present| deadline < present);
            if sooner {
                *current = Some(deadline);
            }
            sooner
        });
    }

    /// Whether leaving has begun.
    pub fn is_started(&self) -> bool {
        self.deadline.borrow().is_some()
    }

    /// Waits until leaving begins; returns the moment by which it must be over.
    pub async fn started(&self) -> Instant {
        let mut deadline = self.deadline.subscribe();
        loop {
            if let Some(deadline) = *deadline.borrow_and_update() {
                return deadline;
            }
            // The sender lives in `self`, so the channel cannot close while we wait.
            if deadline.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// Waits until the deadline has passed, however often it is shortened meanwhile.
    pub(crate) async fn overdue(&self) {
        let mut changes = self.deadline.subscribe();
        loop {
            let deadline = *changes.borrow_and_update();
            let overdue = async {
                match deadline {
                    Some(deadline) => tokio::time::sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = overdue => return,
                _ = changes.changed() => {}
            }
        }
    }
}

impl Default for Drain {
    fn default() -> Self {
        Self::new()
    }
}

/// How a listener ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DrainOutcome {
    /// Connections that finished by themselves after the drain began.
    pub finished: usize,
    /// Connections that were cut at the deadline.
    pub cut: usize,
}
