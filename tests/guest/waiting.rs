//! Many commands of one member's that wait: whatever happens to daemon or machine, each runs once, in its place.
//!
//! `FAIRSHARE_JOBS=1000` makes more of them.

use crate::guest::Guest;
use crate::package::{dpkg, make_next_version};

/// How often the daemon is killed.
const KILLS: usize = 20;

guest_test!(each_runs_once_and_in_order_through_kills_an_upgrade_and_a_reboot, |guest: Guest| {
    let jobs: usize =
        std::env::var("FAIRSHARE_JOBS").map_or(60, |jobs| jobs.parse().expect("FAIRSHARE_JOBS: a number"));
    let count = |what: &str| guest.root(what).expect_ok().text().parse::<usize>().unwrap();
    make_next_version(&guest);
    guest.as_user("bob", "fairshare request --cpu 1 --mem 64M").expect_ok();
    // Beside bob there is room for none, and without him for one at a time.
    let submit = "fairshare submit --cpu 1 --mem 64M --output /dev/null -- sh -c \"echo $i >> ran\"";
    let all = format!("for i in $(seq {jobs}); do {submit} || exit; done > ids; wc -l < ids");
    assert_eq!(guest.as_user("alice", &all).expect_ok().text(), jobs.to_string());
    let waiting = "fairshare jobs --all --json | grep -o '\"state\":\"queued\"' | wc -l";
    for _ in 0..KILLS / 4 {
        guest.kill_daemon();
        assert_eq!(count(waiting), jobs);
    }
    dpkg(&guest, "-i /root/next.deb");
    assert_eq!(count(waiting), jobs);
    guest.reboot();
    guest.await_running();
    assert_eq!(count(waiting), jobs);
    guest.as_user("bob", "fairshare release").expect_ok();
    // The rest of the kills while they run, wherever that happens to be.
    let ran = "cat /home/alice/ran 2>/dev/null | wc -l";
    let kills = KILLS - KILLS / 4;
    for kill in 0..kills {
        guest.await_cmd(&format!("fairshare status > /dev/null; test $({ran}) -ge {}", jobs * kill / kills));
        guest.kill_daemon();
    }
    guest.as_user("alice", "fairshare wait $(cat ids) > /dev/null").expect_ok();
    let order = guest.as_user("alice", "cat ran").expect_ok().text();
    let order: Vec<usize> = order.lines().map(|line| line.parse().unwrap()).collect();
    assert!(order.iter().copied().eq(1..=jobs), "not each once, in their order: {order:?}");
    guest.await_cmd("test -z \"$(ls /var/lib/fairshare/jobs)\"");
});
