//! The one room that asks the system's user and group databases (NSS). Look-ups block, for as long as a directory server
//! likes: never in an event loop.

use std::ffi::CString;
use std::io;
use std::path::PathBuf;
use std::time::SystemTime;

use nix::unistd::{Gid as SystemGid, Group as SystemGroup, getgrouplist};

use crate::identity::{Gid, Uid};
use crate::policy::file::Names;
use crate::sys::accounts as sys;

/// The group whose members may use fairshare.
pub const MEMBERS: &str = "fairshare";

/// Names a folder with files `passwd` (passwd(5)) and `group` (group(5)) that are asked in place of the system's databases:
/// for a daemon that is started by hand, and for tests. Under systemd nobody but root sets a variable of the daemon's.
pub const ACCOUNTS_VARIABLE: &str = "FAIRSHARE_ACCOUNTS";

/// A user as the system knows it.
#[derive(Debug, Clone)]
pub struct Account {
    /// The id.
    pub uid: Uid,
    /// The name; `None` where the system has none for this id.
    pub user: Option<String>,
    /// All groups.
    pub groups: Vec<Gid>,
}

/// How a user id stands to the group of the members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Membership {
    /// It is an account in the group.
    Member {
        /// The account's name.
        name: String,
    },
    /// It is an account, and not in the group.
    NotInGroup {
        /// The account's name.
        name: String,
    },
    /// No account has it: ids of containers, for instance.
    NoAccount,
    /// There is no such group.
    NoGroup,
}

/// Where accounts are looked up.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Directory {
    /// The system's databases, as `nsswitch.conf(5)` names them.
    #[default]
    System,
    /// Two files in this folder ([`ACCOUNTS_VARIABLE`]).
    Files(PathBuf),
}

/// A user, and the primary group.
struct User {
    uid: u64,
    gid: u64,
    name: String,
}

/// A group, and whether it lists the one who was asked for.
struct Group {
    gid: u64,
    has_member: bool,
}

/// The user of a name; `None` where there is none.
///
/// # Errors
/// The databases could not be asked: what they said.
pub fn by_name(name: &str) -> io::Result<Option<Account>> {
    Directory::System.by_name(name)
}

/// The name of a user, to be shown; `None` where nobody tells it.
pub fn name(uid: Uid) -> Option<String> {
    Directory::System.user_by_id(uid).ok().flatten().map(|user| user.name)
}

/// The names of the groups of a user, in order, to be shown; none where nobody tells them.
pub fn group_names(uid: Uid) -> Vec<String> {
    let account = Directory::System.by_uid(uid).ok().flatten();
    let name = |gid: Gid| SystemGroup::from_gid(SystemGid::from_raw(gid.get())).ok().flatten();
    let groups = account.map(|account| account.groups).unwrap_or_default();
    let mut names: Vec<String> = groups.into_iter().filter_map(name).map(|group| group.name).collect();
    names.sort();
    names.dedup();
    names
}

impl Directory {
    /// What the environment says ([`ACCOUNTS_VARIABLE`]), else the system's.
    pub fn from_environment() -> Self {
        let folder = std::env::var_os(ACCOUNTS_VARIABLE).filter(|folder| !folder.is_empty());
        folder.map_or(Self::System, |folder| Self::Files(folder.into()))
    }

    /// The user of an id with all their groups; `None` where there is none.
    ///
    /// # Errors
    /// The databases could not be asked: what they said.
    pub fn by_uid(&self, uid: Uid) -> io::Result<Option<Account>> {
        self.user_by_id(uid)?.map_or(Ok(None), |user| self.account(user))
    }

    /// The user of a name with all their groups; `None` where there is none.
    ///
    /// # Errors
    /// As of [`Self::by_uid`].
    pub fn by_name(&self, name: &str) -> io::Result<Option<Account>> {
        self.user_by_name(name)?.map_or(Ok(None), |user| self.account(user))
    }

    /// How a user id stands to the group of the members ([`MEMBERS`]): by primary group or by the group's list.
    ///
    /// # Errors
    /// As of [`Self::by_uid`].
    pub fn membership(&self, uid: Uid) -> io::Result<Membership> {
        let Some(user) = self.user_by_id(uid)? else { return Ok(Membership::NoAccount) };
        let Some(group) = self.group_by_name(MEMBERS, Some(&user.name))? else {
            return Ok(Membership::NoGroup);
        };
        // A directory may leave the lists of groups empty, and still know the groups of a user: so that is asked last.
        let is_in = user.gid == group.gid
            || group.has_member
            || self.groups(&user)?.iter().any(|gid| u64::from(gid.get()) == group.gid);
        let name = user.name;
        Ok(if is_in { Membership::Member { name } } else { Membership::NotInGroup { name } })
    }

    /// The id of the members' group ([`MEMBERS`]); `None` where there is no such group.
    ///
    /// # Errors
    /// As of [`Self::by_uid`].
    pub fn members(&self) -> io::Result<Option<Gid>> {
        self.group(MEMBERS)
    }

