//! What is run at the end of a command (`submit --notify`), by a real systemd.

use crate::guest::Guest;

fn submit(guest: &Guest, words: &str) -> u64 {
    let line = format!("fairshare submit --cpu 0.2 --mem 64M {words}");
    guest.as_user("alice", &line).expect_ok().text().parse().expect("a number")
}

fn output(guest: &Guest, id: u64) -> String {
    guest.as_user("alice", &format!("fairshare output {id}")).expect_ok().text()
}

/// Waits until the output of a job has this.
fn until_it_says(guest: &Guest, id: u64, word: &str) {
    let says = format!("until fairshare output {id} | grep -q {word}; do sleep 0.2; done");
    guest.as_user("alice", &says).expect_ok();
}

fn service(id: u64) -> String {
    format!("fairshare-1001-job{id}.service")
}

/// Says what it is told of the job.
const TELLS: &str =
    "--notify 'echo ended $FAIRSHARE_JOB_STATE code=$FAIRSHARE_EXIT_CODE signal=$FAIRSHARE_SIGNAL'";

guest_test!(it_runs_once_at_the_end_whatever_that_is, |guest: Guest| {
    let told = "--notify 'echo $FAIRSHARE_JOB_ID $FAIRSHARE_JOB_STATE $FAIRSHARE_EXIT_CODE; id -un; pwd; cat /proc/self/cgroup'";
    let failed = submit(&guest, &format!("{told} -- sh -c 'echo works; exit 3'"));
    guest.as_user("alice", &format!("fairshare wait {failed}")).expect_code(3);
    let said = output(&guest, failed);
    let expected = format!("works\n{failed} failed 3\nalice\n/home/alice\n0::/fairshare.slice/");
    assert!(said.starts_with(&expected) && said.ends_with(&service(failed)), "{said}");
    // What the unit has everybody may read, and nothing of it is the member's.
    let running = submit(&guest, &format!("{TELLS} -- sleep 1000"));
    guest.await_cmd(&format!("systemctl is-active {}", service(running)));
    let unit = guest.root(&format!("systemctl cat {}", service(running))).expect_ok().text();
    assert!(unit.contains("ExecStopPost=") && !unit.contains("FAIRSHARE_JOB_STATE"), "{unit}");
    guest.as_user("alice", &format!("fairshare cancel {running}")).expect_ok().stdout_has("cancelled");
    assert_eq!(output(&guest, running), "ended cancelled code= signal=15");
    // Out of memory and out of time are ends too.
    let hog = submit(&guest, &format!("{TELLS} -- tail /dev/zero"));
    guest.as_user("alice", &format!("fairshare wait {hog}")).expect_code(137).stderr_has("out of memory");
    assert_eq!(output(&guest, hog), "ended failed code= signal=9");
    let late = submit(&guest, &format!("--for 5s {TELLS} -- sleep 1000"));
    guest.as_user("alice", &format!("fairshare wait {late}")).expect_code(143);
    assert_eq!(output(&guest, late), "ended failed code= signal=15");
    // Once, after the last try.
    let tried =
        submit(&guest, &format!("--retry 2 {TELLS} -- sh -c 'echo $FAIRSHARE_TRY; test $FAIRSHARE_TRY = 3'"));
    guest.as_user("alice", &format!("fairshare wait {tried}")).expect_ok();
    assert_eq!(output(&guest, tried), "1\n2\n3\nended done code=0 signal=");
    let killed = format!("--retry 1 {TELLS} -- sh -c 'test $FAIRSHARE_TRY = 2 || exec tail /dev/zero'");
    let killed = submit(&guest, &killed);
    guest.as_user("alice", &format!("fairshare wait {killed}")).expect_ok();
    assert_eq!(output(&guest, killed), "ended done code=0 signal=");
    guest.await_cmd("! ls -d /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/*job*");
    guest.await_cmd("test $(ls /var/lib/fairshare/jobs | wc -l) -eq 0");
});

guest_test!(what_does_not_end_is_ended_and_the_job_has_ended_as_it_did, |guest: Guest| {
    // It ignores SIGTERM, and has left something behind that has gone away from it.
    let stays = "--notify 'trap \"\" TERM; setsid sleep 4711 & echo begins; while :; do sleep 1; done'";
    let id = submit(&guest, &format!("{stays} -- sh -c 'exit 3'"));
    until_it_says(&guest, id, "begins");
    assert_eq!(guest.job(id)["state"], "running");
    // Nobody waits behind it: neither others nor what its member does next.
    guest.as_user("bob", "fairshare submit --cpu 0.2 --mem 64M -- true").expect_ok();
    guest.as_user("bob", "fairshare wait 2").expect_ok();
    let next = submit(&guest, "-- true");
    guest.as_user("alice", &format!("fairshare wait {next}")).expect_ok();
    // Nor does it need the daemon.
    guest.kill_daemon();
    guest.as_user("alice", &format!("fairshare wait {id}")).expect_code(3);
    guest.root("pgrep -f 'sleep 4711'").expect_code(1);
    let job = guest.job(id);
    assert!(job["state"] == "failed" && job["exit_code"] == 3, "{job}");
    // What it ends with itself is nothing to the job.
    let fails = submit(&guest, "--notify 'echo fails; kill -9 $$' -- true");
    guest.as_user("alice", &format!("fairshare wait {fails}")).expect_ok();
    assert_eq!(output(&guest, fails), "fails");
});

guest_test!(without_a_daemon_it_is_not_run_and_the_journal_says_so, |guest: Guest| {
    let id = submit(&guest, &format!("{TELLS} -- sh -c 'echo works; sleep 1000'"));
    until_it_says(&guest, id, "works");
    guest.root("systemctl stop fairshared.socket fairshared.service").expect_ok();
    guest.root(&format!("systemctl stop {}", service(id))).expect_ok();
    let said = guest.root(&format!("journalctl -o cat -u {}", service(id))).expect_ok();
    said.stdout_has(&format!("what was to be run at the end of job {id} was not (--notify)"));
    guest.root("systemctl start fairshared.socket fairshared.service").expect_ok();
    assert_eq!(output(&guest, id), "works");
});
