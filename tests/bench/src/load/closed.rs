//! The closed loop: each worker calls again as soon as it is answered.

use std::sync::{Arc, Barrier};
use std::time::Instant;

use anyhow::Context;
use rustls::ClientConfig;
use tokio::task::JoinSet;

use super::{CONNECTIONS_MAX, Caller, Counted, Measurement, Window};
use crate::pki::{Pki, Role};
use crate::threads::{cores, runtime};

/// What one thread does: its part of the connections and of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Part {
    connections: usize,
    concurrency: usize,
}

pub(super) fn run(measurement: &Measurement, pki: &Pki, concurrency: usize) -> anyhow::Result<Counted> {
    let config = pki.client_config(Role::Consumer)?;
    let parts = parts(concurrency, cores());
    let start = Barrier::new(parts.len());
    let mut all = Counted::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = parts
            .iter()
            .map(|part| scope.spawn(|| thread(measurement, *part, Arc::clone(&config), &start)))
            .collect();
        for thread in threads {
            let counted =
                thread.join().map_err(|_| anyhow::anyhow!("a thread of the load generator panicked"))?;
            all.add(counted?);
        }
        anyhow::Ok(())
    })?;
    Ok(all)
}

/// Splits calls and connections evenly over threads; every thread gets at least one of each.
fn parts(concurrency: usize, threads: usize) -> Vec<Part> {
    let connections = concurrency.min(CONNECTIONS_MAX);
    let threads = threads.clamp(1, connections.max(1));
    let share = |of: usize, index: usize| of / threads + usize::from(index < of % threads);
    (0..threads)
        .map(|index| Part { connections: share(connections, index), concurrency: share(concurrency, index) })
        .collect()
}

fn thread(
    measurement: &Measurement,
    part: Part,
    config: Arc<ClientConfig>,
    start: &Barrier,
) -> anyhow::Result<Counted> {
    let runtime = runtime();
    let connected = runtime.as_ref().ok().map(|runtime| runtime.block_on(connect(measurement, part, config)));
    // Reached in every case, so that no thread waits for one that failed.
    start.wait();
    let callers = connected.transpose()?.unwrap_or_default();
    runtime?.block_on(async {
        let calling = call_until_end(measurement, part, &callers);
        tokio::time::timeout(measurement.patience(), calling)
            .await
            .context("calls are stuck: no answer arrives")?
    })
}

async fn connect(
    measurement: &Measurement,
    part: Part,
    config: Arc<ClientConfig>,
) -> anyhow::Result<Vec<Caller>> {
    let mut callers = Vec::with_capacity(part.connections);
    for _ in 0..part.connections {
        let connecting = Caller::connect(measurement.address, Arc::clone(&config), measurement);
        let caller = tokio::time::timeout(measurement.patience(), connecting).await;
        callers.push(caller.context("connecting is stuck")??);
    }
    Ok(callers)
}

async fn call_until_end(
    measurement: &Measurement,
    part: Part,
    callers: &[Caller],
) -> anyhow::Result<Counted> {
    let window = Window::beginning(Instant::now(), measurement);
    let mut workers = JoinSet::new();
    for caller in callers.iter().cycle().take(part.concurrency) {
        workers.spawn(worker(caller.clone(), window));
    }
    let mut all = Counted::default();
    while let Some(worker) = workers.join_next().await {
        all.add(worker??);
    }
    Ok(all)
}

async fn worker(mut caller: Caller, window: Window) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    let mut now = Instant::now();
    while now < window.until {
        let due = now;
        caller.call().await?;
        now = Instant::now();
        counted.answer(window, due, now);
    }
    Ok(counted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_call_and_connection_has_its_thread() {
        for concurrency in [1, 2, 3, 16, 17, 64, 256] {
            for threads in 1..5 {
                let parts = parts(concurrency, threads);
                assert_eq!(parts.iter().map(|part| part.concurrency).sum::<usize>(), concurrency);
                let connections: usize = parts.iter().map(|part| part.connections).sum();
                assert_eq!(connections, concurrency.min(CONNECTIONS_MAX));
                assert!(
                    parts.iter().all(|part| 0 < part.connections && part.connections <= part.concurrency)
                );
            }
        }
    }
}
