//! The state file of every version that ever landed, read: an upgrade loses nothing. And of the version that is written:
//! what is in it has not changed behind the version's back.
//!
//! `tests/data/state/` has the files. A version that lands adds its own, `N`, with everything in it that the version can
//! say, and the list of its fields, `N.fields`.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use fairshare::testing::enforced::Burst;
use fairshare::testing::identity::{AllocationId, JobId, Purpose};
use fairshare::testing::ledger::again::Again;
use fairshare::testing::ledger::allocation::{Allocation, Goes, Keeps, Lease, Phase, Stage, Terms};
use fairshare::testing::ledger::apart::{Apart, Left};
use fairshare::testing::ledger::array::{Array, Indices, Task};
use fairshare::testing::ledger::care::{Care, OutOfMemory, Warning};
use fairshare::testing::ledger::fairness::{Account, Lags};
use fairshare::testing::ledger::job::{
    Ask, Cause, Exit, Job, JobEnd, JobKind, JobState, Precedence, Ran, Work,
};
use fairshare::testing::ledger::time::{Clock, Time};
use fairshare::testing::ledger::{BootId, Image, Ledger, Now};
use fairshare::testing::policy::Weight;
use fairshare::testing::quantity::{Bytes, MilliCpu, PartialAmount, Priority, Tasks};
use fairshare::testing::state::{self, STATE_VERSION};

use super::village::{GIB, amount, own, uid};

const HOUR: u64 = 3_600_000;

fn now(ms: u64) -> Now {
    Now { boot_ms: ms, wall_ms: 1_700_000_000_000 + ms }
}

fn share(raw: u64, cpu: u64, gib: u64, phase: Phase, lease: Option<Lease>) -> Allocation {
    let mut share = Allocation::active(
        own(raw),
        amount(cpu, gib * GIB),
        Bytes(1 << 20),
        now(1000),
        BootId("boot-one".into()),
    );
    share.user = Some(format!("member{raw}"));
    share.phase = phase;
    let goes = if raw.is_multiple_of(2) { Goes::WithWork } else { Goes::Released };
    share.terms = Terms { idle_ms: Some(1_800_000), goes, ..Terms::default() };
    share.lease = lease;
    // Until version 4 the slice of a share was its member's.
    share.in_share = true;
    share
}

fn lease(stage: Stage) -> Option<Lease> {
    Some(Lease { ends: Time(HOUR), length_ms: HOUR - 1000, stage })
}

fn ask() -> Ask {
    Ask {
        user: Some("waiter".into()),
        asked: Time(5000),
        named: PartialAmount {
            cpu: Some(MilliCpu(2000)),
            mem: Some(Bytes(2 * GIB)),
            tasks: Some(Tasks(100)),
        },
        named_lease_ms: Some(2 * HOUR),
        amount: amount(2000, 2 * GIB),
        swap: Bytes(0),
        lease_ms: Some(2 * HOUR),
        weight: Weight::new(2500).unwrap(),
        terms: Terms::default(),
        precedence: Precedence::default(),
    }
}

fn work(name: Option<&str>, ask: Option<Ask>, cancelled: bool) -> JobKind {
    JobKind::Submit(Box::new(Work {
        name: name.map(Into::into),
        output: None,
        limits: PartialAmount { cpu: Some(MilliCpu(500)), mem: Some(Bytes(GIB)), tasks: Some(Tasks(7)) },
        time_limit_ms: Some(90_000),
        ask,
        kept: Bytes(0),
        cancelled,
        ..Work::default()
    }))
}

