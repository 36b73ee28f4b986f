//! What becomes of a command that is [apart](super::apart) when what it waits for comes: it joins the queue, or it ends, for a
//! job that it was to run after did not end well.

use std::collections::VecDeque;
use std::sync::Arc;

use super::apart::{Apart, When};
use super::job::{Job, JobEnd, JobState};
use super::refusal::Refusal;
use super::{Effect, Event, Ledger, Now};
use crate::identity::{JobId, Uid};

impl Ledger {
    /// What a command of a member's still waits for that is submitted with these conditions; and why it is never to run, where
    /// a job that it was to run after has not ended well.
    ///
    /// # Errors
    /// A job is named that is not known, or somebody else's: the two are told as one.
    pub(super) fn conditions(
        &self,
        now: Now,
        uid: Uid,
        when: &When,
    ) -> Result<(Apart, Option<JobEnd>), Refusal> {
        let mut apart = Apart { held: when.hold, ..Apart::default() };
        let mut unreached = None;
        for id in &when.after {
            match &self.own_job(uid, *id)?.state {
                JobState::Ended { end, .. } if end.went_well() => {}
                JobState::Ended { end, .. } => {
                    unreached.get_or_insert_with(|| JobEnd::unreached(*id, end.words()));
                    apart.after.insert(*id);
                }
                JobState::Queued { .. } | JobState::Running { .. } => drop(apart.after.insert(*id)),
            }
        }
        for id in &when.after_any {
            if !self.own_job(uid, *id)?.ended() {
                apart.after_any.insert(*id);
            }
        }
        let begins_in = when.begin_wall_ms.map(|begin| begin.saturating_sub(now.wall_ms));
        apart.begin = begins_in.filter(|ms| *ms > 0).map(|ms| self.clock.last.after(ms));
        Ok((apart, unreached))
    }

    /// A job of a member's own.
    pub(super) fn own_job(&self, uid: Uid, id: JobId) -> Result<&Arc<Job>, Refusal> {
        self.jobs.get(&id).filter(|job| job.uid == uid).ok_or(Refusal::NoJob)
    }

    /// A job is over, and so are those that were to run after it where it did not end well, and so on.
    pub(super) fn end_job(&mut self, now: Now, id: JobId, end: JobEnd, effects: &mut Vec<Effect>) {
        let mut ends = VecDeque::from([(id, end)]);
        while let Some((id, end)) = ends.pop_front() {
            if self.outlived_by_tasks(now, id, &end) {
                effects.push(Effect::Notify(Event::Job(id)));
                continue;
            }
            let Some(end) = self.end_one(now, id, end) else { continue };
            effects.push(Effect::Notify(Event::Job(id)));
            let task = self.jobs.get(&id).and_then(|job| job.task());
            ends.extend(task.and_then(|task| self.task_over(task, &end)));
            ends.extend(self.followers_hear(id, Some(&end)));
        }
    }

    /// Those who wait for the end of a job hear how it ended, or that nobody knows it: who has nothing left to wait for joins
    /// the queue. Answered: who is never to run.
    fn followers_hear(&mut self, id: JobId, end: Option<&JobEnd>) -> Vec<(JobId, JobEnd)> {
        let mut unreached = Vec::new();
        let well = end.is_some_and(JobEnd::went_well);
        for follower in self.aside.followers(id) {
            let apart = self.jobs.get(&follower).and_then(|job| job.apart());
            if !well && apart.is_some_and(|apart| apart.after.contains(&id)) {
                let how = end.map_or("is not known any more".to_owned(), JobEnd::words);
                unreached.push((follower, JobEnd::unreached(id, how)));
            } else {
                self.set_apart(follower, |apart| {
                    apart.after.remove(&id);
                    apart.after_any.remove(&id);
                });
            }
        }
        unreached
    }

    /// Those who waited for a time join the queue when it has come, and nothing else is left.
    pub(super) fn begin_due(&mut self) {
        for job in self.aside.due(self.clock.last) {
            self.set_apart(job, |apart| apart.begin = None);
        }
    }

    /// Changes what a command waits for. Where nothing is left it joins the queue; one that waits for room leaves it where
    /// there is something now.
    pub(super) fn set_apart(&mut self, id: JobId, change: impl FnOnce(&mut Apart)) {
        let Some(job) = self.jobs.get(&id).filter(|job| job.queued()).cloned() else { return };
        let before = job.apart().cloned().unwrap_or_default();
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return;
        }
        self.leave_line(id);
        let time = self.clock.last;
        let Some(job) = self.jobs.get_mut(&id).map(Arc::make_mut) else { return };
        let Some(work) = job.work_mut() else { return };
        // An array that waits for its own tasks loses no place, nor does a command that is tried again.
        let again = work.again.is_some_and(|again| again.tries > 0);
        let named = |apart: &Apart| {
            let Apart { full, left, begin, .. } = *apart;
            *apart != Apart { full, left, begin: begin.filter(|_| again), ..Apart::default() }
        };
        let joins = named(&before) && !named(&after);
        if after.is_over() {
            work.apart = None;
            job.state = JobState::Queued { since: time };
        } else {
            work.apart = Some(Box::new(after));
        }
        if joins {
            job.kind.ask_mut().into_iter().for_each(|ask| ask.asked = time);
        }
        let job = job.clone();
        self.line_up(&job);
    }

    /// After a start: whoever waits for the end of what has ended, or is not remembered, waits for nothing.
    pub(super) fn hear_of_the_past(&mut self, now: Now) {
        let awaited: Vec<JobId> = self.aside.awaited().collect();
        for id in awaited {
            let end = match self.jobs.get(&id).map(|job| &job.state) {
                Some(JobState::Ended { end, .. }) => Some(end.clone()),
                None => None,
                Some(JobState::Queued { .. } | JobState::Running { .. }) => continue,
            };
            for (follower, end) in self.followers_hear(id, end.as_ref()) {
                // There is nobody to be told yet.
                self.end_job(now, follower, end, &mut Vec::new());
            }
        }
    }
}
