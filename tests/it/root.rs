//! Tests that only root can make: as other users, or with their processes.

use std::io::Write as _;

/// Whether the test is root's. Where it is not it shows nothing, which is said; where everything is to be shown, as in CI,
/// it fails.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "this test must be run as root, and CI is set");
    if !root {
        let thread = std::thread::current();
        // Past what captures the output of a test that passes.
        let line = format!("not run: needs root: {}\n", thread.name().unwrap_or("a test"));
        let _ = std::io::stderr().write_all(line.as_bytes());
    }
    root
}
