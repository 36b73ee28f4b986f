//! What may be used outside of every share: logins of members are held from their first process on, and units that hold
//! members' work as the policy says. One task owns it; nobody waits for it, and without it everybody can log in.

mod dropins;
pub mod members;
mod plan;
mod record;
mod settle;
mod told;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::{mpsc, watch};
use tokio::task::yield_now;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::asking::accounts::{Accounts, LOOKUP_TIMEOUT};
use super::parts::Parts;
use crate::cgroup::Cgroups;
use crate::host::login_defs::{LOGIN_DEFS, uid_min};
use crate::identity::Uid;
use crate::policy::Policy;
use crate::serving::logging::chain;
use crate::systemd::Systemd;
use members::Found;
use plan::{Figures, Stage, of_login, wanted};
use record::Record;
use settle::{Hands, holds, path_of_logins};
pub use told::Told;

/// What is heard and has not been taken.
const HEARD_WAITING_MAX: usize = 256;

/// How long the user database may take to name all members.
const MEMBERS_TIMEOUT: Duration = Duration::from_secs(60);

/// How often the user database is asked anew who the members are. At a reload it is asked at once, and at the next look where
/// the machine's own files have changed.
const MEMBERS_PERIOD: Duration = Duration::from_secs(600);

/// After how many units that were looked at others have their turn.
const LOOKED_AT_ONCE_MAX: usize = 64;

/// What starts the daemon at boot, so that logins are held before the first client.
const BOOT_UNIT: &str = "fairshared-boot.service";

/// What the task hears.
#[derive(Debug)]
pub enum Heard {
    /// There is a connection to systemd, and it is to be used from here on.
    Bus(Systemd),
    /// Somebody logs in.
    Login(Uid),
    /// It is time to look whether all holds.
    Look,
    /// What is heard of logins may have been missed.
    Missed,
}

/// The way to the task.
#[derive(Debug)]
pub struct Baseline {
    heard: mpsc::Sender<Heard>,
    told: watch::Receiver<Told>,
    missed: bool,
}

impl Baseline {
    /// Starts the task. It holds what each policy in force says, as soon as there is systemd.
    pub fn start(parts: &Parts, policy: watch::Receiver<Option<Arc<Policy>>>) -> Self {
        let (heard, hears) = mpsc::channel(HEARD_WAITING_MAX);
        let (tells, told) = watch::channel(Told::default());
        let (founds, finds) = mpsc::channel(HEARD_WAITING_MAX);
        let keeper = Keeper {
            policy,
            hears,
            tells,
            founds,
            finds,
            accounts: parts.accounts.clone(),
            cgroups: Arc::clone(&parts.cgroups),
            record: Record::open(&parts.runtime),
            systemd: None,
            found: Found::default(),
            asked_at: None,
            files_changed_at: [None; 2],
            asked_times: 0,
            wanted: BTreeMap::new(),
            certain: BTreeSet::new(),
            due: VecDeque::new(),
            loaded: None,
        };
        tokio::spawn(keeper.run());
        Self { heard, told, missed: false }
    }

    /// Tells the task. Never waits: what it has no room for it is told of later.
    pub fn hear(&mut self, heard: Heard) {
        if self.missed && self.heard.try_send(Heard::Missed).is_ok() {
            self.missed = false;
        }
        self.missed |= self.heard.try_send(heard).is_err();
    }

    /// How it stands.
    pub fn told(&self) -> Told {
        self.told.borrow().clone()
    }
}

/// The task.
struct Keeper {
    policy: watch::Receiver<Option<Arc<Policy>>>,
    hears: mpsc::Receiver<Heard>,
    tells: watch::Sender<Told>,
    /// For look-ups, and what they found; whether it was of everybody.
    founds: mpsc::Sender<(Found, bool)>,
    finds: mpsc::Receiver<(Found, bool)>,
    accounts: Accounts,
    cgroups: Arc<Cgroups>,
    record: Record,
    systemd: Option<Systemd>,
    found: Found,
    /// When the user database was last asked for everybody.
    asked_at: Option<Instant>,
    /// When the machine's own files of users and groups had last been changed then.
    files_changed_at: [Option<SystemTime>; 2],
    /// How often that was.
    asked_times: u64,
    /// What each unit is to have; one without figures what it had.
    wanted: BTreeMap<String, Figures>,
    /// The units of which this task has seen that they have it.
    certain: BTreeSet<String>,
    /// The units that are to be looked at.
    due: VecDeque<String>,
    /// The unit that systemd keeps in mind.
    loaded: Option<String>,
}

