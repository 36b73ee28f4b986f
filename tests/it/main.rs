//! Native tests.
// clippy.toml allows these in #[test] functions; what such functions call fails a test no less.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod cgroup;
mod ci;
mod cli;
mod client;
mod daemon;
mod fuzz;
mod ledger;
mod package;
mod policy;
mod poll;
mod root;
mod services;
mod serving;
mod stand_in;
mod systemd;
mod tidy;
mod wire;
