//! What all connections of one user share: room for large frames, starts, and lines in the journal.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::identity::Uid;
use crate::time::milliseconds;

/// A payload up to this many bytes is read by every connection for itself.
///
/// Nearly every request is under 100 bytes. 1024 connections that hold parts of frames back hold 16 MiB here at most, and
/// [`LARGE_FRAMES_MAX`] MiB in large ones: with what sessions take themselves that is under the unit's MemoryHigh (64 MiB).
pub const FRAME_SMALL_BYTES_MAX: usize = 16 << 10;

/// Larger payloads of one user that are being read or decoded at a time. The next one waits in the socket, which is the
/// client's memory and not the daemon's, within the deadline that every frame has.
pub const LARGE_FRAMES_PER_UID_MAX: usize = 1;

/// Larger payloads of all users together, which are 16 MiB at most. Who waits for one waits as for one of their own.
pub const LARGE_FRAMES_MAX: usize = 16;

/// Room for the large frames of all users.
static LARGE_FRAMES: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(LARGE_FRAMES_MAX)));

/// Room for one large frame: one of its user's, and one of everybody's.
#[derive(Debug)]
pub struct LargeFrame {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// What the calls of one user that are kept beyond their connection may take of the daemon's memory, in bytes: the largest,
/// and some beside it.
pub const HELD_BYTES_PER_UID_MAX: usize = 1280 << 10;

/// What those of all users may take together, in bytes. They stay when their connections have gone, so that it is no number of
/// connections that bounds them: this leaves the unit's `MemoryHigh=64M` more than half for everything else.
pub const HELD_BYTES_MAX: usize = 24 << 20;

/// Room for what is kept of all users.
static HELD: LazyLock<Arc<Semaphore>> = LazyLock::new(|| Arc::new(Semaphore::new(HELD_BYTES_MAX)));

/// What one of them takes beside its bytes, in bytes: its records. A user can have some hundred of them at once.
const HELD_BESIDE_BYTES: usize = 1 << 10;

/// Room that something kept takes. It is given back with the value.
#[derive(Debug)]
pub struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

/// Why there is no room to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// What is kept of this user takes it.
    OfOwn,
    /// What is kept of all users takes it.
    OfAll,
}

/// Lines about the calls of one user that go to the journal ...
///
/// Sixty users who call as fast as they can stay under what journald takes of one service (10 000 lines in 30 s): it takes more
/// than that to have the lines about others dropped.
pub const CALLS_TOLD_MAX: u32 = 300;

/// ... in this time.
pub const CALLS_TOLD_WINDOW: Duration = Duration::from_secs(60);

/// Starts that one user can have in a row ...
///
/// PID 1 writes two or three lines into the journal for each unit that it starts, and the journal takes 10 000 lines in 30 s from
/// it before it drops what comes then, whomever that is about (`RateLimitBurst=`, journald.conf(5)): it takes six users at once
/// who do their most.
pub const STARTS_MAX: u32 = 256;

/// ... and then one in this time, on the average.
pub const START_PERIOD: Duration = Duration::from_millis(100);

/// One of a user's starts. It is given back with the value, where nothing was started.
#[derive(Debug)]
pub struct Start<'a> {
    /// None once something was started.
    of: Option<&'a Quota>,
}

impl Start<'_> {
    /// Something was started.
    pub fn started(mut self) {
        self.of = None;
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if let Some(quota) = self.of {
            let spread = quota.starts.load(Ordering::Relaxed);
            quota.starts.store(spread.saturating_sub(milliseconds(START_PERIOD)), Ordering::Relaxed);
        }
    }
}

/// What is left to one user. Counters without an order between them: all sessions run on one thread.
#[derive(Debug)]
pub struct Quota {
    large_frames: Arc<Semaphore>,
    held: Arc<Semaphore>,
    all_held: Arc<Semaphore>,
    start: Instant,
    window: AtomicU64,
    told: AtomicU32,
    /// How long from `start` on the user's starts are spread, in milliseconds, at one in [`START_PERIOD`].
    starts: AtomicU64,
    /// Whether starts have no bound.
    starts_freely: bool,
}

/// Whether a line goes to the journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// This line goes there.
    Yes,
    /// The line does not, and is the first that does not: that should be said.
    NotFromHere,
    /// The line does not.
    No,
}

impl Quota {
    /// Everything is left of one user's own.
    pub fn new() -> Self {
        Self::beside(Arc::clone(&HELD))
    }

    /// Everything is left of this user's own. Root starts as much as it likes by itself, and no bound holds it.
    pub fn of(uid: Uid) -> Self {
        Self { starts_freely: uid == Uid::ROOT, ..Self::new() }
    }

    /// Everything is left of one user's own, and of `all_held` what others have not taken.
    fn beside(all_held: Arc<Semaphore>) -> Self {
        Self {
            large_frames: Arc::new(Semaphore::new(LARGE_FRAMES_PER_UID_MAX)),
            held: Arc::new(Semaphore::new(HELD_BYTES_PER_UID_MAX)),
            all_held,
            start: Instant::now(),
            window: AtomicU64::new(0),
            told: AtomicU32::new(0),
            starts: AtomicU64::new(0),
            starts_freely: false,
        }
    }

