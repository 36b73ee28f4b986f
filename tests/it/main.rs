//! Native tests.
mod tidy;
