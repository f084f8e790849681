//! The open loop: calls begin when they are due, answered or not.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tokio::task::JoinSet;

use super::ticks::Ticks;
use super::{CONNECTIONS_MAX, Caller, Counted, Measurement, Window};
use crate::pki::{Pki, Role};
use crate::threads::runtime;

/// Calls that may wait for an answer before the contestant is said not to keep up.
const OUTSTANDING_MAX: usize = 4_096;

pub(super) fn run(measurement: &Measurement, pki: &Pki, per_second: u32) -> anyhow::Result<Counted> {
    let config = pki.client_config(Role::Consumer)?;
    let interval = Duration::from_secs(1).checked_div(per_second).context("a rate of 0 calls a second")?;
    runtime()?.block_on(async {
        let mut callers = Vec::with_capacity(CONNECTIONS_MAX);
        for _ in 0..CONNECTIONS_MAX {
            callers.push(Caller::connect(measurement.address, Arc::clone(&config), measurement).await?);
        }
        let calling = call_when_due(measurement, interval, &callers);
        tokio::time::timeout(measurement.patience(), calling)
            .await
            .context("calls are stuck: no answer arrives")?
    })
}

async fn call_when_due(
    measurement: &Measurement,
    interval: Duration,
    callers: &[Caller],
) -> anyhow::Result<Counted> {
    let ticks = Ticks::start(interval)?;
    let mut due = Instant::now();
    let window = Window::beginning(due, measurement);
    let mut callers = callers.iter().cycle();
    let mut calls = JoinSet::new();
    let mut all = Counted::default();
    while due < window.until {
        for _ in 0..ticks.next().await? {
            due += interval;
            let mut caller = callers.next().context("there is no connection")?.clone();
            calls.spawn(async move { caller.call().await.map(|()| (due, Instant::now())) });
        }
        while let Some(answered) = calls.try_join_next() {
            let (due, now) = answered??;
            all.answer(window, due, now);
        }
        ensure!(
            calls.len() < OUTSTANDING_MAX,
            "{OUTSTANDING_MAX} calls wait: the contestant does not keep up"
        );
    }
    while let Some(answered) = calls.join_next().await {
        let (due, now) = answered??;
        all.answer(window, due, now);
    }
    Ok(all)
}
