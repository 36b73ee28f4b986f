//! What kind of thing an act is. Each question about all acts is one match that names them all.

use super::authorize::Act;
use crate::ledger::Effect;

/// What comes with an answer beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Beside {
    /// Nothing does.
    Nothing,
    /// Events come after it.
    Events,
    /// Descriptors go with it.
    Descriptors,
}

impl Act {
    /// What comes with the answer beside it.
    pub fn beside(&self) -> Beside {
        match self {
            Self::Subscribe { .. } => Beside::Events,
            Self::JobFetch { .. } => Beside::Descriptors,
            Self::Ping
            | Self::Health
            | Self::Status { .. }
            | Self::List
            | Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. }
            | Self::Request { .. }
            | Self::Renew { .. }
            | Self::Resize { .. }
            | Self::Release { .. }
            | Self::Run
            | Self::Attach { .. }
            | Self::Submit { .. }
            | Self::JobCancel { .. }
            | Self::Drain
            | Self::Undrain
            | Self::Reload => Beside::Nothing,
        }
    }

    /// Whether it is a question, which changes nothing: asked often, and in the journal only where it failed.
    pub fn is_question(&self) -> bool {
        match self {
            Self::Ping
            | Self::Health
            | Self::Status { .. }
            | Self::List
            | Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. } => true,
            Self::Request { .. }
            | Self::Renew { .. }
            | Self::Resize { .. }
            | Self::Release { .. }
            | Self::Run
            | Self::Attach { .. }
            | Self::Submit { .. }
            | Self::JobCancel { .. }
            | Self::Drain
            | Self::Undrain
            | Self::JobFetch { .. }
            | Self::Subscribe { .. }
            | Self::Reload => false,
        }
    }

    /// Whether it is answered whatever is missing: policy, state or bus.
    pub fn allowed_degraded(&self) -> bool {
        match self {
            // What a command is was granted before: its process asks for no more than that.
            Self::Ping
            | Self::Health
            | Self::Status { .. }
            | Self::List
            | Self::Reload
            | Self::JobFetch { .. } => true,
            Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. }
            | Self::Request { .. }
            | Self::Renew { .. }
            | Self::Resize { .. }
            | Self::Release { .. }
            | Self::Run
            | Self::Attach { .. }
            | Self::Submit { .. }
            | Self::JobCancel { .. }
            | Self::Drain
            | Self::Undrain
            | Self::Subscribe { .. } => false,
        }
    }

    /// Whether what the machine has by now matters to the answer: what is taken, and what is shown of what is left. A
    /// renewal takes a share anew where its lease was over.
    pub fn tells_of_capacity(&self) -> bool {
        match self {
            Self::Request { .. }
            | Self::Renew { .. }
            | Self::Resize { .. }
            | Self::Submit { .. }
            | Self::Status { .. }
            | Self::List => true,
            Self::Ping
            | Self::Health
            | Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. }
            | Self::Release { .. }
            | Self::Run
            | Self::Attach { .. }
            | Self::JobCancel { .. }
            | Self::Drain
            | Self::Undrain
            | Self::JobFetch { .. }
            | Self::Subscribe { .. }
            | Self::Reload => false,
        }
    }

    /// Whether `effect` on the caller's own share is what a call is answered with.
    pub fn asks_for(&self, effect: &Effect) -> bool {
        match self {
            Self::Request { .. } | Self::Submit { .. } => {
                matches!(effect, Effect::Grant(_) | Effect::Queued { .. } | Effect::Start { .. })
            }
            Self::Resize { .. } => matches!(effect, Effect::Resize { .. }),
            Self::Renew { .. } => matches!(effect, Effect::Renew(_)),
            Self::Release { .. } => matches!(effect, Effect::Withdraw(_) | Effect::Stop { .. }),
            Self::Run | Self::Attach { .. } => matches!(effect, Effect::Enter { .. }),
            Self::Ping
            | Self::Health
            | Self::Status { .. }
            | Self::List
            | Self::Policy { .. }
            | Self::JobStatus { .. }
            | Self::JobList { .. }
            | Self::JobCancel { .. }
            | Self::Drain
            | Self::Undrain
            | Self::JobFetch { .. }
            | Self::Subscribe { .. }
            | Self::Reload => false,
        }
    }
}
