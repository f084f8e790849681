//! The bounded room of unfinished handshakes.
//!
//! Accepting never waits for a seat: when the room is full, one is shown out, of the network that holds most
//! seats the one that has sat longest. Whoever floods the room thus crowds out himself: an honest peer of
//! another network keeps its seat for as long as its handshake may take.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio_util::sync::CancellationToken;

use crate::handshakes::SourcePrefix;

#[derive(Debug)]
pub(crate) struct WaitingRoom {
    seats_max: usize,
    seated: Mutex<Seated>,
}

#[derive(Debug, Default)]
struct Seated {
    next: u64,
    /// By order of arrival.
    seats: BTreeMap<u64, (SourcePrefix, CancellationToken)>,
    /// The seats of each network.
    by_source: HashMap<SourcePrefix, BTreeSet<u64>>,
}

impl WaitingRoom {
    pub(crate) fn new(seats_max: usize) -> Arc<Self> {
        Arc::new(Self { seats_max: seats_max.max(1), seated: Mutex::default() })
    }

    /// Takes a seat for somebody from `source`, showing somebody out if there is none free.
    pub(crate) fn enter(self: &Arc<Self>, source: SourcePrefix) -> Seat {
        let mut seated = self.seated();
        while seated.seats.len() >= self.seats_max {
            let Some(shown_out) = seated.most_in_the_way() else { break };
            if let Some((_, token)) = seated.leave(shown_out) {
                token.cancel();
            }
        }
        let number = seated.next;
        seated.next += 1;
        let shown_out = CancellationToken::new();
        seated.seats.insert(number, (source, shown_out.clone()));
        seated.by_source.entry(source).or_default().insert(number);
        drop(seated);
        Seat { room: Arc::clone(self), number, shown_out }
    }

    /// Shows everyone out.
    pub(crate) fn clear(&self) {
        let seats = {
            let mut seated = self.seated();
            seated.by_source.clear();
            std::mem::take(&mut seated.seats)
        };
        for (_, (_, seat)) in seats {
            seat.cancel();
        }
    }

    fn seated(&self) -> MutexGuard<'_, Seated> {
        self.seated.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seated {
    /// The longest sitting of the network with most seats; of two such networks, whoever sat longer.
    fn most_in_the_way(&self) -> Option<u64> {
        let of_network = |seats: &BTreeSet<u64>| {
            let longest = *seats.first()?;
            Some((seats.len(), std::cmp::Reverse(longest)))
        };
        let (_, std::cmp::Reverse(longest)) = self.by_source.values().filter_map(of_network).max()?;
        Some(longest)
    }

    fn leave(&mut self, number: u64) -> Option<(SourcePrefix, CancellationToken)> {
        let (source, token) = self.seats.remove(&number)?;
        if let Some(seats) = self.by_source.get_mut(&source) {
            seats.remove(&number);
            if seats.is_empty() {
                self.by_source.remove(&source);
            }
        }
        Some((source, token))
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
        self.room.seated().leave(self.number);
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use proptest::prelude::*;

    use super::*;

    const HERE: SourcePrefix = SourcePrefix::Local;

    fn network(number: u8) -> SourcePrefix {
        SourcePrefix::V4(Ipv4Addr::new(10, 0, number, 0))
    }

    fn occupied(room: &WaitingRoom) -> usize {
        room.seated().seats.len()
    }

    #[test]
    fn the_longest_sitting_goes_first_and_the_room_never_overflows() {
        let room = WaitingRoom::new(2);
        let first = room.enter(HERE);
        let second = room.enter(HERE);
        assert!(!first.shown_out.is_cancelled());
        let third = room.enter(HERE);
        assert!(first.shown_out.is_cancelled());
        assert!(!second.shown_out.is_cancelled());
        assert!(!third.shown_out.is_cancelled());
        assert_eq!(occupied(&room), 2);
    }

    #[test]
    fn a_freed_seat_is_used_before_anyone_is_shown_out() {
        let room = WaitingRoom::new(2);
        let first = room.enter(HERE);
        drop(room.enter(HERE));
        let third = room.enter(HERE);
        assert!(!first.shown_out.is_cancelled());
        assert!(!third.shown_out.is_cancelled());
    }

    #[test]
    fn clearing_shows_everyone_out() {
        let room = WaitingRoom::new(4);
        let seats = [room.enter(HERE), room.enter(network(1))];
        room.clear();
        assert!(seats.iter().all(|seat| seat.shown_out.is_cancelled()));
        assert_eq!(occupied(&room), 0);
        drop(seats);
        assert!(room.seated().by_source.is_empty());
    }

    proptest! {
        /// Whoever comes, in whatever order: the room is never over-full, its two books agree, and whoever is shown
        /// out is of a network that no other held more seats than.
        #[test]
        fn a_flood_crowds_out_itself_first(arrivals in proptest::collection::vec(0_u8..5, 1..200)) {
            const SEATS: usize = 8;
            let room = WaitingRoom::new(SEATS);
            let mut seats: Vec<(SourcePrefix, Seat)> = Vec::new();
            for arrival in arrivals {
                let held = |source| seats.iter().filter(|(of, _)| *of == source).count();
                let most = seats.iter().map(|(source, _)| held(*source)).max().unwrap_or_default();
                let before: Vec<usize> = seats.iter().map(|(source, _)| held(*source)).collect();
                let newcomer = room.enter(network(arrival));
                for ((_, seat), held) in seats.iter().zip(before) {
                    prop_assert!(!seat.shown_out.is_cancelled() || held == most);
                }
                seats.retain(|(_, seat)| !seat.shown_out.is_cancelled());
                seats.push((network(arrival), newcomer));
                let seated = room.seated();
                prop_assert!(seated.seats.len() == seats.len() && seats.len() <= SEATS);
                prop_assert_eq!(seated.by_source.values().map(BTreeSet::len).sum::<usize>(), seats.len());
            }
            drop(seats);
            prop_assert!(room.seated().by_source.is_empty() && room.seated().seats.is_empty());
        }

        /// One network alone can never show out another.
        #[test]
        fn one_network_never_shows_out_another(flood in 1_usize..300) {
            let room = WaitingRoom::new(8);
            let honest = room.enter(network(9));
            let seats: Vec<Seat> = (0..flood).map(|_| room.enter(network(1))).collect();
            prop_assert!(!honest.shown_out.is_cancelled());
            drop(seats);
        }
    }
}
