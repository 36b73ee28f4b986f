//! `submit`: run a command in the background.

use std::sync::Arc;
use std::time::Duration;

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::Submit;
use crate::contract::handover::{Handover, Streams, umask_default};
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::{again, array, care, figures, place, priority, waiting};
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::bad;
use crate::daemon::asking::spec::{self, Spec};
use crate::identity::JobId;
use crate::ledger::apart::When;
use crate::ledger::job::OUTPUT_BYTES_MAX;
use crate::ledger::{Asked, Command};
use crate::policy::Role;
use crate::wire::error::WireError;

/// A command, and what is asked for with it.
#[derive(Debug)]
pub struct Submission {
    asked: Asked,
    spec: Arc<Spec>,
}

impl Endpoint for Submit {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::OfTarget;
    const WHEN_DEGRADED: bool = false;
    // The name goes into the slice's description, where a share is taken.
    const NEEDS: Needs = Needs { account: Account::Always, capacity: true };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = true;

    type Act = Submission;

    fn act(self, asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let amount = figures(self.amounts())?;
        let ids = |ids: Option<Vec<u64>>| ids.into_iter().flatten().map(JobId).collect();
        let care = care(self.signal, self.oom, self.notify.as_ref())?;
        let Submit {
            argv,
            cwd,
            env,
            name,
            lease_ms,
            input,
            output,
            errors,
            wait,
            in_share,
            script,
            notify,
            ..
        } = self;
        let when = When {
            after: ids(self.after),
            after_any: ids(self.after_any),
            begin_wall_ms: self.begin_ms,
            hold: self.hold.unwrap_or(false),
            priority: self.priority.map(priority).transpose()?.unwrap_or_default(),
        };
        // A longer one is not remembered, nor one that is no text: it is opened all the same.
        let text = output.as_ref().and_then(|path| str::from_utf8(path.as_bytes()).ok());
        let remembered = text.filter(|path| path.len() <= OUTPUT_BYTES_MAX).map(str::to_owned);
        let streams = Streams { input, output, errors };
        let umask = umask_default();
        let handover = spec::checked(Handover { argv, cwd, env, streams, script, notify, umask })?;
        let array = self.array.map(array).transpose()?.map(Box::new);
        let again = again(self.retry, self.requeue)?;
        let spec = Spec::of(handover, &asking.caller.peer, &mut asking.brought)?;
        if array.is_some() && !spec.can_be_kept() {
            return Err(bad("No descriptors go with an array: each of its tasks opens files that are named"));
        }
        if again.is_some() && !spec.can_be_kept() {
            return Err(bad("No descriptors go with what is run again: each run opens files that are named"));
        }
        if care.notifies && !spec.can_be_kept() {
            return Err(bad(
                "No descriptors go with what has something run at its end: that opens files that are named",
            ));
        }
        let asked = Asked {
            amount,
            place: place(in_share),
            time_limit: lease_ms.map(Duration::from_millis),
            name,
            output: remembered,
            kept: spec.kept_bytes(),
            wait: waiting(wait),
            when,
            array,
            again,
            care,
        };
        Ok(Submission { asked, spec: Arc::new(spec) })
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let Submission { asked, spec } = act;
        if !now.policy()?.from_sandboxes {
            spec.refuse_filtered()?;
        }
        let command = Command::Submit { member: now.member(&by.whom)?, asked: Box::new(asked.clone()) };
        Ok(Deed::Say(Saying::new(command).with_spec(Arc::clone(spec))))
    }
}