/// What was held in each stage of a lease and each phase of a change that version 1 knew.
fn shares() -> Vec<Allocation> {
    let over = |evict: Option<u64>| {
        let (keeps, lower) = (None, Some(Time(HOUR)));
        lease(Stage::Expired { since: Time(HOUR), keeps, lower, evict: evict.map(Time) })
    };
    let warned = lease(Stage::Running { warn: Some(Time(HOUR - 300_000)) });
    vec![
        share(1, 1000, 1, Phase::Active, None),
        share(2, 1000, 1, Phase::Active, warned),
        share(3, 1000, 1, Phase::Active, lease(Stage::Running { warn: None })),
        share(4, 1000, 1, Phase::Active, over(None)),
        share(5, 500, 1, Phase::Active, over(None)),
        share(6, 500, 1, Phase::Active, over(Some(HOUR + 300_000))),
        share(7, 1000, 1, Phase::Granting { job: None }, None),
        // What was taken for a submitted command, and not made yet, is the command's own.
        Allocation {
            id: AllocationId::of_job(uid(8), JobId(4)),
            in_share: false,
            ..share(8, 1000, 1, Phase::Granting { job: Some(JobId(4)) }, warned)
        },
        share(9, 1000, 1, Phase::Resizing { to: amount(500, 2 * GIB) }, warned),
        share(10, 1000, 1, Phase::Releasing, None),
        share(11, 1000, 1, Phase::Stopping { job: JobId(5) }, None),
    ]
}

/// What every version has said so far, `timed_out` being what has become of a wait that ended.
fn image_since_1(timed_out: JobEnd) -> Image {
    let ran = |exit, cause| {
        JobEnd::Ran(Ran {
            exit,
            cause,
            peak: Some(Bytes(4096)),
            needed: None,
            mem_limit: Some(Bytes(GIB)),
            cpu_usec: Some(12),
            oom_kills: None,
        })
    };
    let nothing = Ran {
        exit: Exit::Unknown,
        cause: None,
        peak: None,
        needed: None,
        mem_limit: None,
        cpu_usec: None,
        oom_kills: None,
    };
    let ended = |end| JobState::Ended { started: Some(now(2000)), ended: now(3000), end };
    let never = |end| JobState::Ended { started: None, ended: now(3000), end };
    let request = || JobKind::Request(Box::new(ask()));
    let queued = JobState::Queued { since: Time(5000) };
    let running = JobState::Running { started: now(2000) };
    let jobs: Vec<(u64, JobKind, JobState)> = vec![
        (101, request(), queued.clone()),
        (102, request(), queued.clone()),
        (103, work(Some("train"), Some(ask()), false), queued),
        (8, request(), running.clone()),
        (11, JobKind::Release, running.clone()),
        (1, work(Some("build"), None, false), running.clone()),
        (1, work(None, None, true), running),
        (104, request(), ended(JobEnd::Done)),
        (104, request(), ended(JobEnd::Failed("the disk".into()))),
        (104, request(), never(JobEnd::Cancelled)),
        (104, request(), never(timed_out)),
        (104, JobKind::Release, ended(JobEnd::Interrupted)),
        (104, work(None, None, false), ended(ran(Exit::Code(3), None))),
        (104, work(None, None, false), ended(ran(Exit::Signal(9), Some(Cause::Memory)))),
        (104, work(None, None, false), ended(ran(Exit::Signal(15), Some(Cause::Time)))),
        (104, work(None, None, true), ended(ran(Exit::Code(143), Some(Cause::Cancelled)))),
        (104, work(None, None, false), ended(ran(Exit::Code(1), Some(Cause::Outside)))),
        (104, work(None, None, false), ended(JobEnd::Ran(nothing))),
    ];
    let job = |(index, (raw, kind, state)): (usize, (u64, JobKind, JobState))| {
        Arc::new(Job { id: JobId(index as u64 + 1), uid: uid(raw), kind, created: now(1500), state })
    };
    let mut fairness = Lags::new(604_800_000, 6 * HOUR);
    // What had been used until version 6 is ahead of nobody.
    (fairness.epoch, fairness.last) = (Time(HOUR + 4000), Time(HOUR + 4000));
    let allocations = shares();
    fairness.accounts = allocations.iter().map(|share| (share.id.uid, holding())).collect();
    Image {
        reserved: None,
        revision: 77,
        next_job: 30,
        clock: Clock {
            boot: BootId("boot-one".into()),
            offset_ms: -250,
            last: Time(HOUR + 4000),
            wall_ms: now(HOUR + 4250).wall_ms,
        },
        fairness,
        draining: true,
        allocations,
        jobs: jobs.into_iter().enumerate().map(job).collect(),
    }
}

