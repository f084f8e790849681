//! Threads that wait for a slow device, so that nobody else has to for long.
//!
//! Whoever knocks at our door makes us sign, and costs nothing who then hangs up. So there are two queues: our own
//! signatures (batches, connections that we begin) and those for strangers. A thread takes our own first, and one thread
//! takes nothing else: whatever strangers do, what we want signed waits for one signature, not for theirs. Nobody's
//! signature is made who has gone meanwhile.

use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use super::TokenError;
use crate::signer::Errand;

/// Something that signs, one message at a time, and takes its time.
pub(super) trait Signs: Send + 'static {
    /// Signs `message`, or says why not. Whatever broke is mended for the next one.
    fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError>;
}

/// The threads of one key. They end with it, each after the signature it is at.
pub(super) struct Pool {
    queues: Arc<Queues>,
    token: String,
    waiting_max: usize,
    timeout: Duration,
    /// Why the newest signature failed, until one succeeds.
    trouble: Mutex<Option<TokenError>>,
}

#[derive(Default)]
struct Queues {
    jobs: Mutex<Jobs>,
    come: Condvar,
}

#[derive(Default)]
struct Jobs {
    ours: VecDeque<Job>,
    strangers: VecDeque<Job>,
    /// Nobody asks any more.
    closed: bool,
    /// Threads that are there to take them.
    threads: usize,
}

struct Job {
    message: Vec<u8>,
    errand: Errand,
    /// Nobody waits for the answer any longer than this.
    until: Instant,
    answer: SyncSender<Result<Vec<u8>, TokenError>>,
}

impl Job {
    /// Whether somebody still waits for it.
    fn is_wanted(&self) -> bool {
        !self.errand.is_abandoned() && Instant::now() < self.until
    }
}

impl Pool {
    /// Starts a thread for each of `devices`; the first of them, where there are several, signs for us alone.
    pub(super) fn start(
        token: &str,
        devices: impl IntoIterator<Item = impl Signs>,
        waiting_max: usize,
        timeout: Duration,
    ) -> Result<Pool, TokenError> {
        let queues = Arc::new(Queues::default());
        let pool = Pool { queues, token: token.to_owned(), waiting_max, timeout, trouble: Mutex::default() };
        let mut devices = devices.into_iter().peekable();
        let mut for_us_alone = true;
        while let Some(device) = devices.next() {
            let alone = for_us_alone && devices.peek().is_some();
            for_us_alone = false;
            let at = AtWork::new(&pool.queues);
            thread::Builder::new().name("token".to_owned()).spawn(move || work(device, &at, alone)).map_err(
                |error| TokenError::Failed { token: token.to_owned(), detail: format!("no thread: {error}") },
            )?;
        }
        Ok(pool)
    }

    /// Has `message` signed. Blocks for at most the timeout.
    pub(super) fn sign(&self, message: &[u8], errand: &Errand) -> Result<Vec<u8>, TokenError> {
        let signed = self.ask(message, errand);
        // Who went away says nothing about the token.
        if !errand.is_abandoned() {
            *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = signed.as_ref().err().cloned();
        }
        signed
    }

    /// Why the newest signature failed, if it did.
    pub(super) fn trouble(&self) -> Option<TokenError> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn ask(&self, message: &[u8], errand: &Errand) -> Result<Vec<u8>, TokenError> {
        let (answer, answered) = sync_channel(1);
        let until = Instant::now() + self.timeout;
        self.put(Job { message: message.to_vec(), errand: errand.clone(), until, answer })?;
        self.wait(&answered)
    }

    fn put(&self, job: Job) -> Result<(), TokenError> {
        let mut jobs = self.queues.jobs();
        if jobs.threads == 0 {
            return Err(self.gone());
        }
        let queue = if job.errand.is_for_stranger() { &mut jobs.strangers } else { &mut jobs.ours };
        if queue.len() >= self.waiting_max {
            queue.retain(Job::is_wanted);
        }
        if queue.len() >= self.waiting_max {
            return Err(TokenError::Busy { token: self.token.clone(), waiting: self.waiting_max });
        }
        queue.push_back(job);
        drop(jobs);
        // Not only one: it may be the thread that takes no stranger's.
        self.queues.come.notify_all();
        Ok(())
    }

