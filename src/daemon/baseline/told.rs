//! How it stands with what is held outside of shares, for `health` and the journal.

use std::collections::{BTreeMap, BTreeSet};

use super::settle::Settled;
use crate::daemon::telling::findings::Standing;
use crate::quantity::Bytes;
use crate::systemd::outside::Figure;

/// The states of a unit's file in which it is started at boot (`systemctl(1)`, is-enabled).
const STARTED_AT_BOOT: [&str; 5] = ["enabled", "static", "alias", "indirect", "generated"];

/// Of how many units the same is said by their names.
const UNITS_NAMED_MAX: usize = 16;

/// How it stands. The default: nothing is to be held, or nothing is known yet.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// Why the daemon may not be there when somebody logs in after a boot.
    late: Option<String>,
    /// Why it is not known who the members are.
    unanswered: Option<String>,
    /// Units that could not be set, and why.
    faults: BTreeMap<String, String>,
    /// Units that use more memory than they are to have, and what they are held to.
    above: BTreeMap<String, Bytes>,
    /// Units of which the administrator's drop-ins set figures.
    left: BTreeMap<String, BTreeSet<Figure>>,
    /// Units that the policy names and that are not there.
    absent: BTreeSet<String>,
    /// Units that have what they are to have.
    held: BTreeSet<String>,
}

impl Told {
    /// Whether all is as the policy says. What uses more memory than it is to have, what an administrator says of a unit, and a
    /// unit that is not there, is no fault.
    pub fn is_well(&self) -> bool {
        self.late.is_none() && self.unanswered.is_none() && self.faults.is_empty()
    }

    /// How it stands with one unit.
    pub fn of(&self, unit: &str) -> Standing {
        match (self.faults.get(unit), self.above.get(unit)) {
            (Some(why), _) => Standing::Fault(why.clone()),
            (None, Some(mem)) => Standing::Above(*mem),
            _ if self.left.contains_key(unit) => Standing::Left,
            _ if self.held.contains(unit) => Standing::Holds,
            _ => Standing::Unknown,
        }
    }

    /// What there is to say, in a line; units by their names only where `names`, and no more than
    /// [`UNITS_NAMED_MAX`] of those of which the same is to be said.
    pub fn said(&self, names: bool) -> Option<String> {
        let mut said: Vec<String> = self.late.iter().cloned().collect();
        said.extend(self.unanswered.as_ref().map(|why| format!("not all members are known: {why}")));
        if names {
            said.extend(some(&self.faults, |(unit, why)| format!("{unit}: {why}")));
            said.extend(some(&self.above, |(unit, mem)| above(unit, *mem)));
            said.extend(some(&self.left, |(unit, figures)| left(unit, figures)));
            said.extend(some(&self.absent, |unit| absent(unit)));
        } else if !self.faults.is_empty() {
            let units = match self.faults.len() {
                1 => "1 unit outside of shares is not held as it should be".to_owned(),
                several => format!("{several} units outside of shares are not held as they should be"),
            };
            said.push(units);
        }
        (!said.is_empty()).then(|| said.join("; "))
    }

    /// Takes whether `unit`, which starts the daemon at boot, is enabled; `None` where that is not known or not needed.
    pub(super) fn at_boot(&mut self, unit: &str, state: Option<&str>) {
        let starts = |state: &str| STARTED_AT_BOOT.iter().any(|known| state.starts_with(known));
        self.late = state.filter(|state| !starts(state)).map(|state| {
            format!(
                "{unit} is {state}: after a boot logins are not held until somebody calls fairshare \
                 (systemctl enable {unit})"
            )
        });
    }

    /// Takes whether the members are known, and forgets units of which nothing is to be said any more.
    pub(super) fn of_members(&mut self, unanswered: Option<String>, is_held: impl Fn(&str) -> bool) {
        self.unanswered = unanswered;
        self.faults.retain(|unit, _| is_held(unit));
        self.above.retain(|unit, _| is_held(unit));
        self.left.retain(|unit, _| is_held(unit));
        self.absent.retain(|unit| is_held(unit));
        self.held.retain(|unit| is_held(unit));
    }

    fn forget(&mut self, unit: &str) {
        self.faults.remove(unit);
        self.above.remove(unit);
        self.left.remove(unit);
    }

    /// Takes what came of a unit, and answers what is new about it; `free`: nothing is to hold it.
    pub(super) fn of_unit(
        &mut self,
        unit: &str,
        free: bool,
        settled: Result<Settled, String>,
    ) -> Option<Result<String, String>> {
        match !free && settled.as_ref().is_ok_and(|settled| !settled.absent) {
            true => self.held.insert(unit.to_owned()),
            false => self.held.remove(unit),
        };
        match settled {
            Err(why) => {
                let before = self.faults.insert(unit.to_owned(), why.clone());
                (before.as_ref() != Some(&why))
                    .then(|| Err(format!("{unit} is not held as it should be: {why}")))
            }
            Ok(Settled { absent: true, .. }) => {
                self.forget(unit);
                // What is to get back what it had needs nothing while it is not there.
                (!free && self.absent.insert(unit.to_owned())).then(|| Ok(absent(unit)))
            }
            Ok(Settled { above: mem, left: figures, .. }) => {
                self.faults.remove(unit);
                self.absent.remove(unit);
                let known = match mem.filter(|_| !free) {
                    Some(mem) => self.above.insert(unit.to_owned(), mem),
                    None => self.above.remove(unit),
                };
                let left_before = match figures.is_empty() {
                    true => self.left.remove(unit),
                    false => self.left.insert(unit.to_owned(), figures.clone()),
                };
                match mem {
                    Some(mem) if known.is_none() && !free => Some(Ok(above(unit, mem))),
                    _ if !figures.is_empty() && left_before.as_ref() != Some(&figures) => {
                        Some(Ok(left(unit, &figures)))
                    }
                    _ => None,
                }
            }
        }
    }
}

