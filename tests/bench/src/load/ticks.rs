//! A timer finer than the runtime's: tokio's ticks in milliseconds, which is more than a call takes.

use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Comes round every interval, by the kernel's high-resolution clock.
pub struct Ticks(AsyncFd<OwnedFd>);

impl Ticks {
    /// The first tick comes one interval from now.
    pub fn start(interval: Duration) -> anyhow::Result<Self> {
        let timer = rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)?;
        let interval =
            Timespec { tv_sec: interval.as_secs().try_into()?, tv_nsec: interval.subsec_nanos().into() };
        let spec = Itimerspec { it_interval: interval, it_value: interval };
        rustix::time::timerfd_settime(&timer, TimerfdTimerFlags::empty(), &spec)?;
        // tokio's own replacement is `unsafe`; an `OwnedFd` is what it asks for: nobody else closes the timer.
        #[expect(deprecated)]
        let ticks = AsyncFd::with_interest(timer, Interest::READABLE)?;
        Ok(Self(ticks))
    }

    /// Waits for the next tick, and tells how many have come since the last time.
    pub async fn next(&self) -> anyhow::Result<u64> {
        let read = |timer: &OwnedFd| {
            let mut count = [0; 8];
            rustix::io::read(timer, &mut count)?;
            Ok(u64::from_ne_bytes(count))
        };
        Ok(self.0.async_io(Interest::READABLE, read).await?)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn ticks_are_neither_lost_nor_early() {
        let runtime = crate::threads::runtime().unwrap();
        runtime.block_on(async {
            let begun = Instant::now();
            let ticks = Ticks::start(Duration::from_millis(1)).unwrap();
            let mut count = 0;
            while count < 50 {
                count += ticks.next().await.unwrap();
                let elapsed = begun.elapsed().as_millis();
                assert!(u128::from(count) <= elapsed + 1, "{count} ticks after {elapsed} ms");
            }
        });
    }
}
