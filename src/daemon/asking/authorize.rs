//! Who may do what: the table, and the only place that makes an [`Authorised`] act.
//!
//! The event loop takes nothing else, so that a call which nobody authorised does not compile.

use std::sync::Arc;

use super::caller::{Asking, Brought, Caller};
use super::deed::Deed;
use super::endpoint::{self, Act, Kind, Turn, kind};
use super::present::Present;
use super::refuse::{bad, forbidden};
use crate::contract::{Call, Endpoint};
use crate::host::account::Account;
use crate::identity::Uid;
use crate::policy::{Policy, Role};
use crate::serving::peer::Peer;
use crate::wire::error::WireError;

/// What the peer may do under the policy in force. Without a policy root is admin and everyone else operator.
pub fn role(policy: Option<&Policy>, peer: &Peer) -> Role {
    policy.map_or_else(
        || if peer.uid == Uid::ROOT { Role::Admin } else { Role::Operator },
        |policy| policy.role(peer.uid, &peer.groups),
    )
}

/// An act that its peer may do. Only [`authorize`] makes one.
#[derive(Debug)]
pub struct Authorised {
    caller: Caller,
    act: Act,
    /// The least role that may do the act to whom it is done to.
    least: Role,
    endpoint: Endpoint,
    /// Whose account must be looked up before the act is complete.
    lookup: Option<Uid>,
}

impl Authorised {
    /// Who does it.
    pub fn peer(&self) -> &Arc<Peer> {
        &self.caller.peer
    }

    /// What its endpoint says of itself.
    pub fn kind(&self) -> Kind {
        kind(self.endpoint)
    }

    /// The member whose turn the act waits for, where it changes or enters a share.
    pub fn turn(&self) -> Option<Uid> {
        match self.kind().turn {
            Turn::Nobodys => None,
            Turn::OfTarget => Some(self.target()),
        }
    }

    /// The member to whom it is done.
    pub fn target(&self) -> Uid {
        self.caller.whom.uid
    }

    /// The role of who does it, by the policy under which it was last judged.
    pub fn role(&self) -> Role {
        self.caller.role
    }

    /// The least role that may do the act to whom it is done to.
    pub fn least(&self) -> Role {
        self.least
    }

    /// Judges the act once more, by the policy that is in force at its turn: another one may have come while it waited.
    ///
    /// # Errors
    /// Forbidden, where the role is too low by now.
    pub fn judge(&mut self, policy: Option<&Policy>) -> Result<(), WireError> {
        self.caller.role = role(policy, self.peer());
        if self.role() < self.least {
            let message = format!("`{}` takes the role {} here", self.endpoint.name(), self.least);
            return Err(forbidden(message, self.role()));
        }
        Ok(())
    }

    /// What the owner of the ledger does for it at this moment.
    ///
    /// # Errors
    /// The refusal that is answered.
    pub fn deed(&self, now: &Present<'_>) -> Result<Deed, WireError> {
        self.act.deed(&self.caller, now)
    }

    /// The user whose account [`Self::complete`] wants first.
    pub fn lookup(&self) -> Option<Uid> {
        self.lookup
    }

    /// The act with the name of its peer, who does it on their own share.
    pub fn name(&mut self, name: String) {
        let own = Account { uid: self.peer().uid, user: Some(name), groups: Vec::new() };
        self.complete(own);
    }

    /// The act with the account that it needs. Another user's account than the one that was to be looked up changes nothing.
    pub fn complete(&mut self, found: Account) {
        let own = self.target() == self.peer().uid;
        let whom = &mut self.caller.whom;
        if found.uid == whom.uid {
            // One's own groups are the kernel's word, not the database's.
            let groups = if own { std::mem::take(&mut whom.groups) } else { found.groups };
            *whom = Account { groups, ..found };
            self.lookup = None;
        }
    }
}

