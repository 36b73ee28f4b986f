//! A trace of requests through the same ledger, in virtual time: what a policy would have done.
//!
//! Each request is a submitted command, which brings an allocation of its own, and waits from the moment at which it arrives.
//! systemd does what it is told at once.

mod envy;
pub mod trace;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::time::Duration;

use crate::identity::{AllocationId, Gid, JobId, Uid};
use crate::ledger::allocation::Keeps;
use crate::ledger::counted::room::Room;
use crate::ledger::fairness;
use crate::ledger::job::JobEnd;
use crate::ledger::{Asked, BootId, Command, Effect, Ledger, Member, Now, Outcome, Rules, Wait, Where};
use crate::policy::{Machine, Policy, QueueRule};
use envy::{Standing, envious};
use trace::{Arrival, BadLine, Trace};

pub use crate::ledger::Order;

/// How many refused requests, and how many lines that were left out, are named.
pub const LINES_NAMED_MAX: usize = 100;

/// The run time below which slowdown is not counted, in milliseconds: "bounded slowdown" (Feitelson and Rudolph, 1998).
pub const SLOWDOWN_RUN_MS_MIN: u64 = 10_000;

/// Where members of a trace whom the system does not know are put.
const UID_STRANGERS: u64 = 2_000_000_000;

/// What came of it.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Report {
    /// Requests in the trace.
    pub requests: u64,
    /// Of these granted.
    pub granted: u64,
    /// Of these refused.
    pub refused: u64,
    /// The first of the refused, and why.
    pub refused_lines: Vec<BadLine>,
    /// Lines of the trace that were left out.
    pub skipped: u64,
    /// The first of these, and why.
    pub skipped_lines: Vec<BadLine>,
    /// From arrival to grant, in milliseconds: the mean.
    pub wait_mean_ms: u64,
    /// The wait that 95 of 100 do not exceed.
    pub wait_p95_ms: u64,
    /// The longest.
    pub wait_max_ms: u64,
    /// The longest time for which a request was the first of its member's before it was granted.
    pub first_max_ms: u64,
    /// How long members envied, all together: waited with less than an equal part of the machine for their weight, while another
    /// had more than theirs and one piece.
    pub envy_ms: u64,
    /// (wait + run) / run, of runs over ten seconds, and at least 1: the mean.
    pub slowdown_mean: f64,
    /// From the first arrival to the last end, in milliseconds.
    pub makespan_ms: u64,
    /// The part of the CPU that was held over that time.
    pub utilisation_cpu: f64,
    /// The part of the memory.
    pub utilisation_mem: f64,
    /// Member by member.
    pub users: Vec<UserReport>,
}

/// What one member got.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct UserReport {
    /// The name, as in the trace.
    pub user: String,
    /// Requests.
    pub requests: u64,
    /// Of these granted.
    pub granted: u64,
    /// The mean wait, in milliseconds.
    pub wait_mean_ms: u64,
    /// CPU held times time, in seconds of one CPU.
    pub cpu_seconds: f64,
    /// The part of all dominant share times time that was this member's.
    pub share: f64,
}

/// The policy cannot be simulated: its reserve leaves nothing of this machine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the policy's reserve leaves nothing of this machine to hand out")]
pub struct NothingToHandOut;

#[derive(Debug, Clone, Default)]
struct Person {
    requests: u64,
    granted: u64,
    wait_ms: u128,
    cpu_milli_ms: u128,
    dominant_ms: f64,
}

struct Replay<'a> {
    trace: &'a Trace,
    ledger: Ledger,
    members: Vec<Member>,
    by_uid: BTreeMap<Uid, usize>,
    people: Vec<Person>,
    /// What each holds and waits for now.
    standings: Vec<Standing>,
    /// Since when that has been counted.
    watched_ms: u64,
    envy_ms: u128,
    first_max_ms: u64,
    /// The requests that wait, by their jobs.
    waiting: BTreeMap<JobId, usize>,
    /// Ends of work, with whose it is and which dominant share.
    ends: BinaryHeap<Reverse<(u64, JobId, usize, u64)>>,
    waits: Vec<u64>,
    slowdown: f64,
    held: (u128, u128),
    refused: u64,
    refused_lines: Vec<BadLine>,
}