    /// Waits for the turn of one more start of this user's: nobody else waits for it.
    pub async fn start(&self) -> Start<'_> {
        if self.starts_freely {
            return Start { of: None };
        }
        let from = self.starts.load(Ordering::Relaxed).max(milliseconds(self.start.elapsed()));
        let spread = from.saturating_add(milliseconds(START_PERIOD));
        self.starts.store(spread, Ordering::Relaxed);
        // It is given back if nobody waits for it any more.
        let start = Start { of: Some(self) };
        let turn = Duration::from_millis(spread).saturating_sub(START_PERIOD.saturating_mul(STARTS_MAX));
        sleep_until(self.start + turn).await;
        start
    }

    /// Waits for room for a large frame. It is given back with the value.
    pub async fn large_frame(&self) -> Result<LargeFrame, AcquireError> {
        // The own one first: a user waits for the others with one frame, not with one of each connection.
        let own = Arc::clone(&self.large_frames).acquire_owned().await?;
        let all = Arc::clone(&LARGE_FRAMES).acquire_owned().await?;
        Ok(LargeFrame { _own: own, _all: all })
    }

    /// Room for something that takes so many bytes of memory, and is kept beyond its connection.
    ///
    /// # Errors
    /// There is none.
    pub fn hold(&self, bytes: usize) -> Result<Room, NoRoom> {
        let bytes = u32::try_from(bytes.saturating_add(HELD_BESIDE_BYTES)).unwrap_or(u32::MAX);
        let of = |held: &Arc<Semaphore>, none: NoRoom| {
            Arc::clone(held).try_acquire_many_owned(bytes).map_err(|_| none)
        };
        Ok(Room { _own: of(&self.held, NoRoom::OfOwn)?, _all: of(&self.all_held, NoRoom::OfAll)? })
    }

    /// Whether one more line about this user's calls goes to the journal.
    pub fn tell(&self) -> Tell {
        let window = self.now_window();
        if self.window.swap(window, Ordering::Relaxed) != window {
            self.told.store(0, Ordering::Relaxed);
        }
        let told = self.told.load(Ordering::Relaxed);
        self.told.store(told.saturating_add(1), Ordering::Relaxed);
        match told {
            told if told < CALLS_TOLD_MAX => Tell::Yes,
            CALLS_TOLD_MAX => Tell::NotFromHere,
            _ => Tell::No,
        }
    }

    /// Whether nothing needs to be remembered: no line was told in this window, and all starts are long ago.
    pub fn is_blank(&self) -> bool {
        let waiting = self.held.available_permits() < HELD_BYTES_PER_UID_MAX;
        let started = self.starts.load(Ordering::Relaxed) > milliseconds(self.start.elapsed());
        !waiting
            && !started
            && (self.told.load(Ordering::Relaxed) == 0
                || self.window.load(Ordering::Relaxed) != self.now_window())
    }

    fn now_window(&self) -> u64 {
        self.start.elapsed().as_secs() / CALLS_TOLD_WINDOW.as_secs()
    }
}

impl Default for Quota {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_of_all_members_has_a_bound_of_its_own() {
        let all = Arc::new(Semaphore::new(HELD_BYTES_MAX));
        let members: Vec<_> = (0..32).map(|_| Quota::beside(Arc::clone(&all))).collect();
        let largest = HELD_BYTES_PER_UID_MAX - HELD_BESIDE_BYTES;
        let mut rooms: Vec<_> = members.iter().filter_map(|member| member.hold(largest).ok()).collect();
        assert_eq!(rooms.len(), HELD_BYTES_MAX / HELD_BYTES_PER_UID_MAX);
        let last = members.last().unwrap();
        assert!(last.hold(largest).is_err_and(|none| none == NoRoom::OfAll));
        rooms.pop();
        let _room = last.hold(largest).unwrap();
        assert!(last.hold(0).is_err_and(|none| none == NoRoom::OfOwn));
    }

    /// Has so many started, one after the other: how long that took.
    async fn starts(quota: &Quota, count: u32) -> Duration {
        let began = Instant::now();
        for _ in 0..count {
            quota.start().await.started();
        }
        began.elapsed()
    }

    /// The clock goes by milliseconds here.
    fn periods(took: Duration) -> u128 {
        took.as_millis() / START_PERIOD.as_millis()
    }

    #[tokio::test(start_paused = true)]
    async fn after_many_starts_the_next_wait_for_their_time() {
        let quota = Quota::of(Uid::new(1000).unwrap());
        assert_eq!(starts(&quota, STARTS_MAX).await, Duration::ZERO);
        assert!(!quota.is_blank());
        assert_eq!(periods(starts(&quota, 10).await), 10);
        // What was not started for a while can be started at once, and no more than that.
        tokio::time::advance(START_PERIOD * STARTS_MAX * 2).await;
        assert!(quota.is_blank());
        assert_eq!(starts(&quota, STARTS_MAX).await, Duration::ZERO);
        assert_eq!(periods(starts(&quota, 1).await), 1);
        assert_eq!(starts(&Quota::of(Uid::ROOT), 2 * STARTS_MAX).await, Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn all_who_wait_at_once_have_one_turn_each_and_what_starts_nothing_is_given_back() {
        let quota = Quota::of(Uid::new(1000).unwrap());
        for _ in 0..2 * STARTS_MAX {
            drop(quota.start().await);
        }
        let began = Instant::now();
        starts(&quota, STARTS_MAX).await;
        assert_eq!(began.elapsed(), Duration::ZERO, "what started nothing was counted");
        let all = (0..10).map(|_| async { quota.start().await.started() });
        futures_util::future::join_all(all).await;
        assert_eq!(periods(began.elapsed()), 10);
    }

    #[tokio::test(start_paused = true)]
    async fn lines_are_counted_by_the_window() {
        let quota = Quota::new();
        assert!(quota.is_blank());
        for _ in 0..2 {
            for _ in 0..CALLS_TOLD_MAX {
                assert_eq!(quota.tell(), Tell::Yes);
            }
            assert_eq!([quota.tell(), quota.tell(), quota.tell()], [Tell::NotFromHere, Tell::No, Tell::No]);
            assert!(!quota.is_blank());
            tokio::time::advance(CALLS_TOLD_WINDOW).await;
            assert!(quota.is_blank());
        }
    }
}
