//! Native tests.
mod client;
mod wire;
