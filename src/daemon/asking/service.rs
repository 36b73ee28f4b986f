//! What `fairshared` is served for: who is greeted, whose call is done, and what the journal is told of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tracing::{debug, error, info, warn};

use super::accounts::{Accounts, REFRESH_PERIOD, Standing};
use super::authorize::{self, Authorised, authorize};
use super::caller::Brought;
use super::endpoint::Beside;
use super::handover::Delivery;
use super::names::NAMES_PERIOD;
use super::submission::Submission;
use crate::contract::{Answer, Call, DESCRIPTORS_MAX, EventInfo, HeldShare, InUnit, JobStarted};
use crate::daemon::telling::answer;
use crate::daemon::telling::feed::{self, Follower};
use crate::daemon::telling::reply::Reply;
use crate::identity::Uid;
use crate::policy::{Policy, Role};
use crate::serving::account::{NoRoom, Tell, User};
use crate::serving::incoming::Descriptors;
use crate::serving::peer::Peer;
use crate::serving::service::{Answered, Due, Service, Went};
use crate::time::milliseconds;
use crate::wire::detail::{Detail, Part};
use crate::wire::error::{Code, WireError};

/// The daemon, as listener and sessions reach it.
#[derive(Clone)]
pub struct Fairshare {
    /// Where calls go.
    pub calls: mpsc::Sender<Submission>,
    /// The policy in force; `None` while there is none.
    pub policy: watch::Receiver<Option<Arc<Policy>>>,
    /// The user database, which says who is a member.
    pub accounts: Accounts,
}

impl Fairshare {
    /// Whether it is known what the policy in force says for a user, of this name where one is known.
    ///
    /// # Errors
    /// Degraded, while the user database has not answered for a name of the policy that may be theirs.
    fn decided(&self, uid: Uid, user: Option<&str>) -> Result<(), WireError> {
        let policy = self.policy.borrow();
        let Some(why) = policy.as_ref().and_then(|policy| policy.undecided(uid, user)) else { return Ok(()) };
        let message = format!("What the policy says for uid {uid} is not known yet");
        Err(WireError::new(Code::Degraded, message)
            .detail(Detail::lacking(Part::Names).and_text(why))
            .retry_after(NAMES_PERIOD))
    }

    /// Puts a call that needs nothing but its answer in the owner's way: where its answer comes.
    async fn hand_in(
        &self,
        peer: &Peer,
        standing: &Standing,
        authorised: Authorised,
    ) -> Result<oneshot::Receiver<Result<Answer, WireError>>, WireError> {
        // What everybody may do needs no answer of the database's.
        if authorised.least() > Role::ReadOnly {
            self.decided(peer.uid, standing.name().as_deref())?;
        }
        let (reply, answer) = Reply::pair();
        let submission = Submission { authorised, reply, outlet: None, taker: None };
        self.calls.send(submission).await.map_err(|_| answer::stopping())?;
        Ok(answer)
    }

    /// Gives an act the account that it needs. One's own name is known from the admission, and dispensable; another's account
    /// must be found.
    async fn complete(&self, authorised: &mut Authorised, name: Option<String>) -> Result<(), WireError> {
        let Some(uid) = authorised.lookup() else { return Ok(()) };
        let own = uid == authorised.peer().uid;
        if let Some(name) = name.filter(|_| own) {
            authorised.name(name);
            return Ok(());
        }
        match self.accounts.find(uid).await {
            Ok(Some(account)) => {
                self.decided(account.uid, account.user.as_deref())?;
                authorised.complete(account);
                Ok(())
            }
            // It goes into descriptions only.
            Ok(None) | Err(_) if own => Ok(()),
            Ok(None) => Err(WireError::new(Code::NotFound, format!("There is no user {uid}"))),
            Err(error) => Err(error),
        }
    }
}

impl Service for Fairshare {
    type Call = Call;
    type Asked = Authorised;
    type Answer = Answer;
    type Event = EventInfo;
    type Standing = Standing;
    type Stream = Follower;
    type Handed = Delivery;

    const DESCRIPTORS_MAX: usize = DESCRIPTORS_MAX;
    const REFRESH_PERIOD: Duration = REFRESH_PERIOD;

    async fn admit(&self, peer: &Peer) -> Result<Standing, WireError> {
        self.accounts.member(peer.uid).await
    }

    fn refresh(&self) {
        self.accounts.refresh();
    }

    fn role(&self, peer: &Peer) -> Role {
        authorize::role(self.policy.borrow().as_deref(), peer)
    }

    fn judge(
        &self,
        peer: &Arc<Peer>,
        call: Call,
        descriptors: Descriptors,
        user: &User,
    ) -> Result<Authorised, WireError> {
        let hold = |bytes| user.hold(bytes).map_err(no_room);
        authorize(peer, self.role(peer), call, Brought { descriptors, hold: &hold })
    }