impl Keeper {
    async fn run(mut self) {
        loop {
            tokio::select! {
                biased;
                heard = self.hears.recv() => match heard {
                    Some(heard) => self.take(heard).await,
                    None => return,
                },
                Ok(()) = self.policy.changed() => self.ask().await,
                Some((found, whole)) = self.finds.recv() => self.take_found(found, whole),
                () = std::future::ready(()), if self.systemd.is_some() && !self.due.is_empty() => {
                    self.settle_one().await;
                    // One that has all it is to have was settled without waiting for anything.
                    yield_now().await;
                }
            }
        }
    }

    async fn take(&mut self, heard: Heard) {
        match heard {
            Heard::Bus(systemd) => {
                self.systemd = Some(systemd);
                self.certain.clear();
                self.policy.mark_changed();
            }
            Heard::Missed => self.policy.mark_changed(),
            Heard::Login(uid) => self.login(uid),
            Heard::Look => self.look().await,
        }
    }

    /// The policy in force, where it or one before it held something.
    fn in_force(&self) -> Option<Arc<Policy>> {
        let policy = self.policy.borrow().clone()?;
        (policy.holds_outside() || !self.record.kept().is_empty()).then_some(policy)
    }

    /// Asks who the members are, and who of those that the group does not list is logged in or was held.
    async fn ask(&mut self) {
        let Some(policy) = self.in_force() else {
            self.wanted.clear();
            self.tells.send_replace(Told::default());
            return;
        };
        let Some(systemd) = self.systemd.clone() else { return };
        self.asked_at = Some(Instant::now());
        self.files_changed_at = self.accounts.local_files_changed_at();
        self.asked_times += 1;
        let mut others: BTreeSet<Uid> = self.record.kept().keys().filter_map(|unit| of_login(unit)).collect();
        match systemd.logged_in().await {
            Ok(uids) => others.extend(uids),
            Err(fault) => debug!("nobody says who is logged in, proceeding: {}", chain(&fault)),
        }
        others.retain(|uid| uid.get() >= least());
        let at_boot = match policy.holds_outside() {
            true => systemd.unit_file_state(BOOT_UNIT).await.ok(),
            false => None,
        };
        self.tells.send_modify(|told| told.at_boot(BOOT_UNIT, at_boot.as_deref()));
        self.look_up(MEMBERS_TIMEOUT, true, move |directory| members::look(directory, &others));
    }

    /// Holds who logs in, where nobody has prepared for them.
    fn login(&mut self, uid: Uid) {
        let unit = uid.login_slice();
        let holds = self.policy.borrow().as_ref().is_some_and(|policy| policy.holds_outside());
        if !holds || uid.get() < least() {
            return;
        }
        if self.wanted.contains_key(&unit) && self.found.members.contains_key(&uid) {
            if !self.certain.contains(&unit) {
                self.due.push_front(unit);
            }
            return;
        }
        self.look_up(LOOKUP_TIMEOUT, false, move |directory| members::look_at(directory, &[uid].into()));
    }

    /// Has the user database asked, by a task that waits for it.
    fn look_up(
        &self,
        within: Duration,
        whole: bool,
        question: impl FnOnce(&crate::host::account::Directory) -> Found + Send + 'static,
    ) {
        let (accounts, founds, asked) = (self.accounts.clone(), self.founds.clone(), self.asked_times);
        tokio::spawn(async move {
            let found = accounts.ask(within, question).await;
            let found = found.unwrap_or_else(|why| Found { unanswered: Some(why), ..Found::default() });
            let _ = founds.send((Found { asked, ..found }, whole)).await;
        });
    }

    fn take_found(&mut self, found: Found, whole: bool) {
        match whole {
            true => self.found.renew(found),
            false => self.found.learn(found),
        }
        if let Some(why) = &self.found.unanswered {
            warn!("the user database has not named all members, proceeding with those that are known: {why}");
            // It is asked again at the next look.
            self.asked_at = None;
        }
        let Some(policy) = self.in_force() else { return };
        let wanted = wanted(&policy, least(), &self.found, self.record.kept());
        // At a login nothing but that is looked at: logins may be many.
        let changed = |unit: &String, figures: &Figures| {
            self.wanted.get(unit) != Some(figures) || whole && !self.certain.contains(unit)
        };
        let due: Vec<String> = wanted
            .iter()
            .filter(|(unit, figures)| changed(unit, figures))
            .map(|(unit, _)| unit.clone())
            .collect();
        for unit in &due {
            self.certain.remove(unit);
        }
        self.wanted = wanted;
        let anew: BTreeSet<&String> = due.iter().collect();
        self.due.retain(|unit| !anew.contains(unit));
        // Who logs in now is first.
        match whole {
            true => self.due.extend(due),
            false => due.into_iter().for_each(|unit| self.due.push_front(unit)),
        }
        let unanswered = self.found.unanswered.clone();
        let wanted = &self.wanted;
        self.tells.send_modify(|told| told.of_members(unanswered, |unit| wanted.contains_key(unit)));
    }

