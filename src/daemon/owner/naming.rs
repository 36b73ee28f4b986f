//! What the user database says of the policy's names, as the event loop takes it.

use std::sync::Arc;

use tracing::{info, warn};

use super::EventLoop;
use crate::daemon::asking::names::{self, Asked, Learned};
use crate::policy::Policy;

impl EventLoop {
    /// Takes the policy that is in force from the first moment, or why there is none.
    pub(crate) fn starts_with(&mut self, loaded: Result<(Policy, Asked), String>) {
        match loaded {
            Ok((policy, asked)) => {
                if let Some(said) = policy.unfound.said() {
                    warn!("names of the policy were not found, proceeding: {said}");
                    self.asked = Some(asked);
                }
                self.goes_by(&Arc::new(policy));
            }
            Err(why) => self.condition.policy = Some(why),
        }
    }

    /// All that goes by the policy goes by this one from now on.
    pub(crate) fn goes_by(&mut self, policy: &Arc<Policy>) {
        self.policy = Some(Arc::clone(policy));
        self.history.keep(policy.history_keep);
        self.policy_told.send_replace(Some(Arc::clone(policy)));
    }

    /// The names of the policy that were not found, where they are and what was said of them.
    pub(crate) fn names_missing(&self) -> Option<String> {
        self.policy.as_ref().and_then(|policy| policy.unfound.said())
    }

    /// Whether there are names to look for.
    pub(crate) fn misses_names(&self) -> bool {
        self.asked.is_none() && self.names_missing().is_some()
    }

    /// Looks again for what was not found.
    pub(crate) fn seek_names(&mut self) {
        if let Some(policy) = &self.policy {
            let asked = names::ask(&self.parts.accounts, policy);
            self.asked = Some(asked);
        }
    }

    /// Takes what the database said of a name; nothing more comes where it is `None`.
    pub(crate) fn name_learned(&mut self, learned: Option<Learned>) {
        let Some(Learned { name, said }) = learned else {
            self.asked = None;
            return;
        };
        let Some(before) = self.policy.as_deref() else { return };
        let mut policy = before.clone();
        policy.learn(&name, said);
        if policy == *before {
            return;
        }
        let resolved = policy.unfound.names().len() < before.unfound.names().len();
        match policy.unfound.said() {
            None => info!("every name of the policy was found"),
            Some(said) => warn!("names of the policy are not found, proceeding: {said}"),
        }
        if resolved {
            self.in_force(policy);
        } else {
            self.goes_by(&Arc::new(policy));
        }
        self.tell_status();
    }
}
