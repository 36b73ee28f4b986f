//! Native tests.
mod policy;
mod client;
