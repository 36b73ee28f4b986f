//! Names and groups of users, from the system's own databases (NSS). Look-ups block: never in an event loop.

use std::ffi::CString;

use nix::unistd::{Gid as SystemGid, Uid as SystemUid, User, getgrouplist};

use crate::identity::{Gid, Uid};

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

/// The user of an id; `None` where there is none.
///
/// # Errors
/// The databases could not be asked: what they said.
pub fn by_uid(uid: Uid) -> Result<Option<Account>, String> {
    let user = User::from_uid(SystemUid::from_raw(uid.get()))
        .map_err(|errno| format!("the user database does not answer for uid {uid}: {errno}"))?;
    user.map(account).transpose().map(Option::flatten)
}

/// The user of a name; `None` where there is none.
///
/// # Errors
/// The databases could not be asked: what they said.
pub fn by_name(name: &str) -> Result<Option<Account>, String> {
    let user = User::from_name(name)
        .map_err(|errno| format!("the user database does not answer for {name:?}: {errno}"))?;
    user.map(account).transpose().map(Option::flatten)
}

/// The user with all their groups; `None` for the id that is nobody's.
fn account(user: User) -> Result<Option<Account>, String> {
    let name = CString::new(user.name.as_str()).map_err(|error| error.to_string())?;
    let groups = getgrouplist(&name, user.gid)
        .map_err(|errno| format!("the group database does not answer for {}: {errno}", user.name))?;
    let groups = groups.into_iter().map(SystemGid::as_raw).filter_map(|gid| Gid::new(gid.into())).collect();
    let uid = Uid::new(user.uid.as_raw().into());
    Ok(uid.map(|uid| Account { uid, user: Some(user.name), groups }))
}
