//! One unit outside of shares, made to have what it is to have: what is set is noted first, and the kernel read back.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::dropins;
use super::plan::{Figures, Kept, KeptOfUnit, Stage, of_login, spare, targets};
use super::record::Record;
use crate::cgroup::{Cgroups, Outside};
use crate::daemon::doing::read_back::{READ_BACK_TIMEOUT, ReadBack};
use crate::daemon::doing::resize::TAKEN_BACK_AT_ONCE_MAX;
use crate::enforced::{KernelLimits, Limit};
use crate::identity::LOGINS;
use crate::quantity::Bytes;
use crate::serving::logging::chain;
use crate::systemd::Systemd;
use crate::systemd::outside::{Figure, Named};
use crate::systemd::property::NO_LIMIT;

/// What came of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Settled {
    /// The memory that it is held to in place of what was wanted, as it uses so much.
    pub above: Option<Bytes>,
    /// Figures that are wanted and left as the administrator's drop-ins have them.
    pub left: BTreeSet<Figure>,
    /// There is no such unit, and nothing that could be held.
    pub absent: bool,
    /// It has a part of what it is to have: the rest is for the next time.
    pub unfinished: bool,
}

/// What is needed to set something, and to know whether it holds.
pub struct Hands {
    /// PID 1.
    pub systemd: Systemd,
    /// The kernel's figures.
    pub cgroups: Arc<Cgroups>,
    /// The folders of the administrator's drop-ins.
    pub administrators: Vec<PathBuf>,
}

/// What the kernel holds, as systemd says it.
fn raw<T>(limit: Option<Limit<T>>, figure: impl Fn(T) -> u64) -> u64 {
    match limit {
        Some(Limit::At(at)) => figure(at),
        // No file is no limit: the kernel does not count this for the cgroup.
        Some(Limit::Max) | None => NO_LIMIT,
    }
}

/// Whether whoever is in a cgroup is held to these figures. Of one in which nobody is, the kernel's files say nothing: systemd makes
/// the cgroup of a unit that is told something and does not run, and as soon as it forgets the unit it turns the controllers off
/// there. It sets the figures anew when the unit starts.
pub fn holds(now: &Outside, figures: &Figures) -> bool {
    !now.populated || in_force(&now.limits, figures)
}

/// Whether the kernel has these figures for a cgroup, as far as it counts; memory in whole pages.
fn in_force(limits: &KernelLimits, figures: &Figures) -> bool {
    figures.iter().all(|(figure, wanted)| match figure {
        Figure::Cpu => raw(limits.cpu, |cpu| cpu.0.saturating_mul(1000)) == *wanted,
        Figure::Mem if *wanted == NO_LIMIT => raw(limits.mem, |mem| mem.0) == NO_LIMIT,
        Figure::Mem => raw(limits.mem, |mem| mem.0) == Bytes(*wanted).whole_pages().0,
        Figure::Tasks => raw(limits.tasks, |tasks| tasks.0) == *wanted,
    })
}

/// The path of the cgroup of the logins of one user, or of all; `None` for units of which PID 1 is to be asked.
pub fn path_of_logins(unit: &str) -> Option<String> {
    match of_login(unit) {
        Some(uid) => Some(uid.login_path()),
        None => (unit == LOGINS).then(|| LOGINS.to_owned()),
    }
}

