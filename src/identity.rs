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

/// What an allocation is for (1-product.md "Words").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// Whatever its member starts in it: it was requested.
    Standing,
    /// One submitted command, which brought it.
    Job(JobId),
    /// One command in the foreground, which brought it.
    Run(JobId),
}

/// Which allocation of which member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AllocationId {
    /// The member.
    pub uid: Uid,
    /// What it is for.
    pub purpose: Purpose,
}

impl AllocationId {
    /// The member's standing allocation.
    pub fn standing(uid: Uid) -> Self {
        Self { uid, purpose: Purpose::Standing }
    }

    /// The allocation that a submitted command of the member brought.
    pub fn of_job(uid: Uid, job: JobId) -> Self {
        Self { uid, purpose: Purpose::Job(job) }
    }

    /// The allocation that a command of the member in the foreground brought.
    pub fn of_run(uid: Uid, job: JobId) -> Self {
        Self { uid, purpose: Purpose::Run(job) }
    }

    /// The job that brought it.
    pub fn job(self) -> Option<JobId> {
        match self.purpose {
            Purpose::Standing => None,
            Purpose::Job(job) | Purpose::Run(job) => Some(job),
        }
    }

    /// The slice that holds it.
    pub fn unit(self) -> UnitName {
        match self.purpose {
            Purpose::Standing => UnitName::Own(self.uid),
            Purpose::Job(job) => UnitName::JobSlice(self.uid, Within::Share, job),
            Purpose::Run(job) => UnitName::RunSlice(self.uid, job),
        }
    }

    /// In what the units are of what runs in it: of a submitted command, or scopes.
    pub fn within(self) -> Within {
        match self.purpose {
            Purpose::Standing => Within::Own,
            Purpose::Job(_) => Within::Share,
            Purpose::Run(job) => Within::Run(job),
        }
    }
}

impl fmt::Display for AllocationId {
    /// As people are told of it: `the standing allocation of uid 1000`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uid = self.uid;
        match self.purpose {
            Purpose::Standing => write!(f, "the standing allocation of uid {uid}"),
            Purpose::Job(job) | Purpose::Run(job) => write!(f, "the allocation of job {job} of uid {uid}"),
        }
    }
}

/// The slice above all shares.
pub const FAIRSHARE_SLICE: &str = "fairshare.slice";

/// In what a unit below a member's slice is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Within {
    /// In the member's slice itself, beside their other allocations. 0.1 had its scopes there.
    Share,
    /// In their standing allocation.
    Own,
    /// In the allocation of a command in the foreground.
    Run(JobId),
}

/// A unit of ours. Its name and this value are the same thing, both ways: what does not print back to
/// the same name is not ours, so that `fairshare-007.slice` is nobody's share.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum UnitName {
    /// `fairshare-{uid}.slice`: a member's share, with all their allocations in it.
    Share(Uid),
    /// `fairshare-{uid}-own.slice`: their standing allocation.
    Own(Uid),
    /// `fairshare-{uid}-own-run{n}.scope`: what a member's command started in the standing allocation. Without `-own`: in the
    /// share itself; with `-run{id}` in its place: in the allocation of that command.
    Run(Uid, Within, u64),
    /// `fairshare-{uid}-run{id}.slice`: the allocation of a command in the foreground.
    RunSlice(Uid, JobId),
    /// `fairshare-{uid}-job{id}.slice`: the allocation of a submitted command. With `-own`: what a command may use within the
    /// standing allocation.
    JobSlice(Uid, Within, JobId),
    /// `fairshare-{uid}-job{id}.service`: a submitted command in its slice.
    JobService(Uid, Within, JobId),
}

impl UnitName {
    /// Whose share this unit is or is in.
    pub fn uid(self) -> Uid {
        match self {
            Self::Share(uid)
            | Self::Own(uid)
            | Self::Run(uid, ..)
            | Self::RunSlice(uid, _)
            | Self::JobSlice(uid, ..)
            | Self::JobService(uid, ..) => uid,
        }
    }

    /// The allocation whose slice this unit is.
    pub fn allocation(self) -> Option<AllocationId> {
        match self {
            Self::Own(uid) => Some(AllocationId::standing(uid)),
            Self::JobSlice(uid, Within::Share, job) => Some(AllocationId::of_job(uid, job)),
            Self::RunSlice(uid, job) => Some(AllocationId::of_run(uid, job)),
            Self::Share(_) | Self::Run(..) | Self::JobSlice(..) | Self::JobService(..) => None,
        }
    }

    /// The slice that this unit is in. Slices nest by the dashes in their names (`systemd.slice(5)`).
    pub fn slice(self) -> Option<Self> {
        match self {
            Self::Share(_) => None,
            Self::Own(uid) | Self::RunSlice(uid, _) => Some(Self::Share(uid)),
            Self::Run(uid, within, _) | Self::JobSlice(uid, within, _) => Some(match within {
                Within::Share => Self::Share(uid),
                Within::Own => Self::Own(uid),
                Within::Run(job) => Self::RunSlice(uid, job),
            }),
            Self::JobService(uid, within, job) => Some(Self::JobSlice(uid, within, job)),
        }
    }

