//! This machine, as its kernel and its user databases have it: how much of it there is, and who has an account.

pub mod account;
pub mod machine;
