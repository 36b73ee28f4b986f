//! What a caller may do, as both ends name it.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a caller may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// See what is one's own, and what the policy shows of others.
    ReadOnly,
    /// Take, change and use a share.
    Operator,
    /// Act for every member, and on the daemon.
    Admin,
}

impl Role {
    /// The role, as it stands in a message and in a policy.
    pub fn name(self) -> &'static str {
        match self {
            Self::ReadOnly => "read_only",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
