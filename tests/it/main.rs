//! Native tests.
mod cgroup;
mod stand_in;
mod systemd;
