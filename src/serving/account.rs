//! All that one user uses of a daemon, and what bounds all users together: connections, memory, starts, lines in the journal.
//!
//! What is taken is a charge to who takes it, and is given back with its value, on whatever way that ends. What can only pass
//! with time, as a line that was told, is remembered for as long as it counts.
//!
//! The model is dbus-broker's `src/util/user.c`.

use std::cmp::Ordering::{Equal, Greater, Less};
use std::collections::{BTreeMap, VecDeque};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until};

use crate::identity::Uid;
use crate::time::milliseconds;
use crate::wire::detail::{Detail, Resource};
use crate::wire::error::{Code, WireError};

/// Connections at a time. With as many open nobody is accepted until one ends.
pub const CONNECTIONS_MAX: usize = 1024;

/// Those of them that are root's alone: an admin gets in whatever members do.
pub const CONNECTIONS_OF_ROOT: usize = 16;

/// Connections of one user at a time.
pub const CONNECTIONS_PER_UID_MAX: usize = 64;

/// With more than this many connections, three quarters, the rest are for those who have few ...
pub const CONNECTIONS_SCARCE: usize = CONNECTIONS_MAX / 4 * 3;

/// ... which is fewer than this.
pub const CONNECTIONS_FEW: usize = 4;

/// How long a client who could not connect should wait.
pub const BUSY_RETRY_AFTER: Duration = Duration::from_secs(1);

/// A payload up to this many bytes is read by every connection for itself.
///
/// Nearly every request is under 100 bytes. 1024 connections that hold parts of frames back hold 16 MiB here at most, 4 MiB that
/// was read ahead, and [`LARGE_FRAMES_MAX`] MiB in large ones: with what sessions take themselves that is under the unit's
/// MemoryHigh (64 MiB).
pub const FRAME_SMALL_BYTES_MAX: usize = 16 << 10;

/// Larger payloads of one user that are being read or decoded at a time. The next one waits in the socket, which is the
/// client's memory and not the daemon's, within the deadline that every frame has.
pub const LARGE_FRAMES_PER_UID_MAX: usize = 1;

/// Larger payloads of all users together, which are 16 MiB at most. Who waits for one waits as for one of their own.
pub const LARGE_FRAMES_MAX: usize = 16;

/// What the calls of one user that are kept beyond their connection may take of the daemon's memory, in bytes: the largest,
/// and some beside it.
pub const HELD_BYTES_PER_UID_MAX: usize = 1280 << 10;

/// What those of all users may take together, in bytes. They stay when their connections have gone, so that it is no number of
/// connections that bounds them: this leaves the unit's `MemoryHigh=64M` more than half for everything else.
pub const HELD_BYTES_MAX: usize = 24 << 20;

/// As many of them as there can be of all users together: 256 of each of 16 members. Each may keep descriptors of the daemon's,
/// of which there are no more than the unit's `LimitNOFILE=`.
pub const HELD_MAX: usize = 4096;

/// What one of them takes beside its bytes, in bytes: its records. A user can have some hundred of them at once.
const HELD_BESIDE_BYTES: usize = 1 << 10;

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

/// This many connections of one user closed for violations ...
pub const CLOSINGS_MAX: usize = 3;

/// ... in this time shut the user out ...
pub const CLOSINGS_WINDOW: Duration = Duration::from_secs(60);

/// ... for this time.
pub const SHUT_OUT: Duration = Duration::from_secs(60);

/// Lines about one user's broken connections in each [`CLOSINGS_WINDOW`]: a member must not fill the journal.
const COMPLAINTS_MAX: u32 = 5;

/// Lines about the broken connections of all users in each [`CLOSINGS_WINDOW`]. Who has a user namespace has 65 536 ids in it
/// (subuid(5)), and each of them can be turned away.
const COMPLAINTS_OF_ALL_MAX: u32 = 300;

/// Users of whom something is remembered. For one more those are forgotten of whom there is nothing but how they behaved.
///
/// Nothing that is taken is forgotten: what is beyond connections is taken by members alone, who are accounts.
const REMEMBERED_MAX: usize = 4096;

