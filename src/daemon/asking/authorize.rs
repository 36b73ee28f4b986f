//! Who may do what: the table, and the only place that makes an [`Authorised`] act.
//!
//! The event loop takes nothing else, so that a call which nobody authorised does not compile.

use std::sync::Arc;
use std::time::Duration;

use super::endpoint::{self, Kind, Turn, kind};
use super::spec::{self, Spec};
use crate::contract::handover::{Handover, umask_default};
use crate::contract::{
    Amounts, Attach, Call, Drain, Endpoint, Health, JobCancel, JobFetch, JobList, JobStatus, List, Ping,
    Release, Reload, Run, Status, Submit, Subscribe, Undrain,
};
use crate::daemon::telling::feed::Interest;
use crate::host::account::Account;
use crate::host::process::inherited::Inherited;
use crate::identity::{JobId, Uid};
use crate::policy::{Policy, Role};
use crate::quantity::{Bytes, MilliCpu, PartialAmount, QuantityError, TASKS_MAX, Tasks};
use crate::serving::closing::Received;
use crate::serving::peer::Peer;
use crate::serving::quota::Room;
use crate::wire::detail::Detail;
use crate::wire::error::{Code, WireError};

/// What is to be done, typed and checked.
#[derive(Debug, Clone)]
#[expect(missing_docs, reason = "one variant an endpoint, whose meaning the contract has")]
pub enum Act {
    Ping,
    Health,
    Status {
        uid: Uid,
    },
    List,
    Policy {
        account: Account,
    },
    Request {
        account: Account,
        amount: PartialAmount,
        lease: Option<Duration>,
        wait: bool,
    },
    Renew {
        account: Account,
        lease: Duration,
    },
    Resize {
        account: Account,
        amount: PartialAmount,
    },
    Release {
        uid: Uid,
        stop: bool,
    },
    Run,
    Attach {
        pids: Vec<u32>,
    },
    Submit {
        account: Account,
        amount: PartialAmount,
        time_limit: Option<Duration>,
        name: Option<String>,
        wait: bool,
        /// The command as it was decoded, until [`Authorised::handed`] has encoded it.
        command: Handover,
        spec: Arc<Spec>,
    },
    JobStatus {
        job: JobId,
    },
    JobList {
        all: bool,
    },
    JobCancel {
        job: JobId,
    },
    JobFetch {
        job: JobId,
    },
    Drain,
    Undrain,
    Subscribe {
        interest: Interest,
    },
    Reload,
}

/// What the peer may do under the policy in force. Without a policy root is admin and everyone else operator.
pub fn role(policy: Option<&Policy>, peer: &Peer) -> Role {
    policy.map_or_else(
        || if peer.uid == Uid::ROOT { Role::Admin } else { Role::Operator },
        |policy| policy.role(peer.uid, &peer.groups),
    )
}

/// An act that its peer may do. Only [`authorize`] makes one.
#[derive(Debug, Clone)]
pub struct Authorised {
    peer: Arc<Peer>,
    act: Act,
    /// The peer's role when the act was last judged.
    role: Role,
    /// The least role that may do the act to whom it is done to.
    least: Role,
    endpoint: Endpoint,
    /// The member whom it is done to.
    target: Uid,
    /// Whose account must be looked up before the act is complete.
    lookup: Option<Uid>,
}

impl Authorised {
    /// Who does it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// The role of who does it, by the policy under which it was last judged.
    pub fn role(&self) -> Role {
        self.role
    }

    /// What its endpoint says of itself.
    pub fn kind(&self) -> Kind {
        kind(self.endpoint)
    }

    /// The member whose turn the act waits for, where it changes or enters a share.
    pub fn turn(&self) -> Option<Uid> {
        match self.kind().turn {
            Turn::Nobodys => None,
            Turn::OfTarget => Some(self.target),
        }
    }

    /// The least role that may do the act to whom it is done to.
    pub fn least(&self) -> Role {
        self.least
    }

    /// Judges the act once more, by the policy that is in force at its turn: another one may have come while it waited.
    ///
    /// # Errors
    /// Forbidden, where the role is too low by now.
    pub fn judge(&mut self, policy: Option<&Policy>) -> Result<(), WireError> {
        self.role = role(policy, &self.peer);
        if self.role < self.least {
            let message = format!("`{}` takes the role {} here", self.endpoint.name(), self.least);
            return Err(forbidden(&message, self.role));
        }
        Ok(())
    }

