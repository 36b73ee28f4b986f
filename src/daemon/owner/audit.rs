//! Whether what was promised is kept, and where the members' work runs.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::EventLoop;
use super::event::Event;
use crate::cgroup::Group;
use crate::contract::{Answer, AuditAnswer, Finding, FindingKind};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::baseline::{login_slice, members};
use crate::daemon::doing::kernel::limits_hold;
use crate::daemon::telling::findings::{Held, Login, Sighting};
use crate::daemon::telling::fit::Space;
use crate::daemon::telling::reply::Reply;
use crate::daemon::telling::shown::is_held;
use crate::host::account::{Account, Directory};
use crate::host::disks;
use crate::host::login_defs::{LOGIN_DEFS, uid_min};
use crate::host::process::seen::seen;
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
    /// Says what was found of one member's, or of everybody's.
    pub(crate) fn audit(&mut self, only: Option<Account>, reply: Reply) {
        let all = only.is_none();
        let look = self.audits.look(all);
        if let Some(sighting) = look.fresh() {
            return reply.send(Ok(self.audited(&sighting, only.as_ref())));
        }
        if !look.wants_looking(reply, only) {
            return;
        }
        let (accounts, proc) = (self.parts.accounts.clone(), self.parts.proc.clone());
        let weighs = self.parts.cgroups.weighs_io();
        let events = self.events.clone();
        tokio::spawn(async move {
            let mut sighting = sight(&accounts, proc, all).await;
            if !weighs {
                sighting.notes.extend(disks::without_weights(Path::new(disks::BLOCK)).map(|disk| {
                    format!(
                        "I/O weights have no effect on {disk}: its scheduler is not bfq, and io.cost is off"
                    )
                }));
            }
            let _ = events.send(Event::Sighted(all, Arc::new(sighting))).await;
        });
    }

    /// Takes what was looked at, and answers who waited for it.
    pub(crate) fn sighted(&mut self, all: bool, sighting: Arc<Sighting>) {
        for (reply, only) in self.audits.look(all).arrived(Arc::clone(&sighting)) {
            reply.send(Ok(self.audited(&sighting, only.as_ref())));
        }
    }

    fn audited(&self, sighting: &Sighting, only: Option<&Account>) -> Answer {
        let mut findings: Vec<Finding> =
            self.condition.reasons().map(|why| Finding::new(FindingKind::Broken, why)).into_iter().collect();
        findings.extend(self.all_shares());
        findings.extend(self.promises(only.map(|account| account.uid)));
        let least = uid_min(Path::new(LOGIN_DEFS));
        let members: Vec<&Account> =
            only.map_or_else(|| sighting.members.values().collect(), |own| vec![own]);
        let logins: Vec<Login> = members.iter().map(|account| self.login(account, least)).collect();
        findings.extend(said_of_logins(&logins, only.is_some()));
        findings.extend(sighting.notes.iter().map(|note| Finding::new(FindingKind::Note, note)));
        let nobodys = BTreeMap::new();
        let others = self.policy.as_ref().map_or(&nobodys, |policy| &policy.others);
        for (account, login) in members.iter().zip(&logins) {
            let share = self.ledger.share(account.uid).is_some_and(is_held);
            findings.extend(sighting.of(account, Held { share, login, others, for_member: only.is_some() }));
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
        let settled = self.ledger.shares().values().filter(|share| {
            only.is_none_or(|uid| uid == share.uid) && is_held(share) && !self.busy.contains_key(&share.uid)
        });
        let (mut kept, mut findings) = (0, Vec::new());
        for share in settled {
            match limits_hold(&self.parts.cgroups, share) {
                Ok(()) => kept += 1,
                Err(why) => findings.push(Finding {
                    uid: Some(share.uid.get().into()),
                    ..Finding::new(FindingKind::Broken, why)
                }),
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

    fn login(&self, account: &Account, least: u32) -> Login {
        let policy = self.policy.as_ref().filter(|_| account.uid.get() >= least);
        let name = account.user.as_deref().unwrap_or_default();
        let figures = policy.map(|policy| policy.login(account.uid, name, &account.groups));
        let (fault, above) = self.baseline.told().of(&login_slice(account.uid));
        Login { figures: figures.unwrap_or_default(), above, fault }
    }
}

/// What is said of logins that nothing else is said of.
fn said_of_logins(logins: &[Login], one: bool) -> Option<Finding> {
    let bounded = logins.iter().filter(|login| !login.figures.is_empty()).count();
    let held = logins.iter().filter(|login| login.is_held()).count();
    match (one, bounded) {
        (_, 0) => Some(Finding {
            hint: (!one).then(|| "baseline: {cpu: …, mem: …} in the policy: fairshare-policy(5)".to_owned()),
            ..Finding::new(
                FindingKind::Note,
                if one { "nothing holds your logins" } else { "nothing holds members' logins" },
            )
        }),
        (true, _) => logins
            .first()
            .filter(|login| login.is_held())
            .map(|login| Finding::new(FindingKind::Kept, format!("your logins are {}", login.words()))),
        (false, _) => Some(Finding::new(
            FindingKind::Kept,
            format!("the logins of {held} of {} members are held as the policy says", logins.len()),
        )),
    }
}

/// Looks at the processes of people, and asks who the members are where `all` are to be told of.
async fn sight(accounts: &Accounts, proc: PathBuf, all: bool) -> Sighting {
    let least = uid_min(Path::new(LOGIN_DEFS));
    let looked = tokio::task::spawn_blocking(move || seen(&proc, least).map_err(|error| error.to_string()));
    let looked = looked.await.unwrap_or_else(|error| Err(error.to_string()));
    let mut sighting = Sighting::default();
    match looked {
        Ok(seen) => {
            for process in seen {
                let Some(uid) = Uid::new(process.whose.into()) else { continue };
                sighting.seen.entry(uid).or_default().push(process);
            }
        }
        Err(why) => sighting.notes.push(format!("the processes cannot be looked at: {why}")),
    }
    let others: BTreeSet<Uid> = sighting.seen.keys().take(OTHERS_ASKED_MAX).copied().collect();
    let asked = accounts.ask(NAMES_TIMEOUT, move |directory| {
        (all.then(|| members::look(directory, &others)), powerful(directory))
    });
    match asked.await {
        Ok((found, powerful)) => {
            let found = found.unwrap_or_default();
            sighting.notes.extend(found.unanswered.map(|why| format!("not all members are known: {why}")));
            (sighting.members, sighting.powerful) = (found.members, powerful);
        }
        Err(why) => sighting.notes.push(format!("the user database does not tell who is who: {why}")),
    }
    sighting
}

fn powerful(directory: &Directory) -> BTreeMap<Gid, &'static str> {
    POWERFUL.iter().filter_map(|name| Some((directory.group(name).ok()??, *name))).collect()
}
