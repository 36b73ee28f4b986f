//! What the policy says for the logins of one member.

use super::{Entry, LoginRule, Policy, Role, Said, Unfound};
use crate::identity::{Gid, Uid};
use crate::quantity::PartialAmount;

impl Policy {
    /// Whether anything is to be held outside of shares.
    pub fn holds_outside(&self) -> bool {
        self.logins.is_some() || !self.others.is_empty() || self.holds_logins()
    }

    /// Whether the logins of some member are to be held.
    pub fn holds_logins(&self) -> bool {
        let in_entries = |rule: Option<LoginRule>| matches!(rule, Some(LoginRule::Held(_)));
        let Unfound { users, groups, .. } = &self.unfound;
        !self.baseline.is_empty()
            || self.users.values().chain(self.groups.values()).any(|rules| in_entries(rules.baseline))
            || users.values().chain(groups.values()).any(|entry| in_entries(entry.rules.baseline))
    }

    /// What the logins may use of the member `uid`, who is called `user` and is in `groups`: no figure for whom nothing holds.
    ///
    /// Nothing holds root and admins, nor those whom the policy frees or may free: as long as a name of it cannot be looked up
    /// that frees somebody, that may be anybody in a group.
    pub fn login(&self, uid: Uid, user: &str, groups: &[Gid]) -> PartialAmount {
        let rules = self.rules(uid, groups);
        if uid == Uid::ROOT || rules.role == Some(Role::Admin) || self.may_free(user) {
            return PartialAmount::default();
        }
        match rules.baseline {
            Some(LoginRule::Free) => PartialAmount::default(),
            Some(LoginRule::Held(own)) => own.first(self.baseline),
            None => self.baseline,
        }
    }

    /// Whether a name that could not be looked up may free the logins of the account that is called `user`.
    fn may_free(&self, user: &str) -> bool {
        let frees = |entry: &Entry| {
            entry.rules.baseline == Some(LoginRule::Free) || entry.rules.role == Some(Role::Admin)
        };
        let open = |entry: &Entry| matches!(entry.said, Said::Nothing | Said::Failed(_));
        self.unfound.users.get(user).is_some_and(frees)
            || self.unfound.groups.values().any(|entry| open(entry) && frees(entry))
    }
}
