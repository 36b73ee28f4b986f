//! The real daemon, as a process, against the stand-in: what it does when anything goes wrong.

mod degraded;
mod harness;
mod raw;
mod reconcile;
mod start;
mod systemd_faults;
