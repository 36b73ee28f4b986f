//! Commands that are warned before their time is over, and what the kernel kills of them for want of memory.

use crate::guest::Guest;

/// A command of alice's that says when it listens and that it was warned, and ends with 4. It is warned so long after its start that a
/// slow machine has come to the rest by then.
const LISTENS: &str = "--for 10m --signal USR1@520s -- \
    bash -c \"trap 'echo warned; exit 4' USR1; echo listens; while :; do sleep 0.1; done\"";

fn submit(guest: &Guest, words: &str) -> u64 {
    let line = format!("fairshare submit --cpu 0.2 --mem 64M {words}");
    guest.as_user("alice", &line).expect_ok().text().parse().expect("a number")
}

fn output(guest: &Guest, id: u64) -> String {
    guest.as_user("alice", &format!("fairshare output {id}")).expect_ok().text()
}

guest_test!(a_command_is_warned_before_its_time_is_over, |guest: Guest| {
    let unlimited = "fairshare submit --signal USR1@5m -- true";
    guest.as_user("alice", unlimited).expect_code(1).stderr_has("--for 8h");
    // What is paused has it when it goes on, and the daemon that started it need not be there.
    let [warned, paused] = [(); 2].map(|()| submit(&guest, LISTENS));
    for id in [warned, paused] {
        let listens = format!("until fairshare output {id} | grep -q listens; do sleep 0.2; done");
        guest.as_user("alice", &listens).expect_ok();
    }
    guest.as_user("alice", &format!("fairshare pause {paused}")).expect_ok();
    guest.kill_daemon();
    guest.as_user("alice", &format!("fairshare wait {warned}")).expect_code(4);
    assert_eq!(output(&guest, warned), "listens\nwarned");
    guest.await_cmd(&format!("journalctl -u fairshared.service | grep 'warned job {paused} '"));
    assert_eq!(output(&guest, paused), "listens");
    guest.as_user("alice", &format!("fairshare resume {paused} && fairshare wait {paused}")).expect_code(4);
    // Who has less time than that has it at the start: the command, and not the process that becomes it.
    let early = submit(&guest, "--for 10m --signal 10@1h -- sleep 1000");
    guest.as_user("alice", &format!("fairshare wait {early}")).expect_code(138);
    assert_eq!(guest.job(early)["warning"]["before_ms"], 3_600_000);
    let told = guest.root("journalctl -u fairshared.service | grep -c 'warned job'").expect_ok();
    assert_eq!(told.text(), "3", "each is warned once");
});

guest_test!(all_of_a_command_is_killed_for_want_of_memory_or_what_the_kernel_chooses, |guest: Guest| {
    let hog = "-- sh -c 'python3 -c \"x=bytearray(300<<20)\"; sleep 1; echo went on'";
    let killed = submit(&guest, hog);
    guest.as_user("alice", &format!("fairshare wait {killed}")).expect_code(137).stderr_has("out of memory");
    assert_eq!(output(&guest, killed), "");
    let job = guest.job(killed);
    assert!(job["oom"] == true && job["signal"] == 9 && job["oom_kills"].as_u64() >= Some(2), "{job}");

    let went_on = submit(&guest, &format!("--oom continue {hog}"));
    guest
        .as_user("alice", &format!("fairshare wait {went_on}"))
        .expect_ok()
        .stderr_has("killed 1 process of it");
    assert!(output(&guest, went_on).ends_with("went on"));
    let job = guest.job(went_on);
    assert!(job["oom"] == false && job["state"] == "done" && job["oom_kills"] == 1, "{job}");
    for words in ["jobs", "history"] {
        let shown = guest.as_user("alice", &format!("fairshare {words}")).expect_ok();
        shown.stdout_has("exit 0, 1 process killed for want of memory").stdout_has("out of memory");
    }
});
