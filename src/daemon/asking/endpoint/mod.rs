//! What each endpoint of the contract is to the daemon: one file an endpoint, and nothing is said of one by silence.

mod attach;
mod audit;
mod drain;
mod dump;
mod health;
mod history;
mod job_alter;
mod job_cancel;
mod job_fetch;
mod job_list;
mod job_status;
mod list;
mod log;
mod ping;
mod policy;
mod release;
mod reload;
mod renew;
mod request_resources;
mod resize;
mod run;
mod status;
mod submit;
mod subscribe;
mod undrain;

use std::fmt::Debug;

use super::caller::{Asking, Caller};
use super::deed::Deed;
use super::present::Present;
use crate::contract::{self, Call, for_each_endpoint};
use crate::policy::Role;
pub use crate::serving::service::Due;
use crate::wire::error::WireError;

/// What is to be known of an endpoint. Nothing of it has a default: whoever adds an endpoint is asked.
pub trait Endpoint: Sized {
    /// The least role that may call it, on one's own things. Naming another member takes [`Role::Admin`] everywhere.
    const LEAST: Role;
    /// Whose turn a call waits for.
    const TURN: Turn;
    /// Whether it is answered whatever is missing: policy, state or bus.
    const WHEN_DEGRADED: bool;
    /// What a call needs before it is complete.
    const NEEDS: Needs;
    /// When the answer is there.
    const DUE: Due;
    /// Whether a call is a question, which changes nothing: asked often, and in the journal only where it failed.
    const QUESTION: bool;
    /// What comes with the answer beside it.
    const BESIDE: Beside;
    /// Whether PID 1 starts a unit for it, which it tells the journal: of these a user has so many at once and then
    /// [so many a second](crate::serving::account::STARTS_MAX).
    const STARTS_A_UNIT: bool;

    /// A call of it, typed and checked.
    type Act: Debug + Send + 'static;

    /// What a call asks for.
    ///
    /// # Errors
    /// BadRequest, where a figure cannot be; Forbidden, where the role is too low for what the call names.
    fn act(self, asking: &mut Asking<'_>) -> Result<Self::Act, WireError>;

    /// What the owner of the ledger does for it, at its turn. Nothing that blocks, and nothing that changes anything: that is
    /// the owner's.
    ///
    /// # Errors
    /// The refusal that is answered.
    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError>;
}

/// Whose turn a call waits for: of each member one thing at a time is under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It waits for nobody: it changes no share.
    Nobodys,
    /// It changes, or enters, the share of the member whom it is done to.
    OfTarget,
}

/// What a call needs before it is complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// Whether the user database is asked about the member whom it is done to.
    pub account: Account,
    /// Whether what the machine has by now matters to the answer: what is taken, and what is shown of what is left.
    pub capacity: bool,
}

/// When the user database is asked about the member whom a call is done to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Account {
    /// The call is done by the user id alone.
    Never,
    /// Where another member is named, whose groups the kernel does not say.
    OfAnother,
    /// One's own name is needed too.
    Always,
}

/// What comes with an answer beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// An answer is all there is.
    Nothing,
    /// Events come after it.
    Events,
    /// Descriptors go with it.
    Descriptors,
}

/// What an [`Endpoint`] says of itself, as a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    /// [`Endpoint::LEAST`].
    pub least: Role,
    /// [`Endpoint::TURN`].
    pub turn: Turn,
    /// [`Endpoint::WHEN_DEGRADED`].
    pub when_degraded: bool,
    /// [`Endpoint::NEEDS`].
    pub needs: Needs,
    /// [`Endpoint::DUE`].
    pub due: Due,
    /// [`Endpoint::QUESTION`].
    pub question: bool,
    /// [`Endpoint::BESIDE`].
    pub beside: Beside,
    /// [`Endpoint::STARTS_A_UNIT`].
    pub starts_a_unit: bool,
}

impl Kind {
    fn of<E: Endpoint>() -> Self {
        Self {
            least: E::LEAST,
            turn: E::TURN,
            when_degraded: E::WHEN_DEGRADED,
            needs: E::NEEDS,
            due: E::DUE,
            question: E::QUESTION,
            beside: E::BESIDE,
            starts_a_unit: E::STARTS_A_UNIT,
        }
    }
}

