//! The one place in the native tests that waits for what nobody announces: it asks again and again, up to a deadline.

use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds, with other tasks having their turn; fails the test when it does not in time.
pub async fn holds(what: &str, mut condition: impl FnMut() -> bool) {
    let began = Instant::now();
    while !condition() {
        assert!(began.elapsed() < DEADLINE, "in vain: {what}");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `look` finds something.
pub fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(PAUSE);
    }
}