impl Hands {
    /// Sets what a unit is to have, where it has something else or it is not `certain` that it has it. Where the kernel would
    /// have much memory to take back, only a part of it.
    ///
    /// # Errors
    /// In words: systemd, the kernel or the record failed. What is noted may have been set.
    pub async fn settle(
        &self,
        record: &mut Record,
        unit: &str,
        wanted: &Figures,
        certain: bool,
    ) -> Result<Settled, String> {
        let said = dropins::said(&self.administrators, unit);
        let left = wanted.keys().filter(|figure| said.contains(figure)).copied().collect();
        let mut kept = record.of(unit);
        let targets = targets(wanted, &kept, &said);
        if targets.is_empty() {
            return Ok(Settled { left, ..Settled::default() });
        }
        let path = match self.named(unit).await? {
            Named::Unit(path) => path,
            Named::Absent => return Ok(Settled { absent: true, ..Settled::default() }),
            Named::Alias(id) => return Err(format!("this is another name of {id}: others must name that")),
        };
        for figure in targets.keys() {
            if kept.get(figure).is_none_or(|kept| kept.stage == Stage::Back) {
                let was = self.systemd.figure(unit, *figure).await.map_err(|fault| chain(&fault))?;
                kept.insert(*figure, Kept { set: was, was, stage: Stage::Held });
            }
        }
        // From here on nothing is awaited until systemd is told: what is in use now is not killed for.
        let now = self.look(path.as_deref())?;
        let bound = bounded(&targets, now.as_ref());
        let step = stepped(&bound, now.as_ref());
        let held = now.is_none_or(|now| holds(&now, &step));
        let is_set = |(figure, value): (&Figure, &u64)| {
            kept.get(figure).is_some_and(|kept| kept.set == *value && kept.stage == Stage::Held)
        };
        if !(certain && held && step.iter().all(is_set)) {
            let began = Instant::now();
            self.set(record, unit, &staged(&kept, &step, |_| Stage::Telling), &step, path.as_deref()).await?;
            if step != bound {
                // As long as PID 1 was kept, so long it is left to others.
                sleep(began.elapsed()).await;
            }
        }
        let has_all =
            |figure: &Figure| !wanted.contains_key(figure) && step.get(figure) == targets.get(figure);
        let after = staged(&kept, &step, |figure| if has_all(figure) { Stage::Back } else { Stage::Held });
        record.note(unit, after).map_err(|error| error.to_string())?;
        let above = bound.get(&Figure::Mem).filter(|mem| targets.get(&Figure::Mem) != Some(mem));
        Ok(Settled { above: above.map(|mem| Bytes(*mem)), left, absent: false, unfinished: step != bound })
    }

    async fn named(&self, unit: &str) -> Result<Named, String> {
        match path_of_logins(unit) {
            Some(path) => Ok(Named::Unit(Some(path))),
            None => self.systemd.named(unit).await.map_err(|fault| chain(&fault)),
        }
    }

    fn look(&self, path: Option<&str>) -> Result<Option<Outside>, String> {
        let Some(path) = path else { return Ok(None) };
        self.cgroups.outside(path).map_err(|fault| chain(&fault))
    }

    async fn set(
        &self,
        record: &mut Record,
        unit: &str,
        kept: &KeptOfUnit,
        figures: &Figures,
        path: Option<&str>,
    ) -> Result<(), String> {
        let before = record.of(unit);
        record.note(unit, kept.clone()).map_err(|error| error.to_string())?;
        let properties: Vec<_> = figures.iter().map(|(figure, value)| figure.at(*value)).collect();
        if let Err(fault) = self.systemd.set_properties(unit, &properties).await {
            if fault.is_refusal() {
                record.note(unit, before).map_err(|error| error.to_string())?;
            }
            return Err(chain(&fault));
        }
        let mut read_back = ReadBack::within(READ_BACK_TIMEOUT);
        // A unit without a cgroup has the figures when it gets one.
        while self.look(path)?.is_some_and(|now| !holds(&now, figures)) {
            if !read_back.again().await {
                return Err("the kernel does not hold the limits that systemd was told".to_owned());
            }
        }
        Ok(())
    }
}

/// What was set, with these figures set to what they are set to, at this stage.
fn staged(kept: &KeptOfUnit, set: &Figures, stage: impl Fn(&Figure) -> Stage) -> KeptOfUnit {
    let mut staged = kept.clone();
    for (figure, value) in set {
        staged.entry(*figure).and_modify(|kept| *kept = Kept { set: *value, stage: stage(figure), ..*kept });
    }
    staged
}

