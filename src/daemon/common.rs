//! What every connection is served with.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::asking::accounts::Accounts;
use super::asking::authorize;
use super::asking::names::NAMES_PERIOD;
use super::asking::submission::Submission;
use crate::identity::Uid;
use crate::policy::{Policy, Role};
use crate::serving::peer::Peer;
use crate::wire::error::{Code, WireError};

/// The daemon, as listener and sessions reach it.
#[derive(Clone)]
pub struct Common {
    /// Where calls go.
    pub calls: mpsc::Sender<Submission>,
    /// The policy in force; `None` while there is none.
    pub policy: watch::Receiver<Option<Arc<Policy>>>,
    /// Whether the daemon stops.
    pub stopping: watch::Receiver<bool>,
    /// Who is a member.
    pub accounts: Accounts,
}

impl Common {
    /// What the peer may do under the policy that is in force at this moment.
    pub fn role(&self, peer: &Peer) -> Role {
        authorize::role(self.policy.borrow().as_deref(), peer)
    }

    /// Whether it is known what the policy in force says for a user, of this name where one is known.
    ///
    /// # Errors
    /// Degraded, while the user database has not answered for a name of the policy that may be theirs.
    pub fn decided(&self, uid: Uid, user: Option<&str>) -> Result<(), WireError> {
        let policy = self.policy.borrow();
        let Some(why) = policy.as_ref().and_then(|policy| policy.undecided(uid, user)) else { return Ok(()) };
        let message = format!("What the policy says for uid {uid} is not known yet");
        Err(WireError::new(Code::Degraded, message).detail(why).retry_after(NAMES_PERIOD))
    }
}
