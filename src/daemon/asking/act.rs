//! Which effect answers an act.

use super::authorize::Act;
use crate::ledger::Effect;

impl Act {
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
