//! What there is to say of where members' work runs. Pure.

use std::collections::BTreeMap;

use crate::contract::{Finding, FindingKind, PIDS_NAMED_MAX};
use crate::host::account::Account;
use crate::host::process::seen::Seen;
use crate::identity::{Gid, LOGINS, Uid, UnitName};
use crate::quantity::{Bytes, PartialAmount};

/// The most bytes of a unit's name, with what is above it, in a finding.
const UNIT_BYTES_MAX: usize = 256;

/// How many processes a hint names.
const PIDS_HINTED_MAX: usize = 8;

/// In how many places processes of people are told apart, over all of them.
const PLACES_MAX: usize = 4096;

/// The numbers of how many processes are kept, over all places.
const PIDS_KEPT_MAX: usize = 1 << 16;

/// Services whose jobs are logins where the administrator enables the package's profile of PAM, and what enables it
/// (`debian/pam-configs/fairshare-background`).
const JOBS_BY_PAM: [&str; 2] = ["cron.service", "atd.service"];
const PAM_PROFILE: &str = "pam-auth-update --enable fairshare-background";

/// What was looked at.
#[derive(Debug, Clone, Default)]
pub struct Sighting {
    /// The first user id of people.
    pub least: u32,
    /// People's processes, by where they are.
    pub seen: BTreeMap<Uid, BTreeMap<Place, Group>>,
    /// The members, as far as the user database has told.
    pub members: BTreeMap<Uid, Account>,
    /// Groups with which one can be root: their names.
    pub powerful: BTreeMap<Gid, &'static str>,
    /// What there is to know beside that.
    pub notes: Vec<String>,
    /// What could not be looked at, and why.
    pub unknown: Vec<String>,
    places: usize,
    pids: usize,
    /// Processes that are in none of the places, for there are too many.
    passed_over: u64,
}

/// Where a process is, as its member sees it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the member's share.
    Share,
    /// In a login of the member's.
    Login,
    /// In this unit.
    Outside(String),
}

/// Processes in one place.
#[derive(Debug, Clone, Default)]
pub struct Group {
    processes: u64,
    mem_bytes: u64,
    /// Those of them that the member may move: that have none but the member's user id.
    own: Vec<u32>,
}

/// How it stands with what is to hold a unit.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Standing {
    /// That is not known, or not yet.
    #[default]
    Unknown,
    /// The kernel holds it.
    Holds,
    /// It is held to this memory, as it uses so much, until it needs less.
    Above(Bytes),
    /// The administrator has said something else of it.
    Left,
    /// It is not held as it should be, and why.
    Fault(String),
}

/// How the logins of one member are held.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// What the policy says; no figure where it holds nothing.
    pub figures: PartialAmount,
    /// How it stands with that.
    pub standing: Standing,
}

/// What is said of a member.
#[derive(Clone, Copy)]
pub struct Held<'a> {
    /// Whether there is a share.
    pub share: bool,
    /// The logins.
    pub login: &'a Login,
    /// How it stands with a unit that the policy holds; `None` for others.
    pub others: &'a dyn Fn(&str) -> Option<Standing>,
    /// Whether hints are for the member, who can move processes, or for an admin, who can hold units.
    pub for_member: bool,
}

impl Sighting {
    /// Takes a process.
    pub fn add(&mut self, seen: &Seen<'_>) {
        let Some(uid) = Uid::new(seen.whose.into()) else { return };
        // The user's own systemd belongs where it is.
        if is_within(&seen.cgroup, LOGINS) && seen.cgroup.ends_with(".service/init.scope") {
            return;
        }
        let (theirs, place) = (self.seen.entry(uid).or_default(), place(uid, &seen.cgroup));
        if !theirs.contains_key(&place) {
            if self.places >= PLACES_MAX {
                self.passed_over += 1;
                return;
            }
            self.places += 1;
        }
        let group = theirs.entry(place).or_default();
        group.processes += 1;
        group.mem_bytes = group.mem_bytes.saturating_add(seen.mem_bytes);
        if seen.own && group.own.len() < PIDS_NAMED_MAX && self.pids < PIDS_KEPT_MAX {
            self.pids += 1;
            group.own.push(seen.pid);
        }
    }

    /// Takes how many processes could not be looked at.
    pub fn passed_over(&mut self, unseen: u64) {
        let all = self.passed_over + unseen;
        if all > 0 {
            self.unknown.push(format!("{} could not be looked at", count(all)));
        }
    }

