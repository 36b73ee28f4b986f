//! Who is a member, looked up on threads of its own: each look-up has a deadline, and one that hangs holds up nobody whose
//! answer is known.
//!
//! A member is an account that the user database has in the members' group. What it said is remembered for
//! [`MEMBER_FRESH`], of those who are connected it is asked again by itself, and who is no member any more loses the
//! connections that are open. While the database does not answer, what it said last holds.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, timeout};
use tracing::{error, warn};

use crate::host::account::{Account, Directory, MEMBERS, Membership};
use crate::identity::Uid;
use crate::serving::service;
use crate::wire::detail::{Detail, Part};
use crate::wire::error::{Code, WireError};

/// How long it holds that an account is a member: a membership that was taken away ends within this time and one look-up.
pub const MEMBER_FRESH: Duration = Duration::from_secs(30);

/// How often those who are connected and were last looked up longer ago than this are looked up again.
pub const REFRESH_PERIOD: Duration = Duration::from_secs(15);

/// How long it holds that somebody is no member, or that the database did not answer: a membership that was given holds
/// within this time.
pub const STRANGER_FRESH: Duration = Duration::from_secs(2);

/// What one look-up may take for whoever waits for it. It goes on by itself, and what it finds is remembered.
pub const LOOKUP_TIMEOUT: Duration = Duration::from_secs(5);

/// Look-ups at a time, each on a thread of its own: of the 64 tasks that the unit allows, half of which
/// are for closing what members sent.
const LOOKUPS_AT_ONCE_MAX: usize = 6;

/// Look-ups that wait for one of these threads. Beyond that the answer is at once that the database does not answer.
const LOOKUPS_WAITING_MAX: usize = 1024;

/// User ids whose answer is remembered, some hundred bytes each.
const REMEMBERED_MAX: usize = 4096;

/// What is known of one user id.
#[derive(Debug, Clone, Default)]
struct Known {
    membership: Option<Membership>,
    /// Why the database did not answer the last time.
    unanswered: Option<String>,
    at: Option<Instant>,
}

#[derive(Debug)]
struct Entry {
    known: watch::Sender<Known>,
    looking: bool,
}

/// Where the machine's own accounts are, as files of passwd(5) and group(5).
const LOCAL: &str = "/etc";

type Lookup = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct State {
    entries: BTreeMap<Uid, Entry>,
    waiting: VecDeque<Lookup>,
    threads: usize,
    /// Whom the machine's own files are to be asked about.
    local_waiting: VecDeque<Uid>,
    /// Whether a thread is asking them.
    local_thread: bool,
}

/// The user database, as the daemon asks it.
#[derive(Clone)]
pub struct Accounts {
    directory: Directory,
    /// The machine's own files, which answer at once whatever servers do.
    local: Directory,
    state: Arc<Mutex<State>>,
}

/// A member who is connected. What the database says of them is asked again while this lives.
#[derive(Debug, Clone)]
pub struct Standing {
    /// None for root, whose membership is not looked up.
    known: Option<watch::Receiver<Known>>,
}

impl Standing {
    /// Root's: always a member.
    pub fn of_root() -> Self {
        Self { known: None }
    }

    /// The account's name, where it was looked up.
    pub fn name(&self) -> Option<String> {
        match self.known.as_ref()?.borrow().membership.clone() {
            Some(Membership::Member { name }) => Some(name),
            _ => None,
        }
    }
}

impl service::Standing for Standing {
    /// Whether the account is still a member, by what the database said last; Forbidden otherwise, with what is needed.
    fn holds(&self) -> Result<(), WireError> {
        match &self.known {
            None => Ok(()),
            Some(known) => judge(&known.borrow()),
        }
    }

    /// Ends when the account is no member any more.
    async fn lost(&mut self) -> WireError {
        if let Some(known) = &mut self.known
            && let Ok(known) = known.wait_for(|known| judge(known).is_err()).await
            && let Err(error) = judge(&known)
        {
            return error;
        }
        std::future::pending().await
    }
}

/// What a membership means to who asks to be served.
fn judge(known: &Known) -> Result<(), WireError> {
    let forbidden = |detail: String| {
        Err(WireError::new(Code::Forbidden, format!("Only members of the group {MEMBERS} are served"))
            .detail(Detail { group: Some(MEMBERS.to_owned()), ..Detail::text(detail) }))
    };
    match &known.membership {
        Some(Membership::Member { .. }) => Ok(()),
        Some(Membership::NotInGroup { name }) => forbidden(format!(
            "{name} is not in it by the user database: `sudo adduser {name} {MEMBERS}`, then a fresh login"
        )),
        Some(Membership::NoAccount) => forbidden(
            "this user id is no account of this machine: ids of containers are no members".to_owned(),
        ),
        Some(Membership::NoGroup) => {
            forbidden(format!("there is no such group: `sudo systemd-sysusers` makes {MEMBERS}"))
        }
        None => Err(unanswered(known.unanswered.as_deref().unwrap_or("it has not answered yet"))),
    }
}

