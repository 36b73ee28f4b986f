//! What stands still: cgroups that are frozen (cgroup-v2.rst, `cgroup.freeze`), and the units in which work is.

use std::ffi::CStr;
use std::str::FromStr as _;

use super::parse::{parse_key, parse_number};
use super::{CgroupFault, Cgroups, Group, walk};
use crate::identity::UnitName;

/// How many units right in one slice are looked at: more than there are commands and scopes of one member.
const UNITS_MAX: usize = 1024;

impl Cgroups {
    /// Whether everything in a unit stands still by now; `None` where there is no such cgroup.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn frozen(&self, unit: UnitName) -> Result<Option<bool>, CgroupFault> {
        self.at(unit.into(), |cgroup| {
            cgroup.required("cgroup.events", |bytes| match parse_key(bytes, "frozen")? {
                0 => Some(false),
                1 => Some(true),
                _ => None,
            })
        })
    }

    /// Where the work of a unit is: of a slice in its scopes, of which there may be none; else in the unit itself.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn work(&self, unit: UnitName) -> Result<Vec<UnitName>, CgroupFault> {
        if !is_slice(unit) {
            return Ok(vec![unit]);
        }
        let mut units = self.right_in(unit)?;
        units.retain(|unit| matches!(unit, UnitName::Run(..)));
        Ok(units)
    }

    /// Whether there is work in a unit, and all of it stands still.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn stands_still(&self, unit: UnitName) -> Result<bool, CgroupFault> {
        let units = self.work(unit)?;
        for unit in &units {
            if self.frozen(*unit)? != Some(true) {
                return Ok(false);
            }
        }
        Ok(!units.is_empty())
    }

    /// The slice that a unit is in, or one around that, which is to stand still with all that is in it: an administrator froze it,
    /// for of ours only units with processes are.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn frozen_around(&self, unit: UnitName) -> Result<Option<String>, CgroupFault> {
        let slices = std::iter::successors(unit.slice(), |slice| slice.slice()).map(Group::Unit);
        for group in slices.chain([Group::All]) {
            let freeze = self.at(group, |cgroup| cgroup.optional("cgroup.freeze", parse_number))?;
            if freeze.flatten() == Some(1) {
                return Ok(Some(group.path()));
            }
        }
        Ok(None)
    }

    /// Which units of a unit, it among them, are to stand still, whether they do already or not; the outer ones first.
    ///
    /// # Errors
    /// Any [`CgroupFault`].
    pub fn to_stand_still(&self, unit: UnitName) -> Result<Vec<UnitName>, CgroupFault> {
        let (mut found, mut left) = (Vec::new(), vec![unit]);
        while let Some(unit) = left.pop() {
            let freeze = self.at(unit.into(), |cgroup| cgroup.optional("cgroup.freeze", parse_number))?;
            found.extend(Some(unit).filter(|_| freeze.flatten() == Some(1)));
            if is_slice(unit) {
                left.extend(self.right_in(unit)?);
            }
        }
        Ok(found)
    }

    /// The units of ours right in a slice; none where there is no such slice.
    fn right_in(&self, slice: UnitName) -> Result<Vec<UnitName>, CgroupFault> {
        let mut units = Vec::new();
        let seen = |name: &CStr| {
            let unit = name.to_str().ok().and_then(|name| UnitName::from_str(name).ok());
            let unit = unit.filter(|unit| unit.slice() == Some(slice));
            units.extend(unit);
            unit.is_some()
        };
        self.at(slice.into(), |cgroup| {
            walk::count(cgroup.handle, UNITS_MAX, seen).map_err(|errno| cgroup.unreadable(".", errno))
        })?;
        Ok(units)
    }
}

fn is_slice(unit: UnitName) -> bool {
    match unit {
        UnitName::Share(_) | UnitName::Own(_) | UnitName::RunSlice(..) | UnitName::JobSlice(..) => true,
        UnitName::Run(..) | UnitName::JobService(..) => false,
    }
}
