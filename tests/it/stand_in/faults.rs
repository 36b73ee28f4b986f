//! What the stand-in is told to do wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::watch;

/// What kind of job, as systemd names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verb {
    Start,
    Stop,
}

/// Told by the test, obeyed by the stand-in, from the next call until [`Faults::clear`].
#[derive(Debug, Clone, Default)]
pub struct Faults(Arc<Mutex<Told>>);

#[derive(Debug, Clone, Default)]
pub(super) struct Told {
    pub(super) delays: BTreeMap<String, Duration>,
    pub(super) errors: BTreeMap<String, (String, String)>,
    pub(super) lost_replies: Vec<String>,
    pub(super) job_results: BTreeMap<Verb, String>,
    pub(super) job_delays: BTreeMap<Verb, Duration>,
    pub(super) jobs_held: BTreeMap<Verb, watch::Receiver<()>>,
    pub(super) jobs_without_end: Vec<Verb>,
    pub(super) jobs_before_reply: Vec<Verb>,
    pub(super) kernel_files: BTreeMap<String, String>,
    pub(super) kernel_delay: Duration,
    pub(super) stop_timeout: Option<Duration>,
    pub(super) unkillable: bool,
    pub(super) moves_nobody: bool,
    pub(super) freezes_nobody: bool,
}

/// Holds jobs.
pub struct Held(watch::Sender<()>);

impl Held {
    /// Whether there is a job by now that is held, and will be after [`Faults::clear`].
    pub fn has_one(&self) -> bool {
        // One waits with what the stand-in was told, one with each job.
        self.0.receiver_count() > 1
    }
}

impl Faults {
    /// Calls of this method are handled only after that time. Other calls are not held up.
    pub fn delay(&self, method: &str, by: Duration) {
        self.told().delays.insert(method.to_owned(), by);
    }

    /// This method does nothing and answers this D-Bus error.
    pub fn error(&self, method: &str, name: &str, message: &str) {
        self.told().errors.insert(method.to_owned(), (name.to_owned(), message.to_owned()));
    }

    /// This method does its work and never answers.
    pub fn lose_reply(&self, method: &str) {
        self.told().lost_replies.push(method.to_owned());
    }

    /// Jobs of this kind do nothing and end with this result: `failed`, `timeout`, `canceled`, `dependency`, `skipped`.
    pub fn fail_job(&self, verb: Verb, result: &str) {
        self.told().job_results.insert(verb, result.to_owned());
    }

    /// Jobs of this kind are done only after that time.
    pub fn delay_job(&self, verb: Verb, by: Duration) {
        self.told().job_delays.insert(verb, by);
    }

    /// Jobs of this kind are done only when what is answered here is dropped.
    pub fn hold_job(&self, verb: Verb) -> Held {
        let (held, until) = watch::channel(());
        self.told().jobs_held.insert(verb, until);
        Held(held)
    }

    /// Jobs of this kind never end.
    pub fn never_end_job(&self, verb: Verb) {
        self.told().jobs_without_end.push(verb);
    }

    /// Jobs of this kind end before the call that queued them is answered.
    pub fn end_job_before_reply(&self, verb: Verb) {
        self.told().jobs_before_reply.push(verb);
    }

    /// The kernel holds this in every `file`, or in a unit's where it is `unit/file`, whatever was asked for.
    pub fn kernel_holds(&self, file: &str, content: &str) {
        self.told().kernel_files.insert(file.to_owned(), format!("{content}\n"));
    }

    /// The files of cgroups change only that long after systemd said so.
    pub fn kernel_lags(&self, by: Duration) {
        self.told().kernel_delay = by;
    }

    /// How long processes have between SIGTERM and SIGKILL (10 s).
    pub fn stop_timeout(&self, after: Duration) {
        self.told().stop_timeout = Some(after);
    }

    /// Scopes are started, and nobody goes into them.
    pub fn moves_nobody(&self) {
        self.told().moves_nobody = true;
    }

    /// Units are said to be frozen and thawed, and are not.
    pub fn freezes_nobody(&self) {
        self.told().freezes_nobody = true;
    }

    /// What is in a unit survives its stop, as what waits in the kernel does: the unit is over, and its cgroup is not.
    pub fn unkillable(&self) {
        self.told().unkillable = true;
    }

    /// Everything goes well again.
    pub fn clear(&self) {
        *self.told() = Told::default();
    }

    pub(super) fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap()
    }
}
