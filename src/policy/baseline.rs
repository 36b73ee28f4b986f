//! What may be used outside of every share: by the logins of a member, by all logins together, by units that hold members' work.

use std::fmt::Display;
use std::str::FromStr;

use crate::quantity::{Bytes, MilliCpu, PartialAmount, QuantityError, Tasks};

/// The longest name of a unit, in bytes (`UNIT_NAME_MAX` in systemd, the closing zero byte taken off).
const UNIT_NAME_BYTES_MAX: usize = 255;

/// What the policy says of the logins of one user or group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LoginRule {
    /// Nothing holds them.
    Free,
    /// In place of the general baseline, figure by figure.
    Held(PartialAmount),
}

impl LoginRule {
    /// The more generous of two, in each figure.
    pub(super) fn generous(self, other: Self) -> Self {
        match (self, other) {
            (Self::Held(a), Self::Held(b)) => Self::Held(a.largest(b)),
            _ => Self::Free,
        }
    }

    /// What `self` says, and for the figures that it does not name what `rest` says. Who is named is held although a
    /// group would free them.
    pub(super) fn over(self, rest: Option<Self>) -> Self {
        match (self, rest) {
            (Self::Held(own), Some(Self::Held(rest))) => Self::Held(own.first(rest)),
            (own, _) => own,
        }
    }
}

/// A figure that holds what people do not do in a share: not so small that nobody could log in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Roomy<T>(pub T);

/// A figure that may be [`Roomy`].
pub(super) trait Least: FromStr<Err = QuantityError> + PartialOrd + Display {
    /// The least that a policy may say (enforcement.md 1.2).
    const LEAST: Self;
    /// The same, as a policy takes it.
    const SHOWN: &'static str;
}

impl Least for MilliCpu {
    const LEAST: Self = Self(100);
    const SHOWN: &'static str = "0.1";
}

impl Least for Bytes {
    const LEAST: Self = Self(256 << 20);
    const SHOWN: &'static str = "256M";
}

impl Least for Tasks {
    const LEAST: Self = Self(64);
    const SHOWN: &'static str = "64";
}

/// Why a figure was not accepted. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum RoomyError {
    /// It is no such figure.
    #[error(transparent)]
    Quantity(#[from] QuantityError),
    /// Nobody could log in with so little.
    #[error("must be at least {least}, and {is} is not")]
    Less {
        /// The least.
        least: &'static str,
        /// The text.
        is: String,
    },
}

impl<T: Least> FromStr for Roomy<T> {
    type Err = RoomyError;

    fn from_str(text: &str) -> Result<Self, RoomyError> {
        let figure: T = text.parse()?;
        if figure < T::LEAST {
            return Err(RoomyError::Less { least: T::SHOWN, is: text.trim().to_owned() });
        }
        Ok(Self(figure))
    }
}

/// What is wrong with the name of a unit that is to be held as a whole (`systemd.unit(5)`, "Description").
///
/// # Errors
/// In words: it is no unit that has a cgroup, or one that holds more than members' work.
pub(super) fn unit_to_hold(name: &str) -> Result<(), String> {
    let no_unit =
        || "is not the name of a service, slice or scope: write one like cron.service or docker.slice";
    let known = |c: u8| c.is_ascii_alphanumeric() || b":-_.\\@".contains(&c);
    let Some((stem, kind)) = name.rsplit_once('.') else { return Err(no_unit().to_owned()) };
    let is_unit = ["service", "slice", "scope"].contains(&kind)
        && !stem.is_empty()
        && name.len() <= UNIT_NAME_BYTES_MAX
        && name.bytes().all(known)
        && !stem.starts_with(['@', '.']);
    if !is_unit {
        return Err(no_unit().to_owned());
    }
    if stem.ends_with('@') {
        return Err("is a template and no unit: name one of its instances".to_owned());
    }
    if ["user.slice", "system.slice", "machine.slice", "init.scope", "-.slice"].contains(&name) {
        let logins = if name == "user.slice" { ": logins holds all logins together" } else { "" };
        return Err(format!("holds more than members' work, and is left alone{logins}"));
    }
    if kind == "slice" {
        if ["-", "--"].iter().any(|part| stem.starts_with(part)) || stem.ends_with('-') || stem.contains("--")
        {
            return Err(no_unit().to_owned());
        }
        if stem.strip_prefix("user-").is_some_and(|uid| !uid.contains('-')) {
            return Err("is the logins of one user: baseline holds them, in users for this one".to_owned());
        }
    }
    if stem == "fairshare" || stem.starts_with("fairshare-") || stem.starts_with("fairshared") {
        return Err("is fairshare's own: max, and what a share has, hold that".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_as_a_whole_is_a_unit_with_a_cgroup_and_none_of_the_systems_own() {
        for unit in [
            "cron.service",
            "docker.slice",
            "getty@tty1.service",
            "session-3.scope",
            "a\\x2db.service",
            "machine-vm.slice",
        ] {
            assert_eq!(unit_to_hold(unit), Ok(()), "{unit}");
        }
        for (unit, says) in [
            ("cron", "not the name"),
            ("cron.timer", "not the name"),
            (".service", "not the name"),
            ("@x.service", "not the name"),
            (".x.service", "not the name"),
            ("a/b.service", "not the name"),
            ("../x.slice", "not the name"),
            ("cr on.service", "not the name"),
            ("a--b.slice", "not the name"),
            ("-a.slice", "not the name"),
            ("a-.slice", "not the name"),
            ("getty@.service", "template"),
            ("user.slice", "logins holds"),
            ("system.slice", "left alone"),
            ("init.scope", "left alone"),
            ("-.slice", "left alone"),
            ("user-1001.slice", "baseline holds"),
            ("fairshare.slice", "own"),
            ("fairshare-1001.slice", "own"),
            ("fairshare-docker.slice", "own"),
            ("fairshared.service", "own"),
            ("fairshared-boot.service", "own"),
        ] {
            let said = unit_to_hold(unit).unwrap_err();
            assert!(said.contains(says), "{unit}: {said}");
        }
        assert!(unit_to_hold(&format!("{}.service", "a".repeat(250))).is_err());
    }

    #[test]
    fn figures_leave_room_to_log_in() {
        assert_eq!("0.1".parse(), Ok(Roomy(MilliCpu(100))));
        assert_eq!("256M".parse(), Ok(Roomy(Bytes(256 << 20))));
        assert_eq!("64".parse(), Ok(Roomy(Tasks(64))));
        let less = |said: Result<(), RoomyError>| said.unwrap_err().to_string();
        assert_eq!(
            less("0.09".parse::<Roomy<MilliCpu>>().map(drop)),
            "must be at least 0.1, and 0.09 is not"
        );
        assert_eq!(less("255M".parse::<Roomy<Bytes>>().map(drop)), "must be at least 256M, and 255M is not");
        assert_eq!(less("63".parse::<Roomy<Tasks>>().map(drop)), "must be at least 64, and 63 is not");
        assert!(less("none".parse::<Roomy<Tasks>>().map(drop)).contains("whole number"));
    }
}