    /// What is to be said of one member.
    pub fn of(&self, account: &Account, held: Held<'_>) -> Vec<Finding> {
        let uid = account.uid;
        let name = match held.for_member {
            true => "you".to_owned(),
            false => account.user.clone().unwrap_or_else(|| format!("uid {uid}")),
        };
        let nowhere = BTreeMap::new();
        let theirs = self.seen.get(&uid).unwrap_or(&nowhere);
        let mut found: Vec<Finding> = held.login.finding(&name).into_iter().collect();
        for (place, group) in theirs {
            if let Place::Outside(unit) = place {
                found.push(outside(&name, unit, group, held));
            }
        }
        if let Some(login) = theirs.get(&Place::Login).filter(|_| held.share) {
            let all = login.processes + theirs.get(&Place::Share).map_or(0, |share| share.processes);
            let text = format!(
                "{name}: {} of {} in the login and not in the share, {}",
                login.processes,
                count(all),
                held.login.words()
            );
            found.push(Finding {
                hint: held.for_member.then(|| attach(login)).flatten(),
                unit: Some(uid.login_path()),
                ..about(FindingKind::Left, text, login)
            });
        }
        let groups = account.groups.iter().filter_map(|gid| self.powerful.get(gid));
        found.extend(groups.map(|group| Finding {
            hint: Some("fairshared(8), WHAT IS OUTSIDE OF SHARES".to_owned()),
            ..Finding::new(
                FindingKind::Note,
                format!("{name}: in the group {group}, with which one can be root, whom nothing holds"),
            )
        }));
        found.into_iter().map(|finding| Finding { uid: Some(uid.get().into()), ..finding }).collect()
    }
}

/// Where a process of `uid`'s is.
fn place(uid: Uid, cgroup: &str) -> Place {
    if is_within(cgroup, &UnitName::Share(uid).cgroup_path()) {
        Place::Share
    } else if is_within(cgroup, &uid.login_path()) {
        Place::Login
    } else {
        Place::Outside(unit(cgroup).to_owned())
    }
}