/// Everything that version 2 could say.
fn image_of_2() -> Image {
    let mut image = image_since_1(JobEnd::Refused("less".into()));
    let keeps = Some(Keeps { mem: Bytes(GIB / 2), tasks: Tasks(5) });
    let stage = Stage::Expired { since: Time(HOUR), keeps, lower: Some(Time(1)), evict: Some(Time(2)) };
    let renewing = Phase::Renewing { lease: Lease::new(Time(HOUR), HOUR) };
    image.allocations.extend([
        share(12, 1000, 1, Phase::Lowering, lease(Stage::Running { warn: None })),
        share(13, 1000, 1, renewing, lease(stage)),
    ]);
    metered(image)
}

/// Of a member who holds a quarter of the machine.
fn holding() -> Account {
    Account { rate: 1 << 30, ..Account::default() }
}

/// With an account for each member who holds something.
fn metered(mut image: Image) -> Image {
    image.fairness.accounts = image.allocations.iter().map(|share| (share.id.uid, holding())).collect();
    image
}

/// Everything that version 3 could say.
fn image_of_3() -> Image {
    let mut image = image_of_2();
    for (raw, burst) in [(14, Burst::All), (15, Burst::To(MilliCpu(1500)))] {
        let mut share = share(raw, 1000, 1, Phase::Active, None);
        share.terms.burst = Some(burst);
        image.allocations.push(share);
    }
    metered(image)
}

/// Everything that version 4 could say.
fn image_of_4() -> Image {
    let mut image = image_of_3();
    for job in &mut image.jobs {
        if let JobState::Ended { end: JobEnd::Ran(ran), .. } = &mut Arc::make_mut(job).state {
            ran.needed = ran.peak.map(|peak| Bytes(peak.0 / 2));
        }
    }
    image
}

/// Everything that version 5 could say.
fn image_of_5() -> Image {
    let mut image = image_of_4();
    for (raw, purpose) in
        [(16, Purpose::Standing), (16, Purpose::Job(JobId(20))), (17, Purpose::Job(JobId(21)))]
    {
        let mut allocation = share(raw, 1000, 1, Phase::Active, None);
        allocation.id.purpose = purpose;
        allocation.in_share = false;
        allocation.terms.max = amount(4000, 8 * GIB);
        image.allocations.push(allocation);
    }
    for job in &mut image.jobs {
        if let JobKind::Submit(work) = &mut Arc::make_mut(job).kind {
            work.kept = Bytes(4321);
        }
    }
    image.reserved = Some(JobId(1));
    metered(image)
}

/// Everything that version 6 could say.
fn image_of_6() -> Image {
    let mut image = image_of_5();
    let (lags, wide) = (&mut image.fairness, (1 << 100) + 77);
    (lags.half_life_ms, lags.tau_ms, lags.epoch) = (345_600_000, 21_600_000, Time(500));
    (lags.contested, lags.level) = (1 << 65, wide);
    let weight = Weight::new(2500).unwrap();
    lags.accounts.insert(uid(101), Account { had: wide, since: 12_345, rate: 1 << 32, weight, waits: true });
    lags.accounts.insert(uid(102), Account { had: 12_345, ..Account::default() });
    image
}

/// Everything that version 7 could say.
fn image_of_7() -> Image {
    let mut image = image_of_6();
    let ids = |ids: &[u64]| ids.iter().copied().map(JobId).collect();
    let apart = [
        Apart { after: ids(&[4, 6]), after_any: ids(&[7]), ..Apart::default() },
        Apart { begin: Some(Time(2 * HOUR)), held: true, ..Apart::default() },
    ];
    let precedence = Precedence { first: 3, priority: Priority::checked(99).unwrap() };
    let mut jobs: Vec<Job> = Vec::new();
    for (id, apart) in (22..).zip(apart) {
        let mut kind = work(Some("later"), Some(Ask { precedence, ..ask() }), false);
        if let JobKind::Submit(work) = &mut kind {
            (work.kept, work.apart) = (Bytes(4321), Some(Box::new(apart)));
            work.output = Some("/home/alice/%j.out".into());
        }
        let state = JobState::Queued { since: Time(5000) };
        jobs.push(Job { id: JobId(id), uid: uid(1), kind, created: now(1500), state });
    }
    let end = JobEnd::Unreached("Job 4, after which it was to run, failed".into());
    let state = JobState::Ended { started: None, ended: now(3000), end };
    jobs.push(Job {
        id: JobId(24),
        uid: uid(104),
        kind: work(None, Some(ask()), false),
        created: now(1500),
        state,
    });
    image.jobs.extend(jobs.into_iter().map(Arc::new));
    image
}

