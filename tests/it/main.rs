//! Native tests.
mod client;
mod policy;