/// The refusal while nobody knows. It passes by itself.
fn unanswered(why: &str) -> WireError {
    WireError::new(Code::Degraded, "The user database does not answer")
        .detail(Detail::lacking(Part::Users).and_text(why))
        .retry_after(STRANGER_FRESH)
}

impl Known {
    fn is_fresh(&self, now: Instant) -> bool {
        let fresh = match (&self.membership, &self.unanswered) {
            (Some(Membership::Member { .. }), None) => MEMBER_FRESH,
            _ => STRANGER_FRESH,
        };
        self.at.is_some_and(|at| now.duration_since(at) < fresh)
    }

    /// Whether a member is served without waiting: the database did not answer the last time, and is being asked again.
    fn is_kept(&self) -> bool {
        matches!(self.membership, Some(Membership::Member { .. })) && self.unanswered.is_some()
    }
}

impl Accounts {
    /// Nothing is known yet.
    pub fn of(directory: Directory) -> Self {
        let local = match &directory {
            Directory::System => Directory::Files(LOCAL.into()),
            files @ Directory::Files(_) => files.clone(),
        };
        Self::with_local(directory, local)
    }

    /// The same, with other files for the machine's own.
    fn with_local(directory: Directory, local: Directory) -> Self {
        Self { directory, local, state: Arc::default() }
    }

    /// Whether a user id is a member, asked of the database where the answer is not known or too old.
    ///
    /// # Errors
    /// Forbidden; Degraded where the database does not answer and never has.
    pub async fn member(&self, uid: Uid) -> Result<Standing, WireError> {
        if uid == Uid::ROOT {
            return Ok(Standing::of_root());
        }
        let asked = Instant::now();
        let mut known = self.look(uid, asked);
        let settled = |known: &Known| known.is_fresh(asked) || known.is_kept();
        let in_time = timeout(LOOKUP_TIMEOUT, known.wait_for(settled)).await.is_ok();
        if !in_time {
            self.late(uid);
        }
        judge(&known.borrow())?;
        Ok(Standing { known: Some(known) })
    }

    /// Asks again about everybody who is connected and whose answer will be too old before the next refresh.
    pub fn refresh(&self) {
        self.ask_again(REFRESH_PERIOD);
    }

    /// Asks again about everybody who is connected: an administrator says that something has changed.
    pub fn refresh_all(&self) {
        self.ask_again(MEMBER_FRESH);
    }

    fn ask_again(&self, within: Duration) {
        let state = self.state();
        let soon = Instant::now() + within;
        let old = |entry: &Entry| entry.known.receiver_count() > 0 && !entry.known.borrow().is_fresh(soon);
        let uids: Vec<Uid> =
            state.entries.iter().filter(|(_, entry)| old(entry)).map(|(uid, _)| *uid).collect();
        drop(state);
        for uid in uids {
            drop(self.look(uid, soon));
        }
    }

    /// A user with all their groups.
    ///
    /// # Errors
    /// Degraded, where the database does not answer in time.
    pub async fn find(&self, uid: Uid) -> Result<Option<Account>, WireError> {
        let found = self.ask(LOOKUP_TIMEOUT, move |directory| directory.by_uid(uid)).await;
        found.map_err(|why| unanswered(&why))?.map_err(|why| unanswered(&why.to_string()))
    }

