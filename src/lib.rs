//! fairshare: a fair, kernel-enforced share of one Linux machine for every member.
pub mod cgroup;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod identity;
pub mod ledger;
pub mod policy;
pub mod procfs;
pub mod quantity;
pub mod store;
pub mod sys;
pub mod systemd;
pub mod wire;
