//! What is another in one image than in one before: all that must be stored where that one is.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Image;
use super::allocation::Allocation;
use super::fairness::{Account, Lags};
use super::job::Job;
use crate::identity::{AllocationId, JobId, Uid};

/// What is another in one image than in one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The later image, of whose accounts, allocations and jobs only those are here that are new or changed.
    pub new: Image,
    /// Whose account is there no more.
    pub accounts: Vec<Uid>,
    /// The allocations that are there no more.
    pub allocations: Vec<AllocationId>,
    /// The jobs that are there no more.
    pub jobs: Vec<JobId>,
}

impl Image {
    /// What is another than in `before`. A job that both images share is not looked into.
    pub fn since(&self, before: &Self) -> Difference {
        let account = |one: &(&Uid, &Account)| *one.0;
        let (accounts, no_accounts) = told_apart(
            before.fairness.accounts.iter(),
            self.fairness.accounts.iter(),
            (account, |(_, one), (_, other)| one == other),
        );
        let (allocations, no_allocations) = told_apart(
            before.allocations.iter(),
            self.allocations.iter(),
            (|one: &&Allocation| one.id, |one, other| one == other),
        );
        let (jobs, no_jobs) = told_apart(
            before.jobs.iter(),
            self.jobs.iter(),
            (|one: &&Arc<Job>| one.id, |one, other| Arc::ptr_eq(one, other) || one == other),
        );
        let new = Self {
            clock: self.clock.clone(),
            fairness: Lags {
                accounts: accounts.into_iter().map(|(uid, account)| (*uid, *account)).collect(),
                ..self.fairness
            },
            allocations: allocations.into_iter().cloned().collect(),
            jobs: jobs.into_iter().cloned().collect(),
            ..*self
        };
        Difference { new, accounts: no_accounts, allocations: no_allocations, jobs: no_jobs }
    }

    /// The image that these came to, one after the other, each of them told by [`Self::since`] of the one before.
    pub fn followed_by(self, differences: impl IntoIterator<Item = Difference>) -> Self {
        let allocations = |image: Vec<Allocation>| image.into_iter().map(|one| (one.id, one));
        let jobs = |image: Vec<Arc<Job>>| image.into_iter().map(|one| (one.id, one));
        let mut whole = self;
        let mut held: BTreeMap<AllocationId, Allocation> = allocations(whole.allocations).collect();
        let mut known: BTreeMap<JobId, Arc<Job>> = jobs(whole.jobs).collect();
        for Difference { new, accounts, allocations: gone, jobs: over } in differences {
            let mut had = whole.fairness.accounts;
            had.extend(new.fairness.accounts);
            accounts.iter().for_each(|uid| {
                had.remove(uid);
            });
            held.extend(allocations(new.allocations));
            gone.iter().for_each(|id| drop(held.remove(id)));
            known.extend(jobs(new.jobs));
            over.iter().for_each(|id| drop(known.remove(id)));
            let fairness = Lags { accounts: had, ..new.fairness };
            whole = Self { fairness, allocations: Vec::new(), jobs: Vec::new(), ..new };
        }
        Self { allocations: held.into_values().collect(), jobs: known.into_values().collect(), ..whole }
    }
}

/// Of two lists in the order of their keys: what is in the later one and is not the same in the earlier one, and the keys of what
/// is in the earlier one alone.
fn told_apart<T: Copy, K: Ord>(
    before: impl Iterator<Item = T>,
    after: impl Iterator<Item = T>,
    (key, same): (impl Fn(&T) -> K, impl Fn(T, T) -> bool),
) -> (Vec<T>, Vec<K>) {
    let (mut new, mut gone) = (Vec::new(), Vec::new());
    let mut before = before.peekable();
    for one in after {
        while let Some(earlier) = before.next_if(|earlier| key(earlier) < key(&one)) {
            gone.push(key(&earlier));
        }
        match before.next_if(|earlier| key(earlier) == key(&one)) {
            Some(earlier) if same(earlier, one) => {}
            Some(_) | None => new.push(one),
        }
    }
    gone.extend(before.map(|earlier| key(&earlier)));
    (new, gone)
}