    fn wait(&self, answered: &Receiver<Result<Vec<u8>, TokenError>>) -> Result<Vec<u8>, TokenError> {
        answered.recv_timeout(self.timeout).unwrap_or_else(|error| {
            Err(match error {
                RecvTimeoutError::Timeout => self.slow(),
                // Its turn came when nobody waited any more, or the library took the thread down with it.
                RecvTimeoutError::Disconnected if self.queues.jobs().threads > 0 => self.slow(),
                RecvTimeoutError::Disconnected => self.gone(),
            })
        })
    }

    fn slow(&self) -> TokenError {
        let after_ms = u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX);
        TokenError::Slow { token: self.token.clone(), after_ms }
    }

    /// The library took the threads down with it.
    fn gone(&self) -> TokenError {
        TokenError::Failed { token: self.token.clone(), detail: "its thread has ended".to_owned() }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.queues.jobs().closed = true;
        self.queues.come.notify_all();
    }
}

impl Queues {
    fn jobs(&self) -> MutexGuard<'_, Jobs> {
        self.jobs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next job that somebody waits for; `None` when nobody asks any more.
    fn next(&self, for_us_alone: bool) -> Option<Job> {
        let mut jobs = self.jobs();
        loop {
            let job = match jobs.ours.pop_front() {
                None if !for_us_alone => jobs.strangers.pop_front(),
                job => job,
            };
            match job {
                Some(job) if job.is_wanted() => return Some(job),
                Some(_) => {}
                None if jobs.closed => return None,
                None => jobs = self.come.wait(jobs).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }
}

/// One thread, counted for as long as it is there, however it ends.
struct AtWork(Arc<Queues>);

impl AtWork {
    fn new(queues: &Arc<Queues>) -> AtWork {
        queues.jobs().threads += 1;
        AtWork(Arc::clone(queues))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        let mut jobs = self.0.jobs();
        jobs.threads -= 1;
        if jobs.threads == 0 {
            // Whoever waits is told at once.
            jobs.ours.clear();
            jobs.strangers.clear();
        }
    }
}

fn work(mut device: impl Signs, at: &AtWork, for_us_alone: bool) {
    while let Some(job) = at.0.next(for_us_alone) {
        // Whoever waited may have gone meanwhile.
        let _ = job.answer.try_send(device.sign(&job.message));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// Signs when it is let, and keeps what it signed.
    struct Gated {
        gate: Arc<Mutex<Receiver<()>>>,
        signed: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Signs for Gated {
        fn sign(&mut self, message: &[u8]) -> Result<Vec<u8>, TokenError> {
            self.signed.lock().unwrap().push(message.to_vec());
            // Disconnected means: always open.
            let _ = self.gate.lock().unwrap().recv();
            Ok(message.to_vec())
        }
    }

    struct Bench {
        pool: Pool,
        /// One gate a thread.
        gates: Vec<mpsc::Sender<()>>,
        signed: Arc<Mutex<Vec<Vec<u8>>>>,
    }

    impl Bench {
        fn new(threads: usize, waiting_max: usize, timeout: Duration) -> Bench {
            let signed: Arc<Mutex<Vec<Vec<u8>>>> = Arc::default();
            let (gates, devices): (Vec<_>, Vec<_>) = (0..threads)
                .map(|_| {
                    let (gate, closed) = mpsc::channel();
                    (gate, Gated { gate: Arc::new(Mutex::new(closed)), signed: Arc::clone(&signed) })
                })
                .unzip();
            Bench { pool: Pool::start("H26", devices, waiting_max, timeout).unwrap(), gates, signed }
        }

        fn waiting(&self) -> (usize, usize) {
            let jobs = self.pool.queues.jobs();
            (jobs.ours.len(), jobs.strangers.len())
        }

        fn signed(&self) -> Vec<Vec<u8>> {
            self.signed.lock().unwrap().clone()
        }
    }

    fn until(what: &str, mut is_so: impl FnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(30);
        while !is_so() {
            assert!(Instant::now() < end, "{what}");
            thread::yield_now();
        }
    }

    #[test]
    fn a_token_that_hangs_is_slow_and_good_again_once_it_answers() {
        let Bench { pool, gates, .. } = Bench::new(1, 2, Duration::from_millis(50));
        let ours = Errand::own();
        let slow = TokenError::Slow { token: "H26".to_owned(), after_ms: 50 };
        assert_eq!(pool.sign(b"1", &ours), Err(slow.clone()));
        assert_eq!(pool.trouble(), Some(slow));
        drop(gates);
        // What nobody waits for any more is not signed; what is asked now, is.
        until("it never came back", || pool.sign(b"5", &ours) == Ok(b"5".to_vec()));
        assert_eq!(pool.trouble(), None);
    }

    #[test]
    fn every_message_gets_its_own_signature() {
        let Bench { pool, gates, .. } = Bench::new(2, 64, Duration::from_secs(30));
        drop(gates);
        thread::scope(|scope| {
            for number in 0..32_u8 {
                let pool = &pool;
                let errand = if number % 2 == 0 { Errand::own() } else { Errand::for_stranger() };
                scope.spawn(move || assert_eq!(pool.sign(&[number], &errand).unwrap(), [number]));
            }
        });
    }

    #[test]
    fn strangers_fill_their_own_queue_and_never_keep_us_waiting() {
        let bench = Bench::new(2, 3, Duration::from_secs(30));
        let Bench { pool, gates, .. } = &bench;
        thread::scope(|scope| {
            let knock = || scope.spawn(|| pool.sign(b"stranger", &Errand::for_stranger()));
            // The thread that strangers share hangs with one of theirs; three wait, the next is turned away.
            let hanging = knock();
            until("no thread takes a stranger's", || !bench.signed().is_empty());
            let waiting = [knock(), knock(), knock()];
            until("they do not wait", || bench.waiting().1 == 3);
            let one_more = pool.ask(b"one more", &Errand::for_stranger());
            assert!(matches!(one_more, Err(TokenError::Busy { .. })), "{one_more:?}");
            // Ours are signed all the same, by the thread that takes nothing else.
            for round in 0..8_u8 {
                gates[0].send(()).unwrap();
                assert_eq!(pool.sign(&[round], &Errand::own()).unwrap(), [round]);
            }
            (0..4).for_each(|_| gates[1].send(()).unwrap());
            for stranger in [hanging].into_iter().chain(waiting) {
                assert_eq!(stranger.join().unwrap().unwrap(), b"stranger");
            }
        });
    }

    #[test]
    fn nobody_s_signature_is_made_who_has_gone() {
        let bench = Bench::new(1, 8, Duration::from_secs(30));
        let errands: Vec<Errand> = (0..3).map(|_| Errand::for_stranger()).collect();
        thread::scope(|scope| {
            let mut asking = Vec::new();
            for (number, errand) in (0_u8..).zip(&errands) {
                let pool = &bench.pool;
                asking.push(scope.spawn(move || pool.sign(&[number], errand)));
                let taken = usize::from(number);
                until("it is not asked", || bench.signed().len() + bench.waiting().1 == taken + 1);
            }
            until("the first is not at it", || !bench.signed().is_empty());
            errands[1].abandon();
            (0..2).for_each(|_| bench.gates[0].send(()).unwrap());
            let answers: Vec<_> = asking.into_iter().map(|one| one.join().unwrap()).collect();
            assert!(answers[0].is_ok() && answers[1].is_err() && answers[2].is_ok(), "{answers:?}");
        });
        assert_eq!(bench.signed(), [[0], [2]]);
    }
}
