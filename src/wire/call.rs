//! What a member can ask: one variant an endpoint, with its body.

use std::collections::BTreeMap;

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

/// The most descriptors that go with a `submit`: standard input, output, error.
pub const DESCRIPTORS_MAX: usize = 3;

/// The body of `submit`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submission {
    /// The command and its arguments.
    pub argv: Vec<String>,
    /// The folder it runs in, absolute.
    pub cwd: String,
    /// Its environment.
    pub env: BTreeMap<String, String>,
    /// What the job may use within the share, or what share to take for it.
    pub amounts: Amounts,
    /// A name to know it by, 1 to 64 bytes.
    pub name: Option<String>,
    /// Its time limit in milliseconds.
    pub lease_ms: Option<u64>,
    /// Whether to wait in the queue when a share must be taken and cannot be now.
    pub wait: Option<bool>,
}

/// A call: the endpoint and its body as one value.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are those of the schema, which says what they mean")]
pub enum Call {
    Ping,
    Health,
    Status { for_uid: Option<u64> },
    List,
    Policy { for_uid: Option<u64> },
    RequestResources { amounts: Amounts, lease_ms: Option<u64>, wait: Option<bool>, for_uid: Option<u64> },
    Resize { amounts: Amounts, for_uid: Option<u64> },
    Renew { lease_ms: u64, for_uid: Option<u64> },
    Release { stop: Option<bool>, for_uid: Option<u64> },
    Run,
    Attach { pids: Vec<u64> },
    Submit(Submission),
    JobStatus { job_id: u64 },
    JobList { all: Option<bool> },
    JobCancel { job_id: u64 },
    JobFetch { job_id: u64 },
    Subscribe { all: Option<bool>, job_id: Option<u64> },
    Reload,
    Drain,
    Undrain,
}

macro_rules! endpoints {
    ($($(#[$doc:meta])* $variant:ident $name:literal idempotent $idempotent:literal;)*) => {
        /// The endpoints of the contract.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Endpoint { $($(#[$doc])* $variant),* }

        impl Endpoint {
            /// Every endpoint, in the order of the contract.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, as it stands in a request.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name),* }
            }

            /// Whether a call may be sent again when its answer was lost.
            pub fn idempotent(self) -> bool {
                match self { $(Self::$variant => $idempotent),* }
            }

            /// The endpoint of that name.
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

endpoints! {
    /// Is anyone there.
    Ping "ping" idempotent true;
    /// Is the daemon well, check by check.
    Health "health" idempotent true;
    /// One member's share, and the machine.
    Status "status" idempotent true;
    /// All shares that the policy lets the caller see.
    List "list" idempotent true;
    /// What holds for a member.
    Policy "policy" idempotent true;
    /// Take a share.
    RequestResources "request_resources" idempotent false;
    /// Change a share in place. Figures are absolute, so that a repeated one is harmless.
    Resize "resize" idempotent false;
    /// Move a lease's end.
    Renew "renew" idempotent false;
    /// Give a share back.
    Release "release" idempotent true;
    /// Put the calling process in a scope of the share.
    Run "run" idempotent false;
    /// Move running processes in.
    Attach "attach" idempotent false;
    /// Run a command in the background.
    Submit "submit" idempotent false;
    /// One job.
    JobStatus "job_status" idempotent true;
    /// The jobs.
    JobList "job_list" idempotent true;
    /// Cancel a job.
    JobCancel "job_cancel" idempotent true;
    /// What a submitted command is, for the process that becomes it.
    JobFetch "job_fetch" idempotent false;
    /// Follow what happens.
    Subscribe "subscribe" idempotent false;
    /// Read the policy again.
    Reload "reload" idempotent true;
    /// Stop new requests.
    Drain "drain" idempotent true;
    /// Take new requests again.
    Undrain "undrain" idempotent true;
}

impl Call {
    /// The endpoint that this call goes to.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Self::Ping => Endpoint::Ping,
            Self::Health => Endpoint::Health,
            Self::Status { .. } => Endpoint::Status,
            Self::List => Endpoint::List,
            Self::Policy { .. } => Endpoint::Policy,
            Self::RequestResources { .. } => Endpoint::RequestResources,
            Self::Resize { .. } => Endpoint::Resize,
            Self::Renew { .. } => Endpoint::Renew,
            Self::Release { .. } => Endpoint::Release,
            Self::Run => Endpoint::Run,
            Self::Attach { .. } => Endpoint::Attach,
            Self::Submit(_) => Endpoint::Submit,
            Self::JobStatus { .. } => Endpoint::JobStatus,
            Self::JobList { .. } => Endpoint::JobList,
            Self::JobCancel { .. } => Endpoint::JobCancel,
            Self::JobFetch { .. } => Endpoint::JobFetch,
            Self::Subscribe { .. } => Endpoint::Subscribe,
            Self::Reload => Endpoint::Reload,
            Self::Drain => Endpoint::Drain,
            Self::Undrain => Endpoint::Undrain,
        }
    }

    /// The member that the call names, where it names one.
    pub fn for_uid(&self) -> Option<u64> {
        match self {
            Self::Status { for_uid }
            | Self::Policy { for_uid }
            | Self::RequestResources { for_uid, .. }
            | Self::Resize { for_uid, .. }
            | Self::Renew { for_uid, .. }
            | Self::Release { for_uid, .. } => *for_uid,
            _ => None,
        }
    }
}
