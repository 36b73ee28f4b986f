//! What happened, as others are shown and told it.

pub mod answer;
pub mod ended;
pub mod feed;
pub mod findings;
pub mod fit;
pub mod job;
pub mod reply;
pub mod shown;
