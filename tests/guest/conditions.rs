//! Commands that wait for jobs, for a time or for their member, as people type it.

use crate::guest::Guest;

/// A command of alice's, with room beside which nothing else waits.
fn submit(guest: &Guest, words: &str) -> String {
    let line = format!("fairshare submit --cpu 0.2 --mem 64M --output /dev/null {words}");
    guest.as_user("alice", &line).expect_ok().text()
}

fn shows(guest: &Guest, job: &str, says: &str) {
    guest.as_user("alice", &format!("fairshare jobs | grep -E '^ *{job} .*{says}'")).expect_ok();
}

guest_test!(what_comes_after_a_job_waits_for_how_it_ends, |guest: Guest| {
    let first = submit(&guest, "-- sh -c 'until test -e go; do sleep 0.2; done; echo first >> order'");
    let second = submit(&guest, &format!("--after {first} -- sh -c 'echo second >> order; exit 3'"));
    let third = submit(&guest, &format!("--after {second} -- sh -c 'echo third >> order'"));
    let any = submit(&guest, &format!("--after-any {second},{third} -- sh -c 'echo any >> order'"));
    shows(&guest, &second, &format!("after {first}"));
    shows(&guest, &any, &format!("after {second}, {third}"));
    guest.as_user("alice", "touch go").expect_ok();
    guest.as_user("alice", &format!("fairshare wait {second}")).expect_code(3);
    let never = guest.as_user("alice", &format!("fairshare wait {third}")).expect_code(1);
    never.stderr_has(&format!("Job {second}, after which it was to run, ended with exit 3"));
    guest.as_user("alice", &format!("fairshare wait {any}")).expect_ok();
    assert_eq!(guest.as_user("alice", "cat order").expect_ok().text(), "first\nsecond\nany");
    // A predecessor that is taken back, and one that is somebody else's.
    let held = submit(&guest, "--hold -- true");
    let next = submit(&guest, &format!("--after {held} -- true"));
    guest.as_user("alice", &format!("fairshare cancel {held}")).expect_ok();
    guest.as_user("alice", &format!("fairshare wait {next}")).expect_code(1).stderr_has("was cancelled");
    guest
        .as_user("bob", &format!("fairshare submit --after {first} --output /dev/null -- true"))
        .expect_code(1)
        .stderr_has("No such job");
});

guest_test!(what_is_waited_for_outlives_the_daemon_and_the_machine, |guest: Guest| {
    let held = submit(&guest, "--hold -- sh -c 'echo held >> ran'");
    let next = submit(&guest, &format!("--after {held} -- sh -c 'echo next >> ran'"));
    let later = submit(&guest, "--begin 3m -- sh -c 'echo later >> ran'");
    guest.kill_daemon();
    shows(&guest, &held, "held");
    shows(&guest, &next, &format!("after {held}"));
    // The clock is set by days: it is still so long until then.
    guest.root("date --set='+3 days'").expect_ok();
    shows(&guest, &later, "begins in");
    guest.root("date --set='-3 days'").expect_ok();
    guest.reboot();
    shows(&guest, &held, "held");
    guest.as_user("alice", &format!("fairshare wait {later}")).expect_ok();
    guest.as_user("alice", &format!("fairshare jobs --release {held}")).expect_ok();
    guest.as_user("alice", &format!("fairshare wait {held} {next}")).expect_ok();
    assert_eq!(guest.as_user("alice", "cat ran").expect_ok().text(), "later\nheld\nnext");
});

guest_test!(ones_own_are_ordered_by_oneself, |guest: Guest| {
    // Nothing else fits beside it.
    guest.as_user("bob", "fairshare request --cpu 1.5 --mem 64M").expect_ok();
    let run = |word: &str, words: &str| {
        let script = format!("-- sh -c 'echo {word} >> order'");
        let line = format!("fairshare submit --cpu 1.5 --mem 64M --output /dev/null {words} {script}");
        guest.as_user("alice", &line).expect_ok().text()
    };
    let usual = run("usual", "");
    let urgent = run("urgent", "--priority 90");
    let last = run("last", "");
    let held = run("held", "");
    shows(&guest, &urgent, "place 1");
    guest.as_user("alice", &format!("fairshare jobs --hold {held}")).expect_ok().stdout_has("held");
    guest.as_user("alice", &format!("fairshare jobs --first {last}")).expect_ok().stdout_has("place 1");
    guest.as_user("bob", "fairshare release").expect_ok();
    guest.as_user("alice", &format!("fairshare wait {usual} {urgent} {last}")).expect_ok();
    guest.as_user("alice", &format!("fairshare jobs --release {held}")).expect_ok();
    guest.as_user("alice", &format!("fairshare wait {held}")).expect_ok();
    assert_eq!(guest.as_user("alice", "cat order").expect_ok().text(), "last\nurgent\nusual\nheld");
    guest
        .as_user("alice", &format!("fairshare jobs --hold {held}"))
        .expect_code(1)
        .stderr_has("is over: only what waits");
});
