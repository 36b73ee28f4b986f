//! Native tests.
mod policy;