/// Everybody who uses something of the daemon.
#[derive(Debug, Default)]
pub struct Users {
    all: Arc<All>,
    known: BTreeMap<Uid, Known>,
    /// About everybody's connections.
    complaints: Lines,
}

/// What is known of one user.
#[derive(Debug)]
struct Known {
    user: Arc<User>,
    conduct: Conduct,
}

impl Users {
    /// Whether anybody can connect.
    pub fn can_connect(&self) -> bool {
        self.all.connections.load(Ordering::Relaxed) < CONNECTIONS_MAX
    }

    /// One more connection of this user's.
    ///
    /// # Errors
    /// Busy, for whom none is left; RateLimited, who is shut out.
    pub fn connect(&mut self, uid: Uid, now: Instant) -> Result<Connected, WireError> {
        let known = self.known(uid, now);
        known.conduct.admit(now)?;
        Connected::take(Arc::clone(&known.user))
    }

    /// A connection of this user's was closed for violations.
    pub fn closed_for_violations(&mut self, uid: Uid, now: Instant) {
        self.known(uid, now).conduct.closed_for_violations(now);
    }

    /// Whether one more line about this user's connections may go to the journal.
    pub fn may_complain(&mut self, uid: Uid, now: Instant) -> Tell {
        match self.known(uid, now).conduct.complaints.tell(COMPLAINTS_MAX, now) {
            Tell::Yes => self.complaints.tell(COMPLAINTS_OF_ALL_MAX, now),
            Tell::NotFromHere | Tell::No => Tell::No,
        }
    }

    /// Forgets those of whom nothing needs to be remembered.
    pub fn forget(&mut self, now: Instant) {
        self.known.retain(|_, known| !(known.user.is_blank() && known.conduct.is_blank(now)));
    }

    fn known(&mut self, uid: Uid, now: Instant) -> &mut Known {
        if self.known.len() >= REMEMBERED_MAX && !self.known.contains_key(&uid) {
            self.forget(now);
        }
        if self.known.len() >= REMEMBERED_MAX && !self.known.contains_key(&uid) {
            self.known.retain(|_, known| !known.user.is_blank());
        }
        let all = &self.all;
        self.known.entry(uid).or_insert_with(|| Known {
            user: Arc::new(User::of(uid, Arc::clone(all))),
            conduct: Conduct::default(),
        })
    }
}

/// How a user has behaved of late.
#[derive(Debug, Default)]
struct Conduct {
    closings: VecDeque<Instant>,
    shut_out_until: Option<Instant>,
    complaints: Lines,
}

/// Lines that were told in the [`CLOSINGS_WINDOW`] that began then.
#[derive(Debug, Default)]
struct Lines {
    told: u32,
    since: Option<Instant>,
}

impl Lines {
    /// Whether one more goes to the journal, of so many at most.
    fn tell(&mut self, most: u32, now: Instant) -> Tell {
        if self.is_blank(now) {
            *self = Self { told: 0, since: Some(now) };
        }
        let told = self.told;
        self.told = told.saturating_add(1);
        match told.cmp(&most) {
            Less => Tell::Yes,
            Equal => Tell::NotFromHere,
            Greater => Tell::No,
        }
    }

    /// Whether the window is over.
    fn is_blank(&self, now: Instant) -> bool {
        self.since.is_none_or(|since| now.duration_since(since) >= CLOSINGS_WINDOW)
    }
}

impl Conduct {
    fn admit(&self, now: Instant) -> Result<(), WireError> {
        let left = self.shut_out_until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
        if !left.is_zero() {
            let left = left.max(Duration::from_millis(1));
            return Err(WireError::new(Code::RateLimited, "Too many broken connections").retry_after(left));
        }
        Ok(())
    }

    fn closed_for_violations(&mut self, now: Instant) {
        self.closings.retain(|at| now.duration_since(*at) < CLOSINGS_WINDOW);
        self.closings.push_back(now);
        if self.closings.len() >= CLOSINGS_MAX {
            self.closings.clear();
            self.shut_out_until = Some(now + SHUT_OUT);
        }
    }

    fn is_blank(&self, now: Instant) -> bool {
        self.shut_out_until.is_none_or(|until| until <= now)
            && self.closings.back().is_none_or(|at| now.duration_since(*at) >= CLOSINGS_WINDOW)
            && self.complaints.is_blank(now)
    }
}

