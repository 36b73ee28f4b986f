//! The order of who waits, made anew from what members hold and how far they are ahead.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use fairshare::testing::identity::{JobId, Uid};
use fairshare::testing::ledger::Ledger;
use fairshare::testing::ledger::time::Time;
use fairshare::testing::policy::Weight;

/// Of each member's own the last that was put first, then those of the highest priority, then those that came first. Weights are
/// honoured: the one with the reservation, then who has been first of theirs for a half-life, then each time
/// the member who has least for their weight, with all that is before.
pub fn by_brute_force(ledger: &Ledger, time: Time, patience: u64) {
    let places: Vec<_> = ledger.places().into_iter().map(|place| place.waiting).collect();
    let mut lines: BTreeMap<Uid, Vec<_>> = BTreeMap::new();
    let mut by_job = places.clone();
    by_job.sort_by_key(|waiting| {
        let (first, priority) = (waiting.precedence.first, waiting.precedence.priority);
        (Reverse(first), Reverse(priority), waiting.asked, waiting.job)
    });
    by_job.iter().for_each(|waiting| lines.entry(waiting.uid).or_default().push(*waiting));
    let reserved = ledger.image().reserved;
    let mut order: Vec<JobId> =
        places.iter().map(|waiting| waiting.job).filter(|job| Some(*job) == reserved).collect();
    let mut keys: BTreeMap<Uid, u128> =
        lines.iter().map(|(uid, line)| (*uid, ledger.key(*uid, line[0].weight))).collect();
    let mut aged: Vec<_> = lines.values().map(|line| line[0]).collect();
    aged.retain(|first| time.since(first.since) >= patience);
    aged.sort_by_key(|first| (first.since, first.job));
    let mut next = aged.into_iter();
    loop {
        let least = || {
            let firsts = lines.iter().filter_map(|(uid, line)| Some((keys[uid], line.first()?)));
            firsts.min_by_key(|(key, first)| (*key, first.since, first.job)).map(|(_, first)| *first)
        };
        let Some(taken) = next.next().or_else(least) else { break };
        let line = lines.get_mut(&taken.uid).unwrap();
        line.remove(0);
        // Of a member's next it is their first from now on.
        line.iter_mut().for_each(|next| next.since = time);
        *keys.get_mut(&taken.uid).unwrap() += ledger.weighs(taken.amount, taken.weight);
        order.extend(Some(taken.job).filter(|job| Some(*job) != reserved));
    }
    let places: Vec<JobId> = places.iter().map(|waiting| waiting.job).collect();
    assert_eq!(places, order, "the queue is out of order");
    is_told(ledger);
}

/// What members who wait are told of who comes before them is the order of the queue.
fn is_told(ledger: &Ledger) {
    let (places, whole) = (ledger.places(), ledger.capacity().whole());
    if places.iter().any(|place| !place.waiting.need().fits(whole)) {
        return;
    }
    let mut members: Vec<Uid> = Vec::new();
    for place in places.iter().filter(|place| place.held_back.is_none()) {
        members.extend(Some(place.waiting.uid).filter(|uid| !members.contains(uid)));
    }
    for (before, uid) in members.iter().enumerate() {
        let Some(told) = ledger.told_key(*uid, Weight::default()) else { return };
        assert_eq!((told.waits, told.others, told.before), (true, members.len() - 1, before), "uid {uid}");
    }
}
