//! How many guests run at once on this host, whatever started them, and which test is next.

use std::cell::RefCell;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::cache;

const PLACE_POLL: Duration = Duration::from_millis(50);

/// How long each test held its place, in seconds: what [`TOOK`] said after a whole run, put here by
/// `sort -rn target/check/guest-durations.txt >tests/guest/durations.txt`.
const DURATIONS: &str = include_str!("durations.txt");

/// Where each test that ends leaves a line: how long it held its place, and its name. Only where `make guest` made the
/// folder.
const TOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/target/check/guest-durations.txt");

/// What is taken for the duration of a test that is not in [`DURATIONS`], in seconds: early rather than late.
const DURATION_UNKNOWN: u64 = 60;

/// The tests of this process that wait for a place, the longest first. Whichever began last decides when the run is over:
/// that must not be a long one.
static WAITING: Mutex<BTreeSet<(Reverse<u64>, String)>> = Mutex::new(BTreeSet::new());

static EXPECTED: LazyLock<BTreeMap<&str, u64>> = LazyLock::new(|| {
    let lines = DURATIONS.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(seconds, name)| Some((name, seconds.parse().ok()?))).collect()
});

/// A place to run guests in, held by a test until its last guest is gone.
///
/// Deadlines mean something only while the processors are not oversold: so there are as many places as
/// processors, at least two, and other test processes of the same user share them.
#[derive(Clone)]
pub struct Slot {
    _place: Arc<Place>,
}

struct Place {
    _locks: Vec<File>,
    test: String,
    since: Instant,
}

thread_local! {
    static HELD: RefCell<std::sync::Weak<Place>> = const { RefCell::new(std::sync::Weak::new()) };
}

impl Slot {
    /// Waits for a place. A test that has one already uses it for all of its guests.
    pub fn take() -> Slot {
        Self::held_or(1)
    }

    /// Waits for all places: for a test that measures what the processors gave to whom, while no other guest has any of them.
    pub fn take_all() -> Slot {
        Self::held_or(places())
    }

    fn held_or(count: usize) -> Slot {
        HELD.with_borrow_mut(|held| {
            let place = held.upgrade().unwrap_or_else(|| Arc::new(wait_for(count)));
            *held = Arc::downgrade(&place);
            Slot { _place: place }
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let Ok(mut took) = File::options().append(true).create(true).open(Path::new(TOOK)) else { return };
        // In one write, so that the lines of two tests do not mix. It is for the next run, and fails no test.
        let _ = took.write_all(format!("{} {}\n", self.since.elapsed().as_secs(), self.test).as_bytes());
    }
}

fn places() -> usize {
    std::thread::available_parallelism().map_or(2, |count| count.get().max(2))
}

fn wait_for(count: usize) -> Place {
    // libtest names a test's thread after the test.
    let test = std::thread::current().name().unwrap_or("main").to_owned();
    let expected = EXPECTED.get(test.as_str()).copied().unwrap_or(DURATION_UNKNOWN);
    let own = (Reverse(expected), test.clone());
    waiting(|waiting| waiting.insert(own.clone()));
    let open = |place: usize| cache::lock_file(&cache::root().join(format!("place-{place}.lock")));
    let mut files: Vec<File> = (0..places()).map(open).collect();
    let mut locks = Vec::new();
    // The kernel can wait for one lock, not for the first of several; to queue for one would be to wait
    // for a test of a minute while another place is free.
    loop {
        // First, so that all tests of a run that begins are among those that wait.
        std::thread::sleep(PLACE_POLL);
        let taken = waiting(|waiting| {
            if waiting.first() != Some(&own) {
                return false;
            }
            if count == 1 {
                locks.extend(
                    files.iter().position(|file| file.try_lock().is_ok()).map(|at| files.swap_remove(at)),
                );
            } else {
                // From the first on, so that of two that want them all one has them.
                while files.first().is_some_and(|file| file.try_lock().is_ok()) {
                    locks.push(files.remove(0));
                }
            }
            locks.len() == count && waiting.remove(&own)
        });
        if taken {
            return Place { _locks: locks, test, since: Instant::now() };
        }
    }
}

/// A test that panics leaves the list whole.
fn waiting<T>(look: impl FnOnce(&mut BTreeSet<(Reverse<u64>, String)>) -> T) -> T {
    look(&mut WAITING.lock().unwrap_or_else(PoisonError::into_inner))
}
