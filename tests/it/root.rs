//! Tests that only root can make: as other users, or with their processes.

/// Whether the test is root's. Where it is not it shows nothing, which is said; where everything is to be shown, as in CI,
/// it fails.
pub fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    assert!(root || std::env::var_os("CI").is_none(), "this test must be run as root, and CI is set");
    if !root {
        eprintln!("not root: this shows nothing here");
    }
    root
}
