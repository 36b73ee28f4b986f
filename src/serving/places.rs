//! The connections that there can be at a time, and whose they are: no one takes another's place, and nobody takes root's.

use std::time::Duration;

use crate::identity::Uid;
use crate::wire::detail::{Detail, Resource};
use crate::wire::error::{Code, WireError};

/// Connections at a time. With as many open nobody is accepted until one ends.
pub const PLACES_MAX: usize = 1024;

/// Those of them that are root's alone: an admin gets in whatever members do.
pub const PLACES_OF_ROOT: usize = 16;

/// Connections of one user at a time.
pub const PLACES_PER_UID_MAX: usize = 64;

/// With more than this many places taken, three quarters, the rest are for those who have few ...
pub const PLACES_SCARCE: usize = PLACES_MAX / 4 * 3;

/// ... which is fewer than this.
pub const PLACES_FEW: usize = 4;

/// How long a client who found no place should wait.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// How many places are taken.
#[derive(Debug, Default)]
pub struct Places {
    all: usize,
    of_root: usize,
}

impl Places {
    /// Whether anybody can have a place.
    pub fn any(&self) -> bool {
        self.all < PLACES_MAX
    }

    /// Takes a place for a user who has `open` already.
    ///
    /// # Errors
    /// Busy, for whom none is left.
    pub fn take(&mut self, uid: Uid, open: usize) -> Result<(), WireError> {
        let of_members = self.all.saturating_sub(self.of_root);
        let busy = |message: &str, most: usize| {
            let detail = Detail::full(Resource::Connections, most);
            Err(WireError::new(Code::Busy, message).detail(detail).retry_after(BUSY_RETRY_AFTER))
        };
        if open >= PLACES_PER_UID_MAX {
            return busy("Too many connections of this user", PLACES_PER_UID_MAX);
        }
        if uid != Uid::ROOT && of_members >= PLACES_MAX - PLACES_OF_ROOT {
            return busy("Too many connections", PLACES_MAX - PLACES_OF_ROOT);
        }
        if uid != Uid::ROOT && of_members >= PLACES_SCARCE && open >= PLACES_FEW {
            return busy("Connections are scarce, and this user has several", PLACES_FEW);
        }
        self.all += 1;
        self.of_root += usize::from(uid == Uid::ROOT);
        Ok(())
    }

    /// Gives a place of this user's back.
    pub fn give_back(&mut self, uid: Uid) {
        self.all = self.all.saturating_sub(1);
        self.of_root = self.of_root.saturating_sub(usize::from(uid == Uid::ROOT));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The contract's figures, written down once more here.
    #[test]
    fn nobody_takes_the_last_places_from_the_others() {
        let uid = |raw: u64| Uid::new(raw).expect("a user");
        let mut places = Places::default();
        for user in 1..=12 {
            for open in 0..64 {
                places.take(uid(user), open).expect("a place");
            }
            assert!(places.take(uid(user), 64).unwrap_err().is(Code::Busy));
        }
        // 768 are taken: from here on a user has four.
        for user in 13..=72 {
            for open in 0..4 {
                places.take(uid(user), open).expect("a place");
            }
            assert_eq!(places.take(uid(user), 4).unwrap_err().retry_after_ms, Some(1000));
        }
        // 1008 are taken: from here on they are root's.
        assert!(places.take(uid(73), 0).unwrap_err().is(Code::Busy));
        for open in 0..16 {
            assert!(places.any());
            places.take(Uid::ROOT, open).expect("root's own place");
        }
        assert!(!places.any());
        places.give_back(Uid::ROOT);
        assert!(places.take(uid(73), 0).is_err() && places.any());
        places.give_back(uid(1));
        places.take(uid(73), 0).expect("the place that was given back");
    }
}
