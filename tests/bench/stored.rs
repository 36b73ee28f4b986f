//! How long it takes to store a change of the state, by how many wait.

use std::time::{Duration, Instant};

use fairshare::testing::identity::Uid;
use fairshare::testing::ledger::{Asked, BootId, Command, Ledger, Member, Now, Wait, Where};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};
use fairshare::testing::state::{self, StateFile};

/// What a write may take where 10 000 wait.
const WRITE_MAX: Duration = Duration::from_millis(10);
const MEMBERS: u64 = 100;
/// How many changes are written: fewer than after which the state file is written anew.
const CHANGES: u64 = 100;

fn submit(policy: &Policy, raw: u64) -> Command {
    let uid = Uid::new(raw).unwrap();
    let amount = PartialAmount { cpu: Some(MilliCpu(64_000)), mem: Some(Bytes(1 << 30)), tasks: None };
    let (user, policy) = (Some(format!("user{raw}")), policy.member(uid, &[]));
    let asked =
        Asked { amount, place: Where::Own, kept: Bytes(300), wait: Wait::Granted, ..Asked::default() };
    Command::Submit { member: Member { uid, user, policy, swap: Bytes(0) }, asked: Box::new(asked) }
}

/// Prints a table, and says where a figure that was promised is missed.
pub fn run() {
    let amount = |cpu, mem| Amount { cpu: MilliCpu(cpu), mem: Bytes(mem), tasks: Tasks(64) };
    let policy = Policy::simple(amount(1000, 1 << 30), amount(64_000, 64 << 30));
    println!("\na change of the state stored, on the disk of TMPDIR (10 000 who wait: at most 10 ms)");
    println!("{:>9} {:>12} {:>12} {:>12} {:>12}", "waiting", "state bytes", "anew", "median", "max");
    for n in [100, 1000, 9900] {
        let mut ledger = Ledger::new(BootId("bench".into()));
        let now = |ms| Now { boot_ms: ms, wall_ms: ms };
        let (cpu, mem) = (MilliCpu(64_000), Bytes(64 << 30));
        ledger.apply(now(1), Command::SetCapacity { cpu, mem }).unwrap();
        for raw in 1..=n {
            ledger.apply(now(raw), submit(&policy, 1 + raw % MEMBERS)).unwrap();
        }
        let dir = tempfile::tempdir().unwrap();
        let mut file = StateFile::open(dir.path()).unwrap();
        let mut timed = |ledger: &Ledger| {
            let started = Instant::now();
            file.save(ledger.image()).unwrap();
            started.elapsed()
        };
        let anew = timed(&ledger);
        let bytes = state::encode(&ledger.image()).unwrap().len();
        let store = |change| {
            ledger.apply(now(n + change), submit(&policy, 1 + change % MEMBERS)).unwrap();
            timed(&ledger)
        };
        let mut times: Vec<Duration> = (0..CHANGES).map(store).collect();
        times.sort_unstable();
        let ms = |time: Duration| format!("{:.2} ms", time.as_secs_f64() * 1e3);
        let (median, max) = (times[times.len() / 2], times[times.len() - 1]);
        let word = if max <= WRITE_MAX { "" } else { " **missed**" };
        println!("{n:>9} {bytes:>12} {:>12} {:>12} {:>12}{word}", ms(anew), ms(median), ms(max));
    }
}
