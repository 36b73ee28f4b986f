//! The most I/O of shares, as the policy in force says it for their members. It is set on slices that are there, and read back;
//! nobody is refused anything for what does not hold: `health` and `doctor` say it.
//!
//! PID 1 looks up which disk a path is on, and waits for who does not answer. So it is told of paths only that are on disks of
//! this machine, by the kernel's list of what is mounted.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tracing::warn;

use super::read_back::ReadBack;
use crate::cgroup::Cgroups;
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::parts::Parts;
use crate::enforced::io::{IoCaps, IoMost};
use crate::host::mounts::{self, Mount};
use crate::identity::{Uid, UnitName};
use crate::policy::Policy;
use crate::serving::logging::{chain, in_full};
use crate::systemd::Systemd;
use crate::systemd::property;

/// The folder of notes, in that of the daemon's runtime data: of each share whose I/O was set in this boot what was set, so that it
/// is taken back where the policy says nothing of it any more, and what others set is left alone. The kernel's file does not say it
/// all: it has no paths.
const FOLDER: &str = "io";

/// What a note ends with while it is not certain that PID 1 knows what it says.
const TELLING: &str = "telling\n";

/// How long the kernel's file may lag behind PID 1 once that has answered a call after the one that set it: PID 1 writes what a call
/// set before it takes the next (`manager_loop` in systemd's core/manager.c).
const READ_BACK_TIMEOUT: Duration = Duration::from_millis(250);

/// With what it is set and read.
#[derive(Clone)]
pub struct IoHands {
    systemd: Systemd,
    cgroups: Arc<Cgroups>,
    accounts: Accounts,
    policy: watch::Receiver<Option<Arc<Policy>>>,
    mountinfo: PathBuf,
    notes: PathBuf,
}

/// How it stands with the I/O of one share.
#[derive(Debug, Clone)]
pub struct IoHeld {
    /// By which policy.
    policy: Arc<Policy>,
    /// What the policy says; `None` where nobody knows, for want of the user database.
    caps: Option<IoCaps>,
    /// What was set last and did not hold, and what the kernel had after it: set once more that would come to the same.
    tried: Option<(IoCaps, Vec<IoMost>)>,
    /// What does not hold, in words.
    pub fault: Option<String>,
}

impl IoHeld {
    /// Whether anything is to be bounded.
    pub fn bounds(&self) -> bool {
        self.caps.as_ref().is_none_or(|caps| !caps.most.is_empty())
    }
}

/// What is mounted, or why nobody knows.
type Mounts = Result<Vec<Mount>, String>;

impl IoHands {
    /// Hands on this systemd, for the policy that is in force whenever they are used.
    pub fn new(parts: &Parts, systemd: Systemd, policy: watch::Receiver<Option<Arc<Policy>>>) -> Self {
        Self {
            systemd,
            cgroups: Arc::clone(&parts.cgroups),
            accounts: parts.accounts.clone(),
            policy,
            mountinfo: parts.proc.join("1/mountinfo"),
            notes: parts.runtime.join(FOLDER),
        }
    }

    /// Whether the policy says nothing of I/O, and nothing was set.
    pub fn is_idle(&self) -> bool {
        let holds = self.policy.borrow().as_ref().is_some_and(|policy| policy.holds_io());
        !holds && !self.notes.exists()
    }

    /// Has the kernel hold what the policy says of a share that was just made; `None` where that is nothing.
    pub async fn hold(&self, uid: Uid) -> Option<IoHeld> {
        if self.is_idle() {
            return None;
        }
        let mounts = self.mounts().await;
        self.hold_on(&mounts, uid, None).await
    }

