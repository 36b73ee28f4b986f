//! Getting work in: `run` is the command itself, `shell` the same, `attach` takes only what is the member's own.

use crate::guest::Guest;

/// Runs each command directly and inside the share: output, complaints and exit code must be the same.
const SAME: &str = r#"
same() {
    printf 'to be read\n' > in
    ( exec "$@" ) < in > out.direct 2> err.direct; echo $? >> out.direct
    ( exec fairshare run -- "$@" ) < in > out.inside 2> err.inside; echo $? >> out.inside
    cmp -s out.direct out.inside && cmp -s err.direct err.inside && return
    echo "differs: $*"; diff out.direct out.inside; diff err.direct err.inside; failed=1
}
failed=0
same true
same false
same sh -c 'exit 42'
same sh -c 'echo out; echo err >&2; exit 3'
same sh -c 'kill -TERM $$'
same sh -c 'kill -KILL $$'
same sh -c 'kill -INT $$'
same cat
# Besides what it is told of the share.
same sh -c 'env | grep -v ^FAIRSHARE_'
same pwd
same printf '%s|' 'a b' '' '$HOME' '--cpu' '*' $'new\nline'
same sh -c 'ulimit -a; umask'
same sh -c 'ls /proc/$$/fd'
same grep -E '^(Sig|Shd|NoNewPrivs|Uid|Gid|Groups|Cap)' /proc/self/status
same sh -c 'cut -d " " -f 5,6,7 /proc/$$/stat | cut -d " " -f 2,3'
exec 7< /etc/hostname
same cat /proc/self/fd/7
exit $failed
"#;

/// A terminal with an interactive shell: ^Z, `jobs`, `fg`, ^C, and the size of the window.
const TERMINAL: &str = r#"
import fcntl, os, pty, re, select, struct, sys, termios, time
pid, tty = pty.fork()
if pid == 0:
    os.execvp("bash", ["bash", "--norc", "--noprofile", "-i"])
fcntl.ioctl(tty, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))
seen = b""
def expect(pattern, seconds=40):
    global seen
    end = time.monotonic() + seconds
    while not (match := re.search(pattern, seen)):
        if not select.select([tty], [], [], max(0, end - time.monotonic()))[0]:
            sys.exit(f"not seen: {pattern!r} in {seen!r}")
        seen += os.read(tty, 4096)
    seen = seen[match.end():]
    return match
def say(text):
    os.write(tty, text.encode())
say("PS1='ready> '; bind 'set enable-bracketed-paste off'\n"); expect(rb"\r?\nready> |ready> $")
# exec: dash would vfork, and what stops in a vfork leaves its parent waiting, which then is not stopped (1 of 2 times).
say("fairshare run -- sh -c 'stty size; tty; echo started; exec sleep 1000'\n")
expect(rb"33 77\r\n"); expect(rb"/dev/pts/\d+\r\n"); expect(rb"started\r\n")
say("\x1a"); expect(rb"Stopped")
say("jobs\n"); expect(rb"Stopped +fairshare run")
say("fg\n"); expect(rb"fairshare run[^\r]*\r\n")
# bash names the job before it hands it the terminal.
while os.tcgetpgrp(tty) == pid:
    time.sleep(0.02)
say("\x03"); say("echo ended with $?\n"); expect(rb"ended with 130")
say("exit\n")
print("the terminal is the command's own")
"#;

guest_test!(run_is_the_command_itself, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 512M").expect_ok();
    guest.write_file("/home/alice/same.sh", SAME, 0o644);
    guest.as_user("alice", "bash same.sh").expect_ok();

    guest
        .as_user(
            "alice",
            "fairshare run -- sh -c 'echo $FAIRSHARE_KIND $FAIRSHARE_CPUS $FAIRSHARE_MEM_BYTES'",
        )
        .expect_ok()
        .stdout_has("run 1 536870912\n");
    // No process of its own: what runs has the number of what was started, and its parent.
    guest
        .as_user(
            "alice",
            "fairshare run -- sh -c 'echo $$ $PPID' > ids & wait; cat ids; test \"$! $$\" = \"$(cat ids)\"",
        )
        .expect_ok();
    // Who reads no more ends it, as SIGPIPE does outside.
    guest
        .as_user("alice", "fairshare run -- yes | head -n 1; echo ${PIPESTATUS[0]}")
        .expect_ok()
        .stdout_has("y\n141");
    guest.as_user("alice", "fairshare run -- /etc/passwd").expect_code(126).stderr_has("hint:");
    guest
        .as_user("alice", "fairshare run -- no-such-command")
        .expect_code(127)
        .stderr_has("command not found");
    guest.as_user("alice", "fairshare run").expect_code(2);
    // Other figures than those of the share that is held are worth a word, and change nothing.
    guest
        .as_user("alice", "fairshare run --in-share --cpu 2 -- true")
        .expect_ok()
        .stderr_has("using the share that you hold, 1 CPU");
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "cpu.max"),
        "100000 100000"
    );

    guest.write_file("/home/alice/terminal.py", TERMINAL, 0o644);
    guest.as_user("alice", "TERM=vt100 python3 terminal.py").expect_ok().stdout_has("the terminal is");

    guest
        .command("SHELL=/bin/bash fairshare shell; echo ended $?")
        .user("alice")
        .stdin("cat /proc/self/cgroup; echo $0; exit 7\n")
        .run()
        .stdout_has("/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/fairshare-1001-own-run")
        .stdout_has("/bin/bash")
        .stdout_has("ended 7");
    // All these commands are over, and so are their scopes.
    guest.await_cmd("! systemctl list-units --all --no-legend 'fairshare-*.scope' | grep .");
});

