//! Commands that go on by themselves: what they get, how they end, and what outlives what.

use std::time::Duration;

use crate::guest::Guest;

/// Longer than some eighty deaths take in a guest that is emulated on a busy machine.
const KILLS_MAX: Duration = Duration::from_secs(1200);

/// Longer than two hundred calls of the member's command take there.
const MANY_MAX: Duration = Duration::from_secs(600);

const JOB_UNITS: &str = "systemctl list-units --all --no-legend 'fairshare-*-job*'";

impl Guest {
    /// Submits as alice and waits; the status of `wait`, and the output.
    fn submitted(&self, command: &str) -> (i32, String) {
        let script = format!(
            "id=$(fairshare submit {command}) || exit 99; fairshare wait $id 2>/dev/null; code=$?; \
             cat fairshare-$id.out; exit $code"
        );
        let ran = self.as_user("alice", &script);
        (ran.code, ran.stdout().to_owned())
    }

    /// The job of this number, as alice sees it.
    pub fn job(&self, id: u64) -> serde_json::Value {
        let jobs = self.as_user("alice", "fairshare jobs --json").expect_ok().json();
        let found = jobs["jobs"].as_array().unwrap().iter().find(|job| job["job_id"] == id).cloned();
        found.unwrap_or_else(|| panic!("there is no job {id}: {jobs}"))
    }
}

guest_test!(a_commands_end_is_told_as_it_was, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let events = guest.spawn_as("alice", "exec fairshare events --json > events");
    assert_eq!(guest.submitted("-- true").0, 0);
    assert_eq!(guest.submitted("-- sh -c 'echo out; echo err >&2; exit 7'"), (7, "out\nerr\n".to_owned()));
    assert_eq!(guest.submitted("-- sh -c 'kill -9 $$'").0, 137);
    assert_eq!(guest.submitted("--in-share --mem 32M -- python3 -c \"x='a'*200000000\"").0, 137);
    assert_eq!(guest.submitted("--for 1s -- sleep 100").0, 143);
    // A shell that reports the kill of what it started has an exit code of its own.
    let reports = "--name reports --in-share --oom continue --mem 32M -- sh -c 'python3 -c \"x=chr(97)*200000000\"; exit $?'";
    assert_eq!(guest.submitted(reports).0, 137);
    let jobs = guest.as_user("alice", "fairshare jobs --json").expect_ok().json();
    let named = |job: &&serde_json::Value| job["name"] == "reports";
    let reported = jobs["jobs"].as_array().unwrap().iter().find(named).cloned().expect("a job of that name");
    assert_eq!(
        (reported["oom"].as_bool(), reported["exit_code"].as_u64()),
        (Some(true), Some(137)),
        "{reported}"
    );
    // Who does not listen when the time is over is killed ten seconds later.
    let late =
        guest.as_user("alice", "fairshare submit --for 1s -- sh -c 'trap : TERM; while :; do sleep 1; done'");
    let late = late.expect_ok().text();
    // What it leaves behind is a part of it: nobody ends that but its time, and what it wrote is there.
    let leaves = "-- sh -c '(sleep 3; echo late) & exit 3'";
    assert_eq!(guest.submitted(leaves), (3, "late\n".to_owned()));
    assert_eq!(guest.submitted("--for 1s -- sh -c 'sleep 100 & exit 0'").0, 75);
    let (code, output) = guest.submitted("-- nosuchthing");
    assert!(code == 127 && output.contains("nosuchthing: command not found"), "{code} {output}");
    let id = guest.as_user("alice", "fairshare submit -- sleep 100").expect_ok().text();
    guest.as_user("alice", &format!("fairshare cancel {id}")).expect_ok().stdout_has("is cancelled");
    // What is somebody else's is told as what there is not.
    guest.as_user("bob", &format!("fairshare cancel {id}")).expect_code(1).stderr_has("No such job");
    // Who does not listen to SIGTERM is killed ten seconds later, and was cancelled all the same.
    let deaf = "fairshare submit -- sh -c 'trap : TERM; touch deaf; while :; do sleep 1; done'";
    let id = guest.as_user("alice", deaf).expect_ok().text();
    guest.await_cmd("test -e ~alice/deaf");
    guest.as_user("alice", &format!("fairshare cancel {id}")).expect_ok().stdout_has("is cancelled");
    assert_eq!(guest.job(id.parse().unwrap())["signal"], 9);
    guest
        .as_user("alice", &format!("fairshare wait {late}"))
        .expect_code(137)
        .stderr_has("Its time was over");
    let id = guest.as_user("alice", "fairshare submit -- sleep 100").expect_ok().text();
    let unit = format!("fairshare-1001-own-job{id}.service");
    guest.await_cmd(&format!("systemctl is-active {unit}"));
    guest.root(&format!("systemctl stop {unit}")).expect_ok();
    guest.as_user("alice", &format!("fairshare wait {id}")).expect_code(143);
    let told = guest.as_user("alice", "fairshare jobs").expect_ok();
    for result in ["exit 0", "exit 7", "signal 9", "out of memory at 3", ": try --mem ", "Its time was over"]
    {
        assert!(told.stdout().contains(result), "{result} is not in\n{}", told.stdout());
    }
    let told = told.stdout_has("cancelled").stdout_has("It was stopped from outside").stdout_has("exit 127");
    // Job, whose, kind, state, age, then how long it waited, its CPU time and the most memory that it needed.
    let table = told.stdout();
    let row = table.lines().find(|line| line.starts_with("4 ")).expect("job 4");
    let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
    assert!(
        cells[5].ends_with('s') && cells[6].ends_with('s') && cells[7].ends_with(" MiB of 32.0 MiB"),
        "{row}"
    );
    let killed = guest.job(4);
    assert_eq!((killed["oom"].as_bool(), killed["signal"].as_u64()), (Some(true), Some(9)), "{killed}");
    assert!(
        killed["peak_mem_bytes"].as_u64() > Some(16 << 20) && killed["cpu_usec"].as_u64() > Some(0),
        "{killed}"
    );
    guest.await_cmd("grep -q '\"kind\":\"oom\"' ~alice/events");
    events.kill("TERM");
    // Nothing is left of them in systemd, and the share is as it was.
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
    guest.as_user("alice", "fairshare release").expect_ok().stdout_has("Released");
});

