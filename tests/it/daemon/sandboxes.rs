//! A submitted command is started by PID 1: it is no way out of what holds the process that submits it.

use std::path::Path;
use std::process::Command;

use fairshare::contract::{Answer, Call, Policy, PolicyAnswer};
use fairshare::wire::error::Code;

use super::harness::{Daemon, Home, POLICY};
use super::raw::{Raw, request, submission};
use super::works::{service, until_it_runs};
use crate::root::is_root;
use crate::stand_in::{Setting, World};

/// The job of a command that was submitted from a shell with this before it; what was said where there is none.
fn submitted_from(before: &str, daemon: &Daemon) -> Result<u64, String> {
    let folder = tempfile::tempdir().unwrap();
    let script = format!("{before} \"$@\"");
    let ran = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_fairshare"), "submit", "--socket"])
        .args([daemon.socket(), Path::new("true")])
        .current_dir(&folder)
        .output()
        .unwrap();
    let said = String::from_utf8(ran.stderr).unwrap();
    String::from_utf8(ran.stdout).unwrap().trim().parse().map_err(|_| said)
}

/// A shell whose limits were lowered; a process that nothing can give more power.
#[test]
fn a_command_is_held_by_what_holds_who_submitted_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let unit = |before: &str| {
        let id = submitted_from(before, &daemon).unwrap();
        until_it_runs(&world, id);
        world.unit(&service(id)).unwrap()
    };
    let limits = ["LimitNOFILE", "LimitNOFILESoft", "LimitFSIZE", "LimitFSIZESoft"];
    let lowered = unit("ulimit -n 300; ulimit -S -n 200; ulimit -f 8; exec");
    assert_eq!(limits.map(|name| lowered.figure(name).unwrap()), [300, 200, 8 * 512, 8 * 512]);
    assert_eq!(lowered.settings.get("NoNewPrivileges"), None);
    let powerless = unit("exec setpriv --no-new-privs");
    assert_eq!(powerless.settings.get("NoNewPrivileges"), Some(&Setting::Switch(true)));
}

/// A filter that lets every call pass is one as well.
const FILTERED: &str = "exec python3 -c '
import ctypes, os, struct, sys
prctl = ctypes.CDLL(None, use_errno=True).prctl
code = ctypes.create_string_buffer(struct.pack(\"HBBI\", 6, 0, 0, 0x7fff0000))
program = ctypes.create_string_buffer(struct.pack(\"HxxxxxxQ\", 1, ctypes.addressof(code)))
assert prctl(38, 1, 0, 0, 0) == 0 and prctl(22, 2, program) == 0
os.execv(sys.argv[1], sys.argv[1:])'";

#[test]
fn who_has_filtered_system_calls_does_not_submit_unless_the_policy_says_so() {
    let world = World::start();
    let mut home = Home::new(&world);
    home.set_policy(&POLICY.replace("from_sandboxes: true", "from_sandboxes: false"));
    let daemon = home.activate();
    daemon.client().granted(&request());
    assert!(!told_to_allow_sandboxes(&daemon));
    let said = submitted_from(FILTERED, &daemon).unwrap_err();
    assert!(said.contains("seccomp") && said.contains("`from_sandboxes: true`"), "{said}");
    assert!(!world.units().iter().any(|unit| unit.contains("-job")), "a command ran");
    let submits = |daemon: &Daemon, before: &str| {
        let id = submitted_from(before, daemon).unwrap();
        until_it_runs(&world, id);
    };
    submits(&daemon, "exec");
    // Namespaces are no sandbox by themselves: rootless containers and builds are in some.
    if is_root() {
        submits(&daemon, "exec unshare --user --map-root-user --mount --pid --fork");
    }
    drop(daemon);
    home.set_policy(POLICY);
    let daemon = home.activate();
    assert!(told_to_allow_sandboxes(&daemon));
    submits(&daemon, FILTERED);
}

fn told_to_allow_sandboxes(daemon: &Daemon) -> bool {
    match daemon.client().ask(&Call::Policy(Policy { for_uid: None })) {
        Ok(Answer::Policy(PolicyAnswer { policy })) => policy.from_sandboxes,
        other => panic!("{other:?}"),
    }
}

/// What held it cannot be known any more.
#[test]
fn who_has_ended_does_not_submit() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let mut left = Raw::left_by_another(daemon.socket());
    left.greet().unwrap();
    left.refused(&Call::Submit(submission()), Code::Forbidden);
    raw.status();
    assert!(!world.units().iter().any(|unit| unit.contains("-job")), "a command ran");
}
