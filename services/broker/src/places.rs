//! Places: how many streams of one kind a node may hold at once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tonic::Status;

/// A bound on the streams of each node. Cheap to clone; all clones count together.
#[derive(Clone, Debug)]
pub struct Places {
    per_node_max: usize,
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// One place, given back when dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    node: String,
}

impl Places {
    /// So many for each node.
    pub fn new(per_node_max: usize) -> Places {
        Places { per_node_max, taken: Arc::default() }
    }

    /// Takes a place for `node`.
    ///
    /// # Errors
    /// `RESOURCE_EXHAUSTED` while it holds as many as it may.
    pub fn take(&self, node: &str) -> Result<Place, Status> {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        let held = taken.entry(node.to_owned()).or_default();
        if *held >= self.per_node_max {
            return Err(Status::resource_exhausted(format!(
                "{node} holds {held} streams of this kind already; close one, or wait until the broker sees it gone"
            )));
        }
        *held += 1;
        Ok(Place { places: self.clone(), node: node.to_owned() })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(held) = taken.get_mut(&self.node) {
            *held -= 1;
            if *held == 0 {
                taken.remove(&self.node);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_bounded_for_each_node_and_given_back() {
        let places = Places::new(2);
        let (first, _second) = (places.take("a").unwrap(), places.take("a").unwrap());
        assert_eq!(places.take("a").unwrap_err().code(), tonic::Code::ResourceExhausted);
        let other = places.take("b").unwrap();
        drop(first);
        places.take("a").unwrap();
        drop(other);
        assert_eq!(places.taken.lock().unwrap().get("b"), None, "nothing is kept of who has left");
    }
}