/// The act that `call` asks for, when its peer may do it in that role and its figures can be.
///
/// # Errors
/// Forbidden; BadRequest where a figure is out of range; for a submitted command those of
/// [`Spec::of`](super::spec::Spec::of).
pub fn authorize(
    peer: &Arc<Peer>,
    role: Role,
    call: Call,
    brought: Brought<'_>,
) -> Result<Authorised, WireError> {
    let endpoint = call.endpoint();
    let kind = kind(endpoint);
    if role < kind.least {
        return Err(forbidden(format!("`{}` takes the role {}", endpoint.name(), kind.least), role));
    }
    let target = target(peer, role, call.for_uid())?;
    let groups = if target == peer.uid { peer.groups.clone() } else { Vec::new() };
    let whom = Account { uid: target, user: None, groups };
    let caller = Caller { peer: Arc::clone(peer), role, whom };
    let mut asking = Asking { caller: &caller, brought, everybody: false };
    let act = Act::of(call, &mut asking)?;
    let own = target == peer.uid && !asking.everybody;
    let lookup = match kind.needs.account {
        endpoint::Account::Never => None,
        endpoint::Account::OfAnother => (target != peer.uid).then_some(target),
        endpoint::Account::Always => Some(target),
    };
    let least = if own { kind.least } else { Role::Admin };
    Ok(Authorised { caller, act, least, endpoint, lookup })
}

/// To whom a call is done.
fn target(peer: &Peer, role: Role, for_uid: Option<u64>) -> Result<Uid, WireError> {
    match for_uid {
        None => Ok(peer.uid),
        // One's own uid names nobody else.
        Some(raw) if raw == u64::from(peer.uid.get()) => Ok(peer.uid),
        Some(_) if role < Role::Admin => Err(forbidden("Only an admin may name another member", role)),
        Some(raw) => Uid::new(raw).ok_or_else(|| bad(format!("for_uid: {raw} is not a user id"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::identity::Gid;
    use crate::serving::closing::Received;
    use crate::serving::incoming::Descriptors;

    fn gid(raw: u64) -> Gid {
        Gid::new(raw).expect("a group")
    }

    #[test]
    fn ones_own_groups_are_the_kernels_and_anothers_the_databases() {
        let peer = Arc::new(Peer {
            uid: Uid::ROOT,
            gid: gid(0),
            pid: 1,
            groups: vec![gid(0), gid(7)],
            connected_boot_ms: 0,
        });
        for (for_uid, groups) in [(None, vec![gid(0), gid(7)]), (Some(5), vec![gid(9)])] {
            let descriptors = Descriptors { kept: Received::from(peer.uid), cut: false };
            let brought = Brought { descriptors, hold: &|_| Err(bad("nothing is held for a question")) };
            let call = Call::Policy(crate::contract::Policy { for_uid });
            let mut authorised = authorize(&peer, Role::Admin, call, brought).expect("an admin");
            let uid = Uid::new(for_uid.unwrap_or(0)).expect("a user");
            authorised.complete(Account { uid, user: Some("name".to_owned()), groups: vec![gid(9)] });
            let account = &authorised.caller.whom;
            assert_eq!((account.uid, &account.groups), (uid, &groups));
        }
    }

    #[test]
    fn who_asked_for_everybodys_as_an_admin_is_to_be_one_at_the_turn_too() {
        let uid = Uid::new(5).expect("a user");
        let peer = Arc::new(Peer { uid, gid: gid(5), pid: 1, groups: vec![gid(5)], connected_boot_ms: 0 });
        for (all, least) in [(Some(true), Role::Admin), (Some(false), Role::ReadOnly)] {
            let descriptors = Descriptors { kept: Received::from(uid), cut: false };
            let brought = Brought { descriptors, hold: &|_| Err(bad("nothing is held for a question")) };
            let call = Call::JobList(crate::contract::JobList { all });
            let mut authorised = authorize(&peer, Role::Admin, call, brought).expect("an admin");
            assert_eq!(authorised.least(), least);
            // Without a policy nobody but root is an admin.
            assert_eq!(authorised.judge(None).is_err(), least == Role::Admin, "{all:?}");
        }
    }
}
