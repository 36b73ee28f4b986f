//! What a command of a caller's comes to: what is done for them, and what follows from that for others.

use super::command::{Command, Effect, Event};
use crate::identity::{JobId, Uid};

/// What the ledger made of one caller's command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decided {
    /// What is done for the caller, and answers them when it is done; `None` where there is nothing to be done.
    pub own: Option<Effect>,
    /// Everything else: what the caller changed may let others in who wait, and is told to who follows events.
    pub others: Vec<Effect>,
}

/// Which effect is done for whoever says a command, on whose allocation, and of which job.
#[derive(Debug, Clone, Copy)]
pub(super) struct Own {
    is_own: fn(&Effect) -> bool,
    whose: Option<Uid>,
    job: Option<JobId>,
}

impl Own {
    pub fn of(command: &Command) -> Self {
        let job = if let Command::Cancel { job, .. } = command { Some(*job) } else { None };
        Self { is_own: command.answered_by(), whose: command.whose(), job }
    }

    /// Finds it among the effects of that command.
    pub fn among(self, mut others: Vec<Effect>) -> Decided {
        let own = others.iter().position(|effect| {
            // Of an array its tasks are called back, and it is the array that is answered.
            let of_job = |own| matches!(effect, Effect::CallBack { job, .. } if *job == own);
            (self.is_own)(effect)
                && self.whose.is_none_or(|uid| effect.uid() == Some(uid))
                && self.job.is_none_or(of_job)
        });
        let own = own.map(|at| others.remove(at));
        Decided { own, others }
    }
}

impl Decided {
    /// Whether this event is told.
    pub fn tells(&self, event: &Event) -> bool {
        self.others.iter().any(|effect| effect.event() == Some(event))
    }
}

impl Command {
    /// Which effect answers whoever says this.
    fn answered_by(&self) -> fn(&Effect) -> bool {
        match self {
            Self::Request { .. } | Self::Submit { .. } => {
                |effect| matches!(effect, Effect::Grant(_) | Effect::Queued { .. } | Effect::Start { .. })
            }
            Self::Resize { .. } => |effect| matches!(effect, Effect::Resize { .. }),
            Self::Renew { .. } => |effect| matches!(effect, Effect::Renew(_)),
            Self::Release { .. } => |effect| matches!(effect, Effect::Withdraw(_) | Effect::Stop { .. }),
            Self::Run { .. } => {
                |effect| matches!(effect, Effect::Grant(_) | Effect::Queued { .. } | Effect::Enter { .. })
            }
            Self::Enter { .. } => |effect| matches!(effect, Effect::Enter { .. }),
            Self::Cancel { .. } => |effect| matches!(effect, Effect::CallBack { .. }),
            Self::Pause { .. } => |effect| matches!(effect, Effect::Pause { .. }),
            Self::SetCapacity { .. }
            | Self::LeftBehind(_)
            | Self::SetRules(_)
            | Self::Reconsider { .. }
            | Self::WorkEnded { .. }
            | Self::Ending { .. }
            | Self::Warned { .. }
            | Self::NeverBegan { .. }
            | Self::Cleared { .. }
            | Self::Occupancy { .. }
            | Self::Alter { .. }
            | Self::Drain
            | Self::Undrain
            | Self::Tick
            | Self::Settle { .. }
            | Self::SliceGone { .. } => |_| false,
        }
    }

    /// The member on whose allocation it is done, where it is one member's.
    fn whose(&self) -> Option<Uid> {
        match self {
            Self::Request { member, .. }
            | Self::Submit { member, .. }
            | Self::Run { member, .. }
            | Self::Resize { member, .. }
            | Self::Renew { member, .. } => Some(member.uid),
            Self::Release { id, .. }
            | Self::Occupancy { id, .. }
            | Self::Settle { id, .. }
            | Self::SliceGone { id }
            | Self::Enter { id } => Some(id.uid),
            Self::SetCapacity { .. }
            | Self::LeftBehind(_)
            | Self::SetRules(_)
            | Self::Reconsider { .. }
            | Self::WorkEnded { .. }
            | Self::Ending { .. }
            | Self::Warned { .. }
            | Self::NeverBegan { .. }
            | Self::Alter { .. }
            | Self::Pause { .. }
            | Self::Cancel { .. }
            | Self::Cleared { .. }
            | Self::Drain
            | Self::Undrain
            | Self::Tick => None,
        }
    }
}