macro_rules! endpoints {
    ($($name:ident),+ $(,)?) => {
        /// What an endpoint of the contract says of itself.
        pub fn kind(endpoint: contract::Endpoint) -> Kind {
            match endpoint { $(contract::Endpoint::$name => Kind::of::<contract::$name>()),+ }
        }

        /// What is to be done, typed and checked.
        #[derive(Debug)]
        pub enum Act { $(#[doc = concat!("See [`", stringify!($name), "`](contract::", stringify!($name), ").")] $name(<contract::$name as Endpoint>::Act)),+ }

        impl Act {
            /// What `call` asks for.
            ///
            /// # Errors
            /// Those of [`Endpoint::act`].
            pub fn of(call: Call, asking: &mut Asking<'_>) -> Result<Self, WireError> {
                match call { $(Call::$name(body) => body.act(asking).map(Self::$name)),+ }
            }

            /// What the owner of the ledger does for it.
            ///
            /// # Errors
            /// Those of [`Endpoint::deed`].
            pub fn deed(&self, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
                match self { $(Self::$name(act) => <contract::$name as Endpoint>::deed(act, by, now)),+ }
            }
        }
    };
}

for_each_endpoint!(endpoints);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::Endpoint::{self, Attach, Ping, Policy, RequestResources, Run, Submit};
    use crate::contract::{
        AllocationInfo, AllocationKind, AllocationState, AmountInfo, Answer, CapacityInfo, IoInfo, KeyInfo,
        PolicyAnswer, PolicyInfo, Pong, ShareInfo, StatusAnswer, Usage,
    };
    use crate::ledger::job::WORKS_PER_UID_MAX;
    use crate::wire::frame::encode_frame;

    const MOST: u64 = u64::MAX;

    /// The longest answer that a connection has sixteen of held, in bytes: 64 KiB with them all, as it may have written.
    const SHORT_BYTES_MAX: usize = 4 << 10;

    #[test]
    fn what_is_answered_in_the_same_breath_is_short() {
        let amount = AmountInfo { cpu_milli: MOST, mem_bytes: MOST, tasks_max: MOST };
        let policy = PolicyInfo {
            defaults: amount,
            max: amount,
            lease_default_ms: Some(MOST),
            lease_max_ms: Some(MOST),
            idle_ms: Some(MOST),
            burst_cpu_milli: Some(MOST),
            role: Role::ReadOnly,
            from_sandboxes: true,
            io: Some(IoInfo {
                read_bytes: Some(MOST),
                write_bytes: Some(MOST),
                read_ops: Some(MOST),
                write_ops: Some(MOST),
                // The most paths of a policy, of its longest texts.
                on: vec!["x".repeat(256); 8],
            }),
            key: Some(KeyInfo {
                held_milli: MOST,
                had_milli: Some(MOST),
                waits: true,
                others: MOST,
                before: MOST,
            }),
        };
        let longest =
            [(Ping, Answer::Pong(Pong { at_ms: MOST })), (Policy, Answer::Policy(PolicyAnswer { policy }))];
        let soon = |endpoint: &Endpoint| kind(*endpoint).due == Due::InTheSameBreath;
        let soon: Vec<_> = Endpoint::ALL.iter().copied().filter(soon).collect();
        assert_eq!(soon, longest.each_ref().map(|(endpoint, _)| *endpoint));
        for (endpoint, answer) in longest {
            let mut frame = Vec::new();
            encode_frame(&answer, &mut frame).unwrap();
            assert!(frame.len() <= SHORT_BYTES_MAX, "{}: {}", endpoint.name(), frame.len());
        }
    }

    /// With as many commands at work as a member can have, and the standing allocation.
    #[test]
    fn the_longest_status_is_one_frame() {
        let usage = Usage {
            cpu_usec: MOST,
            mem_bytes: MOST,
            needed_bytes: Some(MOST),
            tasks: MOST,
            oom_kills: MOST,
            cpu_pressure_centi: Some(MOST),
            mem_pressure_centi: Some(MOST),
        };
        let allocation = AllocationInfo {
            kind: AllocationKind::Standing,
            job_id: Some(MOST),
            cpu_milli: MOST,
            mem_bytes: MOST,
            tasks_max: MOST,
            state: AllocationState::Expired,
            granted_ms: MOST,
            lease_ends_ms: Some(MOST),
            unit: format!("fairshare-{MOST}-job{MOST}.slice"),
            usage: Some(usage.clone()),
            paused: Some(true),
        };
        let share = ShareInfo {
            uid: MOST,
            // The longest that useradd(8) takes.
            user: Some("x".repeat(256)),
            cpu_milli: MOST,
            mem_bytes: MOST,
            tasks_max: MOST,
            slice: format!("fairshare-{MOST}.slice"),
            usage: Some(usage),
            burst_cpu_milli: Some(MOST),
            allocations: Some(vec![allocation; WORKS_PER_UID_MAX + 1]),
        };
        let capacity = CapacityInfo {
            cpu_milli: MOST,
            mem_bytes: MOST,
            free_cpu_milli: MOST,
            free_mem_bytes: MOST,
            shares: MOST,
            waiting: MOST,
            left_behind_bytes: Some(MOST),
        };
        let mut frame = Vec::new();
        encode_frame(&Answer::Status(StatusAnswer { share: Some(share), capacity }), &mut frame).unwrap();
    }

    /// A share is a slice, a command a service, and who goes in gets a scope.
    #[test]
    fn what_makes_a_unit_is_counted_as_a_start_and_nothing_else_is() {
        let starts = Endpoint::ALL.iter().copied().filter(|endpoint| kind(*endpoint).starts_a_unit);
        assert_eq!(starts.collect::<Vec<_>>(), [RequestResources, Run, Attach, Submit]);
    }
}
