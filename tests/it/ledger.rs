//! The ledger: pure, so that it is tried by the ten thousand.

mod bound;
mod drf;
mod histories;
mod long_run;
mod rules;
mod steps;
mod stored;
mod village;
