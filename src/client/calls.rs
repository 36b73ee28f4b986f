//! The calls of the contract, each with the answer that it has.

use std::os::fd::{BorrowedFd, OwnedFd};

use super::Client;
use super::connection::Connection;
use super::error::{ClientError, Violation};
use super::events::Events;
use crate::wire::answer::{Answer, CapacityInfo, Check, JobInfo, PolicyInfo, ShareInfo};
use crate::wire::call::{Amounts, Call, Submission};

/// What came of asking for a share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Granted {
    /// It is held.
    Share(Box<ShareInfo>),
    /// It is waited for, by the job of this id.
    Queued(u64),
}

/// What came of giving a share back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Released {
    /// It is gone; whether there was one.
    Done(bool),
    /// What runs in it is being stopped, by the job of this id.
    Stopping(u64),
}

/// Makes a call whose answer is of one kind, or of the few that are named.
macro_rules! answered {
    ($client:expr, $call:expr, $($answer:pat => $value:expr),+) => {{
        let call = $call;
        match $client.call(&call)? {
            $($answer => Ok::<_, ClientError>($value),)+
            _ => Err(Violation::Answer(call.endpoint()).into()),
        }
    }};
}

/// Each fails with what [`Client::call`] fails with. `for_uid` is for admins; without it the caller is meant.
impl Client {
    /// Asks whether anyone is there. Gives the daemon's time in Unix milliseconds.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn ping(&mut self) -> Result<u64, ClientError> {
        answered!(self, Call::Ping, Answer::Pong { at_ms } => at_ms)
    }

    /// Asks whether the daemon is well, and what each of its checks says.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn health(&mut self) -> Result<(bool, Vec<Check>), ClientError> {
        answered!(self, Call::Health, Answer::Health { healthy, checks } => (healthy, checks))
    }

    /// Asks for a member's share, where one is held, and for the machine.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn status(&mut self, for_uid: Option<u64>) -> Result<(Option<ShareInfo>, CapacityInfo), ClientError> {
        answered!(self, Call::Status { for_uid }, Answer::Status { share, capacity } => (share, capacity))
    }

    /// Asks for all shares that the policy lets the caller see, and for the machine.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn list(&mut self) -> Result<(Vec<ShareInfo>, CapacityInfo), ClientError> {
        answered!(self, Call::List, Answer::List { shares, capacity } => (shares, capacity))
    }

    /// Asks what the policy says for a member.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn policy(&mut self, for_uid: Option<u64>) -> Result<PolicyInfo, ClientError> {
        answered!(self, Call::Policy { for_uid }, Answer::Policy { policy } => policy)
    }

    /// Asks for a share, for `lease_ms` milliseconds; with `wait` in the queue when there is no room now.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn request(
        &mut self,
        amounts: Amounts,
        lease_ms: Option<u64>,
        wait: bool,
        for_uid: Option<u64>,
    ) -> Result<Granted, ClientError> {
        answered!(
            self,
            Call::RequestResources { amounts, lease_ms, wait: flag(wait), for_uid },
            Answer::Share { share } => Granted::Share(Box::new(share)),
            Answer::JobStarted { job_started } => Granted::Queued(job_started)
        )
    }

    /// Changes a share in place. Figures that are not named stay as they are.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn resize(&mut self, amounts: Amounts, for_uid: Option<u64>) -> Result<ShareInfo, ClientError> {
        answered!(self, Call::Resize { amounts, for_uid }, Answer::Share { share } => share)
    }

    /// Moves a lease's end to `lease_ms` milliseconds from now.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn renew(&mut self, lease_ms: u64, for_uid: Option<u64>) -> Result<ShareInfo, ClientError> {
        answered!(self, Call::Renew { lease_ms, for_uid }, Answer::Share { share } => share)
    }

    /// Gives a share back; with `stop` what runs in it is ended.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn release(&mut self, stop: bool, for_uid: Option<u64>) -> Result<Released, ClientError> {
        answered!(
            self,
            Call::Release { stop: flag(stop), for_uid },
            Answer::Released { released } => Released::Done(released),
            Answer::JobStarted { job_started } => Released::Stopping(job_started)
        )
    }

    /// Has the calling process put in a scope of its share. Gives the scope's name.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn run(&mut self) -> Result<String, ClientError> {
        answered!(self, Call::Run, Answer::Unit { unit } => unit)
    }

    /// Has running processes of the caller moved in. Gives the unit's name.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn attach(&mut self, pids: &[u64]) -> Result<String, ClientError> {
        answered!(self, Call::Attach { pids: pids.to_vec() }, Answer::Unit { unit } => unit)
    }

    /// Has a command run in the background, with `stdio` as its standard input, output and error, as far as they
    /// are given. Gives the job's id.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn submit(&mut self, submission: Submission, stdio: &[BorrowedFd<'_>]) -> Result<u64, ClientError> {
        let call = Call::Submit(submission);
        match self.call_with(&call, stdio)? {
            Answer::JobStarted { job_started } => Ok(job_started),
            _ => Err(Violation::Answer(call.endpoint()).into()),
        }
    }

    /// Asks for a job.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn job_status(&mut self, job_id: u64) -> Result<JobInfo, ClientError> {
        answered!(self, Call::JobStatus { job_id }, Answer::Job { job } => job)
    }

    /// Asks for the caller's jobs, or for all.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn jobs(&mut self, all: bool) -> Result<Vec<JobInfo>, ClientError> {
        answered!(self, Call::JobList { all: flag(all) }, Answer::Jobs { jobs } => jobs)
    }

    /// Cancels a job. Gives it as it then is.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn job_cancel(&mut self, job_id: u64) -> Result<JobInfo, ClientError> {
        answered!(self, Call::JobCancel { job_id }, Answer::Job { job } => job)
    }

    /// Fetches what a submitted command is, for the process that systemd started for it. Gives the descriptors that come with
    /// the answer; the connection is to be closed when the first of them was read.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn job_fetch(&mut self, job_id: u64) -> Result<Vec<OwnedFd>, ClientError> {
        let handed = answered!(self, Call::JobFetch { job_id }, Answer::Handed { handed } => handed)?;
        let descriptors = self.connection.as_mut().map(Connection::take_descriptors).unwrap_or_default();
        match descriptors.len() {
            came if u64::try_from(came) == Ok(handed) => Ok(descriptors),
            came => Err(Violation::Descriptors { said: handed, came }.into()),
        }
    }

    /// Follows what happens to the caller, to all, or to one job. The connection is used up by it.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn subscribe(mut self, all: bool, job_id: Option<u64>) -> Result<Events, ClientError> {
        let call = Call::Subscribe { all: flag(all), job_id };
        match (self.call(&call)?, self.connection.take()) {
            (Answer::Subscribed { .. }, Some(connection)) => Ok(Events::new(connection)),
            _ => Err(Violation::Answer(call.endpoint()).into()),
        }
    }

    /// Has the policy read again. Gives whether anything changed.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn reload(&mut self) -> Result<bool, ClientError> {
        answered!(self, Call::Reload, Answer::Changed { changed } => changed)
    }

    /// Has new requests stopped. Gives whether they were not before.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn drain(&mut self) -> Result<bool, ClientError> {
        answered!(self, Call::Drain, Answer::Changed { changed } => changed)
    }

    /// Has new requests taken again. Gives whether they were not before.
    ///
    /// # Errors
    /// All of [`ClientError`].
    pub fn undrain(&mut self) -> Result<bool, ClientError> {
        answered!(self, Call::Undrain, Answer::Changed { changed } => changed)
    }
}

/// A flag that is not set is left out.
fn flag(set: bool) -> Option<bool> {
    set.then_some(true)
}