    /// What is done.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// The user whose account [`Self::complete`] wants first.
    pub fn lookup(&self) -> Option<Uid> {
        self.lookup
    }

    /// A submitted command with the descriptors that came with it and what it has of who submitted it, encoded; `room` is
    /// asked for what it takes of the daemon's memory, in bytes.
    ///
    /// # Errors
    /// Those of `room`; Internal where the command cannot be encoded.
    pub fn handed(
        &mut self,
        streams: Received,
        inherited: Inherited,
        room: impl FnOnce(usize) -> Result<Room, WireError>,
    ) -> Result<(), WireError> {
        if let Act::Submit { command, spec, .. } = &mut self.act
            && let Some(spec) = Arc::get_mut(spec)
        {
            let encoded = Handover { umask: inherited.umask, ..std::mem::take(command) }.encode();
            let mut bytes = encoded.map_err(|why| {
                WireError::new(Code::Internal, "The command cannot be handed over").detail(why)
            })?;
            bytes.shrink_to_fit();
            spec.room = Some(Arc::new(room(bytes.len())?));
            (spec.handover, spec.stdio, spec.inherited) = (bytes, Arc::new(streams), Some(inherited));
        }
        Ok(())
    }

    /// The act with the name of its peer, who does it on their own share.
    pub fn name(&mut self, name: String) {
        let own = Account { uid: self.peer.uid, user: Some(name), groups: Vec::new() };
        self.complete(own);
    }

    /// The act with the account that it needs.
    pub fn complete(&mut self, found: Account) {
        if let Act::Policy { account }
        | Act::Request { account, .. }
        | Act::Renew { account, .. }
        | Act::Submit { account, .. }
        | Act::Resize { account, .. } = &mut self.act
        {
            // One's own groups are the kernel's word, not the database's.
            let groups = std::mem::take(&mut account.groups);
            *account = found;
            if account.uid == self.peer.uid {
                account.groups = groups;
            }
        }
        self.lookup = None;
    }
}

/// The act that `call` asks for, when its peer may do it in that role and its figures can be.
///
/// # Errors
/// Forbidden; BadRequest where a figure is out of range.
pub fn authorize(peer: &Arc<Peer>, role: Role, call: Call) -> Result<Authorised, WireError> {
    let endpoint = call.endpoint();
    let kind = kind(endpoint);
    let mut least = kind.least;
    if role < least {
        return Err(forbidden(&format!("`{}` takes the role {}", endpoint.name(), least), role));
    }
    let target = target(peer, role, call.for_uid())?;
    let own = || Account { uid: target, user: None, groups: peer.groups.clone() };
    let mut everybody = false;
    let act = match call {
        Call::Ping(Ping {}) => Act::Ping,
        Call::Health(Health {}) => Act::Health,
        Call::Status(Status { .. }) => Act::Status { uid: target },
        Call::List(List {}) => Act::List,
        Call::Policy(_) => Act::Policy { account: own() },
        Call::RequestResources(request) => Act::Request {
            account: own(),
            amount: figures(request.amounts())?,
            lease: request.lease_ms.map(Duration::from_millis),
            wait: request.wait.unwrap_or(false),
        },
        Call::Renew(renew) => Act::Renew { account: own(), lease: Duration::from_millis(renew.lease_ms) },
        Call::Resize(resize) => Act::Resize { account: own(), amount: figures(resize.amounts())? },
        Call::Release(Release { stop, .. }) => Act::Release { uid: target, stop: stop.unwrap_or(false) },
        Call::Run(Run {}) => Act::Run,
        Call::Attach(Attach { pids }) => {
            Act::Attach { pids: pids.into_iter().map(pid).collect::<Result<_, _>>()? }
        }
        Call::Submit(submission) => submit(own(), submission)?,
        Call::JobStatus(JobStatus { job_id }) => Act::JobStatus { job: JobId(job_id) },
        Call::JobCancel(JobCancel { job_id }) => Act::JobCancel { job: JobId(job_id) },
        Call::JobFetch(JobFetch { job_id }) => Act::JobFetch { job: JobId(job_id) },
        Call::Drain(Drain {}) => Act::Drain,
        Call::Undrain(Undrain {}) => Act::Undrain,
        Call::JobList(JobList { all }) => {
            everybody = whole(role, all)?;
            Act::JobList { all: everybody }
        }
        Call::Subscribe(Subscribe { all, job_id }) => {
            // An admin may follow anybody's job by its id.
            everybody = whole(role, all)? || (job_id.is_some() && role == Role::Admin);
            Act::Subscribe { interest: Interest { uid: peer.uid, all: everybody, job: job_id.map(JobId) } }
        }
        Call::Reload(Reload {}) => Act::Reload,
    };
    let lookup = match kind.needs.account {
        endpoint::Account::Never => None,
        endpoint::Account::OfAnother => (target != peer.uid).then_some(target),
        endpoint::Account::Always => Some(target),
    };
    if target != peer.uid || everybody {
        least = Role::Admin;
    }
    Ok(Authorised { peer: Arc::clone(peer), act, role, least, endpoint, target, lookup })
}

