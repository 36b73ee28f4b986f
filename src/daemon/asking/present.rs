//! What is so at the moment at which a call has its turn.

use crate::cgroup::{CgroupFault, Memory};
use crate::daemon::telling::answer;
use crate::daemon::telling::shown::Shown;
use crate::host::account::Account;
use crate::identity::{AllocationId, JobId, Uid};
use crate::ledger::Member;
use crate::ledger::refusal::Refusal;
use crate::policy::{MemberPolicy, Policy};
use crate::quantity::{PartialAmount, Tasks};
use crate::wire::error::WireError;

/// What the daemon knows at this moment.
pub struct Present<'a> {
    /// What the ledger has, and the kernel says of it.
    pub shown: Shown<'a>,
    /// The policy in force, or the refusal where there is none.
    pub policy: Result<&'a Policy, WireError>,
    /// How many tasks all shares can have together; `None` where that is not known.
    pub tasks: Option<Tasks>,
}

impl Present<'_> {
    /// The policy in force.
    ///
    /// # Errors
    /// Degraded, where there is none.
    pub fn policy(&self) -> Result<&Policy, WireError> {
        self.policy.as_deref().map_err(Clone::clone)
    }

    /// A member as the ledger knows one.
    ///
    /// # Errors
    /// Those of [`Self::policy`].
    pub fn member(&self, account: &Account) -> Result<Member, WireError> {
        let policy = self.policy()?;
        Ok(Member {
            uid: account.uid,
            user: account.user.clone(),
            policy: member_policy(policy, account, self.tasks),
            swap: policy.swap,
        })
    }

    /// The allocation of a member's that a call names: that of this job, or the standing one.
    ///
    /// # Errors
    /// The job is none of theirs, is over, or has no allocation of its own.
    pub fn named(&self, uid: Uid, job: Option<JobId>) -> Result<AllocationId, WireError> {
        let Some(id) = job else { return Ok(AllocationId::standing(uid)) };
        let ledger = self.shown.ledger;
        // Whether there is such a job of somebody else's is not told.
        let found = ledger.jobs().get(&id).filter(|job| job.uid == uid);
        let found = found.ok_or_else(|| answer::refusal(&Refusal::NoJob))?;
        match found.home().filter(|home| home.job().is_some()) {
            Some(home) if ledger.allocation(home).is_some() => Ok(home),
            _ => Err(answer::refusal(&Refusal::NoRoomOfIts { job: id })),
        }
    }

    /// The allocation that is given back with a call; `None` where that has been done.
    ///
    /// # Errors
    /// Those of [`Self::named`], where the job is not over.
    pub fn released(&self, uid: Uid, job: Option<JobId>) -> Result<Option<AllocationId>, WireError> {
        let over = |job: &JobId| {
            let found = self.shown.ledger.jobs().get(job);
            found.is_some_and(|found| found.uid == uid && found.ended() && found.home().is_some())
        };
        if job.as_ref().is_some_and(over) { Ok(None) } else { self.named(uid, job).map(Some) }
    }

    /// The memory of an allocation; nothing where there is none.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn memory(&self, id: AllocationId) -> Result<Memory, WireError> {
        said(self.shown.cgroups.memory_by_kind(self.shown.ledger.unit(id)))
    }

    /// Whether processes are in an allocation.
    ///
    /// # Errors
    /// The kernel does not say.
    pub fn populated(&self, id: AllocationId) -> Result<bool, WireError> {
        said(self.shown.cgroups.populated(self.shown.ledger.unit(id)))
    }

    /// Refuses a standing allocation that is to be made and is too small for what is in its slice. A slice that someone made
    /// behind the daemon's back may be busy: the work in it must not die of a limit.
    ///
    /// # Errors
    /// Busy, with what is used; the kernel does not say.
    pub fn refuse_to_strangle(&self, member: &Member, amount: PartialAmount) -> Result<(), WireError> {
        let id = AllocationId::standing(member.uid);
        if self.shown.ledger.allocation(id).is_some() {
            return Ok(());
        }
        let in_use = said(self.shown.cgroups.memory(id.unit()))?;
        let asked = amount.or(member.policy.defaults).mem;
        if in_use > asked { Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked })) } else { Ok(()) }
    }
}

/// What the policy says for a member on this machine: nobody is promised more tasks than all shares have together.
pub fn member_policy(policy: &Policy, account: &Account, tasks: Option<Tasks>) -> MemberPolicy {
    let mut member = policy.member(account.uid, &account.groups);
    if let Some(all) = tasks {
        member.max.tasks = member.max.tasks.min(all);
        member.defaults.tasks = member.defaults.tasks.min(all);
    }
    member
}

/// What the kernel says of a slice; nothing is in one that is not there.
fn said<T: Default>(said: Result<Option<T>, CgroupFault>) -> Result<T, WireError> {
    said.map(Option::unwrap_or_default).map_err(|fault| answer::cgroup(&fault))
}
