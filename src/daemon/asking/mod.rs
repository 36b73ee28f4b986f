//! What is asked: whether the caller may, and what it comes to.

pub mod accounts;
pub mod act;
pub mod authorize;
pub mod handover;
pub mod names;
pub mod spec;
pub mod submission;
