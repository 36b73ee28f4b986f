//! What there is to say of where members' work runs. Pure.

use std::collections::BTreeMap;

use crate::contract::{Finding, FindingKind, PIDS_NAMED_MAX};
use crate::host::account::Account;
use crate::host::process::seen::Seen;
use crate::identity::{Gid, Uid, UnitName};
use crate::quantity::{Bytes, PartialAmount};

/// The most bytes of a unit's name, with what is above it, in a finding.
const UNIT_BYTES_MAX: usize = 256;

/// How many processes a hint names.
const PIDS_HINTED_MAX: usize = 8;

/// What was looked at.
#[derive(Debug, Clone, Default)]
pub struct Sighting {
    /// The processes of people.
    pub seen: BTreeMap<Uid, Vec<Seen>>,
    /// The members, as far as the user database has told.
    pub members: BTreeMap<Uid, Account>,
    /// Groups with which one can be root: their names.
    pub powerful: BTreeMap<Gid, &'static str>,
    /// What there is to know beside that.
    pub notes: Vec<String>,
}

/// How the logins of one member are held.
#[derive(Debug, Clone, Default)]
pub struct Login {
    /// What the policy says; no figure where it holds nothing.
    pub figures: PartialAmount,
    /// The memory that they are held to where they use more than the figure.
    pub above: Option<Bytes>,
    /// Why they are not held as they should be.
    pub fault: Option<String>,
}

/// What is said of a member.
#[derive(Debug, Clone, Copy)]
pub struct Held<'a> {
    /// Whether there is a share.
    pub share: bool,
    /// The logins.
    pub login: &'a Login,
    /// What the policy says of units that hold members' work, by their names.
    pub others: &'a BTreeMap<String, PartialAmount>,
    /// Whether hints are for the member, who can move processes, or for an admin, who can hold units.
    pub for_member: bool,
}

/// A member's processes, by where they are.
#[derive(Default)]
struct Places<'s> {
    share: Vec<&'s Seen>,
    login: Vec<&'s Seen>,
    outside: BTreeMap<&'s str, Vec<&'s Seen>>,
}