    /// Asks the database something else, on the same threads and with a deadline.
    ///
    /// # Errors
    /// In words, where there is no answer in time.
    pub async fn ask<T: Send + 'static>(
        &self,
        within: Duration,
        question: impl FnOnce(&Directory) -> T + Send + 'static,
    ) -> Result<T, String> {
        let (sender, answer) = oneshot::channel();
        self.start_asking(move |directory| drop(sender.send(question(directory))))?;
        match timeout(within, answer).await {
            Ok(answer) => answer.map_err(|_| "its look-up ended without an answer".to_owned()),
            Err(_) => Err(format!("it has not within {within:?}")),
        }
    }

    /// When the machine's own files were last changed.
    pub fn local_files_changed_at(&self) -> [Option<SystemTime>; 2] {
        self.local.files_changed_at()
    }

    /// Asks the database something on one of the threads; where the answer goes is the question's matter.
    ///
    /// # Errors
    /// In words, where too much waits for the database already.
    pub fn start_asking(&self, question: impl FnOnce(&Directory) + Send + 'static) -> Result<(), String> {
        let directory = self.directory.clone();
        self.start(Box::new(move || question(&directory)))
    }

    /// What is known of a user id, with a look-up under way where that is too old.
    fn look(&self, uid: Uid, now: Instant) -> watch::Receiver<Known> {
        let mut state = self.state();
        if !state.entries.contains_key(&uid) {
            make_room(&mut state.entries);
        }
        let entry = state
            .entries
            .entry(uid)
            .or_insert_with(|| Entry { known: watch::Sender::new(Known::default()), looking: false });
        let known = entry.known.subscribe();
        if entry.looking || known.borrow().is_fresh(now) {
            return known;
        }
        entry.looking = true;
        if self.local == self.directory {
            drop(state);
            self.look_up(uid);
            return known;
        }
        state.local_waiting.push_back(uid);
        let starts = !std::mem::replace(&mut state.local_thread, true);
        drop(state);
        let here = self.clone();
        let thread = || std::thread::Builder::new().name("local accounts".to_owned());
        if starts && let Err(error) = thread().spawn(move || here.look_locally()) {
            error!("no thread to look local accounts up on, proceeding: {error}");
            let mut state = self.state();
            state.local_thread = false;
            let waiting = std::mem::take(&mut state.local_waiting);
            drop(state);
            waiting.into_iter().for_each(|uid| self.look_up(uid));
        }
        known
    }

    /// Asks the machine's own files about everybody who waits: a member by these is one. Whom they do not have in the group is
    /// looked up in the database. So no server that hangs, and nobody who makes it hang, holds up a local account.
    fn look_locally(&self) {
        loop {
            let mut state = self.state();
            let Some(uid) = state.local_waiting.pop_front() else {
                state.local_thread = false;
                return;
            };
            drop(state);
            match self.local.membership(uid) {
                Ok(member @ Membership::Member { .. }) => self.learned(uid, Ok(member)),
                _ => self.look_up(uid),
            }
        }
    }

    /// Has the database asked about a user id.
    fn look_up(&self, uid: Uid) {
        let here = self.clone();
        let started = self.start(Box::new(move || here.learned(uid, here.directory.membership(uid))));
        if let Err(why) = started {
            self.learned(uid, Err(io::Error::other(why)));
        }
    }

    /// The database has not answered in time. What it says later is taken all the same.
    fn late(&self, uid: Uid) {
        if let Some(entry) = self.state().entries.get(&uid) {
            warn!("the user database has not answered for uid {uid} within {LOOKUP_TIMEOUT:?}, proceeding");
            entry.known.send_modify(|known| {
                known.at = Some(Instant::now());
                known.unanswered = Some(format!("it has not within {LOOKUP_TIMEOUT:?}"));
            });
        }
    }

    /// What the database said of a user id, or why it did not.
    fn learned(&self, uid: Uid, said: io::Result<Membership>) {
        let mut state = self.state();
        let Some(entry) = state.entries.get_mut(&uid) else { return };
        entry.looking = false;
        entry.known.send_modify(|known| {
            known.at = Some(Instant::now());
            match said {
                Ok(membership) => (known.membership, known.unanswered) = (Some(membership), None),
                Err(error) => {
                    warn!("{error}, proceeding with what is known of uid {uid}");
                    known.unanswered = Some(error.to_string());
                }
            }
        });
    }

    /// Has a look-up made by a thread that is free, by another one, or as soon as one is free.
    fn start(&self, lookup: Lookup) -> Result<(), String> {
        let mut state = self.state();
        if state.waiting.len() >= LOOKUPS_WAITING_MAX {
            return Err(format!("{LOOKUPS_WAITING_MAX} look-ups wait for it"));
        }
        state.waiting.push_back(lookup);
        if state.threads >= LOOKUPS_AT_ONCE_MAX {
            return Ok(());
        }
        state.threads += 1;
        drop(state);
        let here = self.clone();
        let spawned = std::thread::Builder::new().name("accounts".to_owned()).spawn(move || here.work());
        if let Err(error) = spawned {
            self.state().threads -= 1;
            error!("no thread to look accounts up on, proceeding: {error}");
        }
        Ok(())
    }

    /// Makes look-ups until none waits.
    fn work(&self) {
        loop {
            let mut state = self.state();
            let Some(lookup) = state.waiting.pop_front() else {
                state.threads -= 1;
                return;
            };
            drop(state);
            lookup();
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Forgets somebody who is not connected, where as many are remembered as may be: strangers first, the oldest first.
fn make_room(entries: &mut BTreeMap<Uid, Entry>) {
    if entries.len() < REMEMBERED_MAX {
        return;
    }
    let idle = entries.iter().filter(|(_, entry)| !entry.looking && entry.known.receiver_count() == 0);
    let first = idle.min_by_key(|(_, entry)| {
        let known = entry.known.borrow();
        (matches!(known.membership, Some(Membership::Member { .. })), known.at)
    });
    if let Some(uid) = first.map(|(uid, _)| *uid) {
        entries.remove(&uid);
    }
}

#[cfg(test)]
mod tests;