/// What is said of the first [`UNITS_NAMED_MAX`], and how many there are beside them.
fn some<T>(
    units: impl IntoIterator<Item = T, IntoIter: ExactSizeIterator>,
    say: impl Fn(T) -> String,
) -> Vec<String> {
    let units = units.into_iter();
    let more = units.len().saturating_sub(UNITS_NAMED_MAX);
    let mut said: Vec<String> = units.take(UNITS_NAMED_MAX).map(say).collect();
    if more > 0 {
        said.push(format!("the same of {more} more"));
    }
    said
}

fn absent(unit: &str) -> String {
    format!("{unit} is not there, and is held as soon as it is")
}

fn above(unit: &str, mem: Bytes) -> String {
    format!("{unit} is held to {mem}, as it uses so much, until it needs less")
}

fn left(unit: &str, figures: &BTreeSet<Figure>) -> String {
    let figures: Vec<&str> = figures.iter().map(|figure| figure.setting()).collect();
    format!("{unit} has {} from a drop-in of the administrator's", figures.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_new_about_a_unit_is_said_once() {
        let mut told = Told::default();
        let above = || Ok(Settled { above: Some(Bytes(600 << 20)), ..Settled::default() });
        let said = told.of_unit("user-1001.slice", false, above()).expect("something").expect("no fault");
        assert!(said.contains("held to 600.0 MiB"), "{said}");
        assert_eq!(told.of_unit("user-1001.slice", false, above()), None);
        assert!(told.is_well() && told.said(false).is_none());
        assert!(told.said(true).expect("something").contains("user-1001.slice"));
        let failed = || Err("the bus is gone".to_owned());
        assert!(matches!(told.of_unit("user-1001.slice", false, failed()), Some(Err(_))));
        assert_eq!(told.of_unit("user-1001.slice", false, failed()), None);
        assert!(!told.is_well());
        let said = told.said(false).expect("something");
        assert!(said.starts_with("1 unit ") && !said.contains("1001"), "{said}");
        assert_eq!(told.of_unit("user-1001.slice", false, Ok(Settled::default())), None);
        assert_eq!(told.of("user-1001.slice"), Standing::Holds);
        assert_eq!(told, Told { held: ["user-1001.slice".to_owned()].into(), ..Told::default() });
    }

    #[test]
    fn a_unit_that_is_not_there_is_told_and_no_fault() {
        let mut told = Told::default();
        let absent = || Ok(Settled { absent: true, ..Settled::default() });
        assert!(matches!(told.of_unit("cron.service", false, Err("gone".to_owned())), Some(Err(_))));
        let said = told.of_unit("cron.service", false, absent()).expect("something").expect("no fault");
        assert!(said.starts_with("cron.service is not there"), "{said}");
        assert_eq!(told.of_unit("cron.service", false, absent()), None);
        assert!(told.is_well());
        assert_eq!((told.said(true), told.said(false)), (Some(said), None));
        assert_eq!(told.of("cron.service"), Standing::Unknown);
        assert_eq!(told.of_unit("cron.service", false, Ok(Settled::default())), None);
        assert_eq!(told, Told { held: ["cron.service".to_owned()].into(), ..Told::default() });
        assert_eq!(told.of_unit("cron.service", true, absent()), None);
        assert_eq!(told, Told::default());
    }

    #[test]
    fn of_many_units_some_are_named_and_all_are_counted() {
        let mut told = Told::default();
        for uid in 1000..9000 {
            let _ = told.of_unit(&format!("user-{uid}.slice"), false, Err("the bus is gone".to_owned()));
        }
        let said = told.said(true).expect("something");
        assert!(said.len() < 2000 && said.ends_with("; the same of 7984 more"), "{said}");
        assert!(said.contains("user-1015.slice: the bus is gone;") && !said.contains("user-1016"), "{said}");
        assert!(told.said(false).expect("something").starts_with("8000 units outside of shares are not"));
    }

    #[test]
    fn a_daemon_that_nobody_starts_at_boot_is_a_fault() {
        let mut told = Told::default();
        for (state, well) in [
            (None, true),
            (Some("enabled"), true),
            (Some("enabled-runtime"), true),
            (Some("disabled"), false),
            (Some("masked"), false),
        ] {
            told.at_boot("x.service", state);
            assert_eq!(told.is_well(), well, "{state:?}");
        }
        assert!(told.said(false).expect("something").contains("systemctl enable x.service"));
    }
}
