//! Arrays, as people type them: each index is run once, through crashes of the daemon and a reboot.

use crate::guest::Guest;

/// An array of alice's, of which as many as she may have run beside each other.
fn submit(guest: &Guest, words: &str) -> String {
    let line = format!("fairshare submit --cpu 0.2 --mem 32M {words}");
    guest.as_user("alice", &line).expect_ok().text()
}

guest_test!(each_index_is_run_once_whenever_the_daemon_dies, |guest: Guest| {
    let script = "-- sh -c 'echo $FAIRSHARE_TASK >> ran; echo this is $FAIRSHARE_JOB_ID $FAIRSHARE_TASK'";
    let array = submit(&guest, &format!("--array 0-27:3 {script}"));
    for _ in 0..3 {
        guest.kill_daemon();
        guest.as_user("alice", "fairshare ping || fairshare status").expect_ok();
    }
    guest.as_user("alice", &format!("fairshare wait {array}")).expect_ok();
    let ran = guest.as_user("alice", "sort -n ran | tr '\\n' ' '").expect_ok().text();
    assert_eq!(ran.trim(), "0 3 6 9 12 15 18 21 24 27");
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("10 of 10 done");
    let output = guest.as_user("alice", &format!("fairshare output {array}_21")).expect_ok();
    assert_eq!(output.text(), format!("this is {array} 21"));
    let output = format!("cat fairshare-{array}_3.out");
    assert_eq!(guest.as_user("alice", &output).expect_ok().text(), format!("this is {array} 3"));
    guest.as_user("alice", "fairshare history").expect_ok().stdout_has(&format!("{array}_27"));
    // No more than two at a time, and the largest exit code of all.
    let script = "-- sh -c 'mkdir at-work-$FAIRSHARE_TASK; ls -d at-work-* | wc -l >> most; sleep 1; \
                  rmdir at-work-$FAIRSHARE_TASK; exit $FAIRSHARE_TASK'";
    let array = submit(&guest, &format!("--array 1-6%2 {script}"));
    guest.as_user("alice", &format!("fairshare wait {array}")).expect_code(6);
    assert_eq!(guest.as_user("alice", "sort -n most | tail -1").expect_ok().text(), "2");
});

guest_test!(what_is_still_to_come_of_an_array_comes_after_a_reboot_and_not_after_a_cancel, |guest: Guest| {
    let script = "-- sh -c 'echo $FAIRSHARE_TASK >> ran; test $FAIRSHARE_TASK != 1 || sleep 1000'";
    let array = submit(&guest, &format!("--array 1-4%1 --output /dev/null {script}"));
    guest.as_user("alice", "until test -e ran; do sleep 0.2; done").expect_ok();
    guest.reboot();
    guest.as_user("alice", &format!("fairshare wait {array}")).expect_code(75);
    assert_eq!(guest.as_user("alice", "cat ran").expect_ok().text(), "1\n2\n3\n4");
    guest.as_user("alice", "fairshare jobs").expect_ok().stdout_has("3 of 4 done, 1 failed");
    let array = submit(&guest, "--array 1-10000 --output /dev/null -- sleep 1000");
    let task = format!("{array}_1");
    let runs = format!("until fairshare jobs --state running | grep -q '^ *{task} '; do sleep 0.2; done");
    guest.as_user("alice", &runs).expect_ok();
    guest.as_user("alice", &format!("fairshare cancel {task}")).expect_ok().stdout_has("cancelled");
    guest.as_user("bob", &format!("fairshare cancel {array}")).expect_code(1).stderr_has("No such job");
    guest.as_user("alice", &format!("fairshare cancel {array}")).expect_ok().stdout_has("no more begin");
    guest.as_user("alice", &format!("fairshare wait {array}")).expect_code(1);
    guest.as_user("alice", "pgrep -u alice sleep").expect_code(1);
    guest
        .as_user("alice", "fairshare release; fairshare jobs --state running,queued")
        .expect_ok()
        .stdout_has("No jobs");
    guest.await_cmd("test $(ls /var/lib/fairshare/jobs | wc -l) -eq 0");
});