/// What all users take together.
#[derive(Debug)]
struct All {
    connections: AtomicUsize,
    connections_of_root: AtomicUsize,
    large_frames: Arc<Semaphore>,
    decoding: Arc<Semaphore>,
    held: Arc<Semaphore>,
    held_count: Arc<Semaphore>,
}

impl Default for All {
    fn default() -> Self {
        Self {
            connections: AtomicUsize::new(0),
            connections_of_root: AtomicUsize::new(0),
            large_frames: Arc::new(Semaphore::new(LARGE_FRAMES_MAX)),
            decoding: Arc::new(Semaphore::new(1)),
            held: Arc::new(Semaphore::new(HELD_BYTES_MAX)),
            held_count: Arc::new(Semaphore::new(HELD_MAX)),
        }
    }
}

/// All that one user takes. Counters without an order between them: all sessions run on one thread.
#[derive(Debug)]
pub struct User {
    uid: Uid,
    all: Arc<All>,
    connections: AtomicUsize,
    large_frames: Arc<Semaphore>,
    held: Arc<Semaphore>,
    /// From when on the windows of `told` and the spread of `starts` are counted.
    since: Instant,
    window: AtomicU64,
    told: AtomicU32,
    /// How long from `since` on the user's starts are spread, in milliseconds, at one in [`START_PERIOD`].
    starts: AtomicU64,
}

/// A connection of a user's. Its place is free again with the end of the value.
#[derive(Debug)]
pub struct Connected(Arc<User>);

impl Connected {
    fn take(user: Arc<User>) -> Result<Self, WireError> {
        let busy = |message: &str, most: usize| {
            let detail = Detail::full(Resource::Connections, most);
            Err(WireError::new(Code::Busy, message).detail(detail).retry_after(BUSY_RETRY_AFTER))
        };
        let (open, all) = (user.connections.load(Ordering::Relaxed), &user.all);
        let of_members = all
            .connections
            .load(Ordering::Relaxed)
            .saturating_sub(all.connections_of_root.load(Ordering::Relaxed));
        if open >= CONNECTIONS_PER_UID_MAX {
            return busy("Too many connections of this user", CONNECTIONS_PER_UID_MAX);
        }
        if user.uid != Uid::ROOT && of_members >= CONNECTIONS_MAX - CONNECTIONS_OF_ROOT {
            return busy("Too many connections", CONNECTIONS_MAX - CONNECTIONS_OF_ROOT);
        }
        if user.uid != Uid::ROOT && of_members >= CONNECTIONS_SCARCE && open >= CONNECTIONS_FEW {
            return busy("Connections are scarce, and this user has several", CONNECTIONS_FEW);
        }
        for counter in user.counters() {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(Self(user))
    }
}

impl Deref for Connected {
    type Target = Arc<User>;

    fn deref(&self) -> &Arc<User> {
        &self.0
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        for counter in self.0.counters() {
            counter.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Room for one large frame: one of its user's, and one of everybody's.
#[derive(Debug)]
pub struct LargeFrame {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    decoding: Arc<Semaphore>,
    turn: Option<OwnedSemaphorePermit>,
}

impl LargeFrame {
    /// Waits for the frame's turn to be decoded, which ends with the value.
    ///
    /// One frame of everybody's has it: a submission of 16 384 entries takes an emulated processor half a second, and between two
    /// of them the loop turns for everybody else.
    ///
    /// # Errors
    /// Never: nobody closes what is waited for.
    pub async fn turn(&mut self) -> Result<(), AcquireError> {
        self.turn = Some(Arc::clone(&self.decoding).acquire_owned().await?);
        Ok(())
    }
}

/// Room that something kept takes. It is given back with the value.
#[derive(Debug)]
pub struct Room {
    _own: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
    _one: OwnedSemaphorePermit,
}

/// Why there is no room to keep something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoom {
    /// What is kept of this user takes it.
    OfOwn,
    /// What is kept of all users takes it.
    OfAll,
}

/// One of a user's starts. It is given back with the value, where nothing was started.
#[derive(Debug)]
pub struct Start<'a> {
    /// None once something was started.
    of: Option<&'a User>,
}

impl Start<'_> {
    /// Something was started.
    pub fn started(mut self) {
        self.of = None;
    }
}

impl Drop for Start<'_> {
    fn drop(&mut self) {
        if let Some(user) = self.of {
            let spread = user.starts.load(Ordering::Relaxed);
            user.starts.store(spread.saturating_sub(milliseconds(START_PERIOD)), Ordering::Relaxed);
        }
    }
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

impl User {
    /// A user who has taken nothing.
    fn of(uid: Uid, all: Arc<All>) -> Self {
        Self {
            uid,
            all,
            connections: AtomicUsize::new(0),
            large_frames: Arc::new(Semaphore::new(LARGE_FRAMES_PER_UID_MAX)),
            held: Arc::new(Semaphore::new(HELD_BYTES_PER_UID_MAX)),
            since: Instant::now(),
            window: AtomicU64::new(0),
            told: AtomicU32::new(0),
            starts: AtomicU64::new(0),
        }
    }

