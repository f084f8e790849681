//! Threads that wait for a slow device, so that nobody else has to for long.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::TokenError;

/// Something that signs, one message at a time, and takes its time.
pub(super) trait Signs: Send + 'static {
    /// Signs `message`, or says why not. Whatever broke is mended for the next one.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError>;
}

/// The threads of one key. They end with it, each after the signature it is at.
pub(super) struct Pool {
    jobs: SyncSender<Job>,
    token: String,
    waiting_max: usize,
    timeout: Duration,
    /// Why the newest signature failed, until one succeeds.
    trouble: Mutex<Option<TokenError>>,
}

struct Job {
    message: Vec<u8>,
    /// Nobody waits for the answer any longer than this.
    until: Instant,
    answer: SyncSender<Result<Vec<u8>, TokenError>>,
}

impl Pool {
    /// Starts a thread for each of `devices`.
    pub(super) fn start(
        token: &str,
        devices: impl IntoIterator<Item = impl Signs>,
        waiting_max: usize,
        timeout: Duration,
    ) -> Result<Pool, TokenError> {
        let (jobs, queue) = sync_channel(waiting_max);
        let queue = Arc::new(Mutex::new(queue));
        for device in devices {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("token".to_owned()).spawn(move || work(device, &queue)).map_err(
                |error| TokenError::Failed { token: token.to_owned(), detail: format!("no thread: {error}") },
            )?;
        }
        Ok(Pool { jobs, token: token.to_owned(), waiting_max, timeout, trouble: Mutex::default() })
    }

    /// Has `message` signed. Blocks for at most the timeout.
    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let signed = self.ask(message);
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = signed.as_ref().err().cloned();
        signed
    }

    /// Why the newest signature failed, if it did.
    pub(super) fn trouble(&self) -> Option<TokenError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let (answer, answered) = sync_channel(1);
        let job = Job { message: message.to_vec(), until: Instant::now() + self.timeout, answer };
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => {
                TokenError::Busy { token: self.token.clone(), waiting: self.waiting_max }
            }
            TrySendError::Disconnected(_) => self.gone(),
        })?;
        answered.recv_timeout(self.timeout).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => TokenError::Slow {
                    token: self.token.clone(),
                    after_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
                },
                RecvTimeoutError::Disconnected => self.gone(),
            })
        })
    }

    /// The library took the thread down with it.
    fn gone(&self) -> TokenError {
        TokenError::Failed { token: self.token.clone(), detail: "its thread has ended".to_owned() }
    }
}

fn work(mut device: impl Signs, queue: &Mutex<Receiver<Job>>) {
    loop {
        // The guard ends with the statement: one thread waits, the others work.
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return };
        if Instant::now() < job.until {
            // Whoever waited may have gone meanwhile.
            let _ = job.answer.try_send(device.sign(&job.message));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Signs when it is let.
    struct Gated(Arc<Mutex<Receiver<()>>>);

    impl Signs for Gated {
        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
            // Disconnected means: always open.
            let _ = self.0.lock().unwrap().recv();
            Ok(message.to_vec())
        }
    }

    fn pool(waiting_max: usize, timeout: Duration) -> (Pool, mpsc::Sender<()>) {
        let (gate, closed) = mpsc::channel();
        let closed = Arc::new(Mutex::new(closed));
        (Pool::start("H26", [Gated(closed)], waiting_max, timeout).unwrap(), gate)
    }

    #[test]
    fn a_token_that_hangs_is_slow_then_busy_and_good_again_once_it_answers() {
        let (pool, gate) = pool(2, Duration::from_millis(50));
        let slow = TokenError::Slow { token: "H26".to_owned(), after_ms: 50 };
        assert_eq!(pool.sign(b"1"), Err(slow.clone()));
        assert_eq!(pool.trouble(), Some(slow.clone()));
        // Two more wait behind the one that hangs; a third finds no place, and is told at once.
        assert_eq!(pool.sign(b"2"), Err(slow.clone()));
        assert_eq!(pool.sign(b"3"), Err(slow));
        assert_eq!(pool.sign(b"4"), Err(TokenError::Busy { token: "H26".to_owned(), waiting: 2 }));
        drop(gate);
        // What nobody waits for any more is not signed; what is asked now, is.
        let until = Instant::now() + Duration::from_secs(30);
        while pool.sign(b"5") != Ok(b"5".to_vec()) {
            assert!(Instant::now() < until, "it never came back");
        }
        assert_eq!(pool.trouble(), None);
    }

    #[test]
    fn every_message_gets_its_own_signature() {
        let (pool, gate) = pool(64, Duration::from_secs(30));
        drop(gate);
        thread::scope(|scope| {
            for number in 0..32_u8 {
                let pool = &pool;
                scope.spawn(move || assert_eq!(pool.sign(&[number]).unwrap(), [number]));
            }
        });
    }
}
