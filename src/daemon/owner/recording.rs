//! Where what is over goes, and how it stands there.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tracing::error;

use crate::cgroup::Spent;
use crate::contract::Check;
use crate::daemon::doing::history::{Recorder, cannot_be_read};
use crate::daemon::doing::said::Said;
use crate::daemon::telling::reply::Reply;
use crate::history::{Asked, Ended, Standing};
use crate::identity::AllocationId;

/// The history, as the owner has it.
pub struct Recording {
    /// Where it goes; nothing where there is no thread for it.
    recorder: Option<Recorder>,
    standing: Standing,
    /// How many ends there was no place for on the way.
    lost: u64,
    /// What the work in allocations used that are about to go.
    spent: BTreeMap<AllocationId, Spent>,
}

impl Recording {
    /// Starts what remembers, which says how it stands. Without it the daemon serves as it does with it.
    pub fn start(said: mpsc::Sender<Said>) -> Self {
        let recorder = Recorder::start(said);
        let why = recorder.as_ref().err().map(|error| format!("no thread for the history: {error}"));
        why.iter().for_each(|why| error!("{why}, proceeding"));
        let standing = Standing { why, ..Standing::default() };
        Self { recorder: recorder.ok(), standing, lost: 0, spent: BTreeMap::new() }
    }

    /// What was over this long ago is forgotten.
    pub fn keep(&self, keep: Duration) {
        self.recorder.iter().for_each(|recorder| recorder.keep(keep));
    }

    /// The work in an allocation that is about to go has used so much.
    pub fn spent(&mut self, id: AllocationId, spent: Spent) {
        self.spent.insert(id, spent);
    }

    /// How it stands from now on.
    pub fn stands(&mut self, standing: Standing) {
        self.standing = standing;
    }

    /// Answers what is asked.
    pub fn tell(&self, asked: Asked, reply: Reply) {
        match &self.recorder {
            Some(recorder) => recorder.tell(asked, reply),
            None => reply.send(Err(cannot_be_read(self.standing.why.as_deref().unwrap_or_default()))),
        }
    }

    /// The daemon ends: what is over is written.
    pub async fn stop(&self) {
        if let Some(recorder) = &self.recorder {
            recorder.stop().await;
        }
    }

    /// Whether all that is over is remembered.
    pub fn check(&self) -> Check {
        let Standing { why, waiting, lost, aside } = &self.standing;
        let lost = lost.saturating_add(self.lost);
        let unwritten = why.as_ref().map(|why| match waiting {
            0 => why.clone(),
            waiting => format!("{why}; ends that wait to be written: {waiting}"),
        });
        let lost = (lost > 0).then(|| format!("ends that could not be written, and are forgotten: {lost}"));
        let said: Vec<String> = [unwritten, lost, aside.clone()].into_iter().flatten().collect();
        Check {
            name: "history".to_owned(),
            ok: why.is_none(),
            detail: (!said.is_empty()).then(|| said.join("; ")),
        }
    }

    /// What the work in an allocation that is about to go used, where that is known.
    pub fn spent_in(&self, id: AllocationId) -> Option<Spent> {
        self.spent.get(&id).copied()
    }

    /// The allocation is gone.
    pub fn forget(&mut self, id: AllocationId) {
        self.spent.remove(&id);
    }

    /// The history is the one beside this state, and these are over, of which it may have some.
    pub fn open(&mut self, state: PathBuf, over: Vec<Ended>) {
        let count = over.len() as u64;
        if self.recorder.as_ref().is_some_and(|recorder| !recorder.open(state, over)) {
            self.lost = self.lost.saturating_add(count);
        }
    }

    /// This is over.
    pub fn add(&mut self, ended: Ended) {
        let taken = self.recorder.as_ref().is_some_and(|recorder| recorder.ended(ended));
        if !taken {
            self.lost = self.lost.saturating_add(1);
        }
    }
}
