//! What the files say so far: figures with their places, read file after file, each over the ones before it.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::io;
use std::str::FromStr;

use super::baseline::{Roomy, unit_to_hold};
use super::cursor::{At, Cursor, Wrong, yes_or_no};
use super::figure::{Count, OrNothing, Ratio, Swap, Time, Weight};
use super::io::IoDraft;
use super::yaml::Node;
use super::{Role, Visibility};
use crate::enforced::Burst;
use crate::identity::{Gid, Uid};
use crate::quantity::{Bytes, MilliCpu, Tasks};

/// What is written below `users` or `groups`.
const RULES_EXAMPLE: &str = "{NAME: {max: {cpu: 16, mem: 64G}}}";

/// What is written below `baseline` or a unit of `others`.
const HELD_EXAMPLE: &str = "{cpu: 2, mem: 4G, tasks: 2048}";

/// Users and groups by name.
pub trait Names {
    /// The user of this name; `None` where there is none.
    ///
    /// # Errors
    /// The users cannot be looked up now, so that nobody knows.
    fn user(&self, name: &str) -> io::Result<Option<Uid>>;

    /// The group of this name; `None` where there is none.
    ///
    /// # Errors
    /// The groups cannot be looked up now, so that nobody knows.
    fn group(&self, name: &str) -> io::Result<Option<Gid>>;
}

/// All that files may say; `None` for what none has said.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub defaults: AmountDraft,
    pub max: AmountDraft,
    pub reserve_cpu: Option<At<OrNothing<MilliCpu>>>,
    pub reserve_mem: Option<At<OrNothing<Bytes>>>,
    pub overcommit_cpu: Option<At<Ratio>>,
    pub overcommit_mem: Option<At<Ratio>>,
    pub swap: Option<At<Swap>>,
    pub lease_default: Option<At<Time>>,
    pub lease_max: Option<At<Time>>,
    pub idle: Option<At<Time>>,
    pub burst: Option<At<Burst>>,
    pub half_life: Option<At<Time>>,
    pub tau: Option<At<Time>>,
    pub patience: Option<At<Time>>,
    pub history_keep: Option<At<Time>>,
    pub queue_member: Option<At<Count>>,
    pub queue_all: Option<At<Count>>,
    pub queue_running: Option<At<Count>>,
    pub baseline: HeldDraft,
    pub logins_mem: Option<At<Roomy<Bytes>>>,
    pub others: BTreeMap<String, HeldDraft>,
    pub io: IoDraft,
    pub users: BTreeMap<Uid, RulesDraft>,
    pub groups: BTreeMap<Gid, RulesDraft>,
    /// Users and groups that are looked up later; `None` where each name must be that of somebody.
    pub unfound: Option<UnfoundDraft>,
    pub visibility: Option<At<Visibility>>,
    pub evict: Option<At<bool>>,
    pub from_sandboxes: Option<At<bool>>,
}

/// Figures of CPU, memory and tasks under one key.
#[derive(Debug)]
pub(super) struct FiguresDraft<C, M, T> {
    /// The key itself.
    pub at: Option<At<()>>,
    pub cpu: Option<At<C>>,
    pub mem: Option<At<M>>,
    pub tasks: Option<At<T>>,
}

impl<C, M, T> Default for FiguresDraft<C, M, T> {
    fn default() -> Self {
        Self { at: None, cpu: None, mem: None, tasks: None }
    }
}

/// `defaults` or `max`, of everyone or of one user or group.
pub(super) type AmountDraft = FiguresDraft<MilliCpu, Bytes, Tasks>;

/// What may be used outside of shares: `baseline`, of everyone or of one user or group, and one of `others`.
pub(super) type HeldDraft = FiguresDraft<Roomy<MilliCpu>, Roomy<Bytes>, Roomy<Tasks>>;

/// What is said of one user or group.
#[derive(Debug, Default)]
pub(super) struct RulesDraft {
    /// The name by which the files call it.
    pub name: String,
    pub defaults: AmountDraft,
    pub max: AmountDraft,
    pub weight: Option<At<Weight>>,
    pub role: Option<At<Role>>,
    pub baseline: HeldDraft,
    /// Whether `baseline` is `none`.
    pub free: bool,
    pub burst: Option<At<Burst>>,
    pub io: IoDraft,
}

/// What is said of names that are looked up later, by name, and where it was said first.
#[derive(Debug, Default)]
pub(super) struct UnfoundDraft {
    pub users: BTreeMap<String, (RulesDraft, At<()>)>,
    pub groups: BTreeMap<String, (RulesDraft, At<()>)>,
}

