//! What is to be held outside of shares, and what is given back. Pure.

use std::collections::{BTreeMap, BTreeSet};

use super::members::Found;
use crate::cgroup::{Memory, with_margin};
use crate::identity::{LOGINS, Uid};
use crate::policy::Policy;
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Tasks};
use crate::systemd::outside::Figure;

/// Figures of one unit, in the units of systemd's properties.
pub type Figures = BTreeMap<Figure, u64>;

/// A figure that was set in this boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// What it was set to last.
    pub set: u64,
    /// What it was before it was set first: what the unit has without fairshare.
    pub was: u64,
    /// How far that is.
    pub stage: Stage,
}

/// How far it is with a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// systemd is told. Until it has answered it may have what it was told before.
    Telling,
    /// systemd has it.
    Held,
    /// The unit has what it was, and whoever changes that is the administrator.
    Back,
}

/// What was set of one unit in this boot.
pub type KeptOfUnit = BTreeMap<Figure, Kept>;

/// Memory that is in use is rounded up to whole steps of so many bytes where it is more than the baseline.
const MEM_STEP_BYTES: u64 = 16 << 20;

/// The least margin beside memory that is in use, in bytes.
const MEM_MARGIN_BYTES_MIN: u64 = 16 << 20;

/// Whose logins a slice is of; `None` for other units.
pub fn of_login(unit: &str) -> Option<Uid> {
    let uid = Uid::new(unit.strip_prefix("user-")?.strip_suffix(".slice")?.parse().ok()?)?;
    (uid.login_slice() == unit).then_some(uid)
}

/// What each unit is to have, of those that the policy holds and those of `kept` that were set in this boot. A unit without
/// figures gets back what it had. Logins of whom the user database has not said whether they are members are left out: they
/// stay as they are.
pub fn wanted(
    policy: &Policy,
    uid_min: u32,
    found: &Found,
    kept: &BTreeMap<String, KeptOfUnit>,
) -> BTreeMap<String, Figures> {
    let unknown = |unit: &str| {
        policy.holds_logins()
            && of_login(unit).is_some_and(|uid| {
                let known = found.members.contains_key(&uid) || found.strangers.contains(&uid);
                !known && uid.get() >= uid_min
            })
    };
    let mut wanted: BTreeMap<String, Figures> =
        kept.keys().filter(|unit| !unknown(unit)).map(|unit| (unit.clone(), Figures::new())).collect();
    for (uid, account) in found.members.iter().filter(|(uid, _)| uid.get() >= uid_min) {
        let login = policy.login(*uid, account.user.as_deref().unwrap_or_default(), &account.groups);
        if !login.is_empty() {
            wanted.insert(uid.login_slice(), figures(login));
        }
    }
    if let Some(mem) = policy.logins {
        wanted
            .insert(LOGINS.to_owned(), figures(PartialAmount { mem: Some(mem), ..PartialAmount::default() }));
    }
    wanted.extend(policy.others.iter().map(|(unit, held)| (unit.clone(), figures(*held))));
    wanted
}