    /// The names that the members' group ([`MEMBERS`]) lists, whether they are accounts or not; none where there is no such
    /// group. Whose primary group it is, is not among them.
    ///
    /// # Errors
    /// As of [`Self::by_uid`].
    pub fn listed(&self) -> io::Result<Vec<String>> {
        let Self::System = self else { return self.listed_in_file() };
        let name = CString::new(MEMBERS)?;
        Ok(known(sys::listed_in_group(&name), "group", MEMBERS)?.unwrap_or_default())
    }

    fn account(&self, user: User) -> io::Result<Option<Account>> {
        let groups = self.groups(&user)?;
        // There is one id that is nobody's.
        Ok(Uid::new(user.uid).map(|uid| Account { uid, user: Some(user.name), groups }))
    }

    fn user_by_id(&self, uid: Uid) -> io::Result<Option<User>> {
        match self {
            Self::System => known(sys::user_by_id(uid.get()), "user", &uid.to_string()).map(system_user),
            Self::Files(_) => self.user_where(|user| user.uid == u64::from(uid.get())),
        }
    }

    fn user_by_name(&self, name: &str) -> io::Result<Option<User>> {
        match self {
            Self::System => {
                let Ok(asked) = CString::new(name) else { return Ok(None) };
                known(sys::user_by_name(&asked), "user", name).map(system_user)
            }
            Self::Files(_) => self.user_where(|user| user.name == name),
        }
    }

    fn group_by_name(&self, name: &str, member: Option<&str>) -> io::Result<Option<Group>> {
        let Self::System = self else { return self.group_of_file(name, member) };
        let Ok(asked) = CString::new(name) else { return Ok(None) };
        let member = member.and_then(|member| CString::new(member).ok());
        let group = known(sys::group_by_name(&asked, member.as_deref()), "group", name)?;
        Ok(group.map(|group| Group { gid: group.gid.into(), has_member: group.has_member }))
    }

    fn groups(&self, user: &User) -> io::Result<Vec<Gid>> {
        let mut groups = match self {
            Self::System => {
                let name = CString::new(user.name.as_str())?;
                let gid = u32::try_from(user.gid).map_err(|_| io::ErrorKind::InvalidData)?;
                let groups = getgrouplist(&name, SystemGid::from_raw(gid)).map_err(|errno| {
                    io::Error::other(format!("the groups of {} cannot be looked up: {errno}", user.name))
                })?;
                groups.into_iter().filter_map(|gid| Gid::new(gid.as_raw().into())).collect()
            }
            Self::Files(_) => {
                let lists = |line: &str| {
                    let mut fields = line.split(':').skip(2);
                    let gid = fields.next()?.parse().ok()?;
                    fields.next()?.split(',').any(|name| name == user.name).then_some(gid)
                };
                let text = self.file("group")?;
                text.lines().filter_map(lists).filter_map(Gid::new).collect::<Vec<_>>()
            }
        };
        groups.extend(Gid::new(user.gid).filter(|gid| !groups.contains(gid)));
        Ok(groups)
    }

    fn user_where(&self, wanted: impl Fn(&User) -> bool) -> io::Result<Option<User>> {
        let parse = |line: &str| {
            let mut fields = line.split(':');
            let (name, _, uid, gid) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            Some(User { name: name.to_owned(), uid: uid.parse().ok()?, gid: gid.parse().ok()? })
        };
        Ok(self.file("passwd")?.lines().filter_map(parse).find(wanted))
    }

    fn group_of_file(&self, name: &str, member: Option<&str>) -> io::Result<Option<Group>> {
        let parse = |line: &str| {
            let mut fields = line.split(':');
            let (of, _, gid, list) = (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
            let has_member = list.split(',').any(|listed| Some(listed) == member);
            (of == name).then_some(Group { gid: gid.parse().ok()?, has_member })
        };
        Ok(self.file("group")?.lines().find_map(parse))
    }

    fn listed_in_file(&self) -> io::Result<Vec<String>> {
        let text = self.file("group")?;
        let line = text.lines().find(|line| line.split(':').next() == Some(MEMBERS)).unwrap_or_default();
        let list = line.split(':').nth(3).unwrap_or_default();
        Ok(list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect())
    }

    /// When each of its files was last changed; nothing of what is no file, or cannot be looked at.
    pub fn files_changed_at(&self) -> [Option<SystemTime>; 2] {
        let Self::Files(folder) = self else { return [None; 2] };
        ["passwd", "group"].map(|name| std::fs::metadata(folder.join(name)).ok()?.modified().ok())
    }

    fn file(&self, name: &str) -> io::Result<String> {
        let Self::Files(folder) = self else { return Err(io::ErrorKind::Unsupported.into()) };
        let path = folder.join(name);
        std::fs::read_to_string(&path)
            .map_err(|error| io::Error::other(format!("{}: {error}", path.display())))
    }
}

impl Names for Directory {
    fn user(&self, name: &str) -> io::Result<Option<Uid>> {
        Ok(self.user_by_name(name)?.and_then(|user| Uid::new(user.uid)))
    }