guest_test!(a_command_gets_what_its_member_has_and_nothing_else, |guest: Guest| {
    guest.root("groupadd lab && usermod -aG lab alice").expect_ok();
    // More than it writes: what waits for the disk counts, and Linux 6.12 has been seen to kill for that alone.
    guest.as_user("alice", "mkdir -m 700 'my folder'; fairshare request --mem 192M --cpu 1").expect_ok();
    let script = r#"cd 'my folder'; export ODD=$'\e[1m $HOME %n' SECRET=xyzzy; unset INVOCATION_ID
        echo hello > in
        umask 027
        id=$(fairshare submit --input in --output out -- sh -c 'printf "<%s>" "$@"; echo; cat; pwd; id -Gn; umask; printf %s "$ODD"' sh 'a b' '$HOME' '%n' $'new\nline' 'ü' '')
        fairshare wait $id && cat out"#;
    let ran = guest.as_user("alice", script).expect_ok();
    ran.stdout_has("<a b><$HOME><%n><new\nline><ü><>\nhello\n/home/alice/my folder\n")
        .stdout_has("lab")
        .stdout_has("\n0027\n")
        .stdout_has("\u{1b}[1m $HOME %n");
    // Neither its environment nor its arguments are for others to read.
    let id = guest
        .as_user("alice", "SECRET=xyzzy fairshare submit -- sh -c 'sleep 1000' plugh")
        .expect_ok()
        .text();
    let shown =
        guest.as_user("bob", &format!("systemctl show fairshare-1001-own-job{id}.service")).expect_ok();
    assert!(!["xyzzy", "plugh"].iter().any(|word| shown.stdout().contains(word)), "{}", shown.stdout());
    guest.as_user("alice", &format!("fairshare cancel {id}")).expect_ok();
    // To the last byte.
    let (code, _) = guest.submitted("--output large -- head -c 104857600 /dev/zero");
    assert_eq!(code, 0);
    assert_eq!(guest.as_user("alice", "stat -c %s large").expect_ok().text(), "104857600");
    // And also what is no UTF-8.
    let (code, _) = guest.submitted("--output bytes -- printf %s $'\\xff'");
    assert_eq!(code, 0);
    guest.as_user("alice", "test \"$(od -An -tx1 bytes)\" = ' ff'").expect_ok();
});

