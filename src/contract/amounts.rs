//! The three figures of a share, as a call names them.

/// Figures named in a call: thousandths of a CPU, bytes, tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Amounts {
    /// CPU in thousandths of one CPU.
    pub cpu_milli: Option<u64>,
    /// Memory in bytes.
    pub mem_bytes: Option<u64>,
    /// Tasks.
    pub tasks_max: Option<u64>,
}