    fn group(&self, name: &str) -> io::Result<Option<Gid>> {
        Ok(self.group_by_name(name, None)?.and_then(|group| Gid::new(group.gid)))
    }
}

fn system_user(user: Option<sys::User>) -> Option<User> {
    // Who has no name that can be said has none that a group could list.
    user.map(|user| User { uid: user.uid.into(), gid: user.gid.into(), name: user.name.unwrap_or_default() })
}

/// What a database says of a `kind` that is called `name`. Some C libraries and modules have an errno for what does not
/// exist: those of `getpwnam(3)`, "Return value".
fn known<T>(found: io::Result<Option<T>>, kind: &str, name: &str) -> io::Result<Option<T>> {
    let error = match found {
        Ok(found) => return Ok(found),
        Err(error) => error,
    };
    match error.raw_os_error() {
        Some(libc::ENOENT | libc::ESRCH | libc::EBADF | libc::EPERM) => Ok(None),
        Some(libc::ERANGE) => Err(io::Error::other(format!(
            "the {kind} {name} is too large to be looked up: its entry has more than {} MiB",
            sys::ENTRY_BYTES_MAX >> 20
        ))),
        _ => Err(io::Error::new(
            error.kind(),
            format!("the {kind} database does not answer for {name}: {error}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn uid(raw: u64) -> Uid {
        Uid::new(raw).expect("a user id")
    }

    fn files() -> (tempfile::TempDir, Directory) {
        let dir = tempfile::TempDir::new().expect("a folder");
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).expect("a file");
        write(
            "passwd",
            "alice:x:1001:1001::/:/bin/sh\nbob:x:1002:990::/:/bin/sh\nmallory:x:1666:1666::/:/bin/sh\n",
        );
        write("group", "staff:x:50:alice,mallory\nfairshare:x:990:carol,alice\n");
        let directory = Directory::Files(dir.path().to_owned());
        (dir, directory)
    }

    #[test]
    fn a_member_is_an_account_in_the_group_by_list_or_by_primary_group() {
        let (dir, directory) = files();
        let member = |name: &str| Membership::Member { name: name.to_owned() };
        assert_eq!(directory.membership(uid(1001)).unwrap(), member("alice"));
        assert_eq!(directory.membership(uid(1002)).unwrap(), member("bob"));
        let mallory = Membership::NotInGroup { name: "mallory".to_owned() };
        assert_eq!(directory.membership(uid(1666)).unwrap(), mallory);
        assert_eq!(directory.membership(uid(100_001)).unwrap(), Membership::NoAccount);
        let alice = directory.by_name("alice").unwrap().expect("alice");
        assert_eq!(alice.groups.iter().map(|gid| gid.get()).collect::<Vec<_>>(), [50, 990, 1001]);
        assert_eq!(directory.listed().unwrap(), ["carol", "alice"]);
        std::fs::write(dir.path().join("group"), "staff:x:50:alice\n").unwrap();
        assert_eq!(directory.listed().unwrap(), Vec::<String>::new());
        assert_eq!(directory.membership(uid(1001)).unwrap(), Membership::NoGroup);
        std::fs::remove_file(dir.path().join("passwd")).unwrap();
        assert!(directory.membership(uid(1001)).unwrap_err().to_string().contains("passwd"));
    }

    #[test]
    fn nobody_is_nobody_in_every_word_that_a_database_has_for_it() {
        for errno in [libc::ENOENT, libc::ESRCH, libc::EBADF, libc::EPERM] {
            let said: io::Result<Option<()>> = Err(io::Error::from_raw_os_error(errno));
            assert_eq!(known(said, "user", "nobody-here").unwrap(), None, "{errno}");
        }
        for (errno, says) in [(libc::ERANGE, "too large to be looked up"), (libc::EIO, "does not answer")] {
            let said: io::Result<Option<()>> = Err(io::Error::from_raw_os_error(errno));
            assert!(known(said, "group", "students").unwrap_err().to_string().contains(says));
        }
    }

    #[test]
    fn the_system_knows_root_and_not_everybody() {
        let root = Directory::System.by_uid(Uid::ROOT).unwrap().expect("root");
        assert_eq!((root.user.as_deref(), root.groups.contains(&Gid::ROOT)), (Some("root"), true));
        assert!(by_name("root").unwrap().is_some());
        assert!(Directory::System.by_uid(uid(3_999_999_999)).unwrap().is_none());
        for nobody in ["no such user", "", "a\0b"] {
            assert!(by_name(nobody).unwrap().is_none(), "{nobody:?}");
            assert!(Directory::System.group(nobody).unwrap().is_none(), "{nobody:?}");
        }
    }
}
