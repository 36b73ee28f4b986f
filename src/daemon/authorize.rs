//! Who may do what: the table, and the only place that makes an [`Authorised`] act.
//!
//! The event loop takes nothing else, so that a call which nobody authorised does not compile.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OwnedSemaphorePermit;

use super::feed::Interest;
use super::peer::Peer;
use super::work::{self, Spec};
use crate::closing::Received;
use crate::host::account::Account;
use crate::identity::{JobId, Uid};
use crate::policy::Role;
use crate::quantity::{Bytes, MilliCpu, PartialAmount, QuantityError, TASKS_MAX, Tasks};
use crate::wire::call::{Amounts, Call, Endpoint, Submission};
use crate::wire::error::{Code, WireError};
use crate::wire::handover::{Handover, umask_default};

/// The least role for each endpoint, on one's own things. Naming another member takes [`Role::Admin`] everywhere.
pub const ROLES: &[(Endpoint, Role)] = &[
    (Endpoint::Ping, Role::ReadOnly),
    (Endpoint::Health, Role::ReadOnly),
    (Endpoint::Status, Role::ReadOnly),
    (Endpoint::List, Role::ReadOnly),
    (Endpoint::Policy, Role::ReadOnly),
    (Endpoint::JobStatus, Role::ReadOnly),
    (Endpoint::JobList, Role::ReadOnly),
    (Endpoint::Subscribe, Role::ReadOnly),
    // The job's own process: who could submit it may have another role by then.
    (Endpoint::JobFetch, Role::ReadOnly),
    (Endpoint::RequestResources, Role::Operator),
    (Endpoint::Resize, Role::Operator),
    (Endpoint::Renew, Role::Operator),
    (Endpoint::Release, Role::Operator),
    (Endpoint::Run, Role::Operator),
    (Endpoint::Attach, Role::Operator),
    (Endpoint::Submit, Role::Operator),
    (Endpoint::JobCancel, Role::Operator),
    (Endpoint::Reload, Role::Admin),
    (Endpoint::Drain, Role::Admin),
    (Endpoint::Undrain, Role::Admin),
];

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

impl Act {
    /// Whether the answer is at hand: nothing is changed, and little is read.
    pub fn is_quick(&self) -> bool {
        match self {
            Self::Ping
            | Self::Status { .. }
            | Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. }
            | Self::Subscribe { .. } => true,
            Self::Health
            | Self::List
            | Self::Request { .. }
            | Self::Resize { .. }
            | Self::Release { .. }
            | Self::Run
            | Self::Attach { .. }
            | Self::Submit { .. }
            | Self::Renew { .. }
            | Self::JobCancel { .. }
            | Self::JobFetch { .. }
            | Self::Drain
            | Self::Undrain
            | Self::Reload => false,
        }
    }
}

/// An act that its peer may do. Only [`authorize`] makes one.
#[derive(Debug, Clone)]
pub struct Authorised {
    peer: Arc<Peer>,
    act: Act,
    /// Whose account must be looked up before the act is complete.
    lookup: Option<Uid>,
}