guest_test!(a_large_environment_arrives_to_the_byte_or_is_refused, |guest: Guest| {
    guest.write_file("/home/alice/large.py", include_str!("large.py"), 0o644);
    guest.as_user("alice", "fairshare request --cpu 1 --mem 128M").expect_ok();
    let submit = "id=$(python3 large.py $((512 << 10))) && fairshare wait $id; cat fairshare-$id.out";
    guest.as_user("alice", submit).expect_ok().stdout_has("524288 bytes and 2000 arguments as they were\n");
    // What goes to the daemon in one frame is at most 1 MiB.
    let refused = guest.as_user("alice", "python3 large.py $((1 << 20))").expect_code(1);
    refused.stderr_has("the command line or the environment is too large");
    guest.as_user("alice", "ls -A").expect_ok().stdout_lacks(".fairshare-");
});

guest_test!(a_commands_own_bounds_hold_or_it_does_not_run, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 128M").expect_ok();
    let own = r#"cd /sys/fs/cgroup$(sed 's,^0::,,; s,/[^/]*$,,' /proc/self/cgroup) && cat cpu.max memory.max pids.max"#;
    guest.write_file("/home/alice/own", own, 0o644);
    let held = |figures: &str| guest.submitted(&format!("--in-share {figures} -- sh own")).1;
    assert_eq!(held("--cpu 0.25 --mem 32M --tasks 9"), "25000 100000\n33554432\n9\n");
    assert_eq!(held("--cpu 0.5"), "50000 100000\nmax\nmax\n");
    let told = r#"id=$(fairshare submit --in-share --cpu 0.5 --output told -- sh -c \
        'echo $FAIRSHARE_KIND $FAIRSHARE_JOB_ID $FAIRSHARE_CPUS $FAIRSHARE_MEM_BYTES')
        fairshare wait $id; cat told; grep -qx "submit $id 1 134217728" told"#;
    guest.as_user("alice", told).expect_ok();
    // What an administrator writes in a file has the last word with systemd, which takes the call all the same.
    let slices = "/etc/systemd/system/fairshare-1001-own-.slice.d";
    guest.root(&format!("mkdir {slices}")).expect_ok();
    guest.write_file(&format!("{slices}/site.conf"), "[Slice]\nCPUQuota=10%\n", 0o644);
    guest.root("systemctl daemon-reload").expect_ok();
    let id = guest.as_user("alice", "fairshare submit --in-share --cpu 0.5 -- touch ran").expect_ok().text();
    guest
        .as_user("alice", &format!("fairshare wait {id}"))
        .expect_code(75)
        .stderr_has("The command could not be started")
        .stderr_has("The kernel does not hold the limits that systemd was told")
        .stderr_has("cpu.max is 0.1 CPU, not 0.5 CPU");
    assert_eq!(guest.job(id.parse().unwrap())["state"], "failed");
    guest.as_user("alice", "test ! -e ran").expect_ok();
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
    // Who asked for nothing else has what is there.
    assert_eq!(guest.submitted("-- true").0, 0);
});

