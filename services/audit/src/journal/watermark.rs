//! A level that only rises, and the tasks that wait until it reaches theirs.
//!
//! **Why not a channel.** Waking a task from another thread costs a system call, and a group commit makes
//! dozens of waiters due at once. Here the advancing thread wakes *one* waiter a thread, the leader; the leader,
//! polled on its own thread, wakes the others there, which is a push to a local queue. A leader that is dropped
//! passes the duty on; one that is neither polled nor dropped (a future held but forgotten) is passed over after
//! [`LEADER_PATIENCE`].

use std::cell::Cell;
use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use super::error::JournalError;
use super::lock;

/// Queues of waiters. Threads beyond that number share one, which costs wake-ups, not correctness.
pub(super) const LANES: usize = 16;

/// How long a leader may leave the other waiters of its lane asleep.
pub(super) const LEADER_PATIENCE: Duration = Duration::from_millis(5);

/// The level and its waiters.
#[derive(Debug)]
pub(super) struct Watermark {
    level: AtomicU64,
    failure: OnceLock<JournalError>,
    lanes: [Mutex<Lane>; LANES],
}

impl Watermark {
    pub fn new(level: u64) -> Self {
        Self { level: AtomicU64::new(level), failure: OnceLock::new(), lanes: Default::default() }
    }

    pub fn level(&self) -> u64 {
        self.level.load(Ordering::Acquire)
    }

    pub fn failure(&self) -> Option<&JournalError> {
        self.failure.get()
    }

    /// Raises the level and wakes one waiter a lane.
    pub fn advance(&self, level: u64) {
        // Before any lane is locked: a waiter that registers after us sees it, one before us is seen by us.
        self.level.store(level, Ordering::Release);
        let now = Instant::now();
        for lane in &self.lanes {
            let due = lock(lane).elect(level, now);
            due.wake();
        }
    }

    /// Wakes whoever a leader has left asleep for too long. Returns whether leaders are still out.
    pub fn rescue(&self) -> bool {
        let (level, now) = (self.level(), Instant::now());
        let mut leaders = false;
        for lane in &self.lanes {
            let mut lane = lock(lane);
            leaders |= lane.leader.is_some();
            let due = lane.overdue(level, now);
            drop(lane);
            due.wake();
        }
        leaders
    }

    /// Ends every wait above the level, now and from now on.
    pub fn fail(&self, error: JournalError) {
        // The first failure is the one that counts.
        let _ = self.failure.set(error);
        for lane in &self.lanes {
            let due = lock(lane).take_due(u64::MAX);
            due.wake();
        }
    }

    fn outcome(&self, seq: u64) -> Option<Result<(), JournalError>> {
        if self.level() >= seq {
            return Some(Ok(()));
        }
        let failure = self.failure()?;
        // The level may have risen for the last time between the two looks.
        Some(if self.level() >= seq { Ok(()) } else { Err(failure.clone()) })
    }

    fn lane(&self, index: usize) -> MutexGuard<'_, Lane> {
        lock(&self.lanes[index % LANES])
    }
}

/// Waits until a watermark reaches a level. Resolves to the failure if it never will.
///
/// May be dropped at any time. Works on any executor.
#[derive(Debug)]
#[must_use = "a wait does nothing unless it is awaited"]
pub struct Wait {
    watermark: Arc<Watermark>,
    seq: u64,
    place: Option<Place>,
}

impl Wait {
    pub(super) fn new(watermark: Arc<Watermark>, seq: u64) -> Self {
        Self { watermark, seq, place: None }
    }
}

impl Future for Wait {
    type Output = Result<(), JournalError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if let Some(outcome) = this.watermark.outcome(this.seq) {
            this.leave();
            return Poll::Ready(outcome);
        }
        let lane_index = this.place.map_or_else(lane_of_this_thread, |place| place.lane);
        let mut lane = this.watermark.lane(lane_index);
        if let Some(outcome) = this.watermark.outcome(this.seq) {
            drop(lane);
            this.leave();
            return Poll::Ready(outcome);
        }
        let id = lane.enter(this.seq, this.place.map(|place| place.id), context.waker());
        drop(lane);
        this.place = Some(Place { lane: lane_index, id });
        Poll::Pending
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.leave();
    }
}

