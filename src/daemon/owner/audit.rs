//! Whether what was promised is kept, and where the members' work runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::EventLoop;
use super::event::Event;
use crate::cgroup::{Cgroups, Group};
use crate::contract::{Answer, AuditAnswer, Finding, FindingKind};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::baseline::{Told, members};
use crate::daemon::doing::kernel::share_holds;
use crate::daemon::telling::findings::{Held, Login, Sighting};
use crate::daemon::telling::fit::Space;
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::is_held;
use crate::host::account::{Account, Directory};
use crate::host::disks;
use crate::host::login_defs::{LOGIN_DEFS, uid_min};
use crate::host::process::seen;
use crate::identity::{FAIRSHARE_SLICE, Gid, Uid};
use crate::policy::file::Names as _;
use crate::serving::logging::chain;

/// How long the user database may take to name members and groups.
const NAMES_TIMEOUT: Duration = Duration::from_secs(10);

/// Of how many user ids that the members' group does not list the user database is asked whether they are members.
const OTHERS_ASKED_MAX: usize = 256;

/// The most that a finding takes in an answer, in bytes.
const FINDING_BYTES_MAX: usize = 32 << 10;

/// Groups with which one can be root on a Debian: that of sudo, those whose sockets start containers and machines, and that of
/// who writes to disks.
const POWERFUL: [&str; 7] = ["docker", "incus-admin", "libvirt", "lxd", "sudo", "wheel", "disk"];

impl EventLoop {
    /// Says what is found of one member's, or of everybody's.
    pub(crate) fn audit(&mut self, only: Option<Account>, reply: Reply) {
        // What is beside the shares may weigh another sum by now.
        self.look_at_bounds();
        let all = only.is_none();
        let due = self.audits.looks(all).asked(reply, only);
        self.look_later(all, due);
    }

    fn look_later(&self, all: bool, due: Option<Instant>) {
        let (Some(due), events) = (due, self.events.clone()) else { return };
        tokio::spawn(async move {
            sleep_until(due).await;
            let _ = events.send(Event::LookDue(all)).await;
        });
    }

    /// Looks at processes, and where it is for admins at members.
    pub(crate) fn begin_look(&mut self, all: bool) {
        self.audits.looks(all).begin();
        let (accounts, proc) = (self.parts.accounts.clone(), self.parts.proc.clone());
        let (cgroups, events) = (Arc::clone(&self.parts.cgroups), self.events.clone());
        tokio::spawn(async move {
            let sighting = sight(&accounts, proc, cgroups, all).await;
            let _ = events.send(Event::Sighted(all, Box::new(sighting))).await;
        });
    }

    /// Takes what was looked at, and answers who waited for it.
    pub(crate) fn sighted(&mut self, all: bool, sighting: &Sighting) {
        self.io_of_shares_only();
        let (waiting, due) = self.audits.looks(all).over();
        let told = self.baseline.told();
        for (reply, only) in waiting {
            reply.send(Ok(self.audited(sighting, only.as_ref(), &told)));
        }
        self.look_later(all, due);
    }

    fn audited(&self, sighting: &Sighting, only: Option<&Account>, told: &Told) -> Answer {
        let mut findings: Vec<Finding> =
            self.condition.reasons().map(|why| Finding::new(FindingKind::Broken, why)).into_iter().collect();
        findings.extend(self.all_shares());
        findings.extend(self.promises(only.map(|account| account.uid)));
        findings.extend(self.io.findings(only.map(|account| account.uid)));
        findings.extend(sighting.unknown.iter().map(|why| Finding::new(FindingKind::Unknown, why)));
        let members: Vec<&Account> =
            only.map_or_else(|| sighting.members.values().collect(), |own| vec![own]);
        let login = |account: &&Account| self.login(account, sighting.least, told);
        let logins: Vec<Login> = members.iter().map(login).collect();
        if self.policy.is_some() {
            findings.extend(said_of_logins(&logins, only.is_some()));
        }
        findings.extend(sighting.notes.iter().map(|note| Finding::new(FindingKind::Note, note)));
        let others = |unit: &str| {
            let named = self.policy.as_ref().is_some_and(|policy| policy.others.contains_key(unit));
            named.then(|| told.of(unit))
        };
        for (account, login) in members.iter().zip(&logins) {
            let share = self.ledger.allocations_of(account.uid).any(is_held);
            let held = Held { share, login, others: &others, for_member: only.is_some() };
            findings.extend(sighting.of(account, held));
        }
        let findings_left_out = Space::of_a_frame().first(&mut findings, FINDING_BYTES_MAX);
        Answer::Audit(AuditAnswer { findings, findings_left_out })
    }

    /// Whether all shares together have against everybody else what they were promised.
    fn all_shares(&self) -> Option<Finding> {
        let (bounds, cgroups) = (self.bounds?, &self.parts.cgroups);
        let (limits, beside) = match (cgroups.limits(Group::All), cgroups.weights_beside()) {
            (Ok(limits), Ok(beside)) => (limits?, beside),
            (Err(fault), _) | (_, Err(fault)) => {
                return Some(Finding::new(FindingKind::Broken, chain(&fault)));
            }
        };
        let holds = bounds.holds(&limits, beside);
        let text = format!(
            "{FAIRSHARE_SLICE}: {} CPU and {}, by a weight of {} beside {beside} of all others",
            bounds.cpu,
            bounds.mem,
            limits.weight.unwrap_or_default()
        );
        Some(match holds {
            Ok(()) => Finding::new(FindingKind::Kept, text),
            Err(why) => Finding::new(FindingKind::Broken, format!("{text}: {why}")),
        })
    }

