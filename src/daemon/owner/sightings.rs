//! What was last looked at for `audit`, and who waits for the next look.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::telling::findings::Sighting;
use crate::daemon::telling::reply::Reply;
use crate::host::account::Account;

/// How old what was looked at may be: many who ask at once cost one look.
const SIGHTING_FRESH: Duration = Duration::from_secs(1);

/// One look for members, who are told of their own, and one for admins, for whom the members are looked up as well.
#[derive(Debug, Default)]
pub struct Audits {
    of_one: Look,
    of_all: Look,
}

/// A look that many may wait for.
#[derive(Debug, Default)]
pub struct Look {
    last: Option<(Instant, Arc<Sighting>)>,
    /// Replies that wait, each with the member who is told of what is theirs where it is not all.
    waiting: Vec<(Reply, Option<Account>)>,
}

impl Audits {
    /// That for everybody's, or that for one's own.
    pub fn look(&mut self, all: bool) -> &mut Look {
        if all { &mut self.of_all } else { &mut self.of_one }
    }
}

impl Look {
    /// What was looked at not long ago.
    pub fn fresh(&self) -> Option<Arc<Sighting>> {
        let (at, sighting) = self.last.as_ref()?;
        (at.elapsed() < SIGHTING_FRESH).then(|| Arc::clone(sighting))
    }

    /// Keeps who asks until the next look; whether that is to be begun.
    pub fn wants_looking(&mut self, reply: Reply, only: Option<Account>) -> bool {
        self.waiting.push((reply, only));
        self.waiting.len() == 1
    }

    /// Takes what was looked at; the answer is who waited for it.
    pub fn arrived(&mut self, sighting: Arc<Sighting>) -> Vec<(Reply, Option<Account>)> {
        self.last = Some((Instant::now(), sighting));
        std::mem::take(&mut self.waiting)
    }
}