    /// Looks whether the kernel holds what each unit is to have; those that it does not are settled, and those of which that is
    /// not certain.
    async fn look(&mut self) {
        if self.in_force().is_none() {
            return;
        }
        let changed = || self.accounts.local_files_changed_at() != self.files_changed_at;
        if self.asked_at.is_none_or(|at| at.elapsed() >= MEMBERS_PERIOD) || changed() {
            self.policy.mark_changed();
        }
        let mut due = Vec::new();
        for (at, unit) in self.wanted.keys().enumerate() {
            if self.is_doubtful(unit) {
                due.push(unit.clone());
            }
            if at % LOOKED_AT_ONCE_MAX == 0 {
                yield_now().await;
            }
        }
        let waiting: BTreeSet<String> = self.due.iter().cloned().collect();
        self.due.extend(due.into_iter().filter(|unit| !waiting.contains(unit)));
    }

    /// Whether the kernel may hold something else of a unit than was set last.
    fn is_doubtful(&self, unit: &str) -> bool {
        let Some(path) = path_of_logins(unit) else { return true };
        let kept = self.record.of(unit);
        let held = kept.iter().filter(|(_, kept)| kept.stage != Stage::Back);
        let set: Figures = held.map(|(figure, kept)| (*figure, kept.set)).collect();
        let held = self.cgroups.outside(&path).map(|now| now.is_none_or(|now| holds(&now, &set)));
        !self.certain.contains(unit) || !held.unwrap_or(false)
    }

    async fn settle_one(&mut self) {
        let (Some(unit), Some(systemd)) = (self.due.pop_front(), self.systemd.clone()) else { return };
        let Some(figures) = self.wanted.get(&unit).cloned() else { return };
        let hands = Hands {
            systemd,
            cgroups: Arc::clone(&self.cgroups),
            administrators: dropins::ADMINISTRATORS.iter().map(PathBuf::from).collect(),
        };
        self.keep_loaded(&hands.systemd, &unit).await;
        let certain = self.certain.contains(&unit);
        let settled = hands.settle(&mut self.record, &unit, &figures, certain).await;
        if self.due.is_empty() {
            self.let_forget(&hands.systemd).await;
        }
        match &settled {
            Ok(settled) if settled.unfinished => {
                self.certain.remove(&unit);
                return self.due.push_back(unit);
            }
            // What is above its figure is looked at again.
            Ok(settled) if settled.above.is_none() => drop(self.certain.insert(unit.clone())),
            _ => drop(self.certain.remove(&unit)),
        }
        let mut said = None;
        self.tells.send_modify(|told| said = told.of_unit(&unit, figures.is_empty(), settled));
        match said {
            Some(Ok(said)) => info!(unit = unit, "{said}"),
            Some(Err(fault)) => warn!(unit = unit, "{fault}"),
            None => debug!(unit = unit, "{unit} has what the policy says"),
        }
    }

    /// Has systemd keep the slice of a user's logins in mind until the next one is: what it forgets, while nobody is logged in, it
    /// takes the controllers from, and has the kernel take them from each cgroup beside it where no other has them.
    async fn keep_loaded(&mut self, systemd: &Systemd, unit: &str) {
        if of_login(unit).is_none() {
            return;
        }
        match systemd.keep_loaded(unit).await {
            Ok(()) => {
                self.let_forget(systemd).await;
                self.loaded = Some(unit.to_owned());
            }
            Err(fault) => debug!(unit, "it is slower without, proceeding: {}", chain(&fault)),
        }
    }

    async fn let_forget(&mut self, systemd: &Systemd) {
        let Some(unit) = self.loaded.take() else { return };
        if let Err(fault) = systemd.let_forget(&unit).await {
            debug!(unit, "systemd has forgotten it already, proceeding: {}", chain(&fault));
        }
    }
}

/// The first user id of people.
fn least() -> u32 {
    uid_min(Path::new(LOGIN_DEFS))
}