    /// The same for many shares, of which this was known before. The rest is left as it was where the user database does not
    /// answer: each look-up would take as long again.
    pub async fn look(&self, uids: Vec<Uid>, mut before: BTreeMap<Uid, IoHeld>) -> BTreeMap<Uid, IoHeld> {
        let mounts = self.mounts().await;
        let mut looked = BTreeMap::new();
        for uid in uids {
            let held = self.hold_on(&mounts, uid, before.remove(&uid).as_ref()).await;
            let unanswered = held.as_ref().is_some_and(|held| held.caps.is_none());
            looked.extend(held.map(|held| (uid, held)));
            if unanswered {
                looked.append(&mut before);
                break;
            }
        }
        looked
    }

    async fn hold_on(&self, mounts: &Mounts, uid: Uid, before: Option<&IoHeld>) -> Option<IoHeld> {
        let mut policy = self.policy.clone();
        loop {
            let in_force = policy.borrow_and_update().clone()?;
            let before = before.filter(|before| Arc::ptr_eq(&before.policy, &in_force));
            let held = self.hold_by(in_force, mounts, uid, before).await;
            // What was set by a policy that is in force no more could be set last.
            if !policy.has_changed().unwrap_or(false) {
                return Some(held);
            }
        }
    }

    /// Has the kernel hold what this policy says; `before` is what was known by the same policy.
    async fn hold_by(
        &self,
        policy: Arc<Policy>,
        mounts: &Mounts,
        uid: Uid,
        before: Option<&IoHeld>,
    ) -> IoHeld {
        let known = before.and_then(|before| before.caps.clone());
        let looked_up = match known {
            Some(caps) => Ok(caps),
            None => self.caps(&policy, uid).await,
        };
        let caps = match looked_up {
            Ok(caps) => caps,
            Err(why) => return IoHeld { policy, caps: None, tried: None, fault: Some(why) },
        };
        let (reached, mut faults) = on_disks(&caps, mounts);
        let tried_before = before.and_then(|before| before.tried.as_ref());
        let drifts = before.is_some_and(|before| before.fault.is_none());
        let (tried, fault) = match self.settle(uid, &reached, tried_before, drifts).await {
            Ok(()) => (None, None),
            Err(Unsettled { why, tried }) => (tried, Some(why)),
        };
        faults.extend(fault);
        let fault = (!faults.is_empty()).then(|| faults.join("; "));
        IoHeld { policy, caps: Some(caps), tried, fault }
    }

    /// What a policy says for a member.
    async fn caps(&self, policy: &Policy, uid: Uid) -> Result<IoCaps, String> {
        let account = match self.accounts.find(uid).await {
            Ok(account) => account,
            Err(error) => return Err(format!("nobody knows what the policy says: {}", in_full(&error))),
        };
        let groups = account.map(|account| account.groups).unwrap_or_default();
        Ok(IoCaps { most: policy.member(uid, &groups).io, on: policy.io.on.clone() })
    }

    /// Has the kernel hold that of a slice, if it is there and does not.
    async fn settle(
        &self,
        uid: Uid,
        caps: &IoCaps,
        tried: Option<&(IoCaps, Vec<IoMost>)>,
        drifts: bool,
    ) -> Result<(), Unsettled> {
        let unit = UnitName::Share(uid);
        let note = self.notes.join(uid.to_string());
        let noted = fs::read_to_string(&note).ok();
        let bounds = !caps.most.is_empty() && !caps.on.is_empty();
        if !bounds && noted.is_none() {
            return Ok(());
        }
        let text = format!("{}\n{}\n", caps.most, caps.on.join("\n"));
        let said = self.cgroups.io(unit).map_err(|fault| Unsettled::of(chain(&fault)))?;
        let Some(lines) = said else {
            // The slice that comes next has nothing.
            self.forget(&note);
            return Ok(());
        };
        let held = caps.hold(&lines);
        if held.is_ok() && noted.as_ref() == Some(&text) {
            return Ok(());
        }
        if let Err(difference) = held {
            if tried.is_some_and(|(was, had)| was == caps && *had == lines) {
                return Err(Unsettled { why: difference, tried: tried.cloned() });
            }
            if drifts {
                warn!(unit = %unit, "{unit} has drifted from the policy, its I/O is set again: {difference}");
            }
        }
        self.write(&note, &format!("{text}{TELLING}")).map_err(Unsettled::of)?;
        self.set(unit, caps).await.map_err(Unsettled::of)?;
        let (lines, held) = self.read_back(unit, caps).await.map_err(Unsettled::of)?;
        held.map_err(|why| Unsettled { why, tried: Some((caps.clone(), lines)) })?;
        if bounds {
            return self.write(&note, &text).map_err(Unsettled::of);
        }
        self.forget(&note);
        Ok(())
    }

