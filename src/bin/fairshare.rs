//! The members' command.
fn main() {}
