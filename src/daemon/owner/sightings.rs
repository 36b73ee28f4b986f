//! Who waits for a look at processes and members, for `audit`.

use std::time::Duration;

use tokio::time::Instant;

use crate::daemon::telling::reply::Reply;
use crate::host::account::Account;

/// From the beginning of one look to that of the next: many who ask cost no more than that.
const LOOKS_APART: Duration = Duration::from_secs(1);

/// Who waits, and the member who is told of what is theirs where it is not all.
pub type Waiting = Vec<(Reply, Option<Account>)>;

/// Looks for members, who are told of their own, and looks for admins, for whom the members are looked up as well.
#[derive(Debug, Default)]
pub struct Audits {
    of_one: Looks,
    of_all: Looks,
}

/// Looks of one kind, one after the other. Who asks is answered by a look that began after that: whatever was done before is
/// seen.
#[derive(Debug, Default)]
pub struct Looks {
    began: Option<Instant>,
    /// Whether a look is due or under way.
    busy: bool,
    /// Who is answered by the look that is under way.
    waiting: Waiting,
    /// Who is answered by the next one.
    next: Waiting,
}

impl Audits {
    /// Those for everybody's, or those for one's own.
    pub fn looks(&mut self, all: bool) -> &mut Looks {
        if all { &mut self.of_all } else { &mut self.of_one }
    }
}

impl Looks {
    /// Keeps who asks; when a look is to begin, where none is due.
    pub fn asked(&mut self, reply: Reply, only: Option<Account>) -> Option<Instant> {
        self.next.push((reply, only));
        self.due()
    }

    /// A look begins.
    pub fn begin(&mut self) {
        self.began = Some(Instant::now());
        self.waiting = std::mem::take(&mut self.next);
    }

    /// The look is over: who waited for it, and when the next is to begin, where one is due.
    pub fn over(&mut self) -> (Waiting, Option<Instant>) {
        self.busy = false;
        (std::mem::take(&mut self.waiting), self.due())
    }

    fn due(&mut self) -> Option<Instant> {
        if self.busy || self.next.is_empty() {
            return None;
        }
        self.busy = true;
        Some(self.began.map_or_else(Instant::now, |began| began + LOOKS_APART))
    }
}
