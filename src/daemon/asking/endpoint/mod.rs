//! What each endpoint of the contract is to the daemon: one file an endpoint, and nothing is said of one by silence.

mod attach;
mod drain;
mod health;
mod job_cancel;
mod job_fetch;
mod job_list;
mod job_status;
mod list;
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

use crate::contract::{self, for_each_endpoint};
use crate::policy::Role;

/// What is to be known of an endpoint. Nothing of it has a default: whoever adds an endpoint is asked.
pub trait Endpoint {
    /// The least role that may call it, on one's own things. Naming another member takes [`Role::Admin`] everywhere.
    const LEAST: Role;
    /// Whose turn a call waits for.
    const TURN: Turn;
    /// Whether it is answered whatever is missing: policy, state or bus.
    const WHEN_DEGRADED: bool;
    /// What a call needs before it is complete.
    const NEEDS: Needs;
    /// Whether the answer is at hand: nothing is changed, and little is read.
    const AT_HAND: bool;
    /// Whether a call is a question, which changes nothing: asked often, and in the journal only where it failed.
    const QUESTION: bool;
    /// What comes with the answer beside it.
    const BESIDE: Beside;
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
    /// [`Endpoint::AT_HAND`].
    pub at_hand: bool,
    /// [`Endpoint::QUESTION`].
    pub question: bool,
    /// [`Endpoint::BESIDE`].
    pub beside: Beside,
}

impl Kind {
    fn of<E: Endpoint>() -> Self {
        Self {
            least: E::LEAST,
            turn: E::TURN,
            when_degraded: E::WHEN_DEGRADED,
            needs: E::NEEDS,
            at_hand: E::AT_HAND,
            question: E::QUESTION,
            beside: E::BESIDE,
        }
    }
}

macro_rules! kinds {
    ($($name:ident),+ $(,)?) => {
        /// What an endpoint of the contract says of itself.
        pub fn kind(endpoint: contract::Endpoint) -> Kind {
            match endpoint { $(contract::Endpoint::$name => Kind::of::<contract::$name>()),+ }
        }
    };
}

for_each_endpoint!(kinds);
