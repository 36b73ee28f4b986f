//! This machine, as its kernel and its user databases have it: how much of it there is, who has an account, and whose a process is.

pub mod account;
pub mod disks;
pub mod login_defs;
pub mod machine;
pub mod mounts;
pub mod process;
