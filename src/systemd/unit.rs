//! What is said of units, to systemd and by it; and how long it may take.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use super::fault::Fault;

/// How long systemd may take to answer a call. Under the watchdog's period (`WatchdogSec=20s`).
pub const CALL_TIMEOUT: Duration = Duration::from_secs(8);

/// How long the start of a slice or a scope may take, the call included.
pub const START_TIMEOUT: Duration = Duration::from_secs(15);

/// Questions about services that are under way at once. systemd answers one after another: what shares need would wait
/// behind them all.
pub(super) const SERVICE_CALLS_MAX: usize = 16;

/// Units that are cleared away at once. Nobody waits for it, and others wait for systemd.
pub const CLEARED_AT_ONCE_MAX: usize = 4;

/// A process that enters a scope. Whose it is must have been checked: systemd moves for root whatever root names.
#[derive(Debug, Clone, Copy)]
pub struct Process<'a> {
    /// Its number. Never 0, by which systemd understands whoever calls it.
    pub pid: u32,
    /// A descriptor of it, which cannot come to mean another process.
    pub pidfd: Option<BorrowedFd<'a>>,
}

/// Whether a unit runs (`org.freedesktop.systemd1(5)`, ActiveState). Only [`Self::Active`] says that it exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActiveState {
    /// It is there.
    Active,
    /// It is there, and reads its configuration.
    Reloading,
    /// It is not there, whatever else systemd says of it.
    Inactive,
    /// It is not there, and its name is taken until ResetFailedUnit.
    Failed,
    /// It is being started.
    Activating,
    /// It is being stopped.
    Deactivating,
    /// A state that this program does not know.
    Unknown,
}

impl From<&str> for ActiveState {
    fn from(state: &str) -> Self {
        match state {
            "active" => Self::Active,
            "reloading" | "refreshing" => Self::Reloading,
            "inactive" => Self::Inactive,
            "failed" => Self::Failed,
            "activating" => Self::Activating,
            "deactivating" => Self::Deactivating,
            _ => Self::Unknown,
        }
    }
}

/// What a service runs.
#[derive(Debug, Clone, Copy)]
pub struct Program<'a> {
    /// The program, absolute.
    pub path: &'a str,
    /// Its arguments, with its name. Never a member's words: `$` and `%` in them mean something to systemd, and everybody
    /// may read them.
    ///
    /// No descriptor goes with them: the bus and systemd close what they are sent while everybody waits. Of a member's file
    /// that takes as long as whoever serves it likes (FUSE, NFS).
    pub argv: &'a [&'a str],
    /// The arguments with which it is run once more when what it became is over (`ExecStopPost=`); of the same kind.
    pub argv_at_end: Option<&'a [&'a str]>,
}

/// Where a service stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ServiceState {
    /// It runs, or is about to, or is being stopped.
    Running,
    /// It is over.
    Ended(Ended),
    /// systemd does not know it.
    Gone,
}

/// Whether systemd keeps a service for us when it has ended.
#[derive(Debug)]
pub enum Held {
    /// The unit is kept in memory.
    Kept,
    /// It cannot, for it could not read the unit's file or a drop-in when it last did. How the service ends by itself is
    /// kept all the same (`RemainAfterExit=`), and how it was stopped is not.
    Unkept(Fault),
    /// It does not know it.
    Gone,
}

/// How a service ended (`org.freedesktop.systemd1(5)`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// What its main process exited with, or else which signal killed it.
    pub exit: Result<i32, i32>,
    /// What systemd calls the result: `success`, `exit-code`, `signal`, `timeout`, `oom-kill`, ...
    pub result: String,
    /// Whether somebody had it stopped: a service that ends by itself is kept as exited or failed.
    pub stopped: bool,
    /// Whether what is run at its end is there (`ExecStopPost=`), and waits or runs.
    pub after: bool,
}

/// Where a service stands, as its states say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It runs, or is about to, or is being stopped.
    Running,
    /// It ended by itself, and is kept for it.
    Ended,
    /// It ended or was stopped, and what is run at its end is there.
    After,
    /// It was stopped, has never run, or is not there.
    Stopped,
}

impl Stage {
    /// What ActiveState and SubState say (`org.freedesktop.systemd1(5)`).
    pub(super) fn of(active: &str, sub: &str) -> Self {
        match (ActiveState::from(active), sub) {
            (ActiveState::Active, "exited") | (ActiveState::Failed, _) => Self::Ended,
            (ActiveState::Deactivating, "stop-post") => Self::After,
            (ActiveState::Inactive, _) => Self::Stopped,
            _ => Self::Running,
        }
    }
}