/// Replays `trace` on `machine` under `policy`, until it is over or, where named, for `until_ms` from its beginning, with who waits
/// served in this order; `account` says whom the system knows by a name.
///
/// # Errors
/// The policy leaves nothing of the machine to hand out.
pub fn replay(
    trace: &Trace,
    policy: &Policy,
    machine: Machine,
    (until_ms, order): (Option<u64>, Order),
    mut account: impl FnMut(&str) -> Option<(Uid, Vec<Gid>)>,
) -> Result<Report, NothingToHandOut> {
    let (cpu, mem) = policy.capacity(machine).ok_or(NothingToHandOut)?;
    let members: Vec<Member> = (UID_STRANGERS..)
        .zip(&trace.users)
        .map(|(stranger, name)| {
            let (uid, groups) =
                account(name).unwrap_or((Uid::new(stranger).unwrap_or(Uid::ROOT), Vec::new()));
            Member { uid, user: None, policy: policy.member(uid, &groups), swap: policy.swap }
        })
        .collect();
    let mut replay = Replay {
        trace,
        ledger: Ledger::new(BootId("simulated".to_owned())),
        by_uid: members.iter().enumerate().map(|(index, member)| (member.uid, index)).collect(),
        people: vec![Person::default(); members.len()],
        standings: members.iter().map(|member| Standing::new(member.policy.weight.milli())).collect(),
        watched_ms: 0,
        envy_ms: 0,
        first_max_ms: 0,
        members,
        waiting: BTreeMap::new(),
        ends: BinaryHeap::new(),
        waits: Vec::with_capacity(trace.arrivals.len()),
        slowdown: 0.0,
        held: (0, 0),
        refused: 0,
        refused_lines: Vec::new(),
    };
    let start = trace.arrivals.first().map_or(0, |arrival| arrival.at_ms);
    replay.watched_ms = start;
    replay.say(start, Command::SetCapacity { cpu, mem });
    // Nothing is evicted: work in a trace ends when it ends.
    replay.say(
        start,
        Command::SetRules(Rules {
            half_life: policy.half_life,
            tau: policy.tau,
            patience: policy.patience,
            order,
            queue: QueueRule { member: usize::MAX, all: usize::MAX, ..policy.queue },
            lease_max: policy.lease_max,
            evict: false,
        }),
    );
    let end = replay.run(start, until_ms.map_or(u64::MAX, |ms| start.saturating_add(ms)));
    Ok(replay.report(end.saturating_sub(start)))
}

