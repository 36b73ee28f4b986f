//! How many guests run at once on this host, whatever started them.

use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;

use crate::cache;

/// A place to run guests in, held by a test until its last guest is gone.
///
/// Deadlines mean something only while the processors are not oversold: so there are as many places as
/// processors, at least two, and other test processes of the same user share them.
#[derive(Clone)]
pub struct Slot {
    _lock: Arc<File>,
}

thread_local! {
    static HELD: RefCell<std::sync::Weak<File>> = const { RefCell::new(std::sync::Weak::new()) };
}

impl Slot {
    /// Waits for a place. A test that has one already uses it for all of its guests.
    pub fn take() -> Slot {
        HELD.with_borrow_mut(|held| {
            let lock = held.upgrade().unwrap_or_else(|| Arc::new(wait_for_place()));
            *held = Arc::downgrade(&lock);
            Slot { _lock: lock }
        })
    }
}

fn wait_for_place() -> File {
    let places = std::thread::available_parallelism().map_or(2, |count| count.get().max(2));
    let open = |place: usize| cache::lock_file(&cache::root().join(format!("place-{place}.lock")));
    if let Some(free) = (0..places).map(open).find(|file| file.try_lock().is_ok()) {
        return free;
    }
    // All taken: queue for one of them. Which does not matter, as long as not all queue for the same.
    let place = open(std::process::id() as usize % places);
    place.lock().expect("a lock in the cache");
    place
}
