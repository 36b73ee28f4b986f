//! The real daemon, as a process, against the stand-in: what it does when anything goes wrong.

mod degraded;
mod disk_faults;
mod harness;
mod raw;
mod reconcile;
mod start;
mod state;
mod strace;
mod systemd_faults;