impl Replay<'_> {
    /// Runs to the end of the trace; when that is.
    fn run(&mut self, start: u64, until: u64) -> u64 {
        let mut now = start;
        let mut next = 0;
        loop {
            let arrival = self.trace.arrivals.get(next).map(|arrival| arrival.at_ms);
            let end = self.ends.peek().map(|Reverse((at, ..))| *at);
            let Some(event) = [arrival, end].into_iter().flatten().min() else { return now };
            if event > until {
                return now;
            }
            // Leases that end at this very moment end before anybody is let in by what happens at it.
            let due = |tick: &u64| *tick < event || (*tick == event && now < event);
            if let Some(tick) = self.ledger.next_wakeup().filter(due) {
                now = now.max(tick);
                self.watch(now);
                self.say(now, Command::Tick);
                continue;
            }
            now = event;
            self.watch(now);
            if end == Some(now) {
                if let Some(Reverse((_, job, who, piece))) = self.ends.pop() {
                    if let Some(standing) = self.standings.get_mut(who) {
                        standing.gives_back(piece);
                    }
                    self.say(now, Command::WorkEnded { job, end: JobEnd::Done });
                }
            } else if let Some(arrival) = self.trace.arrivals.get(next) {
                self.arrived(now, next, *arrival);
                next += 1;
            }
        }
    }

    /// Counts until `now` what has been so since the last event.
    fn watch(&mut self, now: u64) {
        let passed = now.saturating_sub(self.watched_ms);
        self.watched_ms = self.watched_ms.max(now);
        if passed > 0 && self.ledger.waiting() > 0 {
            let fairness = self.ledger.fairness();
            let held = |who: usize| self.members.get(who).map_or(0, |member| fairness.rate(member.uid));
            self.envy_ms += u128::from(envious(&self.standings, held)) * u128::from(passed);
        }
    }

    fn arrived(&mut self, now: u64, index: usize, arrival: Arrival) {
        let Some(member) = self.members.get(arrival.user) else { return };
        if let Some(person) = self.people.get_mut(arrival.user) {
            person.requests += 1;
        }
        let longest = member.policy.lease_max.unwrap_or(Duration::MAX);
        let asked = Asked {
            amount: arrival.amount,
            place: Where::Own,
            time_limit: arrival.lease_ms.map(|lease| Duration::from_millis(lease).min(longest)),
            wait: Wait::Granted,
            ..Asked::default()
        };
        let command = Command::Submit { member: member.clone(), asked: Box::new(asked) };
        // Ids count up: that of the request is the next.
        let job = JobId(self.ledger.next_job());
        self.waiting.insert(job, index);
        if let Some(standing) = self.standings.get_mut(arrival.user) {
            standing.waits(job, now);
        }
        match self.ledger.apply(moment(now), command) {
            Ok(effects) => self.carry_out(now, effects),
            Err(refusal) => {
                self.waiting.remove(&job);
                if let Some(standing) = self.standings.get_mut(arrival.user) {
                    standing.leaves(job, now);
                }
                self.refused += 1;
                if self.refused_lines.len() < LINES_NAMED_MAX {
                    self.refused_lines.push(BadLine { line: arrival.line, why: refusal.to_string() });
                }
            }
        }
    }

    fn say(&mut self, now: u64, command: Command) {
        // What is said here is never refused: outcomes, ends, a passing of time.
        if let Ok(effects) = self.ledger.apply(moment(now), command) {
            self.carry_out(now, effects);
        }
    }

    fn carry_out(&mut self, now: u64, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Grant(id) | Effect::Withdraw(id) => {
                    self.say(now, Command::Settle { id, outcome: Outcome::Done });
                }
                Effect::Start { uid, job } => self.granted(now, uid, job),
                // What work uses of its memory no trace says: all of it.
                Effect::Lower(id) => {
                    let Some(amount) = self.ledger.allocation(id).map(|held| held.amount) else { continue };
                    let keeps = Keeps { mem: amount.mem, tasks: amount.tasks };
                    self.say(now, Command::Settle { id, outcome: Outcome::Lowered(keeps) });
                }
                // Nobody here asks for what these carry out.
                Effect::Resize { .. }
                | Effect::Renew(_)
                | Effect::Stop { .. }
                | Effect::Evict { .. }
                | Effect::CallBack { .. }
                | Effect::Pause { .. }
                | Effect::Warn { .. }
                | Effect::Enter { .. } => {}
                Effect::Queued { .. } | Effect::Notify(_) => {}
            }
        }
    }

    fn granted(&mut self, now: u64, uid: Uid, job: JobId) {
        let whole = self.ledger.capacity().whole();
        let id = AllocationId::of_job(uid, job);
        let Some(amount) = self.ledger.allocation(id).map(|held| held.amount) else { return };
        let Some(who) = self.by_uid.get(&uid).copied() else { return };
        let Some(person) = self.people.get_mut(who) else { return };
        let arrival = self.waiting.remove(&job).and_then(|index| self.trace.arrivals.get(index));
        let Some(Arrival { at_ms, runs_ms, lease_ms, .. }) = arrival.copied() else { return };
        // What would run beyond the time that it wanted is stopped at its end, as a command is.
        let runs_ms = runs_ms.min(lease_ms.unwrap_or(runs_ms));
        let wait = now.saturating_sub(at_ms);
        self.waits.push(wait);
        let bound = runs_ms.max(SLOWDOWN_RUN_MS_MIN) as f64;
        self.slowdown += ((wait.saturating_add(runs_ms)) as f64 / bound).max(1.0);
        let time = u128::from(runs_ms);
        let (cpu, mem) = (u128::from(amount.cpu.0), u128::from(amount.mem.0));
        (self.held.0, self.held.1) =
            (self.held.0 + cpu * time, self.held.1.saturating_add(mem.saturating_mul(time)));
        person.granted += 1;
        person.wait_ms += u128::from(wait);
        person.cpu_milli_ms += cpu * time;
        let dominant = (cpu as f64 / whole.cpu as f64).max(mem as f64 / whole.mem as f64);
        person.dominant_ms += dominant * runs_ms as f64;
        let piece = fairness::dominant(Room::of(amount), whole);
        if let Some(standing) = self.standings.get_mut(who) {
            self.first_max_ms = self.first_max_ms.max(standing.leaves(job, now));
            standing.takes(piece);
        }
        self.ends.push(Reverse((now.saturating_add(runs_ms), job, who, piece)));
    }

    fn report(mut self, makespan_ms: u64) -> Report {
        self.waits.sort_unstable();
        let whole = self.ledger.capacity().whole();
        let granted = self.waits.len() as u64;
        let sum: u128 = self.waits.iter().map(|wait| u128::from(*wait)).sum();
        let mean = |sum: u128, count: u64| {
            u64::try_from(sum.checked_div(u128::from(count)).unwrap_or(0)).unwrap_or(u64::MAX)
        };
        // The nearest rank: of 20 waits the 19th.
        let rank = (self.waits.len() * 95).div_ceil(100).max(1) - 1;
        let part = |held: u128, whole: u128| {
            let all = whole as f64 * makespan_ms as f64;
            if all > 0.0 { held as f64 / all } else { 0.0 }
        };
        let all: f64 = self.people.iter().map(|person| person.dominant_ms).sum();
        let users = self.trace.users.iter().zip(&self.people).map(|(user, person)| UserReport {
            user: user.clone(),
            requests: person.requests,
            granted: person.granted,
            wait_mean_ms: mean(person.wait_ms, person.granted),
            cpu_seconds: person.cpu_milli_ms as f64 / 1e6,
            share: if all > 0.0 { person.dominant_ms / all } else { 0.0 },
        });
        Report {
            requests: self.trace.arrivals.len() as u64,
            granted,
            refused: self.refused,
            skipped: self.trace.skipped.len() as u64,
            skipped_lines: self.trace.skipped.iter().take(LINES_NAMED_MAX).cloned().collect(),
            wait_mean_ms: mean(sum, granted),
            wait_p95_ms: self.waits.get(rank).copied().unwrap_or(0),
            wait_max_ms: self.waits.last().copied().unwrap_or(0),
            first_max_ms: self.first_max_ms,
            envy_ms: u64::try_from(self.envy_ms).unwrap_or(u64::MAX),
            slowdown_mean: if granted > 0 { self.slowdown / granted as f64 } else { 0.0 },
            makespan_ms,
            utilisation_cpu: part(self.held.0, whole.cpu),
            utilisation_mem: part(self.held.1, whole.mem),
            users: users.collect(),
            refused_lines: self.refused_lines,
        }
    }
}

fn moment(ms: u64) -> Now {
    Now { boot_ms: ms, wall_ms: ms }
}

impl Report {
    /// Jain's index of what members got: 1 where all got the same, 1/n where one got all (Jain, Chiu, Hawe, DEC-TR-301, 1984).
    pub fn jain(&self) -> f64 {
        let sum: f64 = self.users.iter().map(|user| user.share).sum();
        let squares: f64 = self.users.iter().map(|user| user.share * user.share).sum();
        if squares > 0.0 { sum * sum / (squares * self.users.len() as f64) } else { 1.0 }
    }
}
