//! `run`: put the calling process in a scope of its share.

use serde::{Deserialize, Deserializer, Serialize, de};

use super::amounts::names_amounts;
use super::ask::{Ask, Repeat};
use super::job::JobStarted;
use crate::wire::field::optional;

/// Puts the calling process in a scope of its share: in an allocation that is taken for it and goes with its last process, or in
/// the standing one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// CPU in thousandths of one CPU, of the allocation that is taken.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tasks_max: Option<u64>,
    /// For how long it is taken, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lease_ms: Option<u64>,
    /// Whether to wait in the queue where an allocation must be taken and cannot be now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub wait: Option<bool>,
    /// Whether it runs in the standing allocation, or in one of its own. Where it is left out: with figures in one of its own,
    /// without in the standing one where one is held.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub in_share: Option<bool>,
    /// The `run` that has waited, and whose allocation is there now: the caller goes in. Nothing else is said with it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
}

names_amounts!(Run);

/// Processes are in a unit of the caller's share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InUnit {
    /// The unit's name.
    pub unit: String,
    /// The CPU that the allocation has, in thousandths.
    pub cpu_milli: u64,
    /// The memory that the allocation has, in bytes.
    pub mem_bytes: u64,
    /// The job whose allocation it is, where it is not the standing one.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
}

/// What came of a `run`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entered {
    /// The caller is in.
    In(InUnit),
    /// The allocation is waited for, by the job of this id.
    Queued(u64),
}

impl<'de> Deserialize<'de> for Entered {
    /// The keys say which it is.
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Keys {
            #[serde(default, deserialize_with = "optional")]
            unit: Option<String>,
            #[serde(default, deserialize_with = "optional")]
            cpu_milli: Option<u64>,
            #[serde(default, deserialize_with = "optional")]
            mem_bytes: Option<u64>,
            #[serde(default, deserialize_with = "optional")]
            job_id: Option<u64>,
            #[serde(default, deserialize_with = "optional")]
            job_started: Option<u64>,
        }
        let Keys { unit, cpu_milli, mem_bytes, job_id, job_started } = Keys::deserialize(from)?;
        match (unit, cpu_milli, mem_bytes, job_started) {
            (Some(unit), Some(cpu_milli), Some(mem_bytes), None) => {
                Ok(Self::In(InUnit { unit, cpu_milli, mem_bytes, job_id }))
            }
            (None, None, None, Some(job)) if job_id.is_none() => Ok(Self::Queued(job)),
            _ => Err(de::Error::custom("expected the keys of a unit, or `job_started`")),
        }
    }
}

impl Serialize for Entered {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::In(unit) => unit.serialize(to),
            Self::Queued(job_started) => JobStarted { job_started: *job_started }.serialize(to),
        }
    }
}

impl Ask for Run {
    const NAME: &'static str = "run";
    const REPEAT: Repeat = Repeat::No;
    type Answer = Entered;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
