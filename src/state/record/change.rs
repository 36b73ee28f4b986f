//! What changed since the image before, as it is stored.

use serde::{Deserialize, Serialize};

use super::State;
use super::figures::uid;
use crate::identity::{AllocationId, JobId, Purpose};
use crate::ledger::difference::Difference;

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Of accounts, allocations and jobs what is new or changed, and all else.
    new: State,
    accounts_gone: Vec<u64>,
    allocations_gone: Vec<AllocationIdRecord>,
    jobs_gone: Vec<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct AllocationIdRecord {
    uid: u64,
    purpose: PurposeRecord,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum PurposeRecord {
    Standing,
    Job(u64),
    Run(u64),
}

impl From<&Difference> for Change {
    fn from(difference: &Difference) -> Self {
        Self {
            new: (&difference.new).into(),
            accounts_gone: difference.accounts.iter().map(|uid| uid.get().into()).collect(),
            allocations_gone: difference.allocations.iter().map(AllocationIdRecord::from).collect(),
            jobs_gone: difference.jobs.iter().map(|job| job.0).collect(),
        }
    }
}

impl TryFrom<Change> for Difference {
    type Error = String;

    fn try_from(change: Change) -> Result<Self, String> {
        Ok(Self {
            new: change.new.try_into()?,
            accounts: change.accounts_gone.into_iter().map(uid).collect::<Result<_, _>>()?,
            allocations: change
                .allocations_gone
                .into_iter()
                .map(|id| id.try_into())
                .collect::<Result<_, _>>()?,
            jobs: change.jobs_gone.into_iter().map(JobId).collect(),
        })
    }
}

impl From<&AllocationId> for AllocationIdRecord {
    fn from(id: &AllocationId) -> Self {
        let purpose = match id.purpose {
            Purpose::Standing => PurposeRecord::Standing,
            Purpose::Job(job) => PurposeRecord::Job(job.0),
            Purpose::Run(job) => PurposeRecord::Run(job.0),
        };
        Self { uid: id.uid.get().into(), purpose }
    }
}

impl TryFrom<AllocationIdRecord> for AllocationId {
    type Error = String;

    fn try_from(record: AllocationIdRecord) -> Result<Self, String> {
        let purpose = match record.purpose {
            PurposeRecord::Standing => Purpose::Standing,
            PurposeRecord::Job(job) => Purpose::Job(JobId(job)),
            PurposeRecord::Run(job) => Purpose::Run(JobId(job)),
        };
        Ok(Self { uid: uid(record.uid)?, purpose })
    }
}
