//! Where the work is done that follows the log: matching, the index, what the scorecards count. No receipt waits for it: a
//! batch is receipted when the log has it, and whoever asks is told how far each of them is. So its threads step back where
//! processors are scarce, and catch up when they are not.

use std::io;

use rustix::process::setpriority_process;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;

use crate::limits::BACKGROUND_BLOCKING_THREADS_MAX;

/// How far the threads step back: about a tenth of the share of a thread that takes records in (nice(2)). Less would let
/// them fall behind for as long as a busy day lasts.
const NICENESS: i32 = 10;

/// A runtime of its own, on threads that step back.
#[derive(Debug)]
pub struct Background {
    handle: Handle,
    /// There until it is dropped.
    runtime: Option<Runtime>,
}

impl Background {
    /// Starts it.
    ///
    /// # Errors
    /// When there can be no threads.
    pub fn start() -> io::Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .max_blocking_threads(BACKGROUND_BLOCKING_THREADS_MAX)
            .thread_name("background")
            .on_thread_start(step_back)
            .enable_all()
            .build()?;
        Ok(Self { handle: runtime.handle().clone(), runtime: Some(runtime) })
    }

    /// Does this work there.
    pub fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(work)
    }
}

impl Drop for Background {
    /// The broker has awaited what it spawned; what still blocks is not waited for.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// The present thread lets others go first from now on.
pub fn step_back() {
    // Set, not added: a thread begins with that of the one that made it. On Linux niceness is a thread's; where the system
    // refuses, the work competes as any other.
    if let Err(error) = setpriority_process(None, NICENESS) {
        tracing::debug!(%error, "a background thread keeps its priority");
    }
}
