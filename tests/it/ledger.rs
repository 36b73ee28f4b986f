//! The ledger: pure, so that it is tried by the ten thousand.

mod apart;
mod arrays;
mod beside;
mod bound;
mod drf;
mod ended;
mod games;
mod histories;
mod judged;
mod lag;
mod likely;
mod long_run;
mod order;
mod paused;
mod places;
mod public_log;
mod records;
mod rules;
mod runs;
mod simulated;
mod steps;
mod stored;
mod tries;
mod village;
mod warned;
mod world;