fn figures(amount: PartialAmount) -> Figures {
    let PartialAmount { cpu, mem, tasks } = amount;
    [
        cpu.map(|MilliCpu(milli)| (Figure::Cpu, milli.saturating_mul(1000))),
        mem.map(|Bytes(bytes)| (Figure::Mem, bytes)),
        tasks.map(|Tasks(tasks)| (Figure::Tasks, tasks)),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// What a unit's figures are to be: those that are wanted, and for those that were set and are not wanted what was before, until
/// they have that. A figure of which the administrator has said something is not in it.
pub fn targets(wanted: &Figures, kept: &KeptOfUnit, said: &BTreeSet<Figure>) -> Figures {
    let held = kept.iter().filter(|(_, kept)| kept.stage != Stage::Back);
    let mut targets: Figures = held.map(|(figure, kept)| (*figure, kept.was)).collect();
    targets.extend(wanted);
    targets.retain(|figure, _| !said.contains(figure));
    targets
}

/// The limit that nothing dies of: the figure, or what is in use and cannot be taken back, with a margin, where that is more.
/// Never more than the figure and the limit that holds: else whoever fills what they have would get more with each look.
pub fn spare(figure: u64, holds: u64, memory: Memory) -> u64 {
    let kept = memory.current.0.saturating_sub(memory.reclaimable.0);
    let needed = with_margin(kept, MEM_MARGIN_BYTES_MIN);
    let limit = needed.div_ceil(MEM_STEP_BYTES).saturating_mul(MEM_STEP_BYTES);
    if needed <= figure { figure } else { limit.min(holds.max(figure)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::account::Account;
    use crate::systemd::property::NO_LIMIT;
    use proptest::prelude::*;

    fn uid(raw: u64) -> Uid {
        Uid::new(raw).expect("a user id")
    }

    fn held(cpu: u64) -> PartialAmount {
        PartialAmount { cpu: Some(MilliCpu(cpu)), mem: Some(Bytes(1 << 30)), tasks: Some(Tasks(100)) }
    }

    fn policy() -> Policy {
        let amount = crate::quantity::Amount { cpu: MilliCpu(1000), mem: Bytes(1 << 30), tasks: Tasks(9) };
        Policy { baseline: held(2000), ..Policy::simple(amount, amount) }
    }

    fn found(members: &[u64], strangers: &[u64]) -> Found {
        let account = |raw: &u64| {
            (uid(*raw), Account { uid: uid(*raw), user: Some(format!("u{raw}")), groups: vec![] })
        };
        Found {
            asked: 0,
            members: members.iter().map(account).collect(),
            strangers: strangers.iter().map(|raw| uid(*raw)).collect(),
            unanswered: None,
        }
    }

    #[test]
    fn a_slice_of_logins_is_named_by_the_user_id_and_by_nothing_else() {
        assert_eq!(of_login("user-1001.slice"), Some(uid(1001)));
        for other in [
            "user-01001.slice",
            "user-.slice",
            "user-+1.slice",
            "user.slice",
            "user-4294967295.slice",
            "user-1-2.slice",
        ] {
            assert_eq!(of_login(other), None, "{other}");
        }
    }

    #[test]
    fn who_is_a_member_is_held_who_left_gets_it_back_and_who_is_not_known_keeps_it() {
        let kept = |raw: u64| {
            let kept = Kept { set: 1, was: NO_LIMIT, stage: Stage::Held };
            (uid(raw).login_slice(), KeptOfUnit::from([(Figure::Cpu, kept)]))
        };
        let kept = BTreeMap::from([kept(900), kept(1001), kept(1002), kept(1003)]);
        let found = found(&[0, 999, 1001, 1004], &[1002]);
        let named = |policy: &Policy| -> Vec<(String, usize)> {
            let wanted = wanted(policy, 1000, &found, &kept);
            wanted.into_iter().map(|(unit, figures)| (unit, figures.len())).collect()
        };
        let figures = |uids: &[(u64, usize)]| -> Vec<(String, usize)> {
            uids.iter().map(|(raw, figures)| (uid(*raw).login_slice(), *figures)).collect()
        };
        let mut expected = figures(&[(1001, 3), (1002, 0), (1004, 3), (900, 0)]);
        assert_eq!(named(&policy()), expected, "an account of the system is not held, whenever it was");
        // Nobody has to be known to be free where nobody is held.
        expected = figures(&[(1001, 0), (1002, 0), (1003, 0), (900, 0)]);
        assert_eq!(named(&Policy { baseline: PartialAmount::default(), ..policy() }), expected);
    }

    #[test]
    fn without_a_baseline_all_that_was_set_is_given_back() {
        let bare = Policy { baseline: PartialAmount::default(), ..policy() };
        let kept = BTreeMap::from([
            ("user-1001.slice".to_owned(), KeptOfUnit::new()),
            ("user.slice".to_owned(), KeptOfUnit::new()),
            ("cron.service".to_owned(), KeptOfUnit::new()),
        ]);
        let all = wanted(&bare, 1000, &found(&[1001], &[]), &kept);
        assert_eq!((all.len(), all.values().all(BTreeMap::is_empty)), (3, true));
        let others = [("cron.service".to_owned(), held(500))].into();
        let some = Policy { logins: Some(Bytes(7 << 30)), others, ..bare };
        let all = wanted(&some, 1000, &found(&[1001], &[]), &kept);
        assert_eq!(all["user.slice"], Figures::from([(Figure::Mem, 7 << 30)]));
        assert_eq!(all["cron.service"][&Figure::Cpu], 500_000);
    }

    #[test]
    fn a_limit_is_never_under_what_is_in_use_and_cannot_be_taken_back() {
        let memory = |current: u64, reclaimable: u64| Memory {
            current: Bytes(current << 20),
            reclaimable: Bytes(reclaimable << 20),
        };
        let free = |figure: u64, memory| spare(figure << 20, NO_LIMIT, memory) >> 20;
        assert_eq!(free(256, memory(200, 0)), 256);
        assert_eq!(free(256, memory(9000, 8900)), 256);
        assert_eq!(free(256, memory(600, 0)), 640);
        assert_eq!(free(256, memory(250, 0)), 272);
        assert_eq!(spare(NO_LIMIT, NO_LIMIT, memory(600, 0)), NO_LIMIT);
    }

    #[test]
    fn who_fills_what_they_have_does_not_get_more() {
        let memory = |current: u64| Memory { current: Bytes(current << 20), reclaimable: Bytes(0) };
        assert_eq!(spare(256 << 20, 256 << 20, memory(255)) >> 20, 256);
        assert_eq!(spare(256 << 20, 640 << 20, memory(639)) >> 20, 640);
        assert_eq!(spare(256 << 20, 640 << 20, memory(500)) >> 20, 544);
        assert_eq!(spare(700 << 20, 640 << 20, memory(639)) >> 20, 700);
    }

    fn some_figures() -> impl Strategy<Value = Figures> {
        proptest::collection::btree_map((0usize..3).prop_map(|at| Figure::ALL[at]), 1u64..9, 0..4)
    }

    proptest! {
        #[test]
        fn what_is_set_is_what_is_wanted_or_what_was_and_never_what_the_administrator_said(
            wanted in some_figures(),
            kept in some_figures(),
            back in proptest::collection::btree_set((0usize..3).prop_map(|at| Figure::ALL[at]), 0..4),
            said in proptest::collection::btree_set((0usize..3).prop_map(|at| Figure::ALL[at]), 0..4),
        ) {
            let stage = |figure| if back.contains(&figure) { Stage::Back } else { Stage::Held };
            let kept: KeptOfUnit = kept
                .into_iter()
                .map(|(figure, was)| (figure, Kept { set: was + 100, was, stage: stage(figure) }))
                .collect();
            let targets = targets(&wanted, &kept, &said);
            for figure in Figure::ALL {
                let right = match (said.contains(&figure), wanted.get(&figure), kept.get(&figure)) {
                    (true, ..) | (false, None, None) => None,
                    (false, Some(wanted), _) => Some(*wanted),
                    (false, None, Some(kept)) => (kept.stage != Stage::Back).then_some(kept.was),
                };
                prop_assert_eq!(targets.get(&figure).copied(), right);
            }
            // Once they are set, and once they are not wanted any more.
            let after: KeptOfUnit = targets
                .iter()
                .map(|(figure, set)| {
                    let was = kept.get(figure).map_or(7, |kept| kept.was);
                    (*figure, Kept { set: *set, was, stage: Stage::Held })
                })
                .collect();
            prop_assert_eq!(&super::targets(&wanted, &after, &said), &targets);
            let back = super::targets(&Figures::new(), &after, &said);
            prop_assert!(back.iter().all(|(figure, value)| *value == after[figure].was));
            prop_assert_eq!(back.len(), after.len());
        }

        #[test]
        fn nothing_dies_of_a_limit_and_none_grows_over_the_figure(
            figure in 0u64..1 << 40,
            holds in 0u64..1 << 41,
            thousandths in 0u64..1001,
            reclaimable in 0u64..1 << 40,
        ) {
            // No more is in use than the limit that holds lets be.
            let current = holds / 1000 * thousandths;
            let memory = Memory { current: Bytes(current), reclaimable: Bytes(reclaimable) };
            let limit = spare(figure, holds, memory);
            prop_assert!(limit >= figure && limit >= current.saturating_sub(reclaimable));
            prop_assert!(limit <= figure.max(holds));
            let needed = with_margin(current.saturating_sub(reclaimable), MEM_MARGIN_BYTES_MIN);
            prop_assert!(limit == figure || limit < needed + MEM_STEP_BYTES);
        }
    }
}
