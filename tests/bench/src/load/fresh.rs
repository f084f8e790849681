//! New connections: each worker connects, calls once, leaves, and begins again. Nothing is resumed: the handshakes are whole.

use std::sync::Arc;
use std::time::Instant;

use anyhow::Context;
use rustls::ClientConfig;
use rustls::client::Resumption;
use tokio::task::JoinSet;

use super::{Caller, Counted, Measurement, Window};
use crate::pki::{Pki, Role};
use crate::threads::{cores, runtime};

pub(super) fn run(measurement: &Measurement, pki: &Pki, concurrency: usize) -> anyhow::Result<Counted> {
    let mut config = ClientConfig::clone(&*pki.client_config(Role::Consumer)?);
    config.resumption = Resumption::disabled();
    let config = Arc::new(config);
    let threads = cores().clamp(1, concurrency.max(1));
    let mut all = Counted::default();
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|index| {
                let workers = concurrency / threads + usize::from(index < concurrency % threads);
                let config = &config;
                scope.spawn(move || thread(measurement, workers, config))
            })
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

fn thread(measurement: &Measurement, workers: usize, config: &Arc<ClientConfig>) -> anyhow::Result<Counted> {
    runtime()?.block_on(async {
        let calling = connect_and_call(measurement, workers, config);
        tokio::time::timeout(measurement.patience(), calling)
            .await
            .context("connections are stuck: no answer arrives")?
    })
}

async fn connect_and_call(
    measurement: &Measurement,
    workers: usize,
    config: &Arc<ClientConfig>,
) -> anyhow::Result<Counted> {
    let window = Window::beginning(Instant::now(), measurement);
    let mut working = JoinSet::new();
    for _ in 0..workers {
        working.spawn(worker(measurement.clone(), Arc::clone(config), window));
    }
    let mut all = Counted::default();
    while let Some(worker) = working.join_next().await {
        all.add(worker??);
    }
    Ok(all)
}

async fn worker(
    measurement: Measurement,
    config: Arc<ClientConfig>,
    window: Window,
) -> anyhow::Result<Counted> {
    let mut counted = Counted::default();
    let mut now = Instant::now();
    while now < window.until {
        let due = now;
        let mut caller = Caller::connect(measurement.address, Arc::clone(&config), &measurement).await?;
        caller.call().await?;
        drop(caller);
        now = Instant::now();
        counted.answer(window, due, now);
    }
    Ok(counted)
}