impl Draft {
    /// Lays what a file says over what was said before.
    ///
    /// # Errors
    /// A key that is none, a value that is none for its key, a name that nobody has.
    pub fn read(&mut self, file: usize, top: &Node, names: &dyn Names) -> Result<(), Wrong> {
        let top = Cursor::top(file, top);
        for (name, at) in top.entries("defaults: {cpu: 2, mem: 8G}")? {
            match name {
                "defaults" => self.defaults.read(&at, "{cpu: 2, mem: 8G}")?,
                "max" => self.max.read(&at, "{cpu: 8, mem: 32G}")?,
                "reserve" => self.read_reserve(&at)?,
                "overcommit" => self.read_overcommit(&at)?,
                "swap" => self.swap = Some(at.figure()?),
                "lease" => self.read_lease(&at)?,
                "idle" => self.idle = Some(at.figure()?),
                "burst" => read_burst(&mut self.burst, &at)?,
                "fairness" => self.read_fairness(&at)?,
                "queue" => self.read_queue(&at)?,
                "history" => self.read_history(&at)?,
                "baseline" => self.baseline.read(&at, HELD_EXAMPLE)?,
                "logins" => self.read_logins(&at)?,
                "others" => self.read_others(&at)?,
                "io" => self.io.read(&at)?,
                "users" => match &mut self.unfound {
                    Some(unfound) => read_unfound(&mut unfound.users, &at)?,
                    None => read_rules(&mut self.users, &at, "user", &|name| names.user(name))?,
                },
                "groups" => match &mut self.unfound {
                    Some(unfound) => read_unfound(&mut unfound.groups, &at)?,
                    None => read_rules(&mut self.groups, &at, "group", &|name| names.group(name))?,
                },
                "visibility" => {
                    let words = [("names", Visibility::Names), ("totals", Visibility::Totals)];
                    self.visibility = Some(at.word("must be names or totals", &words)?);
                }
                "from_sandboxes" => self.from_sandboxes = Some(yes_or_no(&at)?),
                "dangerous" => self.read_dangerous(&at)?,
                _ => {
                    return Err(at.unknown(
                        "defaults, max, reserve, overcommit, swap, lease, idle, burst, fairness, queue, history, baseline, logins, others, \
                         io, users, groups, from_sandboxes, visibility, dangerous",
                    ));
                }
            }
        }
        Ok(())
    }

    fn read_reserve(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{cpu: 1, mem: 2G}")? {
            match name {
                "cpu" => self.reserve_cpu = Some(at.figure()?),
                "mem" => self.reserve_mem = Some(at.figure()?),
                _ => return Err(at.unknown("cpu, mem")),
            }
        }
        Ok(())
    }

    fn read_overcommit(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{cpu: 1.5, mem: 1.0}")? {
            match name {
                "cpu" => self.overcommit_cpu = Some(at.figure()?),
                "mem" => self.overcommit_mem = Some(at.figure()?),
                _ => return Err(at.unknown("cpu, mem")),
            }
        }
        Ok(())
    }

    fn read_lease(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{default: 8h, max: 7d}")? {
            match name {
                "default" => self.lease_default = Some(at.figure()?),
                "max" => self.lease_max = Some(at.figure()?),
                _ => return Err(at.unknown("default, max")),
            }
        }
        Ok(())
    }

    fn read_fairness(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{half_life: 4d, tau: 6h, patience: 1d}")? {
            match name {
                "half_life" => self.half_life = Some(at.figure()?),
                "tau" => self.tau = Some(at.figure()?),
                "patience" => self.patience = Some(at.figure()?),
                _ => return Err(at.unknown("half_life, tau, patience")),
            }
        }
        Ok(())
    }

    fn read_queue(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{member: 1000, all: 10000, running: 0}")? {
            match name {
                "member" => self.queue_member = Some(at.figure()?),
                "all" => self.queue_all = Some(at.figure()?),
                "running" => self.queue_running = Some(at.figure()?),
                _ => return Err(at.unknown("member, all, running")),
            }
        }
        Ok(())
    }

    fn read_history(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{keep: 400d}")? {
            match name {
                "keep" => self.history_keep = Some(at.figure()?),
                _ => return Err(at.unknown("keep")),
            }
        }
        Ok(())
    }

    fn read_logins(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{mem: 32G}")? {
            match name {
                "mem" => self.logins_mem = Some(at.figure()?),
                _ => return Err(at.unknown("mem")),
            }
        }
        Ok(())
    }

    fn read_others(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (unit, at) in at.entries("{cron.service: {cpu: 2, mem: 2G}}")? {
            unit_to_hold(unit).map_err(|problem| at.key_fault(problem))?;
            self.others.entry(unit.to_owned()).or_default().read(&at, HELD_EXAMPLE)?;
        }
        Ok(())
    }

    fn read_dangerous(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{evict: false}")? {
            match name {
                "evict" => self.evict = Some(yes_or_no(&at)?),
                _ => return Err(at.unknown("evict")),
            }
        }
        Ok(())
    }
}

