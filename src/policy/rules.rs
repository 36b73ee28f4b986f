//! From what the files say to a policy: what must be there, what must not be above what.

use std::collections::BTreeMap;

use super::Overcommit;
use super::cursor::{At, Wrong};
use super::draft::{AmountDraft, Draft, HeldDraft, RulesDraft, UnfoundDraft};
use super::figure::{Count, Time};
use super::yaml::{Fault, KeyPath, Position};
use super::{
    Entry, HALF_LIFE_DEFAULT, HISTORY_KEEP_DEFAULT, Kept, LEASE_MIN, LoginRule, PATIENCE_DEFAULT, Policy,
    QueueRule, Reserve, Rules, Said, TASKS_DEFAULT, TASKS_MAX_DEFAULT, TAU_DEFAULT, Unfound,
};
use crate::quantity::{Amount, Bytes, MilliCpu, PartialAmount, Tasks};

impl Draft {
    /// The policy that the files make together.
    ///
    /// # Errors
    /// A figure that must be there is not; a default is above its max.
    pub fn finish(mut self) -> Result<Policy, Wrong> {
        let unfound = self.unfound.take().unwrap_or_default();
        let defaults =
            Required { amount: &self.defaults, key: "defaults", example: "defaults: {cpu: 2, mem: 8G}" };
        let max = Required { amount: &self.max, key: "max", example: "max: {cpu: 8, mem: 32G}" };
        let cpu = MilliCpu::in_order(defaults.cpu()?, max.cpu()?)?;
        let mem = Bytes::in_order(defaults.mem()?, max.mem()?)?;
        let tasks_max = value(&self.max.tasks).unwrap_or(TASKS_MAX_DEFAULT);
        below(&self.defaults.tasks, &self.max.tasks, TASKS_MAX_DEFAULT, "max.tasks")?;
        if let (Some(default), Some(max)) = (&self.lease_default, &self.lease_max) {
            Time::in_order(default, max)?;
        }
        for lease in [&self.lease_default, &self.lease_max].into_iter().flatten() {
            if lease.value.0 < LEASE_MIN {
                let (least, is) = (Time(LEASE_MIN), lease.value);
                return Err(lease.wrong(format!("must be at least {least}, and {is} is not")));
            }
        }
        let max = Amount { cpu: cpu.1, mem: mem.1, tasks: tasks_max };
        let tasks = value(&self.defaults.tasks).unwrap_or(TASKS_DEFAULT.min(tasks_max));
        let lease_max = value(&self.lease_max).map(|time| time.0);
        Ok(Policy {
            defaults: Amount { cpu: cpu.0, mem: mem.0, tasks },
            max,
            reserve: Reserve {
                cpu: value(&self.reserve_cpu).map_or(Kept::Default, |kept| Kept::Named(kept.0)),
                mem: value(&self.reserve_mem).map_or(Kept::Default, |kept| Kept::Named(kept.0)),
            },
            overcommit: Overcommit {
                cpu: value(&self.overcommit_cpu).unwrap_or_default(),
                mem: value(&self.overcommit_mem).unwrap_or_default(),
            },
            swap: value(&self.swap).map_or(Bytes(0), |swap| swap.0),
            // Without a default a request that names no lease would be held for longer than the longest.
            lease_default: value(&self.lease_default).map(|time| time.0).or(lease_max),
            lease_max,
            idle: value(&self.idle).map(|time| time.0),
            burst: value(&self.burst),
            half_life: value(&self.half_life).map_or(HALF_LIFE_DEFAULT, |time| time.0),
            tau: value(&self.tau).map_or(TAU_DEFAULT, |time| time.0),
            patience: value(&self.patience).map_or(PATIENCE_DEFAULT, |time| time.0),
            queue: self.queue(),
            history_keep: value(&self.history_keep).map_or(HISTORY_KEEP_DEFAULT, |time| time.0),
            baseline: held(&self.baseline),
            logins: value(&self.logins_mem).map(|mem| mem.0),
            io: self.io.finish(entries(&self, &unfound).map(|rules| &rules.io))?,
            others: self.others.iter().map(|(unit, draft)| (unit.clone(), held(draft))).collect(),
            users: finish_rules(&self.users, "users", max)?,
            groups: finish_rules(&self.groups, "groups", max)?,
            unfound: Unfound::of(
                finish_unfound(&unfound.users, "users", max)?,
                finish_unfound(&unfound.groups, "groups", max)?,
            ),
            visibility: value(&self.visibility).unwrap_or_default(),
            evict: value(&self.evict).unwrap_or(false),
            from_sandboxes: value(&self.from_sandboxes).unwrap_or(false),
        })
    }
}

impl Draft {
    fn queue(&self) -> QueueRule {
        let QueueRule { member, all, running } = QueueRule::default();
        let count = |draft: &Option<At<Count>>, or: usize| value(draft).map_or(or, |count: Count| count.0);
        QueueRule {
            member: count(&self.queue_member, member),
            all: count(&self.queue_all, all),
            running: count(&self.queue_running, running),
        }
    }
}

/// All that is said of single users and groups.
fn entries<'a>(draft: &'a Draft, unfound: &'a UnfoundDraft) -> impl Iterator<Item = &'a RulesDraft> {
    let found = draft.users.values().chain(draft.groups.values());
    let named = unfound.users.values().chain(unfound.groups.values());
    found.chain(named.map(|(rules, _)| rules))
}

