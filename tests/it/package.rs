//! What the scripts of the package say, with a `systemctl` that only tells what there is.

use std::fs;
use std::process::Command;

/// What the package does before its removal, up to where debhelper's own part begins.
fn removal() -> String {
    let script = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/debian/prerm")).unwrap();
    script.split("#DEBHELPER#").next().unwrap().to_owned()
}

#[test]
fn a_removal_counts_the_members_whose_programs_run_on() {
    let slices = [
        "fairshare.slice",
        "fairshare-1000.slice",
        "fairshare-1000-own.slice",
        "fairshare-1000-job7.slice",
        "fairshare-1000-run8.slice",
        "fairshare-1001.slice",
        "fairshare-1001-run9.slice",
    ];
    let listed = slices.map(|slice| format!("echo {slice} loaded active active\n")).concat();
    let systemctl = format!("systemctl() {{\ncase $1 in list-units)\n{listed};;\nesac\n}}");
    // Nothing of this machine is looked at.
    let script = removal().replace("/sys/fs/cgroup", "/nonexistent");
    let output =
        Command::new("sh").args(["-c", &format!("{script}\n{systemctl}\nlift_all")]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said, "fairshare: programs still run in 2 share(s): left alone, their limits lifted\n");
}