guest_test!(the_daemon_is_no_way_out_of_a_sandbox, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let unit =
        "systemd-run --wait --pipe --quiet --uid=alice -p SupplementaryGroups=fairshare -p MemoryMax=64M";
    let run = "fairshare run -- cat /proc/self/cgroup";
    for sandbox in ["NoNewPrivileges=yes", "SystemCallFilter=~reboot"] {
        guest
            .root(&format!("{unit} -p {sandbox} {run}"))
            .expect_code(77)
            .stderr_has("is in the sandbox of a system service")
            .stderr_has("from_sandboxes: true");
    }
    let slice = "/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/";
    // As cron and timers start their jobs.
    guest.root(&format!("{unit} {run}")).expect_ok().stdout_has(slice);
    // A command is started by PID 1: it has what it can have of that, and is refused where it cannot.
    let submit = "-p WorkingDirectory=/home/alice fairshare submit --output out --";
    let held = "grep -e NoNewPrivs -e 'Max open files' /proc/self/status /proc/self/limits";
    guest.root(&format!("{unit} -p NoNewPrivileges=yes -p LimitNOFILE=300:400 {submit} {held}")).expect_ok();
    guest.await_cmd("grep -q 'Max open files *300 *400' /home/alice/out");
    guest.root("grep -q 'NoNewPrivs:.1' /home/alice/out").expect_ok();
    let filtered = "-p SystemCallFilter=~reboot";
    guest
        .root(&format!("{unit} {filtered} {submit} touch escaped"))
        .expect_code(77)
        .stderr_has("seccomp")
        .stderr_has("from_sandboxes: true");
    // Namespaces are no sandbox by themselves: rootless containers and builds are in some.
    let alone =
        submit.replace("fairshare submit", "unshare --user --map-root-user --pid --fork fairshare submit");
    guest.root(&format!("{unit} -p PrivateTmp=yes {alone} true")).expect_ok();
    guest.root(&format!("{unit} {submit} true")).expect_ok();
    guest.root("test ! -e /home/alice/escaped").expect_ok();
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "from_sandboxes: true\n", 0o644);
    guest.root("fairshare admin reload").expect_ok();
    guest.root(&format!("{unit} -p NoNewPrivileges=yes {run}")).expect_ok().stdout_has(slice);
    guest.root(&format!("{unit} {filtered} {submit} touch escaped")).expect_ok();
    guest.await_cmd("test -e /home/alice/escaped");
});

guest_test!(attach_takes_many_and_leaves_the_users_own_systemd, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 128M").expect_ok();
    let sleeps = "for i in $(seq 80); do setsid sleep 1000 > /dev/null 2>&1 < /dev/null & done; \
         until [ $(pgrep -u alice -cx sleep) = 80 ]; do :; done; fairshare attach $(pgrep -u alice -x sleep)";
    guest.as_user("alice", sleeps).expect_ok().stdout_has("Moved 80 processes into");
    let inside = "for pid in $(pgrep -u alice -x sleep); do cat /proc/$pid/cgroup; done | grep -c fairshare-1001-own-run";
    assert_eq!(guest.root(inside).text(), "80");
    guest.root("loginctl enable-linger alice").expect_ok();
    guest.await_cmd("systemctl is-active --quiet user@1001.service");
    let manager = guest.property("user@1001.service", "MainPID");
    let before = guest.root(&format!("cat /proc/{manager}/cgroup")).expect_ok().text();
    let one = guest.command("exec sleep 1001").user("alice").spawn();
    guest
        .as_user("alice", &format!("fairshare attach {manager} {}", one.pid))
        .expect_ok()
        .stdout_has("Moved 1 process into")
        .stderr_has("your own systemd is not moved");
    assert_eq!(guest.root(&format!("cat /proc/{manager}/cgroup")).text(), before);
    guest.as_user("alice", &format!("fairshare attach {manager}")).expect_code(77);
});