impl<C, M, T> FiguresDraft<C, M, T>
where
    C: FromStr<Err: Display>,
    M: FromStr<Err: Display>,
    T: FromStr<Err: Display>,
{
    fn read(&mut self, at: &Cursor<'_>, example: &str) -> Result<(), Wrong> {
        self.at = Some(at.key_at());
        for (name, at) in at.entries(example)? {
            match name {
                "cpu" => self.cpu = Some(at.figure()?),
                "mem" => self.mem = Some(at.figure()?),
                "tasks" => self.tasks = Some(at.figure()?),
                _ => return Err(at.unknown("cpu, mem, tasks")),
            }
        }
        Ok(())
    }
}

impl RulesDraft {
    /// Reads what is said of the logins: `none`, or figures. The later file of two that say the one and the other holds.
    fn read_baseline(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        self.free = matches!(at.text(), Ok(("none", true)));
        if self.free {
            self.baseline = HeldDraft::default();
            return Ok(());
        }
        self.baseline.read(at, &format!("{HELD_EXAMPLE}, or none"))
    }

    fn read(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        for (name, at) in at.entries("{max: {cpu: 16, mem: 64G}, weight: 2, role: operator}")? {
            match name {
                "defaults" => self.defaults.read(&at, "{cpu: 2, mem: 8G}")?,
                "max" => self.max.read(&at, "{cpu: 8, mem: 32G}")?,
                "weight" => self.weight = Some(at.figure()?),
                "role" => {
                    let words =
                        [("read_only", Role::ReadOnly), ("operator", Role::Operator), ("admin", Role::Admin)];
                    self.role = Some(at.word("must be read_only, operator or admin", &words)?);
                }
                "baseline" => self.read_baseline(&at)?,
                "burst" => read_burst(&mut self.burst, &at)?,
                "io" => self.io.read_entry(&at)?,
                _ => return Err(at.unknown("defaults, max, weight, role, baseline, burst, io")),
            }
        }
        Ok(())
    }
}

/// Reads `users` or `groups`; `kind` is the word for one of them in messages.
fn read_rules<Id: Ord>(
    rules: &mut BTreeMap<Id, RulesDraft>,
    at: &Cursor<'_>,
    kind: &str,
    find: &dyn Fn(&str) -> io::Result<Option<Id>>,
) -> Result<(), Wrong> {
    for (name, at) in at.entries(RULES_EXAMPLE)? {
        let id = match find(name) {
            Ok(Some(id)) => id,
            Ok(None) if name.bytes().all(|byte| byte.is_ascii_digit()) => {
                return Err(at.key_fault(format!("no {kind} has this name: write the name, not the number")));
            }
            Ok(None) => {
                return Err(at.key_fault(format!("no {kind} has this name: correct it or remove the entry")));
            }
            Err(error) => return Err(at.key_fault(format!("the {kind} cannot be looked up: {error}"))),
        };
        let draft =
            rules.entry(id).or_insert_with(|| RulesDraft { name: name.to_owned(), ..Default::default() });
        if draft.name != name {
            let problem = format!("the same {kind} as {:?}: keep one of the two names", draft.name);
            return Err(at.key_fault(problem));
        }
        draft.read(&at)?;
    }
    Ok(())
}

/// Reads how much CPU may be used beyond what is promised: `all`, or a figure.
fn read_burst(burst: &mut Option<At<Burst>>, at: &Cursor<'_>) -> Result<(), Wrong> {
    for (name, at) in at.entries("{cpu: all}")? {
        match name {
            "cpu" => *burst = Some(at.figure()?),
            _ => return Err(at.unknown("cpu")),
        }
    }
    Ok(())
}

/// Reads `users` or `groups` whose names are looked up later.
fn read_unfound(rules: &mut BTreeMap<String, (RulesDraft, At<()>)>, at: &Cursor<'_>) -> Result<(), Wrong> {
    for (name, at) in at.entries(RULES_EXAMPLE)? {
        let first = || (RulesDraft { name: name.to_owned(), ..Default::default() }, at.key_at());
        rules.entry(name.to_owned()).or_insert_with(first).0.read(&at)?;
    }
    Ok(())
}
