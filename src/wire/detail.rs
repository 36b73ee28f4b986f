//! What more there is to know of an error: the figures as data, for programs, and the rest as text, for people.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::field::optional;
use super::role::Role;
use crate::quantity::{Bytes, MilliCpu};

/// The most bytes of [`Detail::text`]: what systemd, the kernel or the policy's reader says fits; what is longer is clipped.
pub const DETAIL_TEXT_BYTES_MAX: usize = 4096;

/// What more there is to know of an error, as far as each is known.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Detail {
    /// Of what there is too little, or too much was asked. The figures `asked`, `allowed`, `least` and `in_use` are in its unit.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub resource: Option<Resource>,
    /// What was asked.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub asked: Option<u64>,
    /// The most that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub allowed: Option<u64>,
    /// The least that is allowed.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub least: Option<u64>,
    /// What is in use.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub in_use: Option<u64>,
    /// Whose bound `allowed` is.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub bound: Option<Bound>,
    /// What the caller holds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub held: Option<Held>,
    /// What nobody holds.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub free: Option<Room>,
    /// The most that would be granted now.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub fits: Option<Room>,
    /// How many requests wait already.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub waiting: Option<u64>,
    /// When there will be room for what was asked, in Unix milliseconds, where leases tell.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub starts_ms: Option<u64>,
    /// Who holds the most, the largest first, where the caller may see it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub held_by: Option<Vec<Holder>>,
    /// The job that is in the way.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub job_id: Option<u64>,
    /// Of what could not be stored: whether it is in force all the same.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub in_force: Option<bool>,
    /// The caller's role, where it is too low.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub role: Option<Role>,
    /// The key of the policy with which an administrator allows it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub setting: Option<String>,
    /// The group whose members are served.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub group: Option<String>,
    /// What the daemon cannot use.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub lacking: Option<Vec<Part>>,
    /// The oldest and the newest version that the daemon speaks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub versions: Option<Versions>,
    /// What else there is to say, as what systemd said; at most [`DETAIL_TEXT_BYTES_MAX`] bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub text: Option<String>,
}

/// What figures are of, named as the keys of calls and answers are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resource {
    /// CPU, in thousandths of one.
    CpuMilli,
    /// Memory, in bytes.
    MemBytes,
    /// Tasks.
    TasksMax,
    /// The time of a lease or of a command, in milliseconds.
    LeaseMs,
    /// Submitted commands that are not over.
    Jobs,
    /// Commands and attachments in a share, each of which is a scope of systemd's.
    Scopes,
    /// Connections.
    Connections,
}

/// Whose a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// The policy's, for this member.
    Policy,
    /// The member's own share's, for a command in it.
    Share,
    /// The machine's, less the reserve.
    Machine,
}

/// What the daemon needs to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The policy: a file of it has a mistake.
    Policy,
    /// The folder and the file of the state.
    State,
    /// systemd, over its bus.
    Bus,
    /// Controllers of the kernel's.
    Controllers,
    /// Users and groups that the policy names.
    Names,
    /// The user database.
    Users,
}

impl Part {
    /// The part, as it stands in an answer.
    pub fn name(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::State => "state",
            Self::Bus => "bus",
            Self::Controllers => "controllers",
            Self::Names => "names",
            Self::Users => "users",
        }
    }
}

/// What a member holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// CPU, in thousandths of one.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub mem_bytes: u64,
    /// Tasks.
    pub tasks_max: u64,
}

/// CPU and memory, as what is free.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Room {
    /// CPU, in thousandths of one.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub mem_bytes: u64,
}

/// Who holds a share, and how much.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holder {
    /// The member.
    pub uid: u64,
    /// Their name, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub user: Option<String>,
    /// CPU, in thousandths of one.
    pub cpu_milli: u64,
    /// Memory, in bytes.
    pub mem_bytes: u64,
}

/// Versions of the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Versions {
    /// The oldest.
    pub oldest: u64,
    /// The newest.
    pub newest: u64,
}

impl Detail {
    /// Text, and nothing for programs.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// A figure of this resource over the most that is allowed.
    pub fn over(resource: Resource, asked: u64, allowed: u64) -> Self {
        Self { resource: Some(resource), asked: Some(asked), allowed: Some(allowed), ..Self::default() }
    }

    /// As many of this resource as may be are there already.
    pub fn full(resource: Resource, allowed: usize) -> Self {
        let allowed = u64::try_from(allowed).unwrap_or(u64::MAX);
        Self { resource: Some(resource), allowed: Some(allowed), ..Self::default() }
    }

    /// That this cannot be used.
    pub fn lacking(part: Part) -> Self {
        Self { lacking: Some(vec![part]), ..Self::default() }
    }

    /// The same with text.
    #[must_use]
    pub fn and_text(self, text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..self }
    }
}

impl<T: Into<String>> From<T> for Detail {
    fn from(text: T) -> Self {
        Self::text(text)
    }
}

impl fmt::Display for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (cpu, mem) = (MilliCpu(self.cpu_milli), Bytes(self.mem_bytes));
        write!(f, "{cpu} CPU, {mem} memory, {} tasks", self.tasks_max)
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} CPU and {} of memory", MilliCpu(self.cpu_milli), Bytes(self.mem_bytes))
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.user {
            Some(user) => f.write_str(user)?,
            None => write!(f, "uid {}", self.uid)?,
        }
        write!(f, " {} CPU and {}", MilliCpu(self.cpu_milli), Bytes(self.mem_bytes))
    }
}
