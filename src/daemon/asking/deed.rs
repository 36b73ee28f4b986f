//! What a call has the owner of the ledger do, at the call's turn.

use std::sync::Arc;

use super::spec::Spec;
use crate::contract::{Answer, Changed, HeldShare, LogLevel};
use crate::daemon::telling::answer;
use crate::daemon::telling::feed::Interest;
use crate::daemon::telling::shown::Shown;
use crate::history::Asked;
use crate::host::account::Account;
use crate::identity::{JobId, Uid};
use crate::ledger::refusal::Refusal;
use crate::ledger::{Command, Decided, Event, Member, Wanted};
use crate::wire::error::{Code, WireError};

/// What the owner of the ledger does for a call. An endpoint says it with one of these words; what none of them says is new to
/// the owner, and takes a word more.
pub enum Deed {
    /// Answers it, from what is known.
    Answer(Answer),
    /// Says something to the ledger, and carries out what the ledger makes of it.
    Say(Saying),
    /// Moves processes into an allocation of the member whose turn it is.
    Enter(Destination, Whom),
    /// Hands what a command becomes to its own process; or, where it is at its end, what is run then.
    Hand(JobId, bool),
    /// Tells the caller what happens, from before the answer, so that nothing is missed after it.
    Follow(Interest),
    /// Looks at whether all is well.
    Look {
        /// Whether others' slices and figures are named.
        names: bool,
    },
    /// Lists shares with what they use, which is read first.
    List {
        /// The only member whose share is listed, where it is not all.
        only: Option<Uid>,
    },
    /// Says whether what was promised is kept, and where work runs.
    Audit {
        /// The only member whose work is told of, where it is not all.
        only: Option<Account>,
    },
    /// Tells how jobs and allocations ended.
    History(Asked),
    /// Reads the policy again.
    Reload,
    /// Has the journal told messages of this level and above.
    Log(LogLevel),
}

/// Into which allocation processes go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// The standing one.
    Standing,
    /// That of a command in the foreground, which has waited for it.
    Of(JobId),
    /// One that is taken for them, or the standing one.
    Wanted(Box<Member>, Wanted),
}

/// Which processes are to go in.
#[derive(Debug, Clone)]
pub enum Whom {
    /// The one that calls.
    Caller(u32),
    /// Those that the caller names. Who has ended meanwhile, and the member's own systemd, are left where they are.
    Named(Vec<u32>),
}

/// The answer where the ledger wants nothing done for the caller.
pub type AtOnce = Box<dyn FnOnce(&Shown<'_>, &Decided) -> Result<Answer, WireError>>;

/// What is said to the ledger, and what is answered.
pub struct Saying {
    /// What is said.
    pub command: Command,
    /// The command that is submitted with it.
    pub spec: Option<Arc<Spec>>,
    /// What is answered where nothing is to be done. Where something is, that answers when it has been done.
    pub at_once: AtOnce,
}

impl Saying {
    /// A command that always has something done.
    pub fn new(command: Command) -> Self {
        let never = || WireError::new(Code::Internal, "There was nothing to do, and should have been");
        Self { command, spec: None, at_once: Box::new(move |_, _| Err(never())) }
    }

    /// With this answer where nothing is to be done.
    #[must_use]
    pub fn or_at_once(
        self,
        answer: impl FnOnce(&Shown<'_>, &Decided) -> Result<Answer, WireError> + 'static,
    ) -> Self {
        Self { at_once: Box::new(answer), ..self }
    }

    /// With the share as it is for an answer, where it is what it should be.
    #[must_use]
    pub fn or_as_held(self, uid: Uid) -> Self {
        self.or_at_once(move |shown, _| {
            let share = shown.share_in_full(uid).ok_or_else(|| answer::refusal(&Refusal::NoShare))?;
            Ok(Answer::Share(HeldShare { share }))
        })
    }

    /// With whether this event is told for an answer: whether anything has changed.
    #[must_use]
    pub fn or_whether_told(self, event: Event) -> Self {
        self.or_at_once(move |_, decided| Ok(Answer::Changed(Changed { changed: decided.tells(&event) })))
    }

    /// With the command that is submitted.
    #[must_use]
    pub fn with_spec(self, spec: Arc<Spec>) -> Self {
        Self { spec: Some(spec), ..self }
    }
}
