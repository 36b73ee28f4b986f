//! What is asked: whether the caller may, and what it comes to.

pub mod accounts;
pub mod authorize;
pub mod caller;
pub mod deed;
pub mod endpoint;
pub mod figures;
pub mod handover;
pub mod names;
pub mod present;
pub mod refuse;
pub mod service;
pub mod spec;
pub mod submission;

#[cfg(test)]
mod tests {
    mod listener;
    mod session;
    mod together;
}
