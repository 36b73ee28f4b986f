//! Native benches: `cargo test --release --test bench`, or with `ledger` or `wire` for one. `make bench` runs them
//! before those in the guest.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

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
#[path = "../it/stand_in/mod.rs"]
#[allow(unused_imports, reason = "the words of other tests")]
mod stand_in;
mod wire;

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with('-'));
    match (arguments.next().as_deref(), arguments.next()) {
        (Some("echo"), Some(socket)) => wire::echo(socket.as_ref()),
        (Some("ledger"), None) => ledger::run(),
        (Some("wire"), None) => wire::run(),
        (None, None) => {
            ledger::run();
            wire::run();
        }
        _ => panic!("ledger, wire, or nothing"),
    }
}
