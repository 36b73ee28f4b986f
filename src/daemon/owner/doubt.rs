//! Members whose slices are in doubt: looked at, and made to agree with the ledger.

use std::collections::BTreeSet;

use tracing::error;

use super::EventLoop;
use super::event::Event;
use crate::daemon::clock;
use crate::daemon::mending::world::{self, Survey};
use crate::identity::Uid;
use crate::ledger::Command;
use crate::ledger::reconcile::Verdict;
use crate::serving::logging::{chain, in_full};
use crate::systemd::Fault;

impl EventLoop {
    /// Has the members looked at whose slices are in doubt and for whom nothing is under way.
    pub(crate) fn settle_doubts(&mut self) {
        let (Some(cx), Some(policy)) = (self.context.clone(), self.policy.clone()) else { return };
        let uids: BTreeSet<Uid> = self.condition.take_doubts(|uid| !self.busy.contains_key(uid));
        if uids.is_empty() {
            return;
        }
        for uid in &uids {
            self.busy.entry(*uid).or_default();
        }
        let (ledger, events) = (self.ledger.clone(), self.events.clone());
        tokio::spawn(async move {
            let survey = world::mend(&cx, &ledger, &policy, Some(&uids)).await;
            let _ = events.send(Event::Mended(survey, uids)).await;
        });
    }

    /// Takes what came of looking at these members.
    pub(crate) fn mended(&mut self, survey: Result<Survey, Fault>, uids: BTreeSet<Uid>) {
        match survey {
            Ok(survey) => {
                self.reconciled(survey);
                self.watch_members_anew(uids.iter().copied());
            }
            Err(fault) => {
                error!("{}", chain(&fault));
                uids.iter().for_each(|uid| self.condition.doubt_later(*uid));
            }
        }
        self.tell(Command::Tick);
        drop(self.store_in_background());
        for uid in uids {
            self.condition.looked(uid);
            self.free(uid);
        }
        self.tell_status();
    }

    /// Takes what was done about members into the ledger.
    pub(crate) fn reconciled(&mut self, survey: Survey) {
        self.ledger.runs_taken(survey.below.runs_taken);
        survey.below.works.iter().for_each(|(job, _)| self.ledger.job_taken(*job));
        let swap = self.policy.as_ref().map_or_else(Default::default, |policy| policy.swap);
        let mut told = Vec::new();
        for mended in survey.mended {
            match (&mended.verdict, &mended.done) {
                (Verdict::KeepStray, _) => drop(self.strays.insert(mended.unit)),
                (_, Ok(())) => {
                    self.strays.remove(&mended.unit);
                    told.extend(self.ledger.reconciled(
                        clock::now(),
                        mended.id,
                        &mended.verdict,
                        swap,
                        mended.known.as_ref(),
                    ));
                }
                (_, Err(error)) => {
                    error!("{} is not settled: {}", mended.id, in_full(error));
                    self.condition.doubt_later(mended.id.uid);
                }
            }
        }
        self.carry_out_others(told);
    }
}
