//! The ledger: pure, so that it is tried by the ten thousand.

mod bound;
mod drf;
mod ended;
mod histories;
mod judged;
mod long_run;
mod records;
mod rules;
mod simulated;
mod steps;
mod stored;
mod village;
