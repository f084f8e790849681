//! One long answer: messages of one size, each compared with what was expected while they arrive.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};

use super::{Caller, Measured, Measurement};
use crate::pki::{Pki, Role};
use crate::threads::runtime;

/// How long a message of a stream may take on the slowest machine, on average.
const PATIENCE_PER_MESSAGE_MS: u64 = 20;

pub(super) fn run(measurement: &Measurement, pki: &Pki, messages: usize) -> anyhow::Result<Measured> {
    let config = pki.client_config(Role::Consumer)?;
    let patience = measurement.patience()
        + Duration::from_millis(PATIENCE_PER_MESSAGE_MS)
            * u32::try_from(messages).context("too many messages")?;
    runtime()?.block_on(async {
        let mut caller = Caller::connect(measurement.address, config, measurement).await?;
        let begun = Instant::now();
        let streaming = caller.stream(messages);
        tokio::time::timeout(patience, streaming).await.context("the stream is stuck")??;
        let took = begun.elapsed();
        let messages = u32::try_from(messages)?;
        ensure!(messages > 0, "a stream without messages measures nothing");
        let took_us = took.as_secs_f64() * 1e6;
        let per_second = f64::from(messages) / took.as_secs_f64();
        Ok(Measured { answered: 1, per_second, p50_us: took_us, p99_us: took_us })
    })
}
