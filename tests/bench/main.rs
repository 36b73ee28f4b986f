//! Native benches: `cargo test --release --test bench`, or with `ledger`, `stored`, `wire` or `events` for one. `make bench` runs
//! them, with TMPDIR in memory, before those in the guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod events;
#[path = "../it/daemon/harness.rs"]
#[allow(dead_code, reason = "the words of other tests")]
mod harness;
mod ledger;
#[path = "../it/poll.rs"]
#[allow(dead_code, reason = "the words of other tests")]
mod poll;
#[path = "../it/daemon/raw.rs"]
#[allow(dead_code, reason = "the words of other tests")]
mod raw;
mod shares;
#[path = "../it/stand_in/mod.rs"]
#[allow(unused_imports, reason = "the words of other tests")]
mod stand_in;
mod stored;
#[path = "../it/daemon/users.rs"]
#[allow(dead_code, reason = "the words of other tests")]
mod users;
mod wire;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("echo"), Some(socket)) => wire::echo(socket.as_ref()),
        (Some("ledger"), None) => ledger::run(),
        (Some("wire"), None) => wire::run(),
        (Some("events"), None) => events::run(),
        (Some("stored"), None) => stored::run(),
        (None, None) => {
            ledger::run();
            stored::run();
            // Before the last, which keeps everything on one processor.
            events::run();
            wire::run();
        }
        _ => panic!("ledger, stored, wire, events, or nothing"),
    }
}
