//! How long the ledger takes, alone: it is pure, so that a loop is enough.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use fairshare::testing::identity::{AllocationId, Uid};
use fairshare::testing::ledger::{BootId, Command, Effect, Ledger, Member, Now, Order, Outcome, Wait};
use fairshare::testing::policy::{Machine, Policy};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::simulate::replay;
use fairshare::testing::simulate::trace::{BadLines, Format, Trace};

/// What `apply` may take at 10 000 shares and 10 000 who wait, 99 times of 100.
const APPLY_P99_MAX: Duration = Duration::from_micros(50);
/// What a million requests may take.
const MILLION_MAX: Duration = Duration::from_secs(10);

struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

fn policy() -> Policy {
    let amount = |cpu, mem| Amount { cpu: MilliCpu(cpu), mem: Bytes(mem), tasks: Tasks(64) };
    Policy::simple(amount(1000, 1 << 30), amount(64_000, 64 << 30))
}

fn request(policy: &Policy, raw: u64, dice: &mut Dice, wait: Wait) -> Command {
    let uid = Uid::new(raw).unwrap();
    let amount = PartialAmount {
        cpu: Some(MilliCpu(500 + 10 * dice.below(100))),
        mem: Some(Bytes((1 << 29) + (dice.below(1024) << 20))),
        tasks: None,
    };
    let member =
        Member { uid, user: Some(format!("u{raw}")), policy: policy.member(uid, &[]), swap: Bytes(0) };
    let lease = Some(Duration::from_secs(600 + dice.below(36_000)));
    Command::Request { member, amount, lease, wait }
}

/// `n` shares held, `n` who wait, and then a churn of releases, requests, renewals and ticks: each apply timed.
fn churn(n: u64) -> (u64, Vec<Duration>) {
    let (policy, mut dice) = (policy(), Dice(n));
    let mut ledger = Ledger::new(BootId("bench".into()));
    let mut ms = 1000;
    let mut times = Vec::new();
    let mut say = |ledger: &mut Ledger, ms: u64, command: Command| {
        let now = Now { boot_ms: ms, wall_ms: ms };
        let started = Instant::now();
        let said = ledger.apply(now, command);
        times.push(started.elapsed());
        said.unwrap_or_default()
    };
    // A quarter of a waiter more than fits, so that about n hold and n wait.
    let (cpu, mem) = (MilliCpu(n * 1000), Bytes(n << 30));
    say(&mut ledger, ms, Command::SetCapacity { cpu, mem });
    let mut open: Vec<Effect> = Vec::new();
    for raw in 1..=2 * n {
        open.extend(say(&mut ledger, ms, request(&policy, raw, &mut dice, Wait::Granted)));
    }
    let mut held: Vec<AllocationId> = Vec::new();
    let rounds = 20_000.max(n);
    for round in 0..rounds {
        while let Some(effect) = open.pop() {
            if let Effect::Grant(id) | Effect::Withdraw(id) = effect {
                if matches!(effect, Effect::Grant(_)) {
                    held.push(id);
                }
                open.extend(say(&mut ledger, ms, Command::Settle { id, outcome: Outcome::Done }));
            }
        }
        ms += dice.below(50);
        if held.is_empty() {
            break;
        }
        let at = usize::try_from(dice.below(held.len() as u64)).unwrap();
        match round % 4 {
            0 | 1 => {
                let id = held.swap_remove(at);
                let release = Command::Release { id, populated: false, stop: false };
                open.extend(say(&mut ledger, ms, release));
                while let Some(effect) = open.pop() {
                    if let Effect::Grant(id) = effect {
                        held.push(id);
                    }
                    if let Effect::Grant(id) | Effect::Withdraw(id) = effect {
                        open.extend(say(&mut ledger, ms, Command::Settle { id, outcome: Outcome::Done }));
                    }
                }
                open.extend(say(
                    &mut ledger,
                    ms,
                    request(&policy, id.uid.get().into(), &mut dice, Wait::Granted),
                ));
            }
            2 => open.extend(say(&mut ledger, ms, request(&policy, 3 * n + round, &mut dice, Wait::No))),
            _ => {
                open.extend(say(&mut ledger, ms, Command::Enter { id: held[at] }));
                open.extend(say(&mut ledger, ms, Command::Tick));
            }
        }
    }
    ledger.audit();
    let waiting = ledger.waiting() as u64;
    // What filled the ledger is not what is measured.
    let measured = times.split_off(usize::try_from(2 * n + 1).unwrap());
    (waiting, measured)
}

fn applies() {
    println!("ledger::apply, as many shares held as requests waiting (p99 with 10 000: at most 50 µs)");
    println!("{:>9} {:>9} {:>9} {:>9} {:>9}", "held", "waiting", "median", "p99", "max");
    for n in [100, 1000, 10_000, 100_000] {
        let (waiting, mut times) = churn(n);
        times.sort_unstable();
        let rank = |part: usize| times[(times.len() - 1) * part / 1000];
        let us = |time: Duration| format!("{:.1} µs", time.as_secs_f64() * 1e6);
        let word = if n != 10_000 || rank(990) <= APPLY_P99_MAX { "" } else { " **missed**" };
        println!("{n:>9} {waiting:>9} {:>9} {:>9} {:>9}{word}", us(rank(500)), us(rank(990)), us(rank(1000)));
    }
}

fn million() {
    let requests = if cfg!(debug_assertions) { 20_000 } else { 1_000_000 };
    let mut dice = Dice(7);
    let mut text = String::from("arrival_s,user,cpu,mem,wanted_s\n");
    let mut at = 0;
    for _ in 0..requests {
        at += dice.below(1100);
        let (user, cpu, mem) = (dice.below(2000), 1 + dice.below(4), 1 + dice.below(8));
        let wanted = 10 + dice.below(300);
        writeln!(text, "{}.{:03},u{user},{cpu},{mem}G,{wanted}", at / 1000, at % 1000).unwrap();
    }
    let machine = Machine { cpu: MilliCpu(640_000), mem: Bytes(1280 << 30) };
    let started = Instant::now();
    let trace = Trace::parse(&text, Format::Csv, BadLines::Refuse).unwrap();
    let parsed = started.elapsed();
    let report = replay(&trace, &policy(), machine, (None, Order::Fair), |_| None).unwrap();
    let took = started.elapsed();
    let word = if took <= MILLION_MAX { "" } else { " **missed**" };
    println!(
        "\npolicy simulate: {requests} requests in {took:.2?}{word} (at most 10 s), of which parsing {parsed:.2?}"
    );
    println!(
        "  granted {} refused {} wait mean {} s p95 {} s max {} s, slowdown {:.1}, CPU {:.1} %, Jain {:.3}",
        report.granted,
        report.refused,
        report.wait_mean_ms / 1000,
        report.wait_p95_ms / 1000,
        report.wait_max_ms / 1000,
        report.slowdown_mean,
        report.utilisation_cpu * 100.0,
        report.jain(),
    );
    assert_eq!(report.granted + report.refused, requests);
}

/// Prints a table, and says where a figure that was promised is missed.
pub fn run() {
    applies();
    million();
}
