//! Members, policies and a dice, for the ledger's tests.

use std::time::Duration;

use fairshare::testing::enforced::{Enforced, KernelLimits, Limit};
use fairshare::testing::identity::{AllocationId, Uid};
use fairshare::testing::ledger::allocation::{Goes, Keeps};
use fairshare::testing::ledger::apart::When;
use fairshare::testing::ledger::array::Array;
use fairshare::testing::ledger::refusal::Refusal;
use fairshare::testing::ledger::{
    Asked, BootId, Command, Effect, Ledger, Member, Now, Order, Outcome, Rules, Wait, Where,
};
use fairshare::testing::policy::{self, Kept, Machine, Policy, QueueRule, Reserve, Weight};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::simulate::trace::{Arrival, Trace};
use fairshare::testing::simulate::{Report, replay};

pub const GIB: u64 = 1 << 30;

/// What every share here uses when its lease is over.
pub const USED: Keeps = Keeps { mem: Bytes(GIB), tasks: Tasks(3) };

pub fn uid(raw: u64) -> Uid {
    Uid::new(raw).unwrap()
}

/// The standing allocation of the member with this number.
pub fn own(raw: u64) -> AllocationId {
    AllocationId::standing(uid(raw))
}

pub fn amount(cpu_milli: u64, mem: u64) -> Amount {
    Amount { cpu: MilliCpu(cpu_milli), mem: Bytes(mem), tasks: Tasks(100) }
}

/// What the kernel holds of a share that has exactly what it is to have.
pub fn held(enforced: Enforced) -> KernelLimits {
    let Enforced { most, burst: _, swap, weight, low } = enforced;
    KernelLimits {
        cpu: Some(enforced.quota()),
        mem: Some(Limit::At(most.mem)),
        swap: Some(Limit::At(swap)),
        tasks: Some(Limit::At(most.tasks)),
        weight: Some(weight),
        idle: Some(weight == 0),
        low: Some(Limit::At(low)),
    }
}

pub fn named(cpu_milli: u64, mem: u64) -> PartialAmount {
    PartialAmount { cpu: Some(MilliCpu(cpu_milli)), mem: Some(Bytes(mem)), tasks: None }
}

/// 2 CPU and 2 GiB by default, 8 and 8 at most.
pub fn policy() -> Policy {
    Policy::simple(amount(2000, 2 * GIB), Amount { tasks: Tasks(32_768), ..amount(8000, 8 * GIB) })
}

/// The same with weights, in thousandths.
pub fn weighted(weights: &[(u64, u64)]) -> Policy {
    let rules = |milli: u64| policy::Rules { weight: Weight::new(milli), ..policy::Rules::default() };
    Policy {
        users: weights.iter().map(|(raw, milli)| (uid(*raw), rules(*milli))).collect(),
        ..self::policy()
    }
}

pub fn member(policy: &Policy, raw: u64) -> Member {
    Member {
        uid: uid(raw),
        user: Some(format!("u{raw}")),
        policy: policy.member(uid(raw), &[]),
        swap: Bytes(0),
    }
}

pub fn at(ms: u64) -> Now {
    Now { boot_ms: ms, wall_ms: 1_000_000_000 + ms }
}

pub fn request(
    policy: &Policy,
    raw: u64,
    figures: PartialAmount,
    lease_ms: Option<u64>,
    wait: Wait,
) -> Command {
    let lease = lease_ms.map(Duration::from_millis);
    Command::Request { member: member(policy, raw), amount: figures, lease, wait }
}

/// What a policy says of all, with a tau of a sixteenth and a patience of one half-life, and leases of an hour at most.
pub fn rules(half_life_ms: u64, evict: bool) -> Command {
    let half_life = Duration::from_millis(half_life_ms);
    Command::SetRules(Rules {
        half_life,
        tau: half_life / 16,
        patience: half_life,
        queue: QueueRule::default(),
        order: Order::Fair,
        lease_max: Some(Duration::from_secs(3600)),
        evict,
    })
}

/// A ledger of 8 CPU and 8 GiB.
pub fn ledger() -> Ledger {
    let mut ledger = Ledger::new(BootId("first".into()));
    ledger.apply(at(0), Command::SetCapacity { cpu: MilliCpu(8000), mem: Bytes(8 * GIB) }).unwrap();
    ledger
}