    /// Where the unit's cgroup is, below the cgroup root.
    pub fn cgroup_path(self) -> String {
        match self.slice() {
            None => format!("{FAIRSHARE_SLICE}/{self}"),
            Some(slice) => format!("{}/{self}", slice.cgroup_path()),
        }
    }
}

/// The units of one submitted command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobUnits {
    /// What runs it.
    pub service: UnitName,
    /// The slice around that.
    pub slice: UnitName,
}

impl JobUnits {
    /// Those of a member's job.
    pub fn of(uid: Uid, within: Within, job: JobId) -> Self {
        Self { service: UnitName::JobService(uid, within, job), slice: UnitName::JobSlice(uid, within, job) }
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share => Ok(()),
            Self::Own => f.write_str("-own"),
            Self::Run(job) => write!(f, "-run{job}"),
        }
    }
}

impl fmt::Display for UnitName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Share(uid) => write!(f, "fairshare-{uid}.slice"),
            Self::Own(uid) => write!(f, "fairshare-{uid}-own.slice"),
            Self::RunSlice(uid, job) => write!(f, "fairshare-{uid}-run{job}.slice"),
            Self::Run(uid, within, n) => write!(f, "fairshare-{uid}{within}-run{n}.scope"),
            Self::JobSlice(uid, within, job) => write!(f, "fairshare-{uid}{within}-job{job}.slice"),
            Self::JobService(uid, within, job) => write!(f, "fairshare-{uid}{within}-job{job}.service"),
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
    let Some(rest) = rest else { return (kind == "slice").then_some(UnitName::Share(uid)) };
    if (rest, kind) == ("own", "slice") {
        return Some(UnitName::Own(uid));
    }
    let (within, rest) = match rest.strip_prefix("own-") {
        Some(rest) => (Within::Own, rest),
        None => (Within::Share, rest),
    };
    let number = |rest: &str, word: &str| rest.strip_prefix(word)?.parse::<u64>().ok();
    let job = |rest: &str| number(rest, "job").map(JobId);
    match (kind, rest.split_once('-')) {
        ("scope", Some((run, scope))) => {
            let within = Within::Run(JobId(number(run, "run")?));
            return Some(UnitName::Run(uid, within, number(scope, "run")?));
        }
        ("slice", None) if rest.starts_with("run") => {
            return Some(UnitName::RunSlice(uid, JobId(number(rest, "run")?)));
        }
        _ => {}
    }
    match kind {
        "scope" => Some(UnitName::Run(uid, within, number(rest, "run")?)),
        "slice" => Some(UnitName::JobSlice(uid, within, job(rest)?)),
        "service" => Some(UnitName::JobService(uid, within, job(rest)?)),
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
            UnitName::Own(uid),
            UnitName::Run(uid, Within::Own, 7),
            UnitName::Run(uid, Within::Share, 7),
            UnitName::Run(uid, Within::Run(JobId(9)), 7),
            UnitName::RunSlice(uid, JobId(9)),
            UnitName::JobSlice(uid, Within::Own, JobId(9)),
            UnitName::JobSlice(uid, Within::Share, JobId(9)),
            UnitName::JobService(uid, Within::Own, JobId(9)),
            UnitName::JobService(uid, Within::Share, JobId(9)),
        ] {
            assert_eq!(unit.to_string().parse(), Ok(unit));
        }
        let (job, run) = (AllocationId::of_job(uid, JobId(9)), AllocationId::of_run(uid, JobId(9)));
        for id in [AllocationId::standing(uid), job, run] {
            assert_eq!(id.unit().allocation(), Some(id));
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
            "fairshare-7-own.scope",
            "fairshare-7-own-run3.slice",
            "fairshare-7-run3-run.scope",
            "fairshare-7-run3-run4-run5.scope",
            "fairshare-7-own-run3-run4.scope",
            "fairshare-7-run3-job4.slice",
            "fairshare-7-own-own.slice",
            "fairshare-7-own-.slice",
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
        let share = "fairshare.slice/fairshare-7.slice";
        let path = |unit: UnitName| unit.cgroup_path();
        assert_eq!(path(UnitName::Share(uid)), share);
        let alone = "fairshare-7-job3.slice/fairshare-7-job3.service";
        assert_eq!(path(UnitName::JobService(uid, Within::Share, JobId(3))), format!("{share}/{alone}"));
        let shared = "fairshare-7-own.slice/fairshare-7-own-job3.slice/fairshare-7-own-job3.service";
        assert_eq!(path(UnitName::JobService(uid, Within::Own, JobId(3))), format!("{share}/{shared}"));
        let scope = "fairshare-7-own.slice/fairshare-7-own-run2.scope";
        assert_eq!(path(UnitName::Run(uid, Within::Own, 2)), format!("{share}/{scope}"));
        let run = "fairshare-7-run5.slice/fairshare-7-run5-run2.scope";
        assert_eq!(path(UnitName::Run(uid, Within::Run(JobId(5)), 2)), format!("{share}/{run}"));
    }
}
