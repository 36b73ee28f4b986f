//! How soon a subscriber hears of a kill for want of memory, and how often an idle daemon wakes up.

use std::time::{Duration, Instant};

use crate::harness::Daemon;
use crate::raw::Raw;
use crate::shares;
use crate::stand_in::World;

const SHARES: u64 = 200;
const SUBSCRIBERS: usize = 10;
const KILLS: u64 = 1000;
/// How long the daemon is left alone.
const IDLE: Duration = Duration::from_secs(60);

/// What was promised (issue 5).
const HEARD_P99_MAX: Duration = Duration::from_millis(50);
const WAKEUPS_A_SECOND_MAX: f64 = 1.0;

/// Prints the table.
pub fn run() {
    let world = World::start();
    let (_home, daemon) = shares::held(&world, SHARES);
    let mut subscribers: Vec<Raw> = (0..SUBSCRIBERS).map(|_| subscriber(&daemon)).collect();
    println!("| events, natively | p50 | p99 | promised |\n| --- | --- | --- | --- |");
    let mut took: Vec<Duration> = (0..KILLS).map(|kill| heard(&world, &mut subscribers, kill)).collect();
    took.sort_unstable();
    let (middle, late) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    let word = if late <= HEARD_P99_MAX { "" } else { " **missed**" };
    println!(
        "| a kill for want of memory, heard by {SUBSCRIBERS} | {middle:.0?} | {late:.0?}{word} | p99 at most 50 ms |"
    );

    // A thread that has nothing more to do ends after 10 s, and takes its count along.
    std::thread::sleep(IDLE / 4);
    let before = wakeups(&daemon);
    std::thread::sleep(IDLE);
    let a_second = (wakeups(&daemon) - before) as f64 / IDLE.as_secs_f64();
    let word = if a_second <= WAKEUPS_A_SECOND_MAX { "" } else { " **missed**" };
    println!(
        "\n{SHARES} shares, {SUBSCRIBERS} subscribers, nothing asked for {IDLE:?}: {a_second:.2}{word} wake-ups a second (at most 1)"
    );
    daemon.stop();
}

/// A connection that events come on.
fn subscriber(daemon: &Daemon) -> Raw {
    let mut raw = daemon.client();
    raw.follow(Some(true), None);
    raw
}

/// Has the kernel count one more kill, and waits until the last of the subscribers has heard of it.
fn heard(world: &World, subscribers: &mut [Raw], kill: u64) -> Duration {
    let slice = format!("fairshare-{}.slice", shares::FIRST_UID + kill % SHARES);
    let killed = Instant::now();
    world.count_memory_events(&slice, 0, kill / SHARES + 1);
    for subscriber in subscribers {
        assert_eq!(subscriber.event().kind, "oom");
    }
    killed.elapsed()
}

/// How often any thread of the daemon has slept and been woken.
fn wakeups(daemon: &Daemon) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
    let slept = |status: String| -> u64 {
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        count.unwrap().trim().parse().unwrap()
    };
    tasks.map(|task| slept(std::fs::read_to_string(task.unwrap().path().join("status")).unwrap())).sum()
}
