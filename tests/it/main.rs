//! Native tests.

mod tidy;
