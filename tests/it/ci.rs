//! What CI prints at its end, and its verdict, which is that of the checks.

use std::fmt::Write as _;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn summary(folder: &Path, status: u8) -> Output {
    Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.ci/summary"))
        .arg(folder)
        .arg(status.to_string())
        .output()
        .unwrap()
}

#[test]
fn the_summary_is_whole_however_many_tests_there_were() {
    let folder = tempfile::tempdir().unwrap();
    let result = |passed, failed| {
        format!("test result: ok. {passed} passed; {failed} failed; 0 ignored; 0 measured; 0 filtered out\n")
    };
    fs::write(folder.path().join("native.log"), result(7, 1) + &result(5, 0)).unwrap();
    fs::write(folder.path().join("guest.log"), result(30, 2)).unwrap();
    fs::write(folder.path().join("fuzz-call.txt"), "stat::number_of_executed_units: 99\n").unwrap();
    let mut durations = String::new();
    for seconds in 0..20_000 {
        writeln!(durations, "{seconds} jobs::a_test::trixie").unwrap();
    }
    fs::write(folder.path().join("guest-durations.txt"), durations).unwrap();

    let said = summary(folder.path(), 0);
    let text = String::from_utf8(said.stdout).unwrap();
    assert!(said.status.success(), "{}: {text:?}", said.status);
    assert!(text.contains("19990 jobs::") && !text.contains("19989 jobs::"), "{text:?}");
    assert!(text.contains("number_of_executed_units: 99"), "{text:?}");
    assert!(text.ends_with("\n42 passed, 3 failed\n"), "{text:?}");

    let text = String::from_utf8(summary(folder.path(), 2).stdout).unwrap();
    assert!(text.ends_with("make check ended with exit code 2\n42 passed, 3 failed\n"), "{text:?}");
}

#[test]
fn a_run_that_left_nothing_is_summed_up_as_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let said = summary(folder.path(), 1);
    assert!(said.status.success(), "{}", said.status);
    assert_eq!(
        String::from_utf8(said.stdout).unwrap(),
        "make check ended with exit code 1\n0 passed, 0 failed\n"
    );
}

fn write_script(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `.ci/run` ends with in a tree of its own, where `make` is a program that ends with `made`.
fn verdict(made: u8, summary: Option<&str>) -> Option<i32> {
    let tree = tempfile::tempdir().unwrap();
    let scripts = tree.path().join(".ci");
    fs::create_dir(&scripts).unwrap();
    for name in ["run", "summary"] {
        let own = Path::new(env!("CARGO_MANIFEST_DIR")).join(".ci").join(name);
        fs::copy(own, scripts.join(name)).unwrap();
    }
    if let Some(instead) = summary {
        write_script(&scripts.join("summary"), instead);
    }
    write_script(&tree.path().join("make"), &format!("#!/bin/sh\nexit {made}\n"));
    let mut path = tree.path().as_os_str().to_owned();
    path.push(":");
    path.push(std::env::var_os("PATH").unwrap());
    let ran = Command::new(scripts.join("run")).env("PATH", path).output().unwrap();
    ran.status.code()
}

#[test]
fn the_verdict_is_that_of_the_checks_whatever_is_printed_after_them() {
    for made in [0, 2] {
        assert_eq!(verdict(made, None), Some(made.into()));
        assert_eq!(verdict(made, Some("#!/bin/sh\nexit 141\n")), Some(made.into()), "the summary failed");
    }
}

#[test]
fn a_check_leaves_out_one_release_of_tests_there_are() {
    let guest = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/guest");
    let mut names = std::collections::BTreeSet::new();
    let list = fs::read_to_string(guest.join("left-to-make-guest.txt")).unwrap();
    for line in list.lines() {
        let words: Vec<&str> = line.split("::").collect();
        let [module, name, "bookworm" | "trixie"] = words[..] else {
            panic!("{line}: a test's module, name and release are there")
        };
        let source = fs::read_to_string(guest.join(format!("{module}.rs"))).unwrap();
        let names_it =
            |line: &str| line.trim_start_matches("guest_test!(").trim().starts_with(&format!("{name},"));
        assert!(source.lines().any(names_it), "{line}: no such test");
        assert!(names.insert((module, name)), "{line}: on neither release");
    }
    assert!(!names.is_empty());
    let check = fs::read_to_string(guest.join("../../Makefile")).unwrap();
    assert!(check.contains("tests/guest/left-to-make-guest.txt"));
}
