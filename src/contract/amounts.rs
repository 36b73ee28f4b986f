//! The three figures of a share, as a call names them.

use serde::{Deserialize, Serialize};

use crate::wire::field::optional;

/// Figures named in a call: thousandths of a CPU, bytes, tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Amounts {
    /// CPU in thousandths of one CPU.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub mem_bytes: Option<u64>,
    /// Tasks.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "optional")]
    pub tasks_max: Option<u64>,
}

/// What a call that names the three figures, each as a field of its own, has in common with the others that do.
macro_rules! names_amounts {
    ($call:ident) => {
        impl $call {
            /// One that names these figures and nothing else.
            pub fn of(amounts: $crate::contract::amounts::Amounts) -> Self {
                let $crate::contract::amounts::Amounts { cpu_milli, mem_bytes, tasks_max } = amounts;
                Self { cpu_milli, mem_bytes, tasks_max, ..Self::default() }
            }

            /// The figures that are named.
            pub fn amounts(&self) -> $crate::contract::amounts::Amounts {
                let Self { cpu_milli, mem_bytes, tasks_max, .. } = *self;
                $crate::contract::amounts::Amounts { cpu_milli, mem_bytes, tasks_max }
            }
        }
    };
}
pub(crate) use names_amounts;
