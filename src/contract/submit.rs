//! `submit`: run a command in the background.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::amounts::names_amounts;
use super::ask::{Ask, Repeat};
use super::care::{OutOfMemory, Warning};
use super::job::JobStarted;
use crate::wire::field::{optional, optional_name};
use crate::wire::os_text::OsText;

/// The most descriptors that go with a `submit`: standard input, output, error.
pub const DESCRIPTORS_MAX: usize = 3;

/// The most jobs that a command can be told to run after, in each way.
pub const AFTER_MAX: usize = 32;

/// A command to run in the background. Up to [`DESCRIPTORS_MAX`] descriptors go with it: its standard input, output and error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Submit {
    /// The command and its arguments, at least one.
    #[serde(deserialize_with = "argv")]
    pub argv: Vec<OsText>,
    /// The folder it runs in, absolute.
    pub cwd: OsText,
    /// The command's environment.
    #[serde(deserialize_with = "env")]
    pub env: BTreeMap<OsText, OsText>,
    /// CPU in thousandths of one CPU, of the allocation that is taken for it; within the standing one the most it may use.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tasks_max: Option<u64>,
    /// A name to know it by, 1 to 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional_name")]
    pub name: Option<String>,
    /// Its time limit in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lease_ms: Option<u64>,
    /// The file of its standard input, absolute; opened by the command's own process when it starts. `/dev/null` where it is
    /// left out and no descriptor came either.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub input: Option<OsText>,
    /// The file at whose end its standard output goes, absolute and made where it is not there. In it `%j` is the job's number
    /// and `%%` a percent sign.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub output: Option<OsText>,
    /// The same for its standard error; where the output goes, where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub errors: Option<OsText>,
    /// Whether to wait in the queue where an allocation must be taken and cannot be now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub wait: Option<bool>,
    /// Whether it runs in the standing allocation, or in one of its own. Where it is left out: with figures in one of its own,
    /// without in the standing one where one is held.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub in_share: Option<bool>,
    /// A script, whole, that is run in place of the first of `argv`, by what its first line names.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub script: Option<OsText>,
    /// Jobs of the caller's, 1 to [`AFTER_MAX`], that are to have ended well before it starts. Where one does not it never runs.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "ids")]
    pub after: Option<Vec<u64>>,
    /// Jobs of the caller's, 1 to [`AFTER_MAX`], that are to have ended before it starts, in whatever way.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "ids")]
    pub after_any: Option<Vec<u64>>,
    /// When it starts at the earliest, in Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub begin_ms: Option<u64>,
    /// Whether it waits until `job_alter` releases it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub hold: Option<bool>,
    /// Before which others of the caller's that wait it goes, from 0 to 100: the more the sooner. 50 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub priority: Option<u64>,
    /// The indices for each of which it is run, as a task of an array. No descriptors go with an array.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub array: Option<ArrayRange>,
    /// How often it is run again after it has failed, from 0 to 100, after a pause that is doubled each time. No descriptors go with
    /// what is run again, and it has an allocation of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub retry: Option<u64>,
    /// Whether it is run again where it was interrupted, as by the end of the machine.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub requeue: Option<bool>,
    /// What warns it before its time is over.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub signal: Option<Warning>,
    /// What the kernel ends when it wants more memory than it may have; `Kill` where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub oom: Option<OutOfMemory>,
    /// A command for `sh -c`, 1 to [`NOTIFY_BYTES_MAX`](crate::quantity::NOTIFY_BYTES_MAX) bytes, that is run as the member when the
    /// job is over. No descriptors go with what has one, and it has an allocation of its own.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub notify: Option<OsText>,
}

/// For which indices an array has tasks, 1 to 10 000 from 0 to 2^32 - 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArrayRange {
    /// The first.
    pub first: u64,
    /// The last there may be.
    pub last: u64,
    /// From one to the next; 1 where it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub step: Option<u64>,
    /// How many are at work at a time, at most.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub at_once: Option<u64>,
}

names_amounts!(Submit);

impl Ask for Submit {
    const NAME: &'static str = "submit";
    const REPEAT: Repeat = Repeat::No;
    type Answer = JobStarted;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}

/// `[1* os-text]`.
fn argv<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<OsText>, D::Error> {
    let argv = Vec::<OsText>::deserialize(from)?;
    if argv.is_empty() {
        return Err(D::Error::custom("expected a command, found none"));
    }
    Ok(argv)
}

/// `[1*32 uint]`.
fn ids<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Vec<u64>>, D::Error> {
    let ids = Vec::<u64>::deserialize(from)?;
    if ids.is_empty() || ids.len() > AFTER_MAX {
        return Err(D::Error::custom(format!("expected 1 to {AFTER_MAX} jobs, found {}", ids.len())));
    }
    Ok(Some(ids))
}

/// `{ * os-text => os-text }`, where serde alone would let the last of two equal keys win.
fn env<'de, D: Deserializer<'de>>(from: D) -> Result<BTreeMap<OsText, OsText>, D::Error> {
    from.deserialize_map(Env)
}

struct Env;

impl<'de> Visitor<'de> for Env {
    type Value = BTreeMap<OsText, OsText>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map of names to values")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut env = BTreeMap::new();
        while let Some(key) = map.next_key::<OsText>()? {
            let value = map.next_value()?;
            if env.contains_key(&key) {
                return Err(A::Error::custom(format!("repeated key `{key}`")));
            }
            env.insert(key, value);
        }
        Ok(env)
    }
}
