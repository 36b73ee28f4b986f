//! What memory submitted commands need, looked at in each sweep: the kernel keeps no maximum of it, only one with page cache.

use std::sync::Arc;

use tracing::error;

use super::EventLoop;
use super::event::Event;
use crate::identity::{JobId, UnitName};
use crate::quantity::Bytes;
use crate::serving::logging::chain;

impl EventLoop {
    /// Has read what each submitted command that runs needs at this moment.
    pub(crate) fn look_at_needed(&self) {
        let running: Vec<(JobId, UnitName)> =
            self.followed.iter().filter_map(|job| Some((*job, self.running(*job)?.units.slice))).collect();
        if running.is_empty() {
            return;
        }
        let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
        let needed = move |(job, slice)| match cgroups.needed(slice) {
            Ok(needed) => Some((job, needed?)),
            Err(fault) => {
                error!("{}, proceeding", chain(&fault));
                None
            }
        };
        tokio::spawn(async move {
            let read = tokio::task::spawn_blocking(move || running.into_iter().filter_map(needed).collect());
            let _ = events.send(Event::Needed(read.await.unwrap_or_default())).await;
        });
    }

    /// Takes a reading. Of what has ended meanwhile nothing is kept.
    pub(crate) fn needed_seen(&mut self, read: Vec<(JobId, Bytes)>) {
        for (job, bytes) in read {
            let most = self.needed.entry(job).or_default();
            *most = bytes.max(*most);
        }
        let jobs = self.ledger.jobs();
        self.needed.retain(|job, _| jobs.get(job).is_some_and(|job| !job.ended()));
    }
}
