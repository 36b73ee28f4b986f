//! `dump`: everything that the daemon remembers of shares, jobs and what members had, for who looks into what it does.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use super::capacity::CapacityInfo;
use super::job::JobInfo;
use super::share::AllocationInfo;
use crate::wire::field::{nullable, optional};

/// The most jobs in one dump. With all that an error may say each of them takes some 5 KiB: these leave half of a frame to more
/// than a thousand shares. `job_list` has the others.
pub const JOBS_DUMPED_MAX: usize = 100;

/// Asks for everything. Takes an admin.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dump {}

/// Everything.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DumpAnswer {
    /// The whole state as one object.
    pub dump: DumpInfo,
}

/// The whole state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DumpInfo {
    /// When it was so.
    pub at_ms: u64,
    /// The boot that the machine is in.
    pub boot: String,
    /// How often the state has changed: what is on disk has the same number, or is being written.
    pub revision: u64,
    /// The id of the next job.
    pub next_job: u64,
    /// Whether new requests are stopped.
    pub draining: bool,
    /// What can be handed out.
    pub capacity: CapacityInfo,
    /// After how long what a member had counts half.
    pub half_life_ms: u64,
    /// What members had while somebody waited, for their weight, by user id, without those of whom nothing counts.
    pub past_use: Vec<PastUse>,
    /// Of how many members of higher user ids it is left out, for which the answer had no room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub past_use_left_out: Option<u64>,
    /// All allocations by user id, those too that are being made or taken away.
    pub allocations: Vec<AllocationDump>,
    /// How many allocations of higher user ids there are for which the answer had no room.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub allocations_left_out: Option<u64>,
    /// The jobs, the oldest first: the [`JOBS_DUMPED_MAX`] newest, or fewer where the answer had no room for them.
    pub jobs: Vec<JobInfo>,
    /// How many older jobs there are.
    pub jobs_left_out: u64,
}

/// What a member has used until their share last changed, as it counts at this moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PastUse {
    /// The member.
    pub uid: u64,
    /// In milliseconds of the whole machine.
    pub used_ms: u64,
}

/// An allocation, and what is under way for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllocationDump {
    /// The member.
    pub uid: u64,
    /// Their name, where they had one when it was granted.
    #[serde(deserialize_with = "nullable")]
    pub user: Option<String>,
    /// As it is shown; without its use.
    pub allocation: AllocationInfo,
    /// What is under way.
    pub phase: AllocationPhase,
    /// The job that waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
}

/// What is under way for an allocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllocationPhase {
    /// It is being made.
    Granting,
    /// Nothing.
    Active,
    /// It gets other figures.
    Resizing,
    /// Its lease is over: its limits come down to what it uses.
    Lowering,
    /// Its lease runs again: its limits come up.
    Renewing,
    /// It is being taken away.
    Releasing,
    /// What is inside is being stopped.
    Stopping,
}

impl Ask for Dump {
    const NAME: &'static str = "dump";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = DumpAnswer;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