/// Everything that version 8 could say: arrays, of which one waits for a task of its own.
fn image_of_8() -> Image {
    let mut image = image_of_7();
    let indices = Indices::checked(1, 99, 2).unwrap();
    let worst = JobEnd::Ran(Ran {
        exit: Exit::Code(3),
        cause: None,
        peak: None,
        needed: None,
        mem_limit: None,
        cpu_usec: None,
        oom_kills: None,
    });
    for (id, full) in [(25, false), (26, true)] {
        let array = Array { next: Some(7), done: 2, failed: 1, ..Array::new(indices, Some(4)) };
        let mut kind = work(Some("sweep"), Some(ask()), false);
        if let JobKind::Submit(work) = &mut kind {
            (work.array, work.worst) = (Some(Box::new(array)), Some(worst.clone()));
            work.apart = full.then(|| Box::new(Apart { full, ..Apart::default() }));
        }
        let state = JobState::Queued { since: Time(5000) };
        image.jobs.push(Job { id: JobId(id), uid: uid(1), kind, created: now(1500), state }.into());
    }
    let mut kind = work(Some("sweep"), Some(ask()), false);
    if let JobKind::Submit(work) = &mut kind {
        work.task = Some(Task { of: JobId(25), index: 5 });
    }
    let state = JobState::Ended { started: Some(now(2000)), ended: now(3000), end: worst };
    image.jobs.push(Job { id: JobId(27), uid: uid(104), kind, created: now(1500), state }.into());
    image
}

/// With a command that waits to be tried again, one that was warned, and one at whose end something is run.
fn image() -> Image {
    let mut image = image_of_8();
    if let Some(job) = image.jobs.last_mut().map(Arc::make_mut)
        && let (JobKind::Submit(work), JobState::Ended { end: JobEnd::Ran(ran), .. }) =
            (&mut job.kind, &mut job.state)
    {
        let warning = Some(Warning { signal: 10, before_ms: 5000, sent: true });
        work.care = Care { warning, out_of_memory: OutOfMemory::Continue, notifies: false };
        ran.oom_kills = Some(3);
    }
    let mut kind = work(Some("flaky"), Some(ask()), false);
    if let JobKind::Submit(work) = &mut kind {
        work.again = Some(Again { retries: 3, requeue: true, failed: 1, tries: 2 });
        work.last = Some(Box::new(JobEnd::Interrupted));
        let left = Left { units: true, room: true };
        work.apart = Some(Box::new(Apart { begin: Some(Time(2 * HOUR)), left, ..Apart::default() }));
    }
    let state = JobState::Queued { since: Time(5000) };
    image.jobs.push(Job { id: JobId(28), uid: uid(1), kind, created: now(1500), state }.into());
    let mut kind = work(Some("notifies"), Some(ask()), false);
    if let JobKind::Submit(work) = &mut kind {
        work.care.notifies = true;
        work.ending = Some(Box::new(JobEnd::Ran(Ran::of(Exit::Code(3)))));
    }
    let state = JobState::Running { started: now(2000) };
    image.jobs.push(Job { id: JobId(29), uid: uid(1), kind, created: now(1500), state }.into());
    image
}

fn data(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/data/state").join(name)
}

fn read(name: &str) -> Image {
    state::parse(&fs::read(data(name)).unwrap()).unwrap()
}

