//! fairshare: a fair, kernel-enforced share of one Linux machine for every member.
//!
//! # The map, in reading order
//!
//! | module | what it knows |
//! | --- | --- |
//! | [`quantity`] | what a share is measured in: CPU, memory, tasks |
//! | [`identity`] | users, groups, and the names of the units that are ours |
//! | [`enforced`] | what the kernel holds of a share, and what it should: limits and weights |
//! | [`time`] | a moment on both clocks, and which boot it is of |
//! | [`sys`] | the system calls that no safe library offers |
//! | [`wire`] | how things go over a socket: frames, CBOR, hello, envelopes, errors |
//! | [`serving`] | a daemon's socket, sessions and charges by user, for whoever brings a service; and its notices and journal |
//! | [`contract`] | what the endpoints of `fairshared` take and answer: one file an endpoint |
//! | [`policy`] | what may be held, by whom: YAML files as one checked value |
//! | [`ledger`] | who holds what, who may: a pure state machine |
//! | [`state`] | what must be known after a crash, on disk |
//! | [`history`] | how jobs and allocations ended, in a database |
//! | [`cgroup`] | the kernel's figures, read only |
//! | [`host`] | how much of this machine there is, who has an account, whose a process is |
//! | [`systemd`] | PID 1 over D-Bus |
//! | [`simulate`] | what a policy would have done with a trace of requests |
//! | [`client`] | a connection to the daemon, for the command and for other programs |
//! | [`daemon`] | `fairshared` |
//! | [`cli`] | `fairshare` |
//! | [`testing`] | what the tests reach of the rest, item by item |
//!
//! # The law
//!
//! Other programs use `client`, `contract` and `wire`. Everything else is the crate's own, so that the compiler finds what
//! nobody uses.
//!
//! Arrows go up this list only, and `tests/it/tidy.rs` checks it: strangers to each other are
//! `state`, `history`, `cgroup`, `host`, `systemd` and `simulate`, and so are `daemon` and `cli`.
//!
//! A request walks through the house once, without turning back: [`serving`] (peer, bytes, frame, envelope), [`contract`]
//! (call), `daemon/asking` (an act that only it can make), `daemon/owner` (the ledger's one owner),
//! [`ledger::Ledger::apply`], `daemon/doing` (intent stored, systemd told, its job awaited, the kernel read back, outcome
//! stored), `serving` (answer). Nobody in the daemon knows the owner: it listens to the messages of each room.

mod cgroup;
mod cli;
pub mod client;
pub mod contract;
mod daemon;
mod enforced;
mod history;
mod host;
mod identity;
mod ledger;
mod policy;
mod quantity;
mod serving;
mod simulate;
mod state;
mod sys;
mod systemd;
#[doc(hidden)]
pub mod testing;
mod time;
pub mod wire;

pub use cli::main as fairshare;
pub use daemon::main as fairshared;
