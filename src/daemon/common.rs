//! What every connection is served with.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::accounts::Accounts;
use super::authorize;
use super::event::Event;
use super::peer::Peer;
use crate::policy::{Policy, Role};

/// The daemon, as listener and sessions reach it.
#[derive(Clone)]
pub struct Common {
    /// Where calls go.
    pub events: mpsc::Sender<Event>,
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
}