#[test]
fn version_1_means_what_it_meant() {
    let timed_out = JobEnd::Failed("There was no room in time".into());
    assert_eq!(read("1"), image_since_1(timed_out.clone()));
    // Before there were submitted commands no share had been taken for one.
    let mut before = image_since_1(timed_out);
    for share in &mut before.allocations {
        (share.terms.goes, share.id.purpose, share.in_share) = (Goes::Released, Purpose::Standing, true);
    }
    assert_eq!(read("1-without-for-work"), before);
}

#[test]
fn version_2_means_what_it_meant() {
    assert_eq!(read("2"), image_of_2());
}

#[test]
fn version_4_means_what_it_meant() {
    assert_eq!(read("4"), image_of_4());
}

#[test]
fn version_5_means_what_it_meant() {
    assert_eq!(read("5"), image_of_5());
}

#[test]
fn version_6_means_what_it_meant() {
    assert_eq!(read("6"), image_of_6());
}

#[test]
fn version_7_means_what_it_meant() {
    assert_eq!(read("7"), image_of_7());
}

#[test]
fn version_8_means_what_it_meant() {
    assert_eq!(read("8"), image_of_8());
}

#[test]
fn version_3_means_what_it_meant() {
    assert_eq!(read("3"), image_of_3());
}

/// What is read goes on: the ledger that it makes adds up, and every reservation and place is there.
#[test]
fn a_ledger_goes_on_from_every_version() {
    for name in ["1", "1-without-for-work", "2", "3", "4", "5", "6", "7", "8", "9"] {
        let mut image = read(name);
        // A share that is held for a job which waits cannot be: such are in the file for their form only.
        let holders: BTreeSet<_> = image.allocations.iter().map(|share| share.id.uid).collect();
        image.jobs.retain(|job| !job.queued() || !holders.contains(&job.uid));
        let waiting = image.jobs.iter().filter(|job| job.queued()).count();
        let ledger = Ledger::restore(BootId("boot-one".into()), now(HOUR + 5000), image);
        ledger.audit();
        assert_eq!((ledger.waiting(), ledger.draining()), (waiting, true), "{name}");
        assert!(ledger.next_wakeup().is_some(), "{name}: expired shares are not lowered");
    }
}

/// The fields of a CBOR item, each with the names above it; numbers in a list have no name.
fn fields(item: &ciborium::Value, path: &str, found: &mut BTreeSet<String>) {
    match item {
        ciborium::Value::Map(entries) => {
            for (key, value) in entries {
                let path = format!("{path}.{}", key.as_text().unwrap());
                found.insert(path.clone());
                fields(value, &path, found);
            }
        }
        ciborium::Value::Array(items) => items.iter().for_each(|item| fields(item, path, found)),
        ciborium::Value::Text(_) | ciborium::Value::Integer(_) => {}
        ciborium::Value::Bool(_) | ciborium::Value::Null => {}
        other => panic!("{path}: {other:?} has no place in a state file"),
    }
}

/// A field that is added or taken away without another version is a file that one of two daemons calls damaged.
#[test]
fn the_fields_are_those_of_the_version() {
    let bytes = state::encode(&image()).unwrap();
    let mut found = BTreeSet::new();
    fields(&ciborium::from_reader(&bytes[20..]).unwrap(), "state", &mut found);
    let found: Vec<String> = found.into_iter().collect();
    let list = fs::read_to_string(data(&format!("{STATE_VERSION}.fields"))).unwrap();
    assert_eq!(
        found,
        list.lines().collect::<Vec<_>>(),
        "the records have other fields than version {STATE_VERSION}: raise STATE_VERSION, keep reading the old one"
    );
    let name = STATE_VERSION.to_string();
    assert_eq!(bytes, fs::read(data(&name)).unwrap(), "version {name} is written differently");
    assert_eq!(read(&name), image());
}

#[test]
fn every_version_has_a_file() {
    for version in 1..=STATE_VERSION {
        let bytes = fs::read(data(&version.to_string())).unwrap();
        assert_eq!(bytes[8..12], version.to_be_bytes(), "the file of version {version} is of another");
    }
}

#[test]
fn numbers_that_cannot_be_counted_from_are_no_state() {
    let absurd = Image { next_job: u64::MAX, ..image() };
    assert!(state::parse(&state::encode(&absurd).unwrap()).is_err());
}