    /// The counters in which a connection of this user's counts.
    fn counters(&self) -> impl Iterator<Item = &AtomicUsize> {
        let of_root = (self.uid == Uid::ROOT).then_some(&self.all.connections_of_root);
        [&self.connections, &self.all.connections].into_iter().chain(of_root)
    }

    /// Waits for the turn of one more start of this user's: nobody else waits for it.
    pub async fn start(&self) -> Start<'_> {
        // Root starts as much as it likes by itself.
        if self.uid == Uid::ROOT {
            return Start { of: None };
        }
        let from = self.starts.load(Ordering::Relaxed).max(milliseconds(self.since.elapsed()));
        let spread = from.saturating_add(milliseconds(START_PERIOD));
        self.starts.store(spread, Ordering::Relaxed);
        // It is given back if nobody waits for it any more.
        let start = Start { of: Some(self) };
        let turn = Duration::from_millis(spread).saturating_sub(START_PERIOD.saturating_mul(STARTS_MAX));
        sleep_until(self.since + turn).await;
        start
    }

    /// Waits for room for a large frame. It is given back with the value.
    ///
    /// # Errors
    /// Never: nobody closes what is waited for.
    pub async fn large_frame(&self) -> Result<LargeFrame, AcquireError> {
        // The own one first: a user waits for the others with one frame, not with one of each connection.
        let own = Arc::clone(&self.large_frames).acquire_owned().await?;
        let all = Arc::clone(&self.all.large_frames).acquire_owned().await?;
        Ok(LargeFrame { _own: own, _all: all, decoding: Arc::clone(&self.all.decoding), turn: None })
    }

    /// Room for something that takes so many bytes of memory, and is kept beyond its connection.
    ///
    /// # Errors
    /// There is none.
    pub fn hold(&self, bytes: usize) -> Result<Room, NoRoom> {
        let bytes = u32::try_from(bytes.saturating_add(HELD_BESIDE_BYTES)).unwrap_or(u32::MAX);
        let of = |held: &Arc<Semaphore>, count: u32, none: NoRoom| {
            Arc::clone(held).try_acquire_many_owned(count).map_err(|_| none)
        };
        Ok(Room {
            _own: of(&self.held, bytes, NoRoom::OfOwn)?,
            _all: of(&self.all.held, bytes, NoRoom::OfAll)?,
            _one: of(&self.all.held_count, 1, NoRoom::OfAll)?,
        })
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

    /// Whether nothing is taken, and nothing that was counts any more.
    fn is_blank(&self) -> bool {
        let held = self.held.available_permits() < HELD_BYTES_PER_UID_MAX;
        let started = self.starts.load(Ordering::Relaxed) > milliseconds(self.since.elapsed());
        let told =
            self.told.load(Ordering::Relaxed) > 0 && self.window.load(Ordering::Relaxed) == self.now_window();
        self.connections.load(Ordering::Relaxed) == 0 && !held && !started && !told
    }

    fn now_window(&self) -> u64 {
        self.since.elapsed().as_secs() / CALLS_TOLD_WINDOW.as_secs()
    }
}

#[cfg(test)]
mod tests;