fn finish_rules<Id: Copy + Ord>(
    drafts: &BTreeMap<Id, RulesDraft>,
    key: &str,
    general: Amount,
) -> Result<BTreeMap<Id, Rules>, Wrong> {
    drafts.iter().map(|(id, draft)| Ok((*id, finish_entry(draft, key, general)?))).collect()
}

fn finish_unfound(
    drafts: &BTreeMap<String, (RulesDraft, At<()>)>,
    key: &str,
    general: Amount,
) -> Result<BTreeMap<String, Entry>, Wrong> {
    let entry = |(draft, at): &(RulesDraft, At<()>)| {
        let (rules, file, position) = (finish_entry(draft, key, general)?, at.file, at.position);
        Ok(Entry { rules, file, position, said: Said::Nothing })
    };
    drafts.iter().map(|(name, of)| Ok((name.clone(), entry(of)?))).collect()
}

fn finish_entry(draft: &RulesDraft, key: &str, general: Amount) -> Result<Rules, Wrong> {
    let path = KeyPath::default().below(key).below(&draft.name).below("max");
    let (defaults, max) = (&draft.defaults, &draft.max);
    // Only what the entry itself names as a default is held against its max: a general default that is above
    // it is nobody's mistake, and `Policy::member` gives the max then.
    below(&defaults.cpu, &max.cpu, general.cpu, &path.below("cpu").to_string())?;
    below(&defaults.mem, &max.mem, general.mem, &path.below("mem").to_string())?;
    below(&defaults.tasks, &max.tasks, general.tasks, &path.below("tasks").to_string())?;
    Ok(Rules {
        defaults: partial(defaults),
        max: partial(max),
        weight: value(&draft.weight),
        role: value(&draft.role),
        baseline: login_rule(draft),
        burst: value(&draft.burst),
        io: draft.io.rule,
    })
}

/// What is said of the logins; nothing, where no figure is named.
fn login_rule(draft: &RulesDraft) -> Option<LoginRule> {
    let figures = held(&draft.baseline);
    match draft.free {
        true => Some(LoginRule::Free),
        false => (!figures.is_empty()).then_some(LoginRule::Held(figures)),
    }
}

fn held(draft: &HeldDraft) -> PartialAmount {
    PartialAmount {
        cpu: value(&draft.cpu).map(|cpu| cpu.0),
        mem: value(&draft.mem).map(|mem| mem.0),
        tasks: value(&draft.tasks).map(|tasks| tasks.0),
    }
}

fn partial(draft: &AmountDraft) -> PartialAmount {
    PartialAmount { cpu: value(&draft.cpu), mem: value(&draft.mem), tasks: value(&draft.tasks) }
}

fn value<T: Copy>(at: &Option<At<T>>) -> Option<T> {
    at.as_ref().map(|at| at.value)
}

/// `defaults` or `max` of everyone, whose figures must be there.
struct Required<'a> {
    amount: &'a AmountDraft,
    key: &'static str,
    example: &'static str,
}

impl<'a> Required<'a> {
    fn cpu(&self) -> Result<&'a At<MilliCpu>, Wrong> {
        self.amount.cpu.as_ref().ok_or_else(|| self.missing("cpu"))
    }

    fn mem(&self) -> Result<&'a At<Bytes>, Wrong> {
        self.amount.mem.as_ref().ok_or_else(|| self.missing("mem"))
    }

    /// What is not written has no position: the key above it has, else the top of the first file.
    fn missing(&self, figure: &str) -> Wrong {
        let key = KeyPath::default().below(self.key);
        let problem = format!("missing: add it, as in {}", self.example);
        match &self.amount.at {
            Some(at) => {
                let fault = Fault { position: at.position, key: key.below(figure), problem };
                Wrong { file: at.file, fault }
            }
            None => Wrong { file: 0, fault: Fault { position: Position::START, key, problem } },
        }
    }
}

/// Refuses a default above its max, or above `general` where no max is named at `max_key`.
fn below<T: Limit>(
    default: &Option<At<T>>,
    max: &Option<At<T>>,
    general: T,
    max_key: &str,
) -> Result<(), Wrong> {
    match (default, max) {
        (None, _) => Ok(()),
        (Some(default), Some(max)) => T::in_order(default, max).map(drop),
        (Some(default), None) if default.value <= general => Ok(()),
        (Some(default), None) => Err(default.wrong(format!(
            "must be at most {}, and {} is not: lower it or add {max_key}",
            general.shown(),
            default.value.shown(),
        ))),
    }
}

/// A figure that can be a default and a max.
trait Limit: Copy + Ord {
    /// As a policy takes it.
    fn shown(self) -> String;

    /// Refuses `default > max`: at `max`, unless only a later file brought the default that is above it.
    fn in_order(default: &At<Self>, max: &At<Self>) -> Result<(Self, Self), Wrong> {
        let (low, high) = (default.value, max.value);
        if low <= high {
            return Ok((low, high));
        }
        let (low, high) = (low.shown(), high.shown());
        if default.file > max.file {
            return Err(default.wrong(format!("must be at most {} ({high}), and {low} is not", max.key)));
        }
        Err(max.wrong(format!("must be at least {} ({low}), and {high} is not", default.key)))
    }
}

impl Limit for MilliCpu {
    fn shown(self) -> String {
        self.to_string()
    }
}

impl Limit for Bytes {
    fn shown(self) -> String {
        self.exact()
    }
}

impl Limit for Tasks {
    fn shown(self) -> String {
        self.to_string()
    }
}

impl Limit for Time {
    fn shown(self) -> String {
        self.to_string()
    }
}
