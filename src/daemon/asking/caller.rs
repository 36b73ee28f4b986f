//! Who calls, to whom a call is done, and what comes with it.

use std::sync::Arc;

use super::refuse::forbidden;
use crate::host::account::Account;
use crate::identity::Uid;
use crate::policy::Role;
use crate::serving::account::Room;
use crate::serving::closing::Received;
use crate::serving::incoming::Descriptors;
use crate::serving::peer::Peer;
use crate::wire::error::WireError;

/// Who calls, and to whom it is done.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The process that calls, as the kernel names it.
    pub peer: Arc<Peer>,
    /// Their role, by the policy under which the call was last judged.
    pub role: Role,
    /// The member to whom the call is done. Until it is complete only their user id is known, and of the caller's own the
    /// groups that the kernel says.
    pub whom: Account,
}

/// What comes with a call beside its body.
pub struct Brought<'a> {
    /// The descriptors that were sent with it. What no call takes is closed.
    pub descriptors: Descriptors,
    /// Asks for room in what one member may keep waiting in the daemon, in bytes.
    pub hold: &'a dyn Fn(usize) -> Result<Room, WireError>,
}

/// A call that is being looked at.
pub struct Asking<'a> {
    /// The caller, and the member to whom it is done.
    pub caller: &'a Caller,
    /// What came with it.
    pub brought: Brought<'a>,
    /// Whether it is done to everybody, which takes an admin for as long as it lasts.
    pub everybody: bool,
}

impl Brought<'_> {
    /// Takes the descriptors that this member sent.
    pub fn take(&mut self, uid: Uid) -> Descriptors {
        std::mem::replace(&mut self.descriptors, Descriptors { kept: Received::from(uid), cut: false })
    }
}

impl Asking<'_> {
    /// Whether everybody's is asked for.
    ///
    /// # Errors
    /// Forbidden, to all but admins.
    pub fn whole(&mut self, all: Option<bool>) -> Result<bool, WireError> {
        match all {
            Some(true) if self.caller.role < Role::Admin => {
                Err(forbidden("Only an admin sees everyone's", self.caller.role))
            }
            Some(true) => Ok(self.of_everybody()),
            Some(false) | None => Ok(false),
        }
    }

    /// Has the call done to everybody where an admin makes it; whether that is so.
    pub fn of_everybody(&mut self) -> bool {
        self.everybody |= self.caller.role == Role::Admin;
        self.everybody
    }
}
