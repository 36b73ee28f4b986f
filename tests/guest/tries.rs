//! Commands that are run again: where they fail, and where the machine goes down under them.

use crate::guest::Guest;

/// A command of alice's, of which she may have several beside each other.
fn submit(guest: &Guest, words: &str) -> String {
    let line = format!("fairshare submit --cpu 0.2 --mem 32M {words}");
    guest.as_user("alice", &line).expect_ok().text()
}

guest_test!(what_fails_is_tried_again_until_it_does_not, |guest: Guest| {
    let script = "sh -c 'echo $FAIRSHARE_JOB_ID $FAIRSHARE_TRY | tee -a tries; test $FAIRSHARE_TRY = 3'";
    let job = submit(&guest, &format!("--retry 5 -- {script}"));
    guest.as_user("alice", &format!("fairshare wait {job}")).expect_ok();
    let tries = format!("{job} 1\n{job} 2\n{job} 3");
    assert_eq!(guest.as_user("alice", "cat tries").expect_ok().text(), tries);
    assert_eq!(guest.as_user("alice", &format!("fairshare output {job}")).expect_ok().text(), tries);
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("exit 0, in try 3 of 6");
    let ends = format!("fairshare history --json | grep -o '\"job_id\": *{job}\\b' | wc -l");
    assert_eq!(
        guest.as_user("alice", &ends).expect_ok().text(),
        "3",
        "what each try held and used is counted"
    );

    // Each task of an array by itself; the kernel's killing is a failure too.
    let script =
        "sh -c 'echo $FAIRSHARE_TASK.$FAIRSHARE_TRY >> tasks; test $FAIRSHARE_TRY = 2 || tail /dev/zero'";
    let array = submit(&guest, &format!("--array 1-3 --retry 1 --output /dev/null -- {script}"));
    guest.as_user("alice", "until test -e tasks; do sleep 0.2; done").expect_ok();
    guest.kill_daemon();
    guest.as_user("alice", &format!("fairshare wait {array}")).expect_ok();
    let tasks = guest.as_user("alice", "sort tasks | tr '\\n' ' '").expect_ok();
    assert_eq!(tasks.text().trim(), "1.1 1.2 2.1 2.2 3.1 3.2");
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("3 of 3 done");

    // While it waits for the next try it says so, holds nothing, and can be called back.
    let job = submit(&guest, "--retry 100 --output /dev/null -- sh -c 'exit 7'");
    let waits =
        "fairshare jobs --state queued | grep 'try [5-9] of 101: begins in .*; the last ended with exit 7'";
    guest.as_user("alice", &format!("until {waits}; do sleep 0.2; done; fairshare status")).expect_ok();
    guest.as_user("alice", &format!("fairshare cancel {job}")).expect_ok().stdout_has("cancelled");
    guest.as_user("alice", &format!("fairshare wait {job}")).expect_code(1);
    guest.await_cmd("test $(ls /var/lib/fairshare/jobs | wc -l) -eq 0");
    guest.await_cmd("! ls -d /sys/fs/cgroup/fairshare.slice/fairshare-1001.slice/*job*");
});

guest_test!(what_a_reboot_or_a_power_cut_interrupts_waits_again, |guest: Guest| {
    let script = "sh -c 'echo $FAIRSHARE_TRY >> $0; sync; test $FAIRSHARE_TRY = 2 || sleep 1000'";
    for (end, file) in [(Guest::reboot as fn(&Guest) -> String, "rebooted"), (Guest::power_cut, "cut")] {
        let job = submit(&guest, &format!("--requeue --output /dev/null -- {script} {file}"));
        let once =
            submit(&guest, &format!("--output /dev/null -- sh -c 'echo >> $0; sleep 1000' once-{file}"));
        // What has not begun yet is no try, and goes on waiting.
        let begun = format!("until test -s {file} -a -s once-{file}; do sleep 0.2; done");
        guest.as_user("alice", &begun).expect_ok();
        end(&guest);
        guest.as_user("alice", &format!("fairshare wait {once}")).expect_code(75);
        guest.as_user("alice", &format!("fairshare wait {job}")).expect_ok();
        assert_eq!(guest.as_user("alice", &format!("cat {file}")).expect_ok().text(), "1\n2");
    }
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("exit 0, in try 2");
});
