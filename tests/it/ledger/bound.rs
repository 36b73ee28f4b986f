//! Nobody waits for ever: the bound that `ledger::advance` states, against everyone who would have it broken.

use std::time::Duration;

use fairshare::testing::identity::Purpose;
use fairshare::testing::ledger::{Canceller, Command, Ledger, Wait};
use fairshare::testing::policy::Policy;
use fairshare::testing::quantity::Bytes;

use super::village::{GIB, at, ledger, member, named, own, policy, request, rules, settle_all, uid};

const HALF_LIFE_MS: u64 = 360_000;
const LEASE_MS: u64 = 60_000;
/// How often someone fresh arrives: twenty in the time of a lease, where eight have room.
const ARRIVAL_MS: u64 = 3000;
/// How many want the whole machine, one after the other.
const LARGE: u64 = 4;
/// The first of those who come once, and have used nothing.
const FRESH: u64 = 1000;

/// Says it and has it carried out, unless it is refused.
fn say(ledger: &mut Ledger, ms: u64, command: Command) {
    if let Ok(effects) = ledger.apply(at(ms), command) {
        settle_all(ledger, at(ms), effects);
    }
}

/// Time passes from one arrival to the next, with a tick whenever the ledger wants one.
fn pass(ledger: &mut Ledger, until_ms: u64) {
    while let Some(tick) = ledger.next_wakeup().filter(|tick| *tick <= until_ms) {
        say(ledger, tick, Command::Tick);
    }
}

/// Two come who have used nothing and ask for little, one to wait and one at once; and who of their like holds something
/// tries to hold it for longer, and more of it.
fn crowd(ledger: &mut Ledger, policy: &Policy, ms: u64) {
    let fresh = FRESH + 2 * (ms / ARRIVAL_MS);
    for (who, wait) in [(fresh, Wait::Granted), (fresh + 1, Wait::No)] {
        say(ledger, ms, request(policy, who, named(1000, GIB), Some(LEASE_MS), wait));
    }
    let held: Vec<u64> =
        ledger.allocations().keys().map(|id| id.uid.get().into()).filter(|who| *who >= FRESH).collect();
    for who in held {
        let lease = Duration::from_millis(LEASE_MS);
        say(ledger, ms, Command::Renew { member: member(policy, who), of: Purpose::Standing, lease });
        let amount = named(2000, 2 * GIB);
        say(
            ledger,
            ms,
            Command::Resize { member: member(policy, who), of: Purpose::Standing, amount, in_use: Bytes(0) },
        );
    }
}

#[test]
fn who_wants_all_is_granted_it_within_the_bound_however_many_come_who_used_nothing_and_want_little() {
    let (mut ledger, policy) = (ledger(), policy());
    say(&mut ledger, 0, rules(HALF_LIFE_MS, false));
    let whole = |who, wait| request(&policy, who, named(8000, 8 * GIB), Some(LEASE_MS), wait);
    // Those who want all have had all before while somebody waited, so that everyone fresh goes before them.
    for who in 1..=LARGE {
        let start = (who - 1) * LEASE_MS;
        pass(&mut ledger, start);
        say(&mut ledger, start, whole(who, Wait::No));
        assert!(ledger.allocation(own(who)).is_some());
        say(&mut ledger, start, request(&policy, FRESH - 1, named(1000, GIB), Some(LEASE_MS), Wait::Granted));
        pass(&mut ledger, start + LEASE_MS - 1);
        let (job, by) = (ledger.places()[0].waiting.job, Canceller::Member(uid(FRESH - 1)));
        say(&mut ledger, start + LEASE_MS - 1, Command::Cancel { job, by });
    }
    let asked = LARGE * LEASE_MS;
    pass(&mut ledger, asked);
    crowd(&mut ledger, &policy, asked);
    for who in 1..=LARGE {
        assert_eq!(ledger.waiting() as u64, who - 1, "nobody else is before the {who}.");
        say(&mut ledger, asked, whole(who, Wait::Granted));
    }
    let mut ms = asked;
    for who in 1..=LARGE {
        while ledger.allocation(own(who)).is_none() {
            let waited = ms - asked;
            assert!(waited <= HALF_LIFE_MS + who * LEASE_MS, "the {who}. has waited {waited} ms");
            ms += ARRIVAL_MS;
            pass(&mut ledger, ms);
            crowd(&mut ledger, &policy, ms);
        }
        // The first has the reservation from the first moment on, and nobody takes it from them.
        assert!(who == 1 || ms - asked > HALF_LIFE_MS, "nobody went before the {who}.");
    }
}
