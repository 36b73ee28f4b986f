//! Work without a time limit: it is taken to run as long as its member's last two did, until that proves too short.

use fairshare::testing::identity::{AllocationId, JobId};
use fairshare::testing::ledger::job::JobEnd;
use fairshare::testing::ledger::time::Time;
use fairshare::testing::ledger::{Command, Ledger, Wait};
use fairshare::testing::quantity::Bytes;

use super::village::{self, GIB, at, ledger, named, policy, request, rules, uid};

const SECOND: u64 = 1000;
/// The half-life of these rules, and with it the patience.
const PATIENCE: u64 = 10_000 * SECOND;

fn say(ledger: &mut Ledger, ms: u64, command: Command) {
    village::say(ledger, ms, command).unwrap();
}

/// Work of a member's without a limit.
fn submit(ledger: &mut Ledger, ms: u64, who: u64, cpu: u64) -> JobId {
    let job = JobId(ledger.next_job());
    let command = village::submit(&policy(), who, named(cpu * 1000, GIB / 4), None, Bytes(0));
    say(ledger, ms, command);
    job
}

fn ends(ledger: &mut Ledger, ms: u64, job: JobId) {
    say(ledger, ms, Command::WorkEnded { job, end: JobEnd::Done });
}

fn runs(ledger: &Ledger, who: u64, job: JobId) -> bool {
    ledger.allocation(AllocationId::of_job(uid(who), job)).is_some()
}

/// When who waits is expected to start, and whether that is no more than likely.
fn told(ledger: &Ledger) -> Vec<(Option<u64>, bool)> {
    ledger.places().iter().map(|place| (place.starts.map(|at| at.0), place.about)).collect()
}

/// 2 had work that took these times, one after the other.
fn town(took: &[u64]) -> (Ledger, u64) {
    let mut ledger = ledger();
    say(&mut ledger, 0, rules(PATIENCE, false));
    let mut ms = SECOND;
    for took in took {
        let job = submit(&mut ledger, ms, 2, 1);
        ms += took;
        ends(&mut ledger, ms, job);
    }
    (ledger, ms)
}

/// 1 holds half of the machine for a hundred seconds, and 3 waits for all of it.
fn with_a_reservation(ledger: &mut Ledger, ms: u64) {
    say(ledger, ms, request(&policy(), 1, named(4000, GIB), Some(100 * SECOND), Wait::No));
    say(ledger, ms, request(&policy(), 3, named(8000, GIB), Some(60 * SECOND), Wait::Granted));
}

#[test]
fn who_names_no_limit_passes_by_what_their_last_two_took() {
    for (took, passes) in [
        (&[500 * SECOND, 90 * SECOND, 100 * SECOND][..], true),
        (&[SECOND, 90 * SECOND, 120 * SECOND][..], false),
        (&[][..], false),
    ] {
        let (mut ledger, ms) = town(took);
        with_a_reservation(&mut ledger, ms);
        let job = submit(&mut ledger, ms, 2, 2);
        assert_eq!(runs(&ledger, 2, job), passes, "after {took:?}");
    }
}

/// The first waits for what has no limit until its likely end, and where that is over for a minute more, and then for five.
#[test]
fn a_likely_end_is_put_off_step_by_step() {
    let (mut ledger, ms) = town(&[40 * SECOND, 60 * SECOND]);
    submit(&mut ledger, ms, 2, 2);
    say(&mut ledger, ms, request(&policy(), 3, named(8000, GIB), Some(60 * SECOND), Wait::Granted));
    let mut likely = ms + 50 * SECOND;
    for put_off in [60, 300, 900] {
        let start = ledger.reservation().unwrap().start.map(|(start, _)| start);
        assert_eq!(start, Some(Time(likely)));
        // What is said of its start says that it rests on a guess.
        assert_eq!(told(&ledger), [(Some(likely), true)]);
        assert_eq!(ledger.next_wakeup(), Some(likely));
        say(&mut ledger, likely, Command::Tick);
        likely += put_off * SECOND;
    }
}

/// What ends at a certain time is told as that, also where something is likely to end sooner. Who comes after one who starts at
/// about a time starts at about one.
#[test]
fn a_start_is_about_a_time_where_leases_do_not_tell() {
    let (mut ledger, ms) = town(&[40 * SECOND, 60 * SECOND]);
    submit(&mut ledger, ms, 2, 4);
    say(&mut ledger, ms, request(&policy(), 1, named(4000, GIB), Some(90 * SECOND), Wait::No));
    let wants = |who, lease| request(&policy(), who, named(4000, GIB), lease, Wait::Granted);
    say(&mut ledger, ms, wants(3, None));
    say(&mut ledger, ms, wants(4, Some(300 * SECOND)));
    // Work without a limit, that is likely to take 50 seconds from when it starts.
    submit(&mut ledger, ms, 2, 4);
    submit(&mut ledger, ms, 2, 4);
    let told_in: Vec<_> =
        told(&ledger).into_iter().map(|(starts, about)| (starts.unwrap() - ms, about)).collect();
    assert_eq!(
        told_in,
        [(90, false), (90, true), (390, true), (440, true)].map(|(s, about)| (s * SECOND, about))
    );
    say(&mut ledger, ms, Command::Drain);
    assert!(told(&ledger).iter().all(|place| *place == (None, false)), "nobody starts");
}

/// Who waits for what has no limit, of a member of whom nothing is known, is told no time.
#[test]
fn nobody_guesses_where_nothing_is_known() {
    let (mut ledger, ms) = town(&[]);
    submit(&mut ledger, ms, 2, 2);
    say(&mut ledger, ms, request(&policy(), 3, named(8000, GIB), Some(60 * SECOND), Wait::Granted));
    assert_eq!(told(&ledger), [(None, false)]);
}

#[test]
fn nobody_passes_by_a_guess_when_the_first_has_waited_for_patience() {
    for (waited, passes) in [(PATIENCE - SECOND, true), (PATIENCE, false)] {
        let (mut ledger, ms) = town(&[10 * SECOND, 20 * SECOND]);
        say(
            &mut ledger,
            ms,
            request(&policy(), 1, named(4000, GIB), Some(PATIENCE + 500 * SECOND), Wait::No),
        );
        say(&mut ledger, ms, request(&policy(), 3, named(8000, GIB), Some(60 * SECOND), Wait::Granted));
        let now = ms + waited;
        say(&mut ledger, now, Command::Tick);
        let job = submit(&mut ledger, now, 2, 2);
        assert_eq!(runs(&ledger, 2, job), passes, "after {waited} ms");
    }
}

/// A daemon that comes back knows what jobs took that it remembers.
#[test]
fn what_is_likely_outlives_a_crash() {
    let (mut ledger, ms) = town(&[90 * SECOND, 100 * SECOND]);
    with_a_reservation(&mut ledger, ms);
    let image = ledger.image();
    let boot = ledger.boot().clone();
    let whole = ledger.capacity().whole();
    let mut after = Ledger::restore(boot, at(ms), image);
    say(&mut after, ms, Command::SetCapacity { cpu: whole.cpu(), mem: whole.mem() });
    say(&mut after, ms, rules(PATIENCE, false));
    let job = submit(&mut after, ms, 2, 2);
    assert!(runs(&after, 2, job));
}
