//! Whether who has connected is a member, at first and for as long as the connection lives; and what else of the user database
//! a call needs.

use super::{End, Session};
use crate::contract::Body;
use crate::daemon::asking::authorize::Authorised;
use crate::policy::Role;
use crate::wire::error::{Code, WireError};

impl Session {
    /// Has the user database asked about who has connected. Nothing of theirs is read before.
    pub(super) async fn admit(&mut self) -> Result<(), End> {
        let accounts = self.daemon.accounts.clone();
        let standing = tokio::select! {
            biased;
            standing = accounts.member(self.peer.uid) => standing,
            _ = self.daemon.stopping.changed() => return Err(End::Closed),
        };
        match standing {
            Ok(standing) => self.standing = Some(standing),
            Err(error) => return Err(self.refuse(0, error)),
        }
        Ok(())
    }

    /// Whether who has connected is still a member, by what the database said last.
    pub(super) fn still_admitted(&mut self, request_id: u64) -> Result<(), End> {
        match self.standing.as_ref().map(|standing| standing.holds()) {
            Some(Ok(())) => Ok(()),
            Some(Err(error)) => Err(self.refuse(request_id, error)),
            None => Err(End::NoHello),
        }
    }

    /// The last word on the connection of who is no member.
    pub(super) fn refuse(&mut self, request_id: u64, error: WireError) -> End {
        self.push(request_id, Body::Err(error.clone()));
        End::Refused(error)
    }

    /// Whether it is known that who calls may do the act. What everybody may do needs no answer.
    pub(super) fn decided(&self, authorised: &Authorised) -> Result<(), WireError> {
        if authorised.least() == Role::ReadOnly {
            return Ok(());
        }
        let name = self.standing.as_ref().and_then(|standing| standing.name());
        self.daemon.decided(self.peer.uid, name.as_deref())
    }

    /// Gives an act the account that it needs. One's own name is known from the admission, and dispensable; another's account
    /// must be found. The outer error is that of the connection.
    pub(super) async fn complete(
        &mut self,
        authorised: &mut Authorised,
    ) -> Result<Result<(), WireError>, End> {
        let Some(uid) = authorised.lookup() else { return Ok(Ok(())) };
        let name = self.standing.as_ref().and_then(|standing| standing.name());
        if let Some(name) = name.filter(|_| uid == self.peer.uid) {
            authorised.name(name);
            return Ok(Ok(()));
        }
        self.flush().await?;
        match self.daemon.accounts.find(uid).await {
            Ok(Some(account)) => {
                if let Err(error) = self.daemon.decided(account.uid, account.user.as_deref()) {
                    return Ok(Err(error));
                }
                authorised.complete(account);
            }
            // It goes into descriptions only.
            Ok(None) | Err(_) if uid == self.peer.uid => {}
            Ok(None) => {
                return Ok(Err(WireError::new(Code::NotFound, format!("There is no user {uid}"))));
            }
            Err(error) => return Ok(Err(error)),
        }
        Ok(Ok(()))
    }
}