impl Wait {
    /// Gives up the place in the lane. Whoever finds waiters due there wakes them: that is the leader's duty,
    /// done by the leader when it is polled, and by a leader that is dropped.
    fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            let mut lane = self.watermark.lane(place.lane);
            lane.remove(self.seq, place.id);
            let due = lane.take_due(self.watermark.level());
            drop(lane);
            due.wake();
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Place {
    lane: usize,
    id: u64,
}

/// The waiters of one thread, by rising sequence number.
#[derive(Debug, Default)]
struct Lane {
    waiters: VecDeque<Waiter>,
    entered: u64,
    /// Since when a leader is out to wake the rest.
    leader: Option<Instant>,
}

#[derive(Debug)]
struct Waiter {
    seq: u64,
    id: u64,
    waker: Waker,
}

impl Lane {
    /// Takes a place, or renews the waker of the place held.
    fn enter(&mut self, seq: u64, id: Option<u64>, waker: &Waker) -> u64 {
        if let Some(id) = id
            && let Ok(at) = self.find(seq, id)
        {
            let waiter = &mut self.waiters[at];
            if !waiter.waker.will_wake(waker) {
                waiter.waker.clone_from(waker);
            }
            return id;
        }
        self.entered += 1;
        let id = self.entered;
        // Nearly always at the end: sequence numbers are waited for in the order in which they were given.
        let at = self.find(seq, id).unwrap_or_else(|at| at);
        self.waiters.insert(at, Waiter { seq, id, waker: waker.clone() });
        id
    }

    fn remove(&mut self, seq: u64, id: u64) {
        if let Ok(at) = self.find(seq, id) {
            self.waiters.remove(at);
        }
    }

    fn find(&self, seq: u64, id: u64) -> Result<usize, usize> {
        match self.waiters.back() {
            Some(last) if (last.seq, last.id) < (seq, id) => Err(self.waiters.len()),
            _ => self.waiters.binary_search_by_key(&(seq, id), |waiter| (waiter.seq, waiter.id)),
        }
    }

    /// Chooses a leader if somebody is due, or does without if the last leader is overdue.
    fn elect(&mut self, level: u64, now: Instant) -> Due {
        if self.leader.is_some() {
            return self.overdue(level, now);
        }
        match self.waiters.front_mut() {
            Some(first) if first.seq <= level => {
                self.leader = Some(now);
                // The leader stays in the lane: when it is polled it finds itself due and drains.
                Due::One(std::mem::replace(&mut first.waker, Waker::noop().clone()))
            }
            _ => Due::Nobody,
        }
    }

    fn overdue(&mut self, level: u64, now: Instant) -> Due {
        match self.leader {
            Some(since) if now.duration_since(since) >= LEADER_PATIENCE => self.take_due(level),
            _ => Due::Nobody,
        }
    }

