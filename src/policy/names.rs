//! Names of the policy that nobody was found for: a name that is nobody's concerns nobody, and one that cannot be looked up lifts
//! no restriction from anybody.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::file::PolicyError;
use super::yaml::KeyPath;
use super::{Entry, Policy, Role, Rules, Said, Unfound, Weight};
use crate::identity::{Gid, Uid};

/// The most names that [`Unfound::said`] names; of more it says how many.
const NAMED_MAX: usize = 8;

/// A name that is to be looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Name {
    /// Of a user.
    User(String),
    /// Of a group.
    Group(String),
}

/// Whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Found {
    /// A user's.
    User(Uid),
    /// A group's.
    Group(Gid),
}

impl Said {
    /// Whether the name may be somebody's: then nobody gets what the entry takes from them.
    fn is_open(&self) -> bool {
        matches!(self, Self::Nothing | Self::Failed(_))
    }

    fn problem(&self, kind: &str) -> String {
        match self {
            Self::Nothing => format!("the {kind} cannot be looked up: the database has not answered"),
            Self::Failed(why) => format!("the {kind} cannot be looked up: {why}"),
            Self::Nobody => format!("no {kind} has this name: it concerns nobody"),
            Self::Second => format!("the same {kind} as another name of the policy: keep one of the two"),
        }
    }
}

impl Unfound {
    /// These users and groups.
    pub(super) fn of(users: BTreeMap<String, Entry>, groups: BTreeMap<String, Entry>) -> Self {
        Self { users, groups, files: Vec::new() }
    }

    /// The same, that knows which files it was read from.
    pub(super) fn in_files(self, files: &[PathBuf]) -> Self {
        let files = if self.names().is_empty() { Vec::new() } else { files.to_owned() };
        Self { files, ..self }
    }

    /// All of them.
    pub fn names(&self) -> Vec<Name> {
        let users = self.users.keys().cloned().map(Name::User);
        users.chain(self.groups.keys().cloned().map(Name::Group)).collect()
    }

    /// Whether one of them may be somebody's.
    pub fn is_open(&self) -> bool {
        self.users.values().chain(self.groups.values()).any(|entry| entry.said.is_open())
    }

    /// Where they are and what was said of them, in a line; `None` where there are none.
    pub fn said(&self) -> Option<String> {
        let users = self.users.iter().map(|(name, entry)| self.line("user", name, entry));
        let groups = self.groups.iter().map(|(name, entry)| self.line("group", name, entry));
        let all = self.users.len() + self.groups.len();
        let mut said = users.chain(groups).take(NAMED_MAX).collect::<Vec<_>>().join("; ");
        if all > NAMED_MAX {
            said.push_str(&format!("; and {} more", all - NAMED_MAX));
        }
        (all > 0).then_some(said)
    }

    fn line(&self, kind: &str, name: &str, entry: &Entry) -> String {
        let file = self.files.get(entry.file).cloned().unwrap_or_default();
        let key = KeyPath::default().below(&format!("{kind}s")).below(name).to_string();
        let problem = entry.said.problem(kind);
        PolicyError { file, position: Some(entry.position), key, problem }.to_string()
    }
}

impl Policy {
    /// Takes what the database says of a name of [`Self::unfound`]; nothing where it is none of these.
    pub fn learn(&mut self, name: &Name, said: Result<Option<Found>, String>) {
        let entry = match name {
            Name::User(name) => self.unfound.users.get_mut(name),
            Name::Group(name) => self.unfound.groups.get_mut(name),
        };
        let Some(entry) = entry else { return };
        let rules = entry.rules;
        entry.said = match said {
            Ok(Some(Found::User(uid))) if self.users.contains_key(&uid) => Said::Second,
            Ok(Some(Found::Group(gid))) if self.groups.contains_key(&gid) => Said::Second,
            Ok(Some(found)) => {
                match found {
                    Found::User(uid) => drop(self.users.insert(uid, rules)),
                    Found::Group(gid) => drop(self.groups.insert(gid, rules)),
                }
                return self.forget(name);
            }
            Ok(None) => Said::Nobody,
            Err(why) => Said::Failed(why),
        };
    }

    fn forget(&mut self, name: &Name) {
        match name {
            Name::User(name) => drop(self.unfound.users.remove(name)),
            Name::Group(name) => drop(self.unfound.groups.remove(name)),
        }
        // A policy whose names were all found is the same as one whose names were found at once.
        if self.unfound.names().is_empty() {
            self.unfound = Unfound::default();
        }
    }

    /// Why it is not known what holds for a user; `None` where it is. `user`: the account's name.
    ///
    /// An account that is called as an unfound user is that user. Whether somebody is in an unfound group nobody can say: that
    /// holds up everybody whom the group could take something from, as long as the group may exist.
    pub fn undecided(&self, uid: Uid, user: Option<&str>) -> Option<String> {
        if uid == Uid::ROOT {
            return None;
        }
        let called = |name: &str| user.is_some_and(|user| is_same(user, name));
        if let Some((name, entry)) = self.unfound.users.iter().find(|(name, _)| called(name)) {
            return Some(self.unfound.line("user", name, entry));
        }
        if self.users.get(&uid).is_some_and(|own| own.role == Some(Role::Admin)) {
            return None;
        }
        let takes = |entry: &Entry| entry.said.is_open() && self.takes_something(&entry.rules);
        let (name, entry) = self.unfound.groups.iter().find(|(_, entry)| takes(entry))?;
        Some(self.unfound.line("group", name, entry))
    }

