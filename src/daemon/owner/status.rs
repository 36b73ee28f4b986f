//! What systemd is told of the daemon.

use super::EventLoop;
use crate::serving::notify;

impl EventLoop {
    /// Tells systemd what `systemctl status` shows.
    pub(crate) fn tell_status(&mut self) {
        let line = self.status_line();
        if line != self.status_told {
            notify::status(&line);
            self.status_told = line;
        }
    }

    /// What the daemon holds, or what is missing, in one line.
    pub(crate) fn status_line(&self) -> String {
        let shares = self.ledger.shares().len();
        let plural = if shares == 1 { "share" } else { "shares" };
        match self.condition.reasons() {
            None if self.context.is_some() => match self.names_missing() {
                None => format!("{shares} {plural}"),
                Some(said) => format!("{shares} {plural}; names of the policy were not found: {said}"),
            },
            // Nothing is missing any more, and the world is being looked at.
            None => format!("starting, {shares} {plural} kept"),
            Some(reasons) => format!("degraded, {shares} {plural} kept: {reasons}"),
        }
    }
}