    fn take_due(&mut self, level: u64) -> Due {
        self.leader = None;
        let due = self.waiters.partition_point(|waiter| waiter.seq <= level);
        if due == 0 {
            return Due::Nobody;
        }
        let rest = if due == self.waiters.len() {
            VecDeque::with_capacity(due)
        } else {
            self.waiters.split_off(due)
        };
        Due::Many(std::mem::replace(&mut self.waiters, rest))
    }
}

/// Wakers to be called once the lane is unlocked.
enum Due {
    Nobody,
    One(Waker),
    Many(VecDeque<Waiter>),
}

impl Due {
    fn wake(self) {
        match self {
            Self::Nobody => {}
            Self::One(waker) => waker.wake(),
            Self::Many(waiters) => waiters.into_iter().for_each(|waiter| waiter.waker.wake()),
        }
    }
}

/// Each thread keeps to one lane, so that a leader wakes tasks of its own thread.
fn lane_of_this_thread() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static LANE: Cell<Option<usize>> = const { Cell::new(None) };
    }
    LANE.with(|lane| {
        let index = lane.get().unwrap_or_else(|| NEXT.fetch_add(1, Ordering::Relaxed) % LANES);
        lane.set(Some(index));
        index
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Default)]
    struct Count(AtomicU64);

    impl std::task::Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Tasks of one thread that wait for 1, 2, 3 …, with one count of all wake-ups.
    struct Tasks {
        watermark: Arc<Watermark>,
        waits: VecDeque<Pin<Box<Wait>>>,
        count: Arc<Count>,
    }

    impl Tasks {
        fn new(tasks: u64) -> Self {
            let watermark = Arc::new(Watermark::new(0));
            let waits = (1..=tasks).map(|seq| Box::pin(Wait::new(Arc::clone(&watermark), seq))).collect();
            let mut tasks = Self { watermark, waits, count: Arc::default() };
            assert_eq!(tasks.ready(), 0);
            tasks
        }

        /// Polls everybody; returns how many are ready.
        fn ready(&mut self) -> usize {
            (0..self.waits.len()).filter(|at| self.poll(*at).is_ready()).count()
        }

        fn poll(&mut self, at: usize) -> Poll<Result<(), JournalError>> {
            let waker = Waker::from(Arc::clone(&self.count));
            self.waits[at].as_mut().poll(&mut Context::from_waker(&waker))
        }

        fn woken(&self) -> u64 {
            self.count.0.load(Ordering::SeqCst)
        }
    }

    #[test]
    fn the_advancing_thread_wakes_one_and_that_one_the_others() {
        let mut tasks = Tasks::new(50);
        tasks.watermark.advance(20);
        assert_eq!(tasks.woken(), 1);
        tasks.watermark.advance(40);
        assert_eq!(tasks.woken(), 1, "the leader is on its way");
        assert!(tasks.poll(0).is_ready());
        assert_eq!(tasks.woken(), 40);
        assert_eq!(tasks.ready(), 40);
        tasks.watermark.advance(50);
        assert_eq!(tasks.woken(), 41);
    }

    #[test]
    fn a_leader_that_is_dropped_passes_the_duty_on() {
        let mut tasks = Tasks::new(10);
        tasks.watermark.advance(8);
        drop(tasks.waits.pop_front());
        assert_eq!(tasks.woken(), 8);
        assert_eq!(tasks.ready(), 7);
    }

    #[test]
    fn a_leader_that_is_forgotten_is_passed_over() {
        let tasks = Tasks::new(10);
        tasks.watermark.advance(8);
        assert!(tasks.watermark.rescue());
        let out_since = Instant::now();
        while out_since.elapsed() <= LEADER_PATIENCE {
            std::thread::park_timeout(LEADER_PATIENCE);
        }
        tasks.watermark.rescue();
        assert_eq!(tasks.woken(), 8);
        assert!(!tasks.watermark.rescue(), "nobody is out any more");
    }

    #[test]
    fn a_failure_reaches_everybody_above_the_level() {
        let mut tasks = Tasks::new(10);
        tasks.watermark.advance(4);
        tasks.watermark.fail(JournalError::Closed);
        assert!((0..4).all(|at| matches!(tasks.poll(at), Poll::Ready(Ok(())))));
        assert!((4..10).all(|at| matches!(tasks.poll(at), Poll::Ready(Err(JournalError::Closed)))));
        assert!(tasks.woken() >= 10);
    }

    #[test]
    fn waiters_that_leave_leave_nothing_behind() {
        let mut tasks = Tasks::new(10);
        tasks.waits.retain(|wait| wait.seq % 2 == 0);
        tasks.watermark.advance(10);
        assert_eq!((tasks.woken(), tasks.ready(), tasks.woken()), (1, 5, 5));
        assert!(tasks.watermark.lanes.iter().all(|lane| lock(lane).waiters.is_empty()));
    }
}
