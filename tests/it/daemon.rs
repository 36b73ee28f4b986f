//! The real daemon, as a process, against the stand-in: what it does when anything goes wrong.

mod closing;
mod contract;
mod degraded;
mod disk_faults;
mod ended;
mod events;
mod handed;
mod harness;
mod inside;
mod leases;
mod machine;
mod membership;
mod moves;
mod names;
mod raw;
mod reconcile;
mod role_at_call;
mod roles;
mod spared;
mod start;
mod state;
mod strace;
mod strangers;
mod submit;
mod systemd_faults;
pub mod users;
mod works;