/// Whether a cgroup is that of a slice, or below it.
fn is_within(cgroup: &str, slice: &str) -> bool {
    let below = cgroup.strip_prefix('/').and_then(|path| path.strip_prefix(slice));
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

impl Login {
    /// Whether they are held to the figures.
    pub fn is_held(&self) -> bool {
        !self.figures.is_empty() && self.standing == Standing::Holds
    }

    fn finding(&self, name: &str) -> Option<Finding> {
        let (kind, text) = match &self.standing {
            Standing::Fault(why) => (FindingKind::Broken, format!("not held as the policy says: {why}")),
            Standing::Above(mem) => {
                (FindingKind::Held, format!("held to {mem}, as it uses so much, until it needs less"))
            }
            Standing::Left => (FindingKind::Note, "held as a drop-in of the administrator's says".to_owned()),
            Standing::Holds | Standing::Unknown => return None,
        };
        Some(Finding::new(kind, format!("{name}: the login is {text}")))
    }

    /// What holds them, as a text.
    pub fn words(&self) -> String {
        let PartialAmount { cpu, mem, tasks } = self.figures;
        let words: Vec<String> = [
            cpu.map(|cpu| format!("{cpu} CPU")),
            mem.map(|mem| mem.to_string()),
            tasks.map(|tasks| format!("{tasks} tasks")),
        ]
        .into_iter()
        .flatten()
        .collect();
        match (&self.standing, words.is_empty()) {
            (_, true) => "which nothing holds".to_owned(),
            (Standing::Holds, false) => format!("held to {}", words.join(", ")),
            (_, false) => format!("which the policy has held to {}", words.join(", ")),
        }
    }
}

/// What is said of a member's processes in one unit outside of share and logins.
fn outside(name: &str, unit: &str, group: &Group, held: Held<'_>) -> Finding {
    let by_policy = unit.split('/').find_map(|part| Some((part, (held.others)(part)?)));
    let (kind, policy) = match &by_policy {
        Some((of, Standing::Holds | Standing::Above(_) | Standing::Left)) => {
            (FindingKind::Held, format!(", which the policy holds (others: {of})"))
        }
        Some((of, _)) => {
            (FindingKind::Outside, format!(", which the policy (others: {of}) does not hold yet"))
        }
        None => (FindingKind::Outside, String::new()),
    };
    let text = format!("{name}: {}, {}, in {unit}{policy}", count(group.processes), Bytes(group.mem_bytes));
    let last = unit.rsplit('/').next().unwrap_or(unit);
    let hint = match held.for_member {
        _ if by_policy.is_some() => None,
        true => attach(group),
        // A scope is gone with its work: there is nothing that a policy could name.
        false if last.ends_with(".scope") => None,
        false if JOBS_BY_PAM.contains(&last) => Some(format!(
            "`{PAM_PROFILE}` has its jobs be logins, or others: {{{last}: …}} in the policy holds it: fairshared(8), cron and at"
        )),
        false => Some(format!("others: {{{last}: …}} in the policy holds it: fairshare-policy(5)")),
    };
    Finding { hint, unit: Some(unit.to_owned()), ..about(kind, text, group) }
}

fn about(kind: FindingKind, text: String, group: &Group) -> Finding {
    Finding {
        processes: Some(group.processes),
        mem_bytes: Some(group.mem_bytes),
        pids: Some(group.own.iter().copied().map(u64::from).collect()),
        ..Finding::new(kind, text)
    }
}

fn attach(group: &Group) -> Option<String> {
    let pids: Vec<String> = group.own.iter().take(PIDS_HINTED_MAX).map(ToString::to_string).collect();
    (!pids.is_empty()).then(|| format!("fairshare attach {}", pids.join(" ")))
}

fn count(processes: u64) -> String {
    if processes == 1 { "1 process".to_owned() } else { format!("{processes} processes") }
}

/// The unit that a cgroup is of, with what is above it: a service or a scope, or else the whole path.
fn unit(cgroup: &str) -> &str {
    let path = cgroup.trim_start_matches('/');
    if path.is_empty() {
        return "-.slice";
    }
    let mut end = 0;
    for part in path.split('/') {
        end += part.len();
        if part.ends_with(".service") || part.ends_with(".scope") {
            break;
        }
        end += 1;
    }
    let end = end.min(path.len()).min(UNIT_BYTES_MAX);
    let end = (0..=end).rev().find(|end| path.is_char_boundary(*end)).unwrap_or_default();
    path.get(..end).unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity::MilliCpu;

    fn uid(raw: u64) -> Uid {
        Uid::new(raw).expect("a user id")
    }

    fn sighting(processes: &[(u32, bool, &str)]) -> Sighting {
        let mut sighting = Sighting::default();
        for (pid, own, cgroup) in processes {
            let cgroup = (*cgroup).into();
            sighting.add(&Seen { pid: *pid, whose: 1001, own: *own, cgroup, mem_bytes: 1 << 20 });
        }
        sighting
    }

    #[test]
    fn a_member_is_told_what_can_be_moved_and_an_admin_what_can_be_held() {
        let powerful = [(Gid::new(27).expect("a group"), "sudo")].into();
        let sighting = Sighting {
            powerful,
            ..sighting(&[
                (5, true, "/system.slice/cron.service"),
                (6, false, "/system.slice/cron.service"),
                (7, false, "/system.slice/root.scope"),
                (10, false, "/system.slice/batch.service"),
                (8, true, "/user.slice/user-1001.slice/session-1.scope"),
                (9, true, "/user.slice/user-1001.slice/user@1001.service/init.scope"),
            ])
        };
        let groups = vec![Gid::new(27).expect("a group"), Gid::new(1001).expect("a group")];
        let account = Account { uid: uid(1001), user: Some("alice".to_owned()), groups };
        let figures = PartialAmount { cpu: Some(MilliCpu(2000)), ..PartialAmount::default() };
        let login = Login { figures, standing: Standing::Holds };
        let held = Held { share: true, login: &login, others: &|_| None, for_member: true };
        let told = |held: Held<'_>| {
            let found = sighting.of(&account, held);
            assert!(found.iter().all(|finding| finding.uid == Some(1001)), "{found:?}");
            found
                .into_iter()
                .map(|finding| (finding.text, finding.hint.unwrap_or_default()))
                .collect::<Vec<_>>()
        };
        let outside = "fairshared(8), WHAT IS OUTSIDE OF SHARES";
        let pair = |text: &str, hint: &str| (text.to_owned(), hint.to_owned());
        assert_eq!(
            told(held),
            [
                pair("you: 1 process, 1.0 MiB, in system.slice/batch.service", ""),
                pair("you: 2 processes, 2.0 MiB, in system.slice/cron.service", "fairshare attach 5"),
                pair("you: 1 process, 1.0 MiB, in system.slice/root.scope", ""),
                pair(
                    "you: 1 of 1 process in the login and not in the share, held to 2 CPU",
                    "fairshare attach 8"
                ),
                pair("you: in the group sudo, with which one can be root, whom nothing holds", outside),
            ]
        );
        let batch = "others: {batch.service: …} in the policy holds it: fairshare-policy(5)";
        let cron = "`pam-auth-update --enable fairshare-background` has its jobs be logins, or \
                    others: {cron.service: …} in the policy holds it: fairshared(8), cron and at";
        assert_eq!(
            told(Held { share: false, for_member: false, ..held }),
            [
                pair("alice: 1 process, 1.0 MiB, in system.slice/batch.service", batch),
                pair("alice: 2 processes, 2.0 MiB, in system.slice/cron.service", cron),
                pair("alice: 1 process, 1.0 MiB, in system.slice/root.scope", ""),
                pair("alice: in the group sudo, with which one can be root, whom nothing holds", outside),
            ]
        );
    }

    #[test]
    fn logins_are_held_only_where_it_is_known_that_the_kernel_holds_them() {
        let figures = PartialAmount { cpu: Some(MilliCpu(2000)), ..PartialAmount::default() };
        let held = |standing| {
            let login = Login { figures, standing };
            (login.is_held(), login.words())
        };
        assert_eq!(held(Standing::Holds), (true, "held to 2 CPU".to_owned()));
        for standing in
            [Standing::Unknown, Standing::Above(Bytes(1)), Standing::Left, Standing::Fault("no".to_owned())]
        {
            assert_eq!(held(standing), (false, "which the policy has held to 2 CPU".to_owned()));
        }
    }

    #[test]
    fn what_the_policy_names_is_held_only_where_it_holds() {
        let sighting = sighting(&[(5, true, "/docker.slice/docker-1.scope")]);
        let account = Account { uid: uid(1001), user: None, groups: vec![] };
        for (standing, kind) in [
            (Standing::Holds, FindingKind::Held),
            (Standing::Above(Bytes(1)), FindingKind::Held),
            (Standing::Left, FindingKind::Held),
            (Standing::Unknown, FindingKind::Outside),
            (Standing::Fault("no".to_owned()), FindingKind::Outside),
        ] {
            let others = |unit: &str| (unit == "docker.slice").then(|| standing.clone());
            let login = Login::default();
            let held = Held { share: false, login: &login, others: &others, for_member: false };
            let found = sighting.of(&account, held);
            assert_eq!(found.iter().map(|finding| finding.kind).collect::<Vec<_>>(), [kind], "{standing:?}");
        }
    }

    #[test]
    fn however_many_there_are_so_much_is_kept_and_the_rest_is_counted() {
        let mut sighting = Sighting::default();
        for pid in 0..PLACES_MAX as u32 + 5 {
            let cgroup = format!("/system.slice/{pid}.service/{}", "x".repeat(4000)).into();
            sighting.add(&Seen { pid, whose: 1001, own: true, cgroup, mem_bytes: u64::MAX });
        }
        for pid in 0..PIDS_NAMED_MAX as u32 + 5 {
            let cgroup = "/system.slice/1.service".into();
            sighting.add(&Seen { pid, whose: 1001, own: true, cgroup, mem_bytes: 0 });
        }
        let theirs = &sighting.seen[&uid(1001)];
        assert_eq!(theirs.len(), PLACES_MAX);
        let group = &theirs[&Place::Outside("system.slice/1.service".to_owned())];
        assert_eq!((group.processes, group.own.len()), (PIDS_NAMED_MAX as u64 + 6, PIDS_NAMED_MAX));
        sighting.passed_over(2);
        assert_eq!(sighting.unknown, ["7 processes could not be looked at"]);
    }

    #[test]
    fn a_cgroup_is_told_by_its_unit() {
        for (cgroup, told) in [
            ("/", "-.slice"),
            ("/system.slice/cron.service", "system.slice/cron.service"),
            ("/system.slice/x.service/below/it.scope", "system.slice/x.service"),
            ("/a/b", "a/b"),
            ("/lxc.payload/ü.scope/x", "lxc.payload/ü.scope"),
        ] {
            assert_eq!(unit(cgroup), told);
        }
        let long = format!("/{}", "ü".repeat(4000));
        assert_eq!(unit(&long).len(), UNIT_BYTES_MAX);
    }
}
