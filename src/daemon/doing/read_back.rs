//! Looks at the kernel's files, one after the other, until they hold what systemd was told, or for long enough.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::time::{Backoff, backoff};

/// How long the kernel's files may lag behind what systemd said.
pub const READ_BACK_TIMEOUT: Duration = Duration::from_secs(5);

/// Between two looks: at first, and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(1), Duration::from_millis(50));

/// Looks that are to come to an end.
#[derive(Debug)]
pub struct ReadBack {
    until: Instant,
    pauses: Backoff,
}

impl ReadBack {
    /// For so long from now.
    pub fn within(time: Duration) -> Self {
        Self { until: Instant::now() + time, pauses: backoff(PAUSE) }
    }

    /// Whether there is time for another look, after the pause before it.
    pub async fn again(&mut self) -> bool {
        if Instant::now() >= self.until {
            return false;
        }
        sleep(self.pauses.pause()).await;
        true
    }
}
