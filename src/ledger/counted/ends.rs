//! When leases give back how much: sums over time, so that "from when is this much free" is a walk down a tree.
//!
//! A radix tree over milliseconds in one `BTreeMap`: 8 levels of 6 bits, each node with the sum below it.
//! Adding, removing and asking touch at most 8 * 64 nodes, whatever the number of leases.

use std::collections::BTreeMap;

use super::room::Room;
use crate::ledger::time::Time;

const BITS: u32 = 6;
const LEVELS: u32 = 8;
/// The last moment that is told apart: 8900 years.
const TIME_MAX: u64 = (1 << (BITS * LEVELS)) - 1;

#[derive(Debug, Clone, Copy, Default)]
struct Node {
    room: Room,
    leases: u64,
}

/// The ends of all leases that run.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ends {
    nodes: BTreeMap<(u32, u64), Node>,
}

impl Ends {
    /// A lease ends then and gives back this much.
    pub fn add(&mut self, end: Time, room: Room) {
        for key in path(end) {
            let node = self.nodes.entry(key).or_default();
            (node.room, node.leases) = (node.room.plus(room), node.leases + 1);
        }
    }

    /// That lease is no more.
    pub fn remove(&mut self, end: Time, room: Room) {
        for key in path(end) {
            let Some(node) = self.nodes.get_mut(&key) else {
                unreachable!("the end of a lease that nobody has is taken away");
            };
            (node.room, node.leases) = (node.room.less(room), node.leases - 1);
            if node.leases == 0 {
                self.nodes.remove(&key);
            }
        }
    }

    /// The first moment until which at least `need` is given back, and all that is by then.
    pub fn first_giving(&self, need: Room) -> Option<(Time, Room)> {
        let (mut prefix, mut given) = (0u64, Room::NONE);
        for level in 0..LEVELS {
            let first = prefix << BITS;
            let mut found = None;
            for ((_, at), node) in self.nodes.range((level, first)..=(level, first | ((1 << BITS) - 1))) {
                if need.fits(given.plus(node.room)) {
                    found = Some((*at, node.room));
                    break;
                }
                given = given.plus(node.room);
            }
            let (at, room) = found?;
            prefix = at;
            if level == LEVELS - 1 {
                given = given.plus(room);
            }
        }
        Some((Time(prefix), given))
    }
}

fn path(end: Time) -> impl Iterator<Item = (u32, u64)> {
    let end = end.0.min(TIME_MAX);
    (0..LEVELS).map(move |level| (level, end >> (BITS * (LEVELS - 1 - level))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(cpu: u128, mem: u128) -> Room {
        Room { cpu, mem }
    }

    #[test]
    fn the_first_moment_is_that_of_a_plain_walk() {
        let mut ends = Ends::default();
        let mut plain: Vec<(u64, Room)> = Vec::new();
        let mut seed = 7u64;
        let mut next = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..2000 {
            if next(3) == 0 && !plain.is_empty() {
                let at = usize::try_from(next(plain.len() as u64)).unwrap();
                let (end, gone) = plain.swap_remove(at);
                ends.remove(Time(end), gone);
            } else {
                let (end, gone) = (next(100_000), room(next(9).into(), next(9).into()));
                plain.push((end, gone));
                ends.add(Time(end), gone);
            }
            plain.sort_by_key(|(end, _)| *end);
            let need = room(next(200).into(), next(200).into());
            let mut sum = Room::NONE;
            let mut walked = None;
            for (end, gone) in &plain {
                if walked.is_some_and(|at| at < *end) {
                    break;
                }
                sum = sum.plus(*gone);
                if need.fits(sum) {
                    walked = Some(*end);
                }
            }
            let expected = walked.map(|end| (Time(end), sum));
            if need != Room::NONE {
                assert_eq!(ends.first_giving(need), expected);
            }
        }
    }
}
