//! Who and what: user and group ids as the kernel has them, and the names of the units that are ours.

use std::fmt;
use std::str::FromStr;

/// A user id. Never `u32::MAX`, which the kernel keeps for "no user" (`chown(2)`, `setresuid(2)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uid(u32);

/// A group id. Never `u32::MAX`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gid(u32);

macro_rules! id {
    ($id:ident) => {
        impl $id {
            /// Root.
            pub const ROOT: Self = Self(0);

            /// The id, `None` for `u32::MAX` and anything larger.
            pub fn new(raw: u64) -> Option<Self> {
                u32::try_from(raw).ok().filter(|raw| *raw != u32::MAX).map(Self)
            }

            /// The number.
            pub fn get(self) -> u32 {
                self.0
            }
        }

        impl fmt::Display for $id {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}
id!(Uid);
id!(Gid);

/// The number of a background job. Never repeats within one state file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobId(pub u64);

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The slice that has the slices of all users' logins (`systemd.special(7)`).
pub const LOGINS: &str = "user.slice";

impl Uid {
    /// The slice that systemd-logind makes for a user's logins.
    pub fn login_slice(self) -> String {
        format!("user-{self}.slice")
    }

    /// Where the cgroup of a user's logins is, below the cgroup root.
    pub fn login_path(self) -> String {
        format!("{LOGINS}/{}", self.login_slice())
    }
}

/// The slice above all shares.
pub const FAIRSHARE_SLICE: &str = "fairshare.slice";

/// A unit of ours. Its name and this value are the same thing, both ways: what does not print back to
/// the same name is not ours, so that `fairshare-007.slice` is nobody's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitName {
    /// `fairshare-{uid}.slice`: a member's share.
    Share(Uid),
    /// `fairshare-{uid}-run{n}.scope`: what a member's command started in the share.
    Run(Uid, u64),
    /// `fairshare-{uid}-job{id}.slice`: around one job, inside the share.
    JobSlice(Uid, JobId),
    /// `fairshare-{uid}-job{id}.service`: one job.
    JobService(Uid, JobId),
}

impl UnitName {
    /// Whose share this unit is or is in.
    pub fn uid(self) -> Uid {
        match self {
            Self::Share(uid) | Self::Run(uid, _) | Self::JobSlice(uid, _) | Self::JobService(uid, _) => uid,
        }
    }

    /// Where the unit's cgroup is, below the cgroup root. Slices nest by the dashes in their names (`systemd.slice(5)`).
    pub fn cgroup_path(self) -> String {
        let share = Self::Share(self.uid());
        match self {
            Self::Share(_) => format!("{FAIRSHARE_SLICE}/{self}"),
            Self::Run(..) | Self::JobSlice(..) => format!("{FAIRSHARE_SLICE}/{share}/{self}"),
            Self::JobService(uid, job) => {
                format!("{FAIRSHARE_SLICE}/{share}/{}/{self}", Self::JobSlice(uid, job))
            }
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(uid) => write!(f, "fairshare-{uid}.slice"),
            Self::Run(uid, n) => write!(f, "fairshare-{uid}-run{n}.scope"),
            Self::JobSlice(uid, job) => write!(f, "fairshare-{uid}-job{job}.slice"),
            Self::JobService(uid, job) => write!(f, "fairshare-{uid}-job{job}.service"),
        }
    }
}

/// The name is not of a unit of ours.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a fairshare unit")]
pub struct NotOurs(pub String);

impl FromStr for UnitName {
    type Err = NotOurs;

    fn from_str(name: &str) -> Result<Self, NotOurs> {
        parse(name).filter(|unit| unit.to_string() == name).ok_or_else(|| NotOurs(name.to_owned()))
    }
}

fn parse(name: &str) -> Option<UnitName> {
    let (stem, kind) = name.strip_prefix("fairshare-")?.rsplit_once('.')?;
    let (uid, rest) = match stem.split_once('-') {
        Some((uid, rest)) => (uid, Some(rest)),
        None => (stem, None),
    };
    let uid = Uid::new(uid.parse().ok()?)?;
    let job = |rest: &str| Some(JobId(rest.strip_prefix("job")?.parse().ok()?));
    match (rest, kind) {
        (None, "slice") => Some(UnitName::Share(uid)),
        (Some(rest), "scope") => Some(UnitName::Run(uid, rest.strip_prefix("run")?.parse().ok()?)),
        (Some(rest), "slice") => Some(UnitName::JobSlice(uid, job(rest)?)),
        (Some(rest), "service") => Some(UnitName::JobService(uid, job(rest)?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_user_ids_are_users_and_no_user_is_none() {
        for raw in [0, 1, (1 << 31) - 1, 1 << 31, (1 << 32) - 2] {
            let name = format!("fairshare-{raw}.slice");
            assert_eq!(name.parse(), Ok(UnitName::Share(Uid::new(raw).unwrap())));
        }
        assert_eq!(Uid::new((1 << 32) - 1), None);
        assert_eq!(Uid::new(1 << 32), None);
    }

    #[test]
    fn names_go_both_ways_and_nothing_else_is_ours() {
        let uid = Uid::new(1001).unwrap();
        for unit in [
            UnitName::Share(uid),
            UnitName::Run(uid, 7),
            UnitName::JobSlice(uid, JobId(9)),
            UnitName::JobService(uid, JobId(9)),
        ] {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        for other in [
            "fairshare.slice",
            "fairshare-.slice",
            "fairshare-007.slice",
            "fairshare-+7.slice",
            "fairshare-4294967295.slice",
            "fairshare-7-run.scope",
            "fairshare-7-run01.scope",
            "fairshare-7-job3-x.slice",
            "fairshare-alice.slice",
            "fairshare-7.service",
            "user-7.slice",
        ] {
            assert_eq!(other.parse::<UnitName>(), Err(NotOurs(other.into())), "{other}");
        }
    }

    #[test]
    fn cgroups_nest_as_slices_do() {
        let uid = Uid::new(7).unwrap();
        assert_eq!(UnitName::Share(uid).cgroup_path(), "fairshare.slice/fairshare-7.slice");
        assert_eq!(
            UnitName::JobService(uid, JobId(3)).cgroup_path(),
            "fairshare.slice/fairshare-7.slice/fairshare-7-job3.slice/fairshare-7-job3.service"
        );
    }
}