guest_test!(attach_takes_what_is_ones_own_and_nothing_else, |guest: Guest| {
    let started = guest.command("exec sleep 1000").user("alice").spawn();
    guest
        .as_user("alice", &format!("fairshare attach {}", started.pid))
        .expect_code(1)
        .stderr_has("No share is held");
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    guest
        .as_user("alice", &format!("fairshare attach {}", started.pid))
        .expect_ok()
        .stdout_has("Moved 1 process into fairshare-1001-own-run");
    let group = |pid: i64| guest.root(&format!("cat /proc/{pid}/cgroup")).expect_ok().text();
    assert!(
        group(started.pid).contains("/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/"),
        "{}",
        group(started.pid)
    );

    let bobs = guest.command("exec sleep 1000").user("bob").spawn();
    guest.root("cp /bin/sleep /usr/local/bin/as-root && chmod 4755 /usr/local/bin/as-root").expect_ok();
    let privileged = guest.command("exec as-root 1000").user("alice").spawn();
    guest.await_cmd(&format!("grep -q '^Uid:.1001.0' /proc/{}/status", privileged.pid));
    let pid_of_daemon = i64::from(guest.daemon_pid().expect("a daemon"));
    for pid in [bobs.pid, privileged.pid, pid_of_daemon] {
        let before = group(pid);
        guest
            .as_user("alice", &format!("fairshare attach {pid}"))
            .expect_code(77)
            .stderr_has(&format!("Process {pid} is not your own"));
        // Nor in the company of one that is.
        guest.as_user("alice", &format!("fairshare attach {} {pid}", started.pid)).expect_code(77);
        assert_eq!(group(pid), before);
    }
    guest.as_user("alice", "fairshare attach 1").expect_code(1).stderr_has("pids: 1 is not a process id");
    assert_eq!(group(1), "0::/init.scope");
    guest
        .as_user("alice", "sleep 0 & pid=$!; wait; fairshare attach $pid")
        .expect_code(1)
        .stderr_has("There is no process");
    // A number that no process can have.
    guest.as_user("alice", "fairshare attach 4194304").expect_code(1);
    assert!(started.is_running() && bobs.is_running() && privileged.is_running());
});

guest_test!(who_logs_in_as_another_leaves_the_share_and_the_rest_stays, |guest: Guest| {
    let said = |command: &str| guest.root(&format!("fairshare run -- {command}")).expect_ok().text();
    let cgroup = "cat /proc/self/cgroup";
    guest.root("fairshare request --cpu 0.5 --mem 128M").expect_ok();
    for stays in ["runuser -u alice --", "setpriv --reuid alice --regid alice --init-groups"] {
        let place = said(&format!("{stays} {cgroup}"));
        assert!(
            place.starts_with("0::/fairshare.slice/fairshare-0.slice/fairshare-0-own.slice/"),
            "{stays}: {place}"
        );
    }
    for leaves in ["su alice -c", "su - alice -c", "runuser -l alice -c"] {
        let place = said(&format!("{leaves} '{cgroup}'"));
        assert!(place.starts_with("0::/user.slice/user-1001.slice/session-"), "{leaves}: {place}");
    }
    // To whom it happens it is shown, with what brings it back.
    guest.root("echo alice:secret-of-alice | chpasswd").expect_ok();
    let su = "fairshare request --cpu 0.5 --mem 64M > /dev/null && exec fairshare run -- su - alice -c 'exec sleep 1001' <<< secret-of-alice";
    let work = guest.command(su).user("alice").spawn();
    let pid = guest.await_cmd("pgrep -u alice -fx 'sleep 1001'").text();
    let doctor = guest.as_user("alice", "fairshare doctor").text();
    assert!(
        doctor.contains("left     you: ") && doctor.contains(" in the login and not in the share"),
        "{doctor}"
    );
    assert!(doctor.contains("hint: fairshare attach ") && doctor.contains(&pid), "{doctor}");
    guest.as_user("alice", &format!("fairshare attach {pid}")).expect_ok();
    guest.root(&format!("grep fairshare-1001-own.slice /proc/{pid}/cgroup")).expect_ok();
    assert!(work.is_running());
});