    fn due(authorised: &Authorised) -> Due {
        if authorised.lookup().is_some() { Due::Later } else { authorised.kind().due }
    }

    fn is_question(authorised: &Authorised) -> bool {
        authorised.kind().question
    }

    fn is_start(authorised: &Authorised) -> bool {
        authorised.kind().starts_a_unit
    }

    async fn answer(
        &self,
        peer: &Arc<Peer>,
        standing: &Standing,
        mut authorised: Authorised,
    ) -> Result<Answered<Self>, WireError> {
        let name = standing.name();
        // What everybody may do needs no answer of the database's.
        if authorised.least() > Role::ReadOnly {
            self.decided(peer.uid, name.as_deref())?;
        }
        self.complete(&mut authorised, name).await?;
        let beside = authorised.kind().beside;
        let (outlet, follower) = (beside == Beside::Events).then(feed::pair).unzip();
        let (taker, delivery) = (beside == Beside::Descriptors).then(oneshot::channel).unzip();
        let (reply, answer) = Reply::pair();
        let submission = Submission { authorised, reply, outlet, taker };
        if self.calls.send(submission).await.is_err() {
            return Err(answer::stopping());
        }
        let answer = answer.await.unwrap_or_else(|_| Err(answer::stopping()))?;
        if let Some(follower) = follower {
            return Ok(Answered::Followed(answer, follower));
        }
        let Some(mut delivery) = delivery else { return Ok(Answered::Plain(answer)) };
        match delivery.try_recv() {
            Ok(delivery) => Ok(Answered::Handed(answer, delivery)),
            Err(_) => Err(WireError::new(Code::Internal, "Nothing was handed over with the answer")),
        }
    }

    async fn answer_together(
        &self,
        peer: &Arc<Peer>,
        standing: &Standing,
        asked: Vec<Authorised>,
    ) -> Vec<Result<Answer, WireError>> {
        // All of them are with the owner before the first is waited for: it takes them in one turn.
        let mut awaited = Vec::with_capacity(asked.len());
        for authorised in asked {
            awaited.push(self.hand_in(peer, standing, authorised).await);
        }
        let mut answers = Vec::with_capacity(awaited.len());
        for answer in awaited {
            answers.push(match answer {
                Ok(answer) => answer.await.unwrap_or_else(|_| Err(answer::stopping())),
                Err(error) => Err(error),
            });
        }
        answers
    }

    fn log(&self, went: &Went<'_, Answer>) {
        let code = went.result.as_ref().err().map_or(0, |error| error.code);
        let (unit, job_id) = match went.result {
            Ok(Answer::Unit(InUnit { unit, .. })) => (Some(unit.as_str()), None),
            Ok(Answer::Share(HeldShare { share })) => (Some(share.slice.as_str()), None),
            Ok(Answer::JobStarted(JobStarted { job_started })) => (None, Some(*job_started)),
            _ => (None, None),
        };
        let said = went.result.as_ref().err().map_or("ok".into(), |error| answer::said(error));
        let (peer_uid, peer_pid, endpoint) = (went.peer.uid.get(), went.peer.pid, went.endpoint);
        let duration_ms = milliseconds(went.took);
        macro_rules! log {
            ($level:ident) => {
                $level!(
                    request_id = went.request_id,
                    job_id,
                    endpoint,
                    peer_uid,
                    peer_pid,
                    duration_ms,
                    result_code = code,
                    unit,
                    "{endpoint} of uid {peer_uid}: {said}"
                )
            };
        }
        // The answer says that the journal has it.
        if code == Code::Internal.number() {
            return log!(error);
        }
        // What changes nothing is asked often, and would bury what does.
        let asked_often = went.is_question && code == 0;
        match if asked_often { Tell::No } else { went.user.tell() } {
            Tell::Yes => log!(info),
            Tell::NotFromHere => {
                warn!(
                    peer_uid,
                    peer_pid, "uid {peer_uid} calls too often: ignoring its calls in this journal"
                );
            }
            Tell::No => log!(debug),
        }
    }

    fn revoked(&self, peer: &Peer) -> WireError {
        let role = Some(self.role(peer));
        WireError::new(Code::Forbidden, "Only an admin sees everyone's")
            .detail(Detail { role, ..Detail::default() })
    }
}

/// The refusal of a submitted command for which there is no memory.
fn no_room(none: NoRoom) -> WireError {
    let whose = match none {
        NoRoom::OfOwn => "yours",
        NoRoom::OfAll => "all members",
    };
    WireError::new(Code::Busy, format!("Submitted commands of {whose} still wait to be handed over"))
}