    /// Whether the kernel holds what shares are to have: one member's, or all.
    fn promises(&self, only: Option<Uid>) -> Vec<Finding> {
        // What is under way is neither what it was nor what it is to be.
        let settled = self.ledger.shares().keys().filter(|uid| {
            let held = self.ledger.allocations_of(**uid).any(is_held);
            only.is_none_or(|only| only == **uid) && held && !self.busy.contains_key(uid)
        });
        let (mut kept, mut findings) = (0, Vec::new());
        for uid in settled {
            match share_holds(&self.parts.cgroups, &self.ledger, *uid) {
                Ok(()) => kept += 1,
                Err(why) => findings
                    .push(Finding { uid: Some(uid.get().into()), ..Finding::new(FindingKind::Broken, why) }),
            }
        }
        let text = match (kept, only) {
            (0, _) => return findings,
            (_, Some(_)) => "the kernel holds your share".to_owned(),
            (1, None) => "the kernel holds the one share".to_owned(),
            (_, None) => format!("the kernel holds {kept} shares"),
        };
        findings
            .push(Finding::new(FindingKind::Kept, format!("{text} to what was promised, and to no more")));
        findings
    }

    fn login(&self, account: &Account, least: u32, told: &Told) -> Login {
        let policy = self.policy.as_ref().filter(|_| account.uid.get() >= least);
        let name = account.user.as_deref().unwrap_or_default();
        let figures = policy.map(|policy| policy.login(account.uid, name, &account.groups));
        let standing = told.of(&account.uid.login_slice());
        Login { figures: figures.unwrap_or_default(), standing }
    }
}

/// What is said of logins of which nothing else is said.
fn said_of_logins(logins: &[Login], one: bool) -> Option<Finding> {
    let bounded = logins.iter().filter(|login| !login.figures.is_empty()).count();
    let held = logins.iter().filter(|login| login.is_held()).count();
    let (kind, text) = match (one, bounded) {
        (_, 0) if logins.is_empty() => return None,
        (true, 0) => (FindingKind::Note, "nothing holds your logins".to_owned()),
        (false, 0) => {
            return Some(Finding {
                hint: Some("baseline: {cpu: …, mem: …} in the policy: fairshare-policy(5)".to_owned()),
                ..Finding::new(FindingKind::Note, "nothing holds members' logins")
            });
        }
        (true, _) if held > 0 => {
            let words = logins.first().map(Login::words).unwrap_or_default();
            (FindingKind::Kept, format!("your logins are {words}"))
        }
        (true, _) => return None,
        (false, _) if held == bounded => {
            (FindingKind::Kept, format!("the logins of {held} of {} members are held", logins.len()))
        }
        (false, _) => (
            FindingKind::Note,
            format!("the logins of {held} members are held, of {bounded} of whom the policy says something"),
        ),
    };
    Some(Finding::new(kind, text))
}

/// Looks at the processes of people, and asks who the members are where `all` are to be told of.
async fn sight(accounts: &Accounts, proc: PathBuf, cgroups: Arc<Cgroups>, all: bool) -> Sighting {
    let looked = tokio::task::spawn_blocking(move || look(&proc, &cgroups)).await;
    let mut sighting = looked.unwrap_or_else(|error| {
        let mut sighting = Sighting::default();
        sighting.unknown.push(format!("the processes could not be looked at: {error}"));
        sighting
    });
    let running: BTreeSet<Uid> = sighting.seen.keys().copied().collect();
    let asked = accounts.ask(NAMES_TIMEOUT, move |directory| {
        (all.then(|| members_of(directory, running)), powerful(directory))
    });
    match asked.await {
        Ok((found, powerful)) => {
            sighting.powerful = powerful;
            if let Some((found, left_out)) = found {
                let why = found.unanswered.map(|why| format!("not all members are known: {why}"));
                sighting.unknown.extend(why);
                sighting.unknown.extend((left_out > 0).then(|| {
                    format!("of {left_out} user ids with processes it was not asked whether they are members")
                }));
                sighting.members = found.members;
            }
        }
        Err(why) => sighting.unknown.push(format!("the user database does not tell who is who: {why}")),
    }
    sighting
}

/// Looks at processes and disks: reads that may wait.
fn look(proc: &Path, cgroups: &Cgroups) -> Sighting {
    let mut sighting = Sighting::default();
    sighting.least = uid_min(Path::new(LOGIN_DEFS));
    match seen::look(proc, sighting.least, |process| sighting.add(process)) {
        Ok(unseen) => sighting.passed_over(unseen),
        Err(error) => sighting.unknown.push(format!("the processes cannot be looked at: {error}")),
    }
    if !cgroups.weighs_io() {
        sighting.notes.extend(disks::without_weights(Path::new(disks::BLOCK)).map(|disk| {
            format!("I/O weights have no effect on {disk}: its scheduler is not bfq, and io.cost is off")
        }));
    }
    sighting
}

/// Who the group lists, and who of those that run something are members by their primary group; of how many it was not asked.
fn members_of(directory: &Directory, running: BTreeSet<Uid>) -> (members::Found, usize) {
    let mut found = members::look(directory, &BTreeSet::new());
    let rest: Vec<Uid> = running.into_iter().filter(|uid| !found.members.contains_key(uid)).collect();
    let asked = rest.iter().take(OTHERS_ASKED_MAX).copied().collect();
    let others = members::look_at(directory, &asked);
    found.learn(others);
    (found, rest.len() - asked.len())
}

fn powerful(directory: &Directory) -> BTreeMap<Gid, &'static str> {
    POWERFUL.iter().filter_map(|name| Some((directory.group(name).ok()??, *name))).collect()
}
