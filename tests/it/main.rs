//! Native tests.
mod client;
