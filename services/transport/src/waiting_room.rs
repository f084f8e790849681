//! The bounded room of unfinished handshakes.
//!
//! Accepting never waits for a seat: when the room is full, the handshake that has sat longest is shown out.
//! An honest peer needs its seat for a few round trips; whoever wants to squeeze it out has to fill the whole
//! room again within that time, and pays a connection for each seat.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

#[derive(Debug)]
pub(crate) struct WaitingRoom {
    seats_max: usize,
    seated: Mutex<Seated>,
}

#[derive(Debug, Default)]
struct Seated {
    next: u64,
    /// By order of arrival.
    seats: BTreeMap<u64, CancellationToken>,
}

impl WaitingRoom {
    pub(crate) fn new(seats_max: usize) -> Arc<Self> {
        Arc::new(Self { seats_max: seats_max.max(1), seated: Mutex::default() })
    }

    /// Takes a seat, showing out whoever sat longest if there is none free.
    pub(crate) fn enter(self: &Arc<Self>) -> Seat {
        let mut seated = self.seated();
        while seated.seats.len() >= self.seats_max {
            if let Some((_, longest)) = seated.seats.pop_first() {
                longest.cancel();
            }
        }
        let number = seated.next;
        seated.next += 1;
        let shown_out = CancellationToken::new();
        seated.seats.insert(number, shown_out.clone());
        drop(seated);
        Seat { room: Arc::clone(self), number, shown_out }
    }

    /// Shows everyone out.
    pub(crate) fn clear(&self) {
        for (_, seat) in std::mem::take(&mut self.seated().seats) {
            seat.cancel();
        }
    }

    fn seated(&self) -> MutexGuard<'_, Seated> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One unfinished handshake's place. Dropping it frees the place.
#[derive(Debug)]
pub(crate) struct Seat {
    room: Arc<WaitingRoom>,
    number: u64,
    shown_out: CancellationToken,
}

impl Seat {
    /// Waits until this seat is needed by a newcomer.
    pub(crate) async fn shown_out(&self) {
        self.shown_out.cancelled().await;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.room.seated().seats.remove(&self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn occupied(room: &WaitingRoom) -> usize {
        room.seated().seats.len()
    }

    #[test]
    fn the_longest_sitting_goes_first_and_the_room_never_overflows() {
        let room = WaitingRoom::new(2);
        let first = room.enter();
        let second = room.enter();
        assert!(!first.shown_out.is_cancelled());
        let third = room.enter();
        assert!(first.shown_out.is_cancelled());
        assert!(!second.shown_out.is_cancelled());
        assert!(!third.shown_out.is_cancelled());
        assert_eq!(occupied(&room), 2);
    }

    #[test]
    fn a_freed_seat_is_used_before_anyone_is_shown_out() {
        let room = WaitingRoom::new(2);
        let first = room.enter();
        drop(room.enter());
        let third = room.enter();
        assert!(!first.shown_out.is_cancelled());
        assert!(!third.shown_out.is_cancelled());
    }

    #[test]
    fn clearing_shows_everyone_out() {
        let room = WaitingRoom::new(4);
        let seats = [room.enter(), room.enter()];
        room.clear();
        assert!(seats.iter().all(|seat| seat.shown_out.is_cancelled()));
        assert_eq!(occupied(&room), 0);
    }
}
