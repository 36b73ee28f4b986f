//! For whom a command acts: the caller, or the member whom an admin names.

use super::exit::{Exit, Failure};
use crate::host::account::Directory;
use crate::identity::Uid;
use crate::policy::file::Names as _;

/// For whom a command acts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whom {
    /// The caller.
    Me,
    /// A member named on the command line.
    Other {
        /// As it was typed.
        name: String,
        /// Who that is.
        uid: Uid,
    },
}

/// Who the caller is, as an answer of the daemon's names a member.
pub fn own_uid() -> u64 {
    rustix::process::getuid().as_raw().into()
}

impl Whom {
    /// The member of that name or number.
    ///
    /// # Errors
    /// The system knows no user of that name.
    pub fn named(name: &str) -> Result<Self, Failure> {
        let known = Directory::System.user(name).map_err(|error| {
            Failure::new(Exit::REFUSED, format!("cannot look up the user {name:?}: {error}"))
        })?;
        // A user may be called by digits, so that the name comes before the number (chown(1) does the same).
        let uid = match known {
            Some(uid) => Some(uid),
            None => name.parse().ok().and_then(Uid::new),
        };
        match uid {
            Some(uid) => Ok(Self::Other { name: name.to_owned(), uid }),
            None => Err(Failure::new(Exit::REFUSED, format!("there is no user {name:?} on this machine"))
                .hint("`getent passwd` lists the users; a uid is taken too")),
        }
    }

    /// `for_uid` of a call.
    pub fn for_uid(&self) -> Option<u64> {
        match self {
            Self::Me => None,
            Self::Other { uid, .. } => Some(uid.get().into()),
        }
    }

    /// What to type for the subcommand `act` for the same member.
    pub fn command(&self, act: &str) -> String {
        match self {
            Self::Me => format!("fairshare {act}"),
            Self::Other { name, .. } => match act.split_once(' ') {
                Some((act, options)) => format!("fairshare admin {act} --user {name} {options}"),
                None => format!("fairshare admin {act} --user {name}"),
            },
        }
    }

    /// What to type to see what the same member holds.
    pub fn status(&self) -> &'static str {
        match self {
            Self::Me => "fairshare status",
            Self::Other { .. } => "fairshare status --all",
        }
    }

    /// What comes after a verb in a message: nothing, or ` for alice`.
    pub fn suffix(&self) -> String {
        match self {
            Self::Me => String::new(),
            Self::Other { name, .. } => format!(" for {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_found_by_name_and_by_number() {
        assert_eq!(Whom::named("root").unwrap().for_uid(), Some(0));
        assert_eq!(Whom::named("4000000000").unwrap().for_uid(), Some(4_000_000_000));
        for nobody in ["no such user", "4294967295", "-1", ""] {
            let failure = Whom::named(nobody).unwrap_err();
            assert_eq!(failure.exit, Exit::REFUSED, "{nobody:?}");
            assert!(failure.message.contains("there is no user"), "{}", failure.message);
        }
    }
}
