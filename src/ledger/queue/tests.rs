//! How much is looked at to find who is first.

use super::*;
use crate::ledger::fairness::{Fairness, Lags};
use crate::ledger::job::{Ask, JobKind};
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};
use crate::time::Now;

const MEMBERS: u64 = 1000;
const PLACES: usize = 128;
const HOUR_MS: u64 = 3_600_000;

fn waiting(job: u64, uid: Uid) -> Waiting {
    let amount = Amount { cpu: MilliCpu(1000), mem: Bytes(1), tasks: Tasks(1) };
    let ask = Ask {
        user: None,
        asked: Time(0),
        named: PartialAmount::default(),
        named_lease_ms: None,
        amount,
        swap: Bytes(0),
        lease_ms: Some(HOUR_MS),
        weight: Weight::default(),
        terms: Default::default(),
        precedence: Default::default(),
    };
    let kind = JobKind::Request(Box::new(ask));
    let created = Now { boot_ms: 0, wall_ms: 0 };
    let state = JobState::Queued { since: Time(0) };
    Waiting::of(&Job { id: JobId(job), uid, kind, created, state }).unwrap()
}

/// A thousand members wait with ten thousand requests on a machine of 128 places. Every second or minute some work ends, and
/// whoever is first begins.
#[test]
fn who_is_first_is_found_by_few_keys() {
    let (half_life_ms, tau_ms) = (96 * HOUR_MS, 6 * HOUR_MS);
    let mut books = Books::new(Fairness::new(Lags::new(half_life_ms, tau_ms)));
    let mut queue = Queue::default();
    let uid = |who: u64| Uid::new(who + 1).unwrap();
    for job in 0..10 * MEMBERS {
        queue.add(waiting(job + 1, uid(job % MEMBERS)), &books);
    }
    let set = |books: &mut Books, queue: &mut Queue, who: Uid, held: usize| {
        books.fairness.hold(who, (held << 32) as u64 / PLACES as u64);
        queue.rekey(who, books);
    };
    for who in (0..MEMBERS).map(uid) {
        books.fairness.wait(who, Some(Weight::default()));
    }
    // Whose work is in which place.
    let mut places = Vec::new();
    let held = |places: &[Uid], who: Uid| places.iter().filter(|of| **of == who).count();
    let mut dice = 7u64;
    for apart_ms in [1000, 60_000] {
        let (mut keys, mut decisions) = (0, 0);
        while decisions < 1500 {
            books.fairness.pass(Time(books.fairness.lags().last.0 + apart_ms));
            if places.len() == PLACES {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let ends = places.swap_remove(usize::try_from(dice >> 33).unwrap() % PLACES);
                set(&mut books, &mut queue, ends, held(&places, ends));
            }
            // One of whose work ends, one of who begins.
            keys += 2 + queue.freshen(&books);
            decisions += 1;
            let first = *queue.fair.first().unwrap();
            let key = |uid: Uid| books.fairness.key(uid, Weight::default());
            let turns =
                queue.lines.iter().map(|(uid, line)| (key(*uid), line.since, line.jobs.first(), *uid));
            assert_eq!(turns.min().map(|turn| turn.3), Some(first.3), "another is first");
            places.push(first.3);
            set(&mut books, &mut queue, first.3, held(&places, first.3));
        }
        assert!(keys <= 8 * decisions, "{keys} keys for {decisions} decisions, {apart_ms} ms apart");
    }
}
