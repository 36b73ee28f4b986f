//! `health`: is the daemon well, check by check.

use serde::{Deserialize, Serialize};

use super::ask::{Ask, Repeat};
use crate::wire::field::optional;

/// Asks whether the daemon is well.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {}

/// How the daemon is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthAnswer {
    /// Whether all is well.
    pub healthy: bool,
    /// What was looked at.
    pub checks: Vec<Check>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// What was looked at.
    pub name: String,
    /// Whether all is well with it.
    pub ok: bool,
    /// What is wrong, or what there is to know.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub detail: Option<String>,
}

impl Ask for Health {
    const NAME: &'static str = "health";
    const REPEAT: Repeat = Repeat::Yes;
    type Answer = HealthAnswer;

    fn for_uid(&self) -> Option<u64> {
        None
    }
}