impl Sighting {
    /// What is to be said of one member.
    pub fn of(&self, account: &Account, held: Held<'_>) -> Vec<Finding> {
        let uid = account.uid;
        let name = match held.for_member {
            true => "you".to_owned(),
            false => account.user.clone().unwrap_or_else(|| format!("uid {uid}")),
        };
        let mut places = Places::default();
        self.seen.get(&uid).into_iter().flatten().for_each(|seen| places.add(uid, seen));
        let mut found: Vec<Finding> = held.login.finding(&name).into_iter().collect();
        found.extend(places.outside.iter().map(|(unit, seen)| outside(&name, unit, seen, held)));
        if held.share && !places.login.is_empty() {
            let all = places.share.len() + places.login.len();
            let text = format!(
                "{name}: {} of {} in the login and not in the share, {}",
                places.login.len(),
                count(all),
                held.login.words()
            );
            found.push(Finding {
                hint: held.for_member.then(|| attach(&places.login)).flatten(),
                unit: Some(format!("user.slice/user-{uid}.slice")),
                ..about(FindingKind::Left, text, &places.login)
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

impl<'s> Places<'s> {
    fn add(&mut self, uid: Uid, seen: &'s Seen) {
        // The user's own systemd belongs where it is.
        if seen.cgroup.starts_with("/user.slice/") && seen.cgroup.ends_with(".service/init.scope") {
            return;
        }
        let within = |slice: &str| {
            let below = seen.cgroup.strip_prefix('/').and_then(|path| path.strip_prefix(slice));
            below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
        };
        if within(&UnitName::Share(uid).cgroup_path()) {
            self.share.push(seen);
        } else if within(&format!("user.slice/user-{uid}.slice")) {
            self.login.push(seen);
        } else {
            self.outside.entry(unit(&seen.cgroup)).or_default().push(seen);
        }
    }
}

impl Login {
    /// Whether they are held to the figures.
    pub fn is_held(&self) -> bool {
        !self.figures.is_empty() && self.above.is_none() && self.fault.is_none()
    }

    fn finding(&self, name: &str) -> Option<Finding> {
        let (kind, text) = match (&self.fault, self.above) {
            (Some(why), _) => (FindingKind::Broken, format!("not held as the policy says: {why}")),
            (None, Some(mem)) => {
                (FindingKind::Held, format!("held to {mem}, as it uses so much, until it needs less"))
            }
            (None, None) => return None,
        };
        Some(Finding::new(kind, format!("{name}: the login is {text}")))
    }

    /// The figures, as a text.
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
        match words.is_empty() {
            true => "which nothing holds".to_owned(),
            false => format!("held to {}", words.join(", ")),
        }
    }
}

/// What is said of a member's processes in one unit outside of share and logins.
fn outside(name: &str, unit: &str, seen: &[&Seen], held: Held<'_>) -> Finding {
    let by_policy = unit.split('/').find(|part| held.others.contains_key(*part));
    let kind = if by_policy.is_some() { FindingKind::Held } else { FindingKind::Outside };
    let mem: u64 = seen.iter().map(|seen| seen.mem_bytes).sum();
    let policy = by_policy.map_or_else(String::new, |of| format!(", which the policy holds (others: {of})"));
    let text = format!("{name}: {}, {}, in {unit}{policy}", count(seen.len()), Bytes(mem));
    let last = unit.rsplit('/').next().unwrap_or(unit);
    let hint = match held.for_member {
        _ if by_policy.is_some() => None,
        true => attach(seen),
        // A scope is gone with its work: there is nothing that a policy could name.
        false if last.ends_with(".scope") => None,
        false => Some(format!("others: {{{last}: …}} in the policy holds it: fairshare-policy(5)")),
    };
    Finding { hint, unit: Some(unit.to_owned()), ..about(kind, text, seen) }
}

fn about(kind: FindingKind, text: String, seen: &[&Seen]) -> Finding {
    Finding {
        processes: Some(seen.len() as u64),
        mem_bytes: Some(seen.iter().map(|seen| seen.mem_bytes).sum()),
        pids: Some(own(seen).take(PIDS_NAMED_MAX).map(u64::from).collect()),
        ..Finding::new(kind, text)
    }
}

/// The processes that the member may move: those that have none but the member's user id.
fn own<'s>(seen: &'s [&'s Seen]) -> impl Iterator<Item = u32> + 's {
    seen.iter().filter(|seen| seen.own).map(|seen| seen.pid)
}

fn attach(seen: &[&Seen]) -> Option<String> {
    let pids: Vec<String> = own(seen).take(PIDS_HINTED_MAX).map(|pid| pid.to_string()).collect();
    (!pids.is_empty()).then(|| format!("fairshare attach {}", pids.join(" ")))
}

fn count(processes: usize) -> String {
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

    fn seen(pid: u32, own: bool, cgroup: &str) -> Seen {
        Seen { pid, whose: 1001, own, cgroup: cgroup.to_owned(), mem_bytes: 1 << 20 }
    }

    #[test]
    fn a_member_is_told_what_can_be_moved_and_an_admin_what_can_be_held() {
        let sighting = Sighting {
            seen: [(
                uid(1001),
                vec![
                    seen(5, true, "/system.slice/cron.service"),
                    seen(6, false, "/system.slice/cron.service"),
                    seen(7, false, "/system.slice/root.scope"),
                    seen(8, true, "/user.slice/user-1001.slice/session-1.scope"),
                    seen(9, true, "/user.slice/user-1001.slice/user@1001.service/init.scope"),
                ],
            )]
            .into(),
            powerful: [(Gid::new(27).expect("a group"), "sudo")].into(),
            ..Sighting::default()
        };
        let groups = vec![Gid::new(27).expect("a group"), Gid::new(1001).expect("a group")];
        let account = Account { uid: uid(1001), user: Some("alice".to_owned()), groups };
        let figures = PartialAmount { cpu: Some(MilliCpu(2000)), ..PartialAmount::default() };
        let (login, others) = (Login { figures, ..Login::default() }, BTreeMap::new());
        let held = Held { share: true, login: &login, others: &others, for_member: true };
        let told = |held| {
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
                pair("you: 2 processes, 2.0 MiB, in system.slice/cron.service", "fairshare attach 5"),
                pair("you: 1 process, 1.0 MiB, in system.slice/root.scope", ""),
                pair(
                    "you: 1 of 1 process in the login and not in the share, held to 2 CPU",
                    "fairshare attach 8"
                ),
                pair("you: in the group sudo, with which one can be root, whom nothing holds", outside),
            ]
        );
        let cron = "others: {cron.service: …} in the policy holds it: fairshare-policy(5)";
        assert_eq!(
            told(Held { share: false, for_member: false, ..held }),
            [
                pair("alice: 2 processes, 2.0 MiB, in system.slice/cron.service", cron),
                pair("alice: 1 process, 1.0 MiB, in system.slice/root.scope", ""),
                pair("alice: in the group sudo, with which one can be root, whom nothing holds", outside),
            ]
        );
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
