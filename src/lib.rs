//! fairshare: a fair, kernel-enforced share of one Linux machine for every member.
pub mod identity;
pub mod ledger;
pub mod policy;
pub mod quantity;
pub mod store;
pub mod wire;
