//! Many commands, one after the other, leave nothing behind: not in the daemon, not in systemd, not on the bus.
//!
//! `FAIRSHARE_JOBS=10000` makes more of them.

use std::time::Duration;

use crate::guest::Guest;

/// How many are submitted before anybody counts, at least, and else a tenth of them: what is made once has then been made, and
/// of many, what is bounded is full: the history's cache, after some fifty, and the threads that wait for a slow disk.
const FIRST_MIN: u64 = 120;
/// How much more memory the daemon may have for each job, and at the end: the records of the jobs that are kept, which are half
/// of it, and what is between the allocator's pieces. A hundred bytes lost with each of 10 000 would be as much.
const GROWN_KIB_EACH_MAX: u64 = 5;
const GROWN_KIB_MAX: u64 = 1024;
/// As many as the daemon keeps of one member (`JOBS_KEPT_PER_UID_MAX`).
const KEPT: u64 = 256;
/// How long one may take, on a slow host under emulation.
const ONE_MAX: Duration = Duration::from_secs(10);

/// Runs as many commands as the argument says in a share that is held, twenty of them at a time, and a tenth of that each in a
/// share taken for it. The first go through one `fairshare json`: this is about what the daemon and systemd keep, and under
/// emulation most of a command's time would be what it takes to load `fairshare` for each.
const MANY: &str = r#"set -e
fairshare request --cpu 1 --mem 64M
for at in $(seq 20 20 $1); do
    id=$(yes '{"endpoint":"submit","body":{"argv":["true"],"cwd":"/","env":{}}}' | head -20 | fairshare json | tail -1 | tr -dc 0-9)
    fairshare wait $id
done
until fairshare release 2> /dev/null; do sleep 0.1; done
for at in $(seq $(($1 / 10))); do
    id=$(fairshare submit --cpu 1 --mem 64M --output /dev/null -- true 2> /dev/null)
    fairshare wait $id
    until fairshare status | grep -q none; do sleep 0.1; done
done
"#;

/// What there is a number of, and how to count it.
const COUNTS: [(&str, &str); 6] = [
    ("units of ours", "systemctl list-units --all --no-legend 'fairshare-*' | wc -l"),
    (
        "units that systemd knows",
        "busctl get-property $SYSTEMD org.freedesktop.systemd1.Manager NNames | cut -d' ' -f2",
    ),
    ("transient units' files", "ls /run/systemd/transient | wc -l"),
    ("PID 1's descriptors", "ls /proc/1/fd | wc -l"),
    ("the daemon's descriptors", "ls /proc/$PID/fd | wc -l"),
    (
        "the daemon's matches on the bus",
        "busctl call $BUS GetConnectionStats s $(busctl list --no-legend | awk -v pid=$PID '$2 == pid { print $1; exit }') | grep -o '\"MatchRules\" u [0-9]*' | cut -d' ' -f3",
    ),
];

/// A shell script that has the names in [`COUNTS`], and ends with `what`.
fn script(what: &str) -> String {
    format!(
        "PID=$(systemctl show -P MainPID fairshared.service)
         SYSTEMD='org.freedesktop.systemd1 /org/freedesktop/systemd1'
         BUS='org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus.Debug.Stats'
         {what}"
    )
}

fn resident_kib(guest: &Guest) -> u64 {
    let line = guest.root(&script("grep -h RssAnon /proc/$PID/status | tr -dc 0-9")).expect_ok();
    line.text().parse().expect("a number of KiB")
}

fn run(guest: &Guest, jobs: u64) {
    let within = ONE_MAX * u32::try_from(jobs).expect("a number of jobs");
    guest.command(&format!("bash many {jobs}")).user("alice").within(within).run().expect_ok();
}

guest_test!(many_commands_leave_nothing_behind, |guest: Guest| {
    let jobs =
        std::env::var("FAIRSHARE_JOBS").map_or(100, |jobs| jobs.parse().expect("FAIRSHARE_JOBS: a number"));
    guest.write_file("/home/alice/many", MANY, 0o644);
    let first = FIRST_MIN.max(jobs / 200 * 20);
    run(&guest, first);
    // A unit that is over is there until the daemon has seen to it.
    guest.await_cmd(&format!("test $({}) -eq 0", COUNTS[0].1));
    let before = COUNTS.map(|(_, count)| guest.root(&script(count)).expect_ok().text());
    let (pid, resident) = (guest.daemon_pid(), resident_kib(&guest));
    run(&guest, jobs);
    for ((what, count), before) in COUNTS.iter().zip(&before) {
        let gone = format!("now=$({count}); echo $now; test $now -le {before}");
        let ran = guest.await_cmd(&script(&gone));
        eprintln!("{what}: {before} before, {} after", ran.text());
    }
    let after = resident_kib(&guest);
    eprintln!("{jobs} jobs and {} more: {resident} KiB before, {after} KiB after", jobs / 10);
    let grown_max = GROWN_KIB_MAX.min((jobs + jobs / 10) * GROWN_KIB_EACH_MAX);
    assert!(after <= resident + grown_max, "{resident} KiB before, {after} KiB after");
    assert_eq!(guest.daemon_pid(), pid);

    let all = first + first / 10 + jobs + jobs / 10;
    let kept = guest.as_user("alice", "fairshare jobs --json").expect_ok().json();
    let mut ids: Vec<u64> =
        kept["jobs"].as_array().unwrap().iter().map(|job| job["job_id"].as_u64().unwrap()).collect();
    ids.sort_unstable();
    let oldest = all.saturating_sub(KEPT) + 1;
    assert_eq!(ids, (oldest..=all).collect::<Vec<u64>>(), "the last {KEPT} jobs are kept, and no others");
});
