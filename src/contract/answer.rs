//! Whatever an endpoint answers, as one value.

use serde::Serialize;

use super::audit::AuditAnswer;
use super::changed::Changed;
use super::dump::DumpAnswer;
use super::health::HealthAnswer;
use super::history::HistoryAnswer;
use super::job::{JobStarted, OneJob};
use super::job_fetch::Handed;
use super::job_list::Jobs;
use super::list::ListAnswer;
use super::ping::Pong;
use super::policy::PolicyAnswer;
use super::release::{ReleaseAnswer, Released};
use super::request_resources::Granted;
use super::run::{Entered, InUnit};
use super::share::HeldShare;
use super::status::StatusAnswer;
use super::subscribe::Subscribed;
use crate::wire::cbor::{DecodeError, Item};

macro_rules! answers {
    ($($name:ident($shape:ident)),+ $(,)?) => {
        /// The `ok` of an answer. Which ones a call can have is its [`Ask::Answer`](super::Ask::Answer).
        #[derive(Debug, Clone, PartialEq, Eq, Serialize)]
        #[serde(untagged)]
        pub enum Answer { $(#[doc = concat!("See [`", stringify!($shape), "`].")] $name($shape)),+ }

        $(impl From<$shape> for Answer {
            fn from(answer: $shape) -> Self {
                Self::$name(answer)
            }
        })+

        impl Answer {
            /// The answer that has these keys: no two have the same.
            ///
            /// # Errors
            /// None has them.
            pub fn any(ok: Item<'_>) -> Result<Self, DecodeError> {
                $(if let Ok(answer) = ok.read().map(Self::$name) {
                    return Ok(answer);
                })+
                Err(serde::de::Error::custom("expected the keys of one answer"))
            }
        }
    };
}

answers! {
    Pong(Pong), Health(HealthAnswer), Status(StatusAnswer), List(ListAnswer), Policy(PolicyAnswer), Share(HeldShare),
    Released(Released), Unit(InUnit), JobStarted(JobStarted), Job(OneJob), Jobs(Jobs), Handed(Handed), Subscribed(Subscribed),
    Changed(Changed), Dump(DumpAnswer), Audit(AuditAnswer), History(HistoryAnswer),
}

impl From<Granted> for Answer {
    fn from(granted: Granted) -> Self {
        match granted {
            Granted::Share(share) => HeldShare { share: *share }.into(),
            Granted::Queued(job_started) => JobStarted { job_started }.into(),
        }
    }
}

impl From<Entered> for Answer {
    fn from(entered: Entered) -> Self {
        match entered {
            Entered::In(unit) => unit.into(),
            Entered::Queued(job_started) => JobStarted { job_started }.into(),
        }
    }
}

impl From<ReleaseAnswer> for Answer {
    fn from(answer: ReleaseAnswer) -> Self {
        match answer {
            ReleaseAnswer::Done(released) => Released { released }.into(),
            ReleaseAnswer::Stopping(job_started) => JobStarted { job_started }.into(),
        }
    }
}
