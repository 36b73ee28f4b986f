//! fairshare: a fair, kernel-enforced share of one Linux machine for every member.
pub mod cli;
pub mod client;
pub mod identity;
pub mod policy;
pub mod quantity;
pub mod wire;