/// Settles every grant, resize and withdrawal among the effects, and what follows from that.
pub fn settle_all(ledger: &mut Ledger, now: Now, effects: Vec<Effect>) -> Vec<Effect> {
    let mut all = Vec::new();
    let mut open = effects;
    while let Some(effect) = open.pop() {
        let id = match effect {
            Effect::Grant(id) | Effect::Withdraw(id) | Effect::Resize { id, .. } => Some(id),
            Effect::Stop { id, .. } | Effect::Evict { id, .. } => Some(id),
            Effect::Renew(id) | Effect::Lower(id) => Some(id),
            _ => None,
        };
        if let Some(id) = id {
            let outcome = match effect {
                Effect::Lower(_) => Outcome::Lowered(USED),
                _ => Outcome::Done,
            };
            open.extend(ledger.apply(now, Command::Settle { id, outcome }).unwrap());
        }
        all.push(effect);
    }
    all
}

/// Says it, and has all of it carried out.
pub fn say(ledger: &mut Ledger, ms: u64, command: Command) -> Result<Vec<Effect>, Refusal> {
    let effects = ledger.apply(at(ms), command)?;
    let all = settle_all(ledger, at(ms), effects);
    ledger.audit();
    Ok(all)
}

/// A command with room of its own, which waits where there is none. So much of it is kept on disk.
pub fn submit(
    policy: &Policy,
    raw: u64,
    amount: PartialAmount,
    time_limit_ms: Option<u64>,
    kept: Bytes,
) -> Command {
    let time_limit = time_limit_ms.map(Duration::from_millis);
    submitted(policy, raw, Asked { amount, place: Where::Own, time_limit, kept, ..waits() })
}

/// The same without a time limit, when it is to start.
pub fn submit_when(policy: &Policy, raw: u64, amount: PartialAmount, when: When) -> Command {
    submitted(policy, raw, Asked { amount, when, ..waits() })
}

/// An array of such, each of whose tasks has such a time limit.
pub fn submit_array(
    policy: &Policy,
    raw: u64,
    amount: PartialAmount,
    array: Array,
    (time_limit, when): (Option<Duration>, When),
) -> Command {
    let array = Some(Box::new(array));
    submitted(policy, raw, Asked { amount, place: Where::Own, time_limit, when, array, ..waits() })
}

/// What waits where there is no room.
pub fn waits() -> Asked {
    Asked { kept: Bytes(9), wait: Wait::Granted, ..Asked::default() }
}

/// A member's command, with what is asked for.
pub fn submitted(policy: &Policy, raw: u64, asked: Asked) -> Command {
    Command::Submit { member: member(policy, raw), asked: Box::new(asked) }
}

/// One request of the member with this number, from 0: so much, for so long.
pub fn arrival(at_ms: u64, user: usize, figures: PartialAmount, runs_ms: u64) -> Arrival {
    Arrival { line: 0, at_ms, user, amount: figures, runs_ms, lease_ms: Some(runs_ms) }
}

/// What came of the requests by `until_ms`, where all of a machine of so many CPUs and GiB can be handed out. The first
/// member has the uid 1.
pub fn replayed(mut policy: Policy, [cpu, gib]: [u64; 2], arrivals: Vec<Arrival>, until_ms: u64) -> Report {
    policy.reserve = Reserve { cpu: Kept::Named(MilliCpu(0)), mem: Kept::Named(Bytes(0)) };
    let members = arrivals.iter().map(|arrival| arrival.user + 1).max().unwrap_or(0);
    let users = (1..=members).map(|n| n.to_string()).collect();
    let trace = Trace { users, arrivals, ..Trace::default() };
    let machine = Machine { cpu: MilliCpu(cpu * 1000), mem: Bytes(gib * GIB) };
    let account = |name: &str| Some((uid(name.parse().unwrap()), Vec::new()));
    replay(&trace, &policy, machine, (Some(until_ms), Order::Fair), account).unwrap()
}

/// xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators, scrambled", 2016.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    pub fn new(seed: u64) -> Self {
        Self((seed ^ 0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9) | 1)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 32) % bound
    }
}

/// The allocation that an effect is about, where it is settled.
pub fn of(effect: &Effect, ledger: &Ledger) -> Option<AllocationId> {
    match effect {
        Effect::Grant(id) | Effect::Lower(id) | Effect::Renew(id) | Effect::Withdraw(id) => Some(*id),
        Effect::Resize { id, .. } | Effect::Stop { id, .. } | Effect::Evict { id, .. } => Some(*id),
        Effect::Start { job, .. } | Effect::CallBack { job, .. } => ledger.jobs().get(job)?.home(),
        Effect::Pause { job, .. } | Effect::Warn { job, .. } => ledger.jobs().get(job)?.home(),
        Effect::Enter { id, .. } => Some(*id),
        Effect::Queued { .. } | Effect::Notify(_) => None,
    }
}

/// Whether no command runs without a time limit: its likely end is no promise.
pub fn rests_on_leases(ledger: &Ledger) -> bool {
    !ledger.allocations().values().any(|held| held.terms.goes == Goes::WithWork && held.lease.is_none())
}