    async fn set(&self, unit: UnitName, caps: &IoCaps) -> Result<(), String> {
        let name = unit.to_string();
        let said = self.systemd.set_properties(&name, &property::io(caps)).await;
        said.map_err(|fault| chain(&fault))?;
        // What it says does not matter: once it is said, PID 1 has written what was set.
        self.systemd.active_state(&name).await.map(drop).map_err(|fault| chain(&fault))
    }

    /// What the kernel holds, awaited for a while, and whether that is it.
    async fn read_back(
        &self,
        unit: UnitName,
        caps: &IoCaps,
    ) -> Result<(Vec<IoMost>, Result<(), String>), String> {
        let mut read_back = ReadBack::within(READ_BACK_TIMEOUT);
        loop {
            // A slice that is gone has nothing that could be another than it should.
            let Some(lines) = self.cgroups.io(unit).map_err(|fault| chain(&fault))? else {
                return Ok((Vec::new(), Ok(())));
            };
            let held = caps.hold(&lines);
            if held.is_ok() || !read_back.again().await {
                return Ok((lines, held));
            }
        }
    }

    /// What is mounted, by PID 1's list.
    async fn mounts(&self) -> Mounts {
        let path = self.mountinfo.clone();
        let read = tokio::task::spawn_blocking(move || {
            let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
            Ok(mounts::parse(&text))
        });
        read.await.unwrap_or_else(|error| Err(error.to_string()))
    }

    /// Half a note would be another than any, and what it is about set again.
    fn write(&self, note: &Path, text: &str) -> Result<(), String> {
        let written = fs::create_dir_all(&self.notes).and_then(|()| fs::write(note, text));
        written.map_err(|error| format!("{}: {error}", note.display()))
    }

    /// A note that stays costs one look at the next start.
    fn forget(&self, note: &Path) {
        let _ = fs::remove_file(note);
        // The last one takes the folder with it.
        let _ = fs::remove_dir(&self.notes);
    }
}

/// What was to hold and does not.
struct Unsettled {
    why: String,
    tried: Option<(IoCaps, Vec<IoMost>)>,
}

impl Unsettled {
    fn of(why: String) -> Self {
        Self { why, tried: None }
    }
}

/// What of it can be told PID 1, and why the rest cannot.
fn on_disks(caps: &IoCaps, mounts: &Mounts) -> (IoCaps, Vec<String>) {
    if caps.most.is_empty() {
        return (caps.clone(), Vec::new());
    }
    let mounts = match mounts {
        Ok(mounts) => mounts,
        Err(why) => {
            let fault = format!("nobody knows which file systems are on disks: {why}");
            return (IoCaps { on: Vec::new(), ..caps.clone() }, vec![fault]);
        }
    };
    let mut faults = Vec::new();
    let reached = caps.on.iter().filter(|path| match mounts::of_path(mounts, path) {
        Some(mount) if mount.has_disk() => true,
        Some(mount) => {
            faults.push(format!("{path} is on {}, and on no disk of this machine", mount.kind));
            false
        }
        None => {
            faults.push(format!("{path} is on nothing that is mounted"));
            false
        }
    });
    let on = reached.cloned().collect();
    (IoCaps { most: caps.most, on }, faults)
}
