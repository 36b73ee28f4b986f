//! How many guests run at once on this host, whatever started them.

use std::cell::RefCell;
use std::fs::File;
use std::sync::Arc;
use std::time::Duration;

use crate::cache;

const PLACE_POLL: Duration = Duration::from_millis(50);

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
    let files: Vec<File> = (0..places).map(open).collect();
    // The kernel can wait for one lock, not for the first of several; to queue for one would be to wait
    // for a test of a minute while another place is free.
    loop {
        if let Some(free) = files.iter().position(|file| file.try_lock().is_ok()) {
            return files.into_iter().nth(free).expect("its position was found");
        }
        std::thread::sleep(PLACE_POLL);
    }
}
