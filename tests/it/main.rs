//! Native tests.
mod cli;
mod client;
mod policy;
