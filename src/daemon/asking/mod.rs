//! What is asked: whether the caller may, and what it comes to.

pub mod accounts;
pub mod act;
pub mod authorize;
pub mod endpoint;
pub mod handover;
pub mod names;
pub mod service;
pub mod spec;
pub mod submission;

#[cfg(test)]
mod tests {
    mod listener;
    mod session;
}
