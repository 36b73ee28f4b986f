//! Machines that are set up otherwise than most: processes are hidden, a controller is off, the clock is set by days.

use crate::guest::Guest;

guest_test!(where_processes_are_hidden_everything_works, |guest: Guest| {
    for hidden in ["hidepid=2", "hidepid=2,gid=50", "hidepid=4"] {
        guest.root(&format!("mount -o remount,{hidden} /proc; systemctl restart fairshared")).expect_ok();
        guest.as_user("alice", "! test -e /proc/1/status").expect_ok();
        let slice = "/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/";
        let run = "fairshare request --cpu 0.5 --mem 64M && fairshare run -- cat /proc/self/cgroup";
        guest.as_user("alice", run).expect_ok().stdout_has(slice);
        let attach = "sleep 1000 > /dev/null 2>&1 & fairshare attach $! && cat /proc/$!/cgroup";
        guest.as_user("alice", attach).expect_ok().stdout_has("Moved 1 process").stdout_has(slice);
        let submit = "umask 027; ulimit -n 300; fairshare submit --output said -- sh -c 'umask; ulimit -n'";
        let job = guest.as_user("alice", submit).expect_ok().text();
        guest
            .as_user("alice", &format!("fairshare wait {job} && cat said"))
            .expect_ok()
            .stdout_has("0027\n300");
        guest.as_user("alice", "fairshare status").expect_ok().stdout_has("1 task");
        guest.as_user("alice", "fairshare release").expect_code(75).stderr_has("sleep");
        // Whose work is where is seen of others too, by who may know it.
        guest.root("systemd-run --quiet --unit=batch --uid=bob sleep 1001").expect_ok();
        guest.await_cmd(
            "fairshare doctor | grep '^OUTSIDE  bob: 1 process, .* in system.slice/batch.service'",
        );
        guest.root("systemctl stop batch").expect_ok();
        guest.as_user("alice", "fairshare release --stop").expect_ok();
        guest.root("fairshare health").expect_ok();
    }
});

guest_test!(without_the_memory_controller_it_is_said_what_brings_it_back, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "baseline: {mem: 512M}\n", 0o644);
    guest.reboot_telling("cgroup_disable=memory");
    let off = "the kernel runs without memory: remove cgroup_disable=memory from its command line";
    let health = guest.root("fairshare health").expect_code(1);
    health.stdout_has("FAULT  controllers").stdout_has(off).stdout_has("cgroup_enable=memory");
    for command in ["request --cpu 0.5 --mem 64M", "run -- true", "submit -- true"] {
        let refused = guest.as_user("alice", &format!("fairshare {command}")).expect_code(75);
        refused.stderr_has(off).stderr_has("cgroup_enable=memory").stderr_has("hint: an administrator");
    }
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("Your share  none");
    // Nothing waits for it, and it is nobody's bug.
    guest.command("true").user("alice").login().run().expect_ok();
    guest
        .root("! journalctl -b -u fairshared.service -o cat | grep -i -e 'bug' -e 'could not be read'")
        .expect_ok();
    guest.reboot();
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M").expect_ok();
    guest.root("fairshare health").expect_ok();
});

guest_test!(a_clock_that_is_set_by_days_moves_neither_leases_nor_ages, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 0.5 --mem 64M --for 1h").expect_ok();
    let ended = guest.as_user("alice", "fairshare submit --output /dev/null -- true").expect_ok().text();
    guest.as_user("alice", &format!("fairshare wait {ended}")).expect_ok();
    let runs = guest.as_user("alice", "fairshare submit --for 1h --output /dev/null -- sleep 1000");
    let runs = runs.expect_ok().text();
    for (step, restart) in [("+3 days", false), ("-6 days", false), ("+9 days", true)] {
        guest.root(&format!("date --set='{step}'")).expect_ok();
        if restart {
            guest.kill_daemon();
        }
        let status = guest.as_user("alice", "fairshare status | grep -E 'lease ends in 5[0-9]m'");
        status.expect_ok();
        // Of both: minutes at most since they were submitted, and none of waiting.
        let rows = guest.as_user("alice", "fairshare jobs").expect_ok().text();
        for job in [&ended, &runs] {
            let row = rows.lines().find(|row| row.trim_start().starts_with(&format!("{job} "))).unwrap();
            let cells: Vec<&str> = row.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            let minutes = |cell: &str| cell.ends_with('s') || cell.ends_with('m');
            assert!(minutes(cells[4]) && cells[5].ends_with('s'), "{step}: {rows}");
        }
        let asked =
            format!("fairshare json <<< '{{\"endpoint\":\"job_status\",\"body\":{{\"job_id\":{ended}}}}}'");
        let job = guest.as_user("alice", &format!("date +%s; {asked}")).expect_ok().text();
        let (now, job) = job.split_once('\n').expect("two lines");
        let (now, job): (u64, serde_json::Value) = (now.parse().unwrap(), serde_json::from_str(job).unwrap());
        for moment in ["created_ms", "started_ms", "ended_ms"] {
            let then = job["ok"]["job"][moment].as_u64().expect("a moment") / 1000;
            assert!(then <= now + 1 && now - then < 1200, "{step}: {moment} {then} at {now}");
        }
    }
    guest.as_user("alice", &format!("fairshare cancel {runs}")).expect_ok();
});