impl Authorised {
    /// Who does it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.peer
    }

    /// What is done.
    pub fn act(&self) -> &Act {
        &self.act
    }

    /// The user whose account [`Self::complete`] wants first.
    pub fn lookup(&self) -> Option<Uid> {
        self.lookup
    }

    /// A submitted command with the descriptors that came with it, the umask of who submitted it, and room for it to wait in.
    pub fn handed(&mut self, streams: Received, umask: u32, permit: OwnedSemaphorePermit) {
        if let Act::Submit { spec, .. } = &mut self.act
            && let Some(spec) = Arc::get_mut(spec)
        {
            (spec.stdio, spec.room) = (Arc::new(streams), Some(Arc::new(permit)));
            spec.handover.umask = umask;
        }
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

/// The act that `call` asks for, when its peer may do it and its figures can be.
///
/// # Errors
/// Forbidden; BadRequest where a figure is out of range.
pub fn authorize(peer: &Arc<Peer>, call: Call) -> Result<Authorised, WireError> {
    let endpoint = call.endpoint();
    let least = ROLES.iter().find(|(of, _)| *of == endpoint).map_or(Role::Admin, |(_, role)| *role);
    if peer.role < least {
        return Err(forbidden(&format!("`{}` takes the role {}", endpoint.name(), name(least)), peer));
    }
    let target = match call.for_uid() {
        None => peer.uid,
        Some(_) if peer.role < Role::Admin => {
            return Err(forbidden("Only an admin may name another member", peer));
        }
        Some(raw) => Uid::new(raw).ok_or_else(|| bad(format!("for_uid: {raw} is not a user id")))?,
    };
    let own = || Account { uid: target, user: None, groups: peer.groups.clone() };
    let mut lookup = (target != peer.uid).then_some(target);
    let act = match call {
        Call::Ping => Act::Ping,
        Call::Health => Act::Health,
        Call::Status { .. } => Act::Status { uid: target },
        Call::List => Act::List,
        Call::Policy { .. } => Act::Policy { account: own() },
        Call::RequestResources { amounts, lease_ms, wait, .. } => {
            // The name goes into the slice's description.
            lookup = Some(target);
            Act::Request {
                account: own(),
                amount: figures(amounts)?,
                lease: lease_ms.map(Duration::from_millis),
                wait: wait.unwrap_or(false),
            }
        }
        Call::Renew { lease_ms, .. } => Act::Renew { account: own(), lease: Duration::from_millis(lease_ms) },
        Call::Resize { amounts, .. } => Act::Resize { account: own(), amount: figures(amounts)? },
        Call::Release { stop, .. } => Act::Release { uid: target, stop: stop.unwrap_or(false) },
        Call::Run => Act::Run,
        Call::Attach { pids } => Act::Attach { pids: pids.into_iter().map(pid).collect::<Result<_, _>>()? },
        Call::Submit(submission) => {
            // The name goes into the slice's description, where a share is taken.
            lookup = Some(target);
            submit(own(), submission)?
        }
        Call::JobStatus { job_id } => Act::JobStatus { job: JobId(job_id) },
        Call::JobCancel { job_id } => Act::JobCancel { job: JobId(job_id) },
        Call::JobFetch { job_id } => Act::JobFetch { job: JobId(job_id) },
        Call::Drain => Act::Drain,
        Call::Undrain => Act::Undrain,
        Call::JobList { all } => Act::JobList { all: whole(peer, all)? },
        Call::Subscribe { all, job_id } => {
            let all = whole(peer, all)?;
            // An admin may follow anybody's job by its id.
            let all = all || (job_id.is_some() && peer.role == Role::Admin);
            Act::Subscribe { interest: Interest { uid: peer.uid, all, job: job_id.map(JobId) } }
        }
        Call::Reload => Act::Reload,
    };
    if !matches!(
        act,
        Act::Policy { .. }
            | Act::Request { .. }
            | Act::Renew { .. }
            | Act::Resize { .. }
            | Act::Submit { .. }
    ) {
        lookup = None;
    }
    Ok(Authorised { peer: Arc::clone(peer), act, lookup })
}

fn submit(account: Account, submission: Submission) -> Result<Act, WireError> {
    let Submission { argv, cwd, env, amounts, name, lease_ms, wait } = submission;
    let handover = work::checked(Handover { argv, cwd, env, umask: umask_default() })?;
    let stdio = Arc::new(Received::from(account.uid));
    Ok(Act::Submit {
        account,
        amount: figures(amounts)?,
        time_limit: lease_ms.map(Duration::from_millis),
        name,
        wait: wait.unwrap_or(false),
        spec: Arc::new(Spec { handover, stdio, room: None }),
    })
}

/// Whether everybody's is asked for, which takes an admin.
fn whole(peer: &Peer, all: Option<bool>) -> Result<bool, WireError> {
    match all {
        Some(true) if peer.role < Role::Admin => Err(forbidden("Only an admin sees everyone's", peer)),
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

fn forbidden(message: &str, peer: &Peer) -> WireError {
    WireError::new(Code::Forbidden, message).detail(format!("your role is {}", name(peer.role)))
}

fn name(role: Role) -> &'static str {
    match role {
        Role::ReadOnly => "read_only",
        Role::Operator => "operator",
        Role::Admin => "admin",
    }
}
