//! Whose logins are a member's, as the user database says. Its answers are awaited on a thread of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use crate::host::account::{Account, Directory, Membership};
use crate::identity::Uid;

/// What the database said.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// At which time of asking for everybody, or after which: answers may overtake each other.
    pub asked: u64,
    /// The members.
    pub members: BTreeMap<Uid, Account>,
    /// User ids that are no member's.
    pub strangers: BTreeSet<Uid>,
    /// Why it did not answer for everybody.
    pub unanswered: Option<String>,
}

impl Found {
    /// Takes what was found later. Who is in neither any more stays what they were as long as the database does not answer for
    /// everybody.
    pub fn renew(&mut self, later: Self) {
        if later.asked < self.asked {
            return;
        }
        self.asked = later.asked;
        if later.unanswered.is_none() {
            return *self = later;
        }
        self.unanswered = None;
        self.learn(later);
    }

    /// Takes what was found of some, unless everybody was asked for later.
    pub fn learn(&mut self, some: Self) {
        if some.asked < self.asked {
            return;
        }
        self.members.retain(|uid, _| !some.strangers.contains(uid));
        self.strangers.retain(|uid| !some.members.contains_key(uid));
        self.members.extend(some.members);
        self.strangers.extend(some.strangers);
        self.unanswered = some.unanswered.or(self.unanswered.take());
    }
}

/// Looks up who the members' group lists, and whether these others are members.
pub fn look(directory: &Directory, others: &BTreeSet<Uid>) -> Found {
    let mut found = Found::default();
    match directory.listed() {
        Ok(names) => names.iter().for_each(|name| take(&mut found, directory.by_name(name))),
        Err(error) => found.unanswered = Some(error.to_string()),
    }
    let rest: BTreeSet<Uid> = others.iter().filter(|uid| !found.members.contains_key(uid)).copied().collect();
    found.learn(look_at(directory, &rest));
    found
}

/// Looks up whether these are members.
pub fn look_at(directory: &Directory, uids: &BTreeSet<Uid>) -> Found {
    let mut found = Found::default();
    for uid in uids {
        match directory.membership(*uid) {
            Ok(Membership::Member { .. }) => take(&mut found, directory.by_uid(*uid)),
            Ok(Membership::NotInGroup { .. } | Membership::NoAccount | Membership::NoGroup) => {
                found.strangers.insert(*uid);
            }
            Err(error) => found.unanswered = Some(error.to_string()),
        }
    }
    found
}

fn take(found: &mut Found, said: io::Result<Option<Account>>) {
    match said {
        Ok(account) => found.members.extend(account.map(|account| (account.uid, account))),
        Err(error) => found.unanswered = Some(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(raw: u64) -> Uid {
        Uid::new(raw).expect("a user id")
    }

    #[test]
    fn who_is_listed_and_who_has_the_group_as_primary_group_is_a_member() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write("passwd", "alice:x:1001:1001::/:\nbob:x:1002:990::/:\nmallory:x:1666:1666::/:\n");
        write("group", "staff:x:50:alice\nfairshare:x:990:alice,ghost\n");
        let directory = Directory::Files(dir.path().to_owned());
        let mut found = look(&directory, &[uid(1002), uid(1666), uid(7777)].into());
        let members: Vec<u32> = found.members.keys().map(|uid| uid.get()).collect();
        assert_eq!(members, [1001, 1002]);
        assert_eq!(found.members[&uid(1001)].groups.len(), 3);
        assert_eq!(found.strangers, [uid(1666), uid(7777)].into());
        assert_eq!(found.unanswered, None);

        // Nobody is lost while nobody knows, and who is known to have left is.
        std::fs::remove_file(dir.path().join("group")).expect("removed");
        found.renew(look(&directory, &[uid(1002)].into()));
        assert!(found.unanswered.as_ref().is_some_and(|why| why.contains("group")), "{found:?}");
        assert_eq!(found.members.len(), 2);
        write("group", "fairshare:x:991:alice\n");
        found.renew(look(&directory, &[uid(1002)].into()));
        assert_eq!((found.members.len(), found.strangers.contains(&uid(1002))), (1, true));
    }

    #[test]
    fn an_answer_that_was_overtaken_is_not_taken() {
        let of = |asked: u64, stranger: u64| Found {
            asked,
            strangers: [uid(stranger)].into(),
            ..Found::default()
        };
        let mut found = Found::default();
        found.renew(of(2, 1002));
        found.renew(of(1, 1001));
        found.learn(of(1, 1001));
        assert_eq!((found.asked, &found.strangers), (2, &[uid(1002)].into()));
        found.learn(of(2, 1003));
        assert_eq!(found.strangers, [uid(1002), uid(1003)].into());
        found.renew(of(3, 1004));
        assert_eq!((found.asked, found.strangers), (3, [uid(1004)].into()));
    }
}