/// The figures, with the memory that nothing dies of.
fn bounded(targets: &Figures, now: Option<&Outside>) -> Figures {
    let mut bound = targets.clone();
    if let (Some(mem), Some((now, memory))) =
        (bound.get_mut(&Figure::Mem), now.and_then(|now| Some((now, now.memory?))))
    {
        *mem = spare(*mem, raw(now.limits.mem, |mem| mem.0), memory);
    }
    bound
}

/// The figures, with so much memory that the kernel has not much to take back at once.
fn stepped(bound: &Figures, now: Option<&Outside>) -> Figures {
    let mut step = bound.clone();
    if let (Some(mem), Some(memory)) = (step.get_mut(&Figure::Mem), now.and_then(|now| now.memory)) {
        let near = memory.current.0.saturating_sub(TAKEN_BACK_AT_ONCE_MAX.0);
        if near > *mem {
            *mem = Bytes(near).whole_pages().0.max(*mem);
        }
    }
    step
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::Memory;
    use crate::quantity::{MilliCpu, Tasks};

    fn outside(current: u64, reclaimable: u64) -> Outside {
        let limits = KernelLimits::default();
        let memory = Memory { current: Bytes(current << 20), reclaimable: Bytes(reclaimable << 20) };
        Outside { limits, memory: Some(memory), populated: true }
    }

    #[test]
    fn page_cache_is_taken_back_in_steps_and_what_is_used_is_left() {
        let wanted = Figures::from([(Figure::Mem, 256 << 20), (Figure::Tasks, 99)]);
        let mem = |figures: &Figures| figures[&Figure::Mem] >> 20;
        let cached = outside(1000, 900);
        let bound = bounded(&wanted, Some(&cached));
        assert_eq!((mem(&bound), mem(&stepped(&bound, Some(&cached)))), (256, 936));
        let nearly = outside(300, 200);
        assert_eq!(mem(&stepped(&bound, Some(&nearly))), 256);
        let used = outside(1000, 100);
        let bound = bounded(&wanted, Some(&used));
        assert_eq!((mem(&bound), mem(&stepped(&bound, Some(&used)))), (960, 960));
        assert_eq!(bounded(&wanted, None), wanted);
        // What is full already does not get a margin over its figure.
        let mut full = outside(255, 0);
        full.limits.mem = Some(Limit::At(Bytes(256 << 20)));
        assert_eq!(bounded(&wanted, Some(&full)), wanted);
    }

    #[test]
    fn what_the_kernel_holds_is_compared_in_its_own_terms() {
        let limits = KernelLimits {
            cpu: Some(Limit::At(MilliCpu(500))),
            mem: Some(Limit::At(Bytes(4096))),
            tasks: Some(Limit::At(Tasks(99))),
            ..KernelLimits::default()
        };
        let figures = Figures::from([(Figure::Cpu, 500_000), (Figure::Mem, 5000), (Figure::Tasks, 99)]);
        let inside = |limits| Outside { limits, memory: None, populated: true };
        assert!(holds(&inside(limits), &figures));
        for figure in Figure::ALL {
            let mut other = figures.clone();
            other.insert(figure, 1 << 40);
            assert!(!holds(&inside(limits), &other), "{figure:?}");
        }
        let none = KernelLimits { mem: Some(Limit::Max), ..KernelLimits::default() };
        assert!(holds(&inside(none), &Figure::ALL.map(|figure| (figure, NO_LIMIT)).into()));
        assert!(!holds(&inside(none), &figures));
        // Nobody is there who could use more.
        assert!(holds(&Outside { populated: false, ..inside(none) }, &figures));
    }

    #[test]
    fn logins_are_where_systemd_puts_them() {
        assert_eq!(path_of_logins("user-1001.slice").as_deref(), Some("user.slice/user-1001.slice"));
        assert_eq!(path_of_logins("user.slice").as_deref(), Some("user.slice"));
        assert_eq!(path_of_logins("cron.service"), None);
    }
}
