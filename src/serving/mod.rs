//! What every daemon of this house is served with: who connects, how many may, what they sent, what systemd and the journal
//! are told. It knows bytes, people and deadlines, and no share.

pub mod account;
pub mod closing;
pub mod incoming;
pub mod listener;
pub mod logging;
pub mod notify;
pub mod peer;
pub mod service;
pub mod session;
pub mod socket;
