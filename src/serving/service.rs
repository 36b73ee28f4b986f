//! What a daemon is served for. It knows its endpoints and who may call them; what serves it knows bytes, people and
//! deadlines.

use std::os::fd::BorrowedFd;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use super::account::User;
use super::incoming::Descriptors;
use super::peer::Peer;
use crate::wire::envelope::Calls;
use crate::wire::error::WireError;
use crate::wire::hello::Role;

/// A daemon's endpoints, as listener and sessions reach them. Each session has a clone.
pub trait Service: Clone + Send + Sync + 'static {
    /// A request's call.
    type Call: Calls + Send;
    /// A call that its caller may make, with what came with it.
    type Asked: Send;
    /// What is answered.
    type Answer: Serialize + Send;
    /// What those are told who follow.
    type Event: Serialize + Send;
    /// The word on a user who is served, for as long as it holds.
    type Standing: Standing;
    /// Where one follower hears of events.
    type Stream: Stream<Event = Self::Event>;
    /// Descriptors that go with an answer.
    type Handed: Handed;

    /// The most descriptors that come with one request. The rest of them is closed.
    const DESCRIPTORS_MAX: usize;
    /// How often [`Self::refresh`] is called while anybody is connected.
    const REFRESH_PERIOD: Duration;

    /// Whether who has connected is served. Nothing of theirs is read before.
    ///
    /// # Errors
    /// The refusal, which is the last word on the connection.
    fn admit(&self, peer: &Peer) -> impl Future<Output = Result<Self::Standing, WireError>> + Send;

    /// Asks again about everybody who is connected.
    fn refresh(&self);

    /// The role of the peer at this moment, which it is greeted with.
    fn role(&self, peer: &Peer) -> Role;

    /// Whether the peer may make this call with these descriptors. What else holds memory until it is answered is
    /// charged to the user.
    ///
    /// # Errors
    /// The refusal.
    fn judge(
        &self,
        peer: &Arc<Peer>,
        call: Self::Call,
        descriptors: Descriptors,
        user: &User,
    ) -> Result<Self::Asked, WireError>;

    /// When the answer to a call is there.
    fn due(asked: &Self::Asked) -> Due;

    /// Whether the call changes nothing: asked often, and in the journal only where it failed.
    fn is_question(asked: &Self::Asked) -> bool;

    /// Whether the call starts something, of which a user has so many at once and then
    /// [so many a second](super::account::STARTS_MAX): who has more started waits for the next.
    fn is_start(asked: &Self::Asked) -> bool;

    /// Has a call done.
    ///
    /// # Errors
    /// The refusal, or the fault, which is logged already.
    fn answer(
        &self,
        peer: &Arc<Peer>,
        standing: &Self::Standing,
        asked: Self::Asked,
    ) -> impl Future<Output = Result<Answered<Self>, WireError>> + Send;

    /// Has calls done that are [due in the same breath](Due::InTheSameBreath): their answers, in their order.
    fn answer_together(
        &self,
        peer: &Arc<Peer>,
        standing: &Self::Standing,
        asked: Vec<Self::Asked>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, WireError>>> + Send;

    /// Tells the journal how a call went.
    fn log(&self, went: &Went<'_, Self::Answer>);

    /// Why a follower's stream has ended by itself: the last word on its connection.
    fn revoked(&self, peer: &Peer) -> WireError;
}

/// When the answer to a call is there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// When something was read or done. The answers to earlier calls of the connection are written before.
    Later,
    /// At once: nothing is changed, and little is read.
    AtOnce,
    /// At once, together with those to the calls of the connection that have come with it. It is a plain answer, quickly made
    /// and short: a connection has [sixteen](super::session::REQUESTS_OUTSTANDING_MAX) of them held at a time.
    InTheSameBreath,
}

/// What a call comes to.
pub enum Answered<S: Service> {
    /// An answer.
    Plain(S::Answer),
    /// An answer, and nothing but events after it.
    Followed(S::Answer, S::Stream),
    /// An answer with descriptors, and nothing after it: the connection stays until the peer has read them and closes it.
    Handed(S::Answer, S::Handed),
}

impl<S: Service> Answered<S> {
    /// The answer in it.
    pub fn answer(&self) -> &S::Answer {
        match self {
            Self::Plain(answer) | Self::Followed(answer, _) | Self::Handed(answer, _) => answer,
        }
    }
}

/// How a call went.
pub struct Went<'a, A> {
    /// The client's number for it.
    pub request_id: u64,
    /// The endpoint's name.
    pub endpoint: &'static str,
    /// The caller.
    pub peer: &'a Peer,
    /// From the whole request to the answer.
    pub took: Duration,
    /// Whether it was judged to be a question.
    pub is_question: bool,
    /// What came of it.
    pub result: Result<&'a A, &'a WireError>,
    /// What the caller takes of the daemon, of which lines in the journal are a part.
    pub user: &'a User,
}

/// The word on a user who is served.
pub trait Standing: Send + Sync {
    /// Whether the user is still served.
    ///
    /// # Errors
    /// The refusal.
    fn holds(&self) -> Result<(), WireError>;

    /// Ends with the refusal, when the user is not served any more.
    fn lost(&mut self) -> impl Future<Output = WireError> + Send;
}

/// Where one follower hears of events.
pub trait Stream: Send {
    /// An event.
    type Event;

    /// The next event; `None` where the follower may not follow any more. Cancel safe.
    fn next(&mut self) -> impl Future<Output = Option<Self::Event>> + Send;
}

/// Descriptors that go with an answer: at most [`DESCRIPTORS_SENT_MAX`](super::session::DESCRIPTORS_SENT_MAX).
pub trait Handed: Send + Sync {
    /// What is kept until the peer has read them.
    type Kept: Send;

    /// The descriptors, in the order of the contract.
    fn descriptors(&self) -> Vec<BorrowedFd<'_>>;

    /// They were sent.
    fn given(self) -> Self::Kept;

    /// The peer has read them.
    fn read(kept: Self::Kept);
}
