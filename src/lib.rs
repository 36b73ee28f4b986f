//! fairshare: a fair, kernel-enforced share of one Linux machine for every member.
pub mod cgroup;
pub mod identity;
pub mod procfs;
pub mod quantity;
pub mod systemd;
pub mod wire;
