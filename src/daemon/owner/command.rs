//! What an act says to the ledger.

use super::EventLoop;
use crate::daemon::asking::authorize::Act;
use crate::daemon::asking::spec::Spec;
use crate::daemon::doing::share::Context;
use crate::daemon::telling::answer;
use crate::host::account::Account;
use crate::host::process::inherited::Inherited;
use crate::identity::{Uid, UnitName};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Member, Wait};
use crate::policy::Policy;
use crate::quantity::Bytes;
use crate::wire::detail::Detail;
use crate::wire::error::{Code, WireError};

impl EventLoop {
    /// The command that an act is, with what the kernel says of the share at this moment.
    ///
    /// # Errors
    /// The policy is missing, the kernel's figures cannot be read, or the command would kill somebody's work.
    pub(crate) fn command(&self, uid: Uid, act: &Act, cx: &Context) -> Result<Command, WireError> {
        let policy = self.policy.as_deref().ok_or_else(|| self.condition.refusal())?;
        let unit = UnitName::Share(uid);
        let cgroup = |fault| answer::cgroup(&fault);
        Ok(match act {
            Act::Request { account, amount, lease, wait } => {
                let member = self.member(policy, account);
                self.refuse_to_strangle(uid, amount.or(member.policy.defaults).mem, cx)?;
                let wait = if *wait { Wait::Granted } else { Wait::No };
                Command::Request { member, amount: *amount, lease: *lease, wait }
            }
            Act::Submit { account, amount, time_limit, name, wait, spec, .. } => {
                if !policy.from_sandboxes {
                    out_of_no_sandbox(spec)?;
                }
                let member = self.member(policy, account);
                self.refuse_to_strangle(uid, amount.or(member.policy.defaults).mem, cx)?;
                let wait = if *wait { Wait::Granted } else { Wait::No };
                let name = name.clone();
                Command::Submit { member, amount: *amount, time_limit: *time_limit, name, wait }
            }
            Act::Renew { account, lease } => {
                let member = self.member(policy, account);
                Command::Renew { member, lease: *lease }
            }
            Act::Resize { account, amount } => {
                let member = self.member(policy, account);
                let in_use = cx.cgroups.memory(unit).map_err(cgroup)?.unwrap_or_default();
                Command::Resize { member, amount: *amount, in_use }
            }
            Act::Release { stop, .. } => {
                let populated = cx.cgroups.populated(unit).map_err(cgroup)?.unwrap_or(false);
                Command::Release { uid, populated, stop: *stop }
            }
            Act::Run | Act::Attach { .. } => Command::Enter { uid },
            Act::Ping
            | Act::Health
            | Act::Status { .. }
            | Act::List
            | Act::Policy { .. }
            | Act::JobStatus { .. }
            | Act::JobList { .. }
            | Act::JobCancel { .. }
            | Act::Drain
            | Act::Undrain
            | Act::JobFetch { .. }
            | Act::Subscribe { .. }
            | Act::Reload => return Err(WireError::new(Code::Internal, "A question was taken for a change")),
        })
    }

    /// A member as the ledger knows one.
    pub(crate) fn member(&self, policy: &Policy, account: &Account) -> Member {
        let (user, of_member) = (account.user.clone(), self.member_policy(policy, account));
        Member { uid: account.uid, user, policy: of_member, swap: policy.swap }
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

/// A command is run by PID 1, outside of the filter of system calls that the process that submits it may have.
fn out_of_no_sandbox(spec: &Spec) -> Result<(), WireError> {
    if let Some(Inherited { filtered: false, .. }) = spec.inherited {
        return Ok(());
    }
    let message = "The process that submits is in a sandbox: its system calls are filtered (seccomp)";
    let detail = Detail { setting: Some("from_sandboxes".to_owned()), ..Detail::default() };
    Err(WireError::new(Code::Forbidden, message)
        .detail(detail.and_text("the command would run outside of it")))
}