/// To whom a call is done.
fn target(peer: &Peer, role: Role, for_uid: Option<u64>) -> Result<Uid, WireError> {
    match for_uid {
        None => Ok(peer.uid),
        // One's own uid names nobody else.
        Some(raw) if raw == u64::from(peer.uid.get()) => Ok(peer.uid),
        Some(_) if role < Role::Admin => Err(forbidden("Only an admin may name another member", role)),
        Some(raw) => Uid::new(raw).ok_or_else(|| bad(format!("for_uid: {raw} is not a user id"))),
    }
}

fn submit(account: Account, submission: Submit) -> Result<Act, WireError> {
    let amounts = submission.amounts();
    let Submit { argv, cwd, env, name, lease_ms, wait, .. } = submission;
    let handover = spec::checked(Handover { argv, cwd, env, umask: umask_default() })?;
    let stdio = Arc::new(Received::from(account.uid));
    Ok(Act::Submit {
        account,
        amount: figures(amounts)?,
        time_limit: lease_ms.map(Duration::from_millis),
        name,
        wait: wait.unwrap_or(false),
        command: handover,
        spec: Arc::new(Spec { handover: Vec::new(), stdio, inherited: None, room: None }),
    })
}

/// Whether everybody's is asked for, which takes an admin.
fn whole(role: Role, all: Option<bool>) -> Result<bool, WireError> {
    match all {
        Some(true) if role < Role::Admin => Err(forbidden("Only an admin sees everyone's", role)),
        all => Ok(all.unwrap_or(false)),
    }
}

/// A process id. Process 1 is everybody's, and nobody's to move.
fn pid(raw: u64) -> Result<u32, WireError> {
    u32::try_from(raw)
        .ok()
        .filter(|pid| *pid > 1 && u64::from(*pid) <= TASKS_MAX)
        .ok_or_else(|| bad(format!("pids: {raw} is not a process id")))
}

fn figures(amounts: Amounts) -> Result<PartialAmount, WireError> {
    let wrong = |error: QuantityError| bad(error.to_string());
    Ok(PartialAmount {
        cpu: amounts.cpu_milli.map(MilliCpu::checked).transpose().map_err(wrong)?,
        mem: amounts.mem_bytes.map(Bytes::checked).transpose().map_err(wrong)?,
        tasks: amounts.tasks_max.map(Tasks::checked).transpose().map_err(wrong)?,
    })
}

fn bad(message: String) -> WireError {
    WireError::new(Code::BadRequest, message)
}

fn forbidden(message: &str, role: Role) -> WireError {
    WireError::new(Code::Forbidden, message).detail(Detail { role: Some(role), ..Detail::default() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Gid;

    fn gid(raw: u64) -> Gid {
        Gid::new(raw).expect("a group")
    }

    #[test]
    fn ones_own_groups_are_the_kernels_and_anothers_the_databases() {
        let peer = Arc::new(Peer {
            uid: Uid::ROOT,
            gid: gid(0),
            pid: 1,
            groups: vec![gid(0), gid(7)],
            connected_boot_ms: 0,
        });
        for (for_uid, groups) in [(None, vec![gid(0), gid(7)]), (Some(5), vec![gid(9)])] {
            let mut authorised =
                authorize(&peer, Role::Admin, Call::Policy(crate::contract::Policy { for_uid }))
                    .expect("an admin");
            let uid = Uid::new(for_uid.unwrap_or(0)).expect("a user");
            authorised.complete(Account { uid, user: Some("name".to_owned()), groups: vec![gid(9)] });
            let Act::Policy { account } = authorised.act() else { panic!("{authorised:?}") };
            assert_eq!((account.uid, &account.groups), (uid, &groups));
        }
    }
}
