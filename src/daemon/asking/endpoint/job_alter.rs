//! `job_alter`: hold a job that waits, release it, or put it before others of its member's; pause one that is at work.

use super::{Account, Beside, Due, Endpoint, Needs, Turn};
use crate::contract::JobAlter;
use crate::daemon::asking::caller::{Asking, Caller};
use crate::daemon::asking::deed::{Deed, Saying};
use crate::daemon::asking::figures::priority;
use crate::daemon::asking::present::Present;
use crate::daemon::asking::refuse::{bad, forbidden};
use crate::daemon::telling::shown::Shown;
use crate::identity::JobId;
use crate::ledger::apart::Change;
use crate::ledger::{Command, Decided};
use crate::policy::Role;
use crate::wire::error::WireError;

/// What is to be another of a job.
#[derive(Debug, Clone, Copy)]
pub enum Alteration {
    /// Of one that waits.
    Waiting(Change),
    /// Whether one that is at work stands still.
    Pause(bool),
}

impl Endpoint for JobAlter {
    const LEAST: Role = Role::Operator;
    const TURN: Turn = Turn::Nobodys;
    const WHEN_DEGRADED: bool = false;
    const NEEDS: Needs = Needs { account: Account::Never, capacity: false };
    const DUE: Due = Due::Later;
    const QUESTION: bool = false;
    const BESIDE: Beside = Beside::Nothing;
    const STARTS_A_UNIT: bool = false;

    type Act = (JobId, Alteration);

    fn act(self, _asking: &mut Asking<'_>) -> Result<Self::Act, WireError> {
        let Self { job_id, hold, first, priority: number, pause } = self;
        let change = Change { hold, first, priority: number.map(priority).transpose()? };
        let alteration = match (pause, change == Change::default()) {
            (None, false) => Alteration::Waiting(change),
            (Some(pause), true) => Alteration::Pause(pause),
            (None, true) => {
                return Err(bad("job_alter is to change something: name hold, first, priority or pause"));
            }
            (Some(_), false) => {
                return Err(bad("pause is for what is at work, and hold, first and priority for what waits"));
            }
        };
        Ok((JobId(job_id), alteration))
    }

    fn deed(act: &Self::Act, by: &Caller, now: &Present<'_>) -> Result<Deed, WireError> {
        let (job, alteration) = *act;
        refuse_others(job, alteration, by, now)?;
        let by = by.peer.uid;
        let altered = move |shown: &Shown<'_>, _: &Decided| shown.one_job(job);
        Ok(Deed::Say(match alteration {
            Alteration::Waiting(change) => {
                Saying::new(Command::Alter { job, by, change }).or_at_once(altered)
            }
            Alteration::Pause(pause) => Saying::new(Command::Pause { job, by, pause }),
        }))
    }
}

/// Tells an admin, who sees whose a job is, that only its member changes it: to others there is no such job.
fn refuse_others(
    job: JobId,
    alteration: Alteration,
    by: &Caller,
    now: &Present<'_>,
) -> Result<(), WireError> {
    let is_others = now.shown.ledger.jobs().get(&job).is_some_and(|job| job.uid != by.peer.uid);
    if by.role != Role::Admin || !is_others {
        return Ok(());
    }
    let only = match alteration {
        Alteration::Waiting(_) => "its member holds it, releases it or puts it first",
        Alteration::Pause(_) => "its member pauses it, or has it go on",
    };
    Err(forbidden(format!("Job {job} is someone else's: only {only}"), by.role))
}