guest_test!(a_share_that_is_taken_for_a_command_goes_with_it, |guest: Guest| {
    guest.as_user("bob", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let id = guest
        .as_user("alice", "fairshare submit --cpu 1 --mem 64M -- cat /proc/self/cgroup")
        .expect_ok()
        .text();
    let queued = guest.job(id.parse().unwrap());
    assert_eq!((queued["state"].as_str(), queued["place"].as_u64()), (Some("queued"), Some(1)), "{queued}");
    let another = guest.as_user("alice", "fairshare submit --cpu 1 --mem 64M -- true").expect_ok().text();
    assert_eq!(guest.job(another.parse().unwrap())["place"], 2);
    guest.as_user("alice", &format!("fairshare cancel {another}")).expect_ok();
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.as_user("alice", &format!("fairshare wait {id}; cat fairshare-{id}.out")).expect_ok().stdout_has(
        &format!("/fairshare.slice/fairshare-1001.slice/fairshare-1001-job{id}.slice/fairshare-1001-job{id}.service"),
    );
    guest.await_cmd("test ! -d /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("none");
    // Cancelled in the queue: it never runs.
    guest.as_user("bob", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let id = guest.as_user("alice", "fairshare submit --cpu 1 --mem 64M -- touch ran").expect_ok().text();
    guest.as_user("alice", &format!("fairshare cancel {id}")).expect_ok().stdout_has("is cancelled");
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    guest.as_user("alice", "test ! -e ran").expect_ok();
    guest
        .as_user("alice", "fairshare submit --in-share --mem 1G -- true")
        .expect_code(1)
        .stderr_has("exceeds what your share has (64M)");
});

guest_test!(a_file_that_cannot_be_closed_holds_nobody_up_but_its_member, |guest: Guest| {
    for member in ["alice", "bob"] {
        guest.as_user(member, "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    }
    guest.write_file("/home/alice/stuck.py", include_str!("stuck.py"), 0o644);
    let stuck = guest
        .spawn_as("alice", "exec python3 stuck.py fairshare submit --name stuck --output stuck/file -- true");
    guest.await_cmd("test -e ~alice/closing");
    let service = "systemctl list-units --no-legend 'fairshare-1001-own-job*.service' | grep -q running";
    guest.await_cmd(service);
    for _ in 0..3 {
        guest.as_user("bob", "fairshare resize --cpu 0.25 && fairshare resize --cpu 0.5").expect_ok();
        guest.root("systemctl show -P Version && busctl status >/dev/null").expect_ok();
        assert_eq!(guest.as_user("bob", "id=$(fairshare submit -- true) && fairshare wait $id").code, 0);
    }
    stuck.kill("KILL");
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
});

guest_test!(what_sigkill_does_not_end_is_not_said_to_be_over, |guest: Guest| {
    let alice = |command: &str| guest.as_user("alice", command);
    alice("fairshare request --cpu 0.5 --mem 64M").expect_ok();
    guest.write_file("/home/alice/stuck.py", include_str!("stuck.py"), 0o644);
    let stuck = guest
        .spawn_as("alice", "exec python3 stuck.py fairshare submit --name stuck --output stuck/file -- true");
    guest.await_cmd("test -e ~alice/closing");
    let procs =
        "cat /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/*/*/cgroup.procs";
    let named = format!("pid {}", guest.root(procs).expect_ok().text());
    // While systemd is at it, and when it has given up.
    for unit in ["is-active", "is-failed"] {
        guest.await_cmd(&format!("systemctl {unit} fairshare-1001-own-job1.service"));
        let cancel = alice("fairshare cancel 1").expect_code(1);
        cancel.stderr_has("The command could not be ended").stderr_has(&named);
        assert_eq!(guest.job(1)["state"], "running");
    }
    let release = alice("fairshare release --stop").expect_code(75);
    release.stderr_has("The share could not be stopped").stderr_has(&named);
    alice("fairshare status").expect_ok().stdout_has("0.5 CPU").stdout_has("64.0 MiB");
    assert_eq!(
        guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "memory.max"),
        "67108864"
    );
    guest.root("systemctl is-active fairshare-1001-own.slice").expect_ok();
    // Nor does the next daemon say more.
    guest.root("systemctl restart fairshared.service").expect_ok();
    assert_eq!(guest.job(1)["state"], "running");
    alice("fairshare resize --cpu 0.25").expect_ok();

    stuck.kill("KILL");
    alice("fairshare wait 1").expect_code(1).stderr_has("cancelled");
    assert_eq!(guest.job(1)["state"], "cancelled");
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
    alice("until fairshare release; do sleep 0.1; done").expect_ok();
    alice("fairshare request --cpu 0.5 --mem 64M").expect_ok();
});

guest_test!(what_is_handed_to_a_command_is_kept_until_it_has_it, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    let descriptors = "ls /proc/$(systemctl show -P MainPID fairshared.service)/fd | wc -l";
    let before: usize = guest.root(descriptors).expect_ok().text().parse().unwrap();
    let ids = guest
        .as_user("alice", "for i in 1 2 3 4 5 6; do fairshare submit --output /dev/null -- sleep 1000; done")
        .expect_ok()
        .text();
    for id in ids.lines() {
        let program = format!("/proc/$(systemctl show -P MainPID fairshare-1001-own-job{id}.service)/comm");
        guest.await_cmd(&format!("grep -qx sleep {program}"));
    }
    guest.await_cmd(&format!("test $({descriptors}) -le {before}"));
});

guest_test!(commands_outlive_logout_and_the_daemon, |guest: Guest| {
    let request = "fairshare request --cpu 1 --mem 64M";
    guest.command(request).user("alice").login().run().expect_ok();
    let long = guest
        .command("fairshare submit --output /tmp/long -- sh -c 'sleep 12; echo $XDG_RUNTIME_DIR; exit 5'");
    let long = long.user("alice").login().run().expect_ok().text();
    let ended = guest.as_user("alice", "fairshare submit -- sh -c 'sleep 2; exit 6'").expect_ok().text();
    guest.await_cmd(&format!("systemctl is-active fairshare-1001-own-job{ended}.service"));
    guest.kill_daemon();
    // It ends while nobody looks.
    guest.root("systemctl stop fairshared.service").expect_ok();
    guest.await_cmd(&format!(
        "systemctl show -P SubState fairshare-1001-own-job{ended}.service | grep -qx exited"
    ));
    guest.as_user("alice", &format!("fairshare wait {ended}")).expect_code(6);
    guest.as_user("alice", &format!("fairshare wait {long}")).expect_code(5);
    // What logind made for the session went with it; the variable is still what it was.
    assert_eq!(guest.root("cat /tmp/long").expect_ok().text(), "/run/user/1001");
    let id =
        guest.as_user("alice", "fairshare submit -- sh -c 'echo > begun; sleep 1000'").expect_ok().text();
    guest.await_cmd("test -e ~alice/begun");
    guest.reboot();
    guest.await_running();
    guest
        .as_user("alice", &format!("fairshare wait {id}"))
        .expect_code(75)
        .stderr_has("Nothing is known of how it ended, or whether it began");
    assert_eq!(guest.job(id.parse().unwrap())["state"], "interrupted");
});

guest_test!(a_command_that_no_state_remembers_runs_on, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let [runs, ends] = ["sleep 1000", "sh -c 'sleep 1000 &'"]
        .map(|what| guest.as_user("alice", &format!("fairshare submit -- {what}")).expect_ok().text());
    let service = |id: &str| format!("fairshare-1001-own-job{id}.service");
    guest.await_cmd(&format!("systemctl show -P SubState {} | grep -qx running", service(&runs)));
    guest.root("systemctl stop fairshared.service; rm /var/lib/fairshare/state").expect_ok();
    // Its number is not given to another one, and it is not taken for what is left of one.
    assert_eq!(guest.submitted("-- sh -c 'exit 4'").0, 4);
    for id in [&runs, &ends] {
        guest.as_user("alice", "fairshare status").expect_ok();
        guest.root(&format!("grep -qx 'populated 1' /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/fairshare-1001-own-job{id}.slice/cgroup.events")).expect_ok();
    }
    // What is over is cleared away by the next start.
    let stop = format!(
        "systemctl stop fairshared.service; systemctl kill -s KILL fairshare-1001-own-job{ends}.slice {}",
        service(&runs)
    );
    guest.root(&stop).expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok();
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
});

guest_test!(two_hundred_commands_at_once, |guest: Guest| {
    guest.as_user("alice", "mkfifo gate; fairshare request --cpu 1 --mem 512M").expect_ok();
    // None gets past the gate before all are there.
    let submit = "for i in $(seq 200); do fairshare submit --output out-$i -- sh -c \"read line < gate; echo $i\" 2>/dev/null; done > /dev/null";
    guest.command(submit).user("alice").within(MANY_MAX).run().expect_ok();
    // The daemon is asked when the kernel's files say so: each question takes an emulated processor a while.
    let running = |count: u32| {
        let slices = "shopt -s nullglob; set -- /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/*-job*.slice";
        let running = "fairshare jobs --json | grep -o '\"state\":\"running\"' | wc -l";
        format!("{slices}; test $# -eq {count} && test $(runuser -u alice -- {running}) -eq {count}")
    };
    guest.await_cmd(&running(200));
    let tasks = guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "pids.current");
    guest.wait_until("all to be at the gate", || {
        guest.root("grep -lx sh /proc/[0-9]*/comm | wc -l").text().parse::<u32>().unwrap() >= 200
    });
    assert!(tasks.parse::<u32>().unwrap() >= 200, "{tasks} tasks");
    // Whoever is at the gate goes, and who came a moment later with the next word.
    let opener = guest.spawn_as("alice", "while :; do : > gate; done");
    guest.await_cmd(&running(0));
    opener.kill("KILL");
    let jobs = guest.as_user("alice", "fairshare jobs --json").expect_ok().json();
    let done = jobs["jobs"].as_array().unwrap().iter().filter(|job| job["exit_code"] == 0).count();
    assert_eq!(done, 200, "{jobs}");
    guest.as_user("alice", "cat out-* | sort -n | uniq | wc -l").stdout_has("200\n");
    guest.await_cmd(&format!("test -z \"$({JOB_UNITS})\""));
});

/// What became of commands whose daemon died at each step of their lives (`kill_at_steps.py`), by the arguments.
fn killed_at_each_step<const MODES: usize>(
    guest: &Guest,
    modes: [&str; MODES],
) -> [serde_json::Value; MODES] {
    // Two and a half seconds less for each of many deaths: what the daemon may not do is not what this is about, and keeping
    // it from that is two thirds of its start.
    let at_once = "[Service]\nRestartSec=0\nSystemCallFilter=\nProtectSystem=no\nProtectHome=no\nProtectProc=default\n\
        ProtectControlGroups=no\nProtectKernelTunables=no\nProtectKernelModules=no\nProtectKernelLogs=no\n\
        ProtectClock=no\nProtectHostname=no\nPrivateTmp=no\nPrivateDevices=no\nPrivateMounts=no\n\
        PrivateNetwork=no\nDevicePolicy=auto\nIPAddressDeny=\nInaccessiblePaths=\nReadWritePaths=\n";
    guest.root("mkdir -p /run/systemd/system/fairshared.service.d").expect_ok();
    guest.write_file("/run/systemd/system/fairshared.service.d/at-once.conf", at_once, 0o644);
    guest.root("systemctl daemon-reload").expect_ok();
    guest.write_file("/root/kill_at_steps.py", include_str!("kill_at_steps.py"), 0o644);
    modes.map(|steps| {
        let run = guest.command(&format!("python3 kill_at_steps.py {steps}")).within(KILLS_MAX);
        let ran = run.run().expect_ok();
        eprint!("{} {}", ran.command, ran.stdout());
        ran.json()
    })
}

guest_test!(a_command_runs_once_at_whatever_step_the_daemon_dies, |guest: Guest| {
    // A share that is taken for the command, with the grant before and the release after; and one that is there.
    let became = killed_at_each_step(
        &guest,
        ["taken fsync sendmsg", "held fsync sendmsg sendto renameat write memfd_create"],
    );
    // What the steps were: before anything was stored, and after that.
    for (what, at_least) in [("refused", 3), ("ran", 40)] {
        let count: u64 = became.iter().map(|counts| counts[what].as_u64().unwrap()).sum();
        assert!(count >= at_least, "{what}: {became:?}");
    }
});

guest_test!(so_does_one_that_waited_for_room, |guest: Guest| {
    let [became] = killed_at_each_step(&guest, ["queued fsync sendmsg"]);
    for (what, at_least) in [("refused", 1), ("ran", 13)] {
        assert!(became[what].as_u64().unwrap() >= at_least, "{what}: {became}");
    }
});