    /// Whether rules of a group leave its members less than those have who are in none.
    fn takes_something(&self, rules: &Rules) -> bool {
        rules.role == Some(Role::ReadOnly)
            || rules.max.cpu.is_some_and(|cpu| cpu < self.max.cpu)
            || rules.max.mem.is_some_and(|mem| mem < self.max.mem)
            || rules.max.tasks.is_some_and(|tasks| tasks < self.max.tasks)
            || rules.weight.is_some_and(|weight| weight < Weight::default())
    }
}

/// Whether two names may be one account's: some directories know an account in several cases, and with or without its domain
/// (`sssd.conf(5)`, `case_sensitive` and `full_name_format`).
fn is_same(one: &str, other: &str) -> bool {
    let short = |name: &str| {
        let name = name.rsplit('\\').next().unwrap_or_default();
        name.split('@').next().unwrap_or_default().to_lowercase()
    };
    short(one) == short(other)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::file::load_names_later;

    const TEXT: &str = "defaults: {cpu: 1, mem: 1G}\nmax: {cpu: 4, mem: 4G}\n";

    fn policy(more: &str) -> Policy {
        let dir = tempfile::TempDir::new().expect("a folder");
        let file = dir.path().join("policy.yaml");
        std::fs::write(&file, format!("{TEXT}{more}")).expect("a file");
        load_names_later(&file).expect("a policy")
    }

    fn uid(raw: u64) -> Uid {
        Uid::new(raw).expect("a user")
    }

    #[test]
    fn a_user_who_was_not_found_is_judged_by_name() {
        let mut policy = policy("users: {eve: {role: read_only}}\n");
        let said = policy.undecided(uid(7), Some("eve")).expect("undecided");
        assert!(said.contains(":3:9: users.eve: the user cannot be looked up"), "{said}");
        for same in ["EVE", "eve@example.org", "EXAMPLE\\eve"] {
            assert!(policy.undecided(uid(7), Some(same)).is_some(), "{same}");
        }
        for other in [Some("alice"), None] {
            assert_eq!(policy.undecided(uid(8), other), None);
        }
        assert_eq!(policy.undecided(Uid::ROOT, Some("eve")), None);
        let eve = Name::User("eve".to_owned());
        // Nobody has the name, as the database says by name; who comes with it is eve all the same.
        policy.learn(&eve, Ok(None));
        assert!(!policy.unfound.is_open() && policy.undecided(uid(7), Some("eve")).is_some());
        policy.learn(&eve, Ok(Some(Found::User(uid(7)))));
        assert_eq!((policy.undecided(uid(7), Some("eve")), policy.unfound.said()), (None, None));
        assert_eq!((policy.role(uid(7), &[]), policy.role(uid(8), &[])), (Role::ReadOnly, Role::Operator));
    }

    #[test]
    fn a_group_that_cannot_be_looked_up_holds_up_whom_it_could_take_something_from() {
        let students = Name::Group("students".to_owned());
        for takes in ["role: read_only", "max: {cpu: 1}", "max: {mem: 1G}", "max: {tasks: 9}", "weight: 0.5"]
        {
            let mut policy = policy(&format!("groups: {{students: {{{takes}}}}}\n"));
            assert!(policy.undecided(uid(7), Some("eve")).is_some(), "{takes}");
            policy.users.insert(uid(9), Rules { role: Some(Role::Admin), ..Rules::default() });
            assert_eq!(policy.undecided(uid(9), Some("boss")), None);
            policy.learn(&students, Err("away".to_owned()));
            assert!(policy.undecided(uid(7), Some("eve")).expect("undecided").contains("away"));
            // A group that does not exist has no members.
            policy.learn(&students, Ok(None));
            assert_eq!(policy.undecided(uid(7), Some("eve")), None);
        }
        let generous = policy("groups: {staff: {role: admin, max: {cpu: 8}, weight: 2}}\n");
        assert_eq!(generous.undecided(uid(7), Some("eve")), None);
    }

    #[test]
    fn while_a_name_that_frees_logins_is_not_found_nobody_whom_it_may_be_is_held() {
        let held = |policy: &Policy| policy.login(uid(7), "eve", &[]).cpu;
        for frees in ["baseline: none", "role: admin"] {
            let mut policy = policy(&format!("baseline: {{cpu: 2}}\ngroups: {{wheel: {{{frees}}}}}\n"));
            assert_eq!(held(&policy), None, "{frees}");
            policy.learn(&Name::Group("wheel".to_owned()), Ok(None));
            assert_eq!(held(&policy), Some(crate::quantity::MilliCpu(2000)), "{frees}");
            let named = self::policy(&format!("baseline: {{cpu: 2}}\nusers: {{eve: {{{frees}}}}}\n"));
            assert_eq!(
                (held(&named), named.login(uid(8), "eva", &[]).cpu.is_some()),
                (None, true),
                "{frees}"
            );
        }
        let strict = policy("baseline: {cpu: 2}\ngroups: {wheel: {baseline: {cpu: 1}}}\n");
        assert!(held(&strict).is_some());
    }

    #[test]
    fn a_second_name_of_somebody_changes_nothing_for_them() {
        let mut policy = policy("users: {eve: {role: read_only}, eva: {role: admin}}\n");
        for name in ["eve", "eva"] {
            policy.learn(&Name::User(name.to_owned()), Ok(Some(Found::User(uid(7)))));
        }
        assert_eq!(policy.role(uid(7), &[]), Role::ReadOnly);
        assert!(policy.unfound.said().expect("eva").contains("the same user as another name"));
    }
}
