//! What an act says to the ledger.

use super::answer;
use super::authorize::Act;
use super::event_loop::EventLoop;
use super::execute::Context;
use super::query;
use crate::host::account::Account;
use crate::identity::{Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Member, Wait};
use crate::policy::Policy;
use crate::quantity::Bytes;
use crate::wire::error::WireError;

impl EventLoop {
    /// The command that an act is, with what the kernel says of the share at this moment.
    ///
    /// # Errors
    /// The policy is missing, the kernel's figures cannot be read, or the command would kill somebody's work.
    pub(super) fn command(&self, uid: Uid, act: &Act, cx: &Context) -> Result<Command, WireError> {
        let policy = self.policy.as_deref().ok_or_else(|| self.condition.refusal())?;
        let unit = UnitName::Share(uid);
        let cgroup = |fault| answer::cgroup(&fault);
        Ok(match act {
            Act::Request { account, amount, lease, wait } => {
                let member = member(policy, uid, account);
                self.refuse_to_strangle(uid, amount.or(member.policy.defaults).mem, cx)?;
                let wait = if *wait { Wait::Granted } else { Wait::No };
                Command::Request { member, amount: *amount, lease: *lease, wait }
            }
            Act::Submit { account, amount, time_limit, name, wait, .. } => {
                let member = member(policy, uid, account);
                self.refuse_to_strangle(uid, amount.or(member.policy.defaults).mem, cx)?;
                let wait = if *wait { Wait::Granted } else { Wait::No };
                let name = name.clone();
                Command::Submit { member, amount: *amount, time_limit: *time_limit, name, wait }
            }
            Act::Renew { account, lease } => {
                let member = member(policy, uid, account);
                Command::Renew { member, lease: *lease }
            }
            Act::Resize { account, amount } => {
                let member = member(policy, uid, account);
                let in_use = cx.cgroups.memory(unit).map_err(cgroup)?.unwrap_or_default();
                Command::Resize { member, amount: *amount, in_use }
            }
            Act::Release { stop, .. } => {
                let inside = cx.cgroups.pids(unit, query::PIDS_READ_MAX).map_err(cgroup)?;
                let populated = cx.cgroups.populated(unit).map_err(cgroup)?.unwrap_or(false);
                let count = inside.len().max(usize::from(populated));
                Command::Release { uid, pids: inside, count, stop: *stop }
            }
            _ => Command::Enter { uid },
        })
    }

    /// A slice that someone made behind our back may be busy: the work in it must not die of a share's limit.
    fn refuse_to_strangle(&self, uid: Uid, asked: Bytes, cx: &Context) -> Result<(), WireError> {
        if self.ledger.share(uid).is_some() {
            return Ok(());
        }
        let in_use = cx.cgroups.memory(UnitName::Share(uid)).map_err(|fault| answer::cgroup(&fault))?;
        let in_use = in_use.unwrap_or_default();
        if in_use > asked { Err(answer::refusal(&Refusal::MemoryInUse { in_use, asked })) } else { Ok(()) }
    }
}

/// A member as the ledger knows one.
pub(super) fn member(policy: &Policy, uid: Uid, account: &Account) -> Member {
    let (user, policy_for) = (account.user.clone(), policy.member(uid, &account.groups));
    Member { uid, user, policy: policy_for, swap: policy.swap }
}
