//! What is missing, and which shares are in doubt.

use std::collections::BTreeSet;

use crate::cgroup::Cgroups;
use crate::identity::Uid;
use crate::serving::logging::chain;
use crate::wire::detail::{Detail, Part};
use crate::wire::error::{Code, WireError};

/// How soon a caller may find a degraded daemon mended, in milliseconds.
pub const DEGRADED_RETRY_AFTER_MS: u64 = 5000;

/// What the daemon lacks, each with its reason. Nothing lacking: all calls are served.
#[derive(Debug, Default)]
pub struct Condition {
    /// Why there is no policy: file, line, key.
    pub policy: Option<String>,
    /// Why the state file cannot be used.
    pub state: Option<String>,
    /// Why systemd cannot be reached.
    pub bus: Option<String>,
    /// Which controllers of the kernel's are missing, without which no share can be held to its figures.
    pub controllers: Option<String>,
    /// Shares whose slice is to be looked at as soon as nothing is under way for them.
    doubts: BTreeSet<Uid>,
    /// The same, but a look has just failed.
    doubts_later: BTreeSet<Uid>,
    /// Those of which the last look failed, also while there is another one: they are not well until one has gone well.
    failed: BTreeSet<Uid>,
}

impl Condition {
    /// What is known before anything has been looked for: what the kernel lacks.
    pub fn of(cgroups: &Cgroups) -> Self {
        Self { controllers: controllers(cgroups), ..Self::default() }
    }

    /// Whether only the calls that change nothing are served.
    pub fn is_degraded(&self) -> bool {
        self.lacking().next().is_some()
    }

    /// Whether there is something that may mend itself.
    pub fn wants_recovery(&self) -> bool {
        self.bus.is_some() || !self.doubts_later.is_empty()
    }

    /// What is missing, each with its reason.
    fn lacking(&self) -> impl Iterator<Item = (Part, &str)> {
        [
            (Part::Policy, &self.policy),
            (Part::State, &self.state),
            (Part::Bus, &self.bus),
            (Part::Controllers, &self.controllers),
        ]
        .into_iter()
        .filter_map(|(part, reason)| reason.as_deref().map(|reason| (part, reason)))
    }

    /// What is missing, in one line.
    pub fn reasons(&self) -> Option<String> {
        let reasons: Vec<String> =
            self.lacking().map(|(part, reason)| format!("{}: {reason}", part.name())).collect();
        (!reasons.is_empty()).then(|| reasons.join("; "))
    }

    /// The answer to what cannot be served.
    pub fn refusal(&self) -> WireError {
        let lacking: Vec<Part> = self.lacking().map(|(part, _)| part).collect();
        let detail = Detail { lacking: (!lacking.is_empty()).then_some(lacking), ..Detail::default() };
        WireError::new(Code::Degraded, "The daemon cannot change anything now: shares stay as they are")
            .detail(detail.and_text(self.reasons().unwrap_or_else(|| "it is starting".to_owned())))
            .retry_after_ms(DEGRADED_RETRY_AFTER_MS)
    }

    /// This member's slice is to be looked at.
    pub fn doubt(&mut self, uid: Uid) {
        self.doubts.insert(uid);
    }

    /// This member's slice is to be looked at again, after a pause.
    pub fn doubt_later(&mut self, uid: Uid) {
        self.doubts_later.insert(uid);
        self.failed.insert(uid);
    }

    /// There has been a look at this member's slice. It went well, unless it is in doubt for later.
    pub fn looked(&mut self, uid: Uid) {
        if !self.doubts_later.contains(&uid) {
            self.failed.remove(&uid);
        }
    }

    /// The pause is over.
    pub fn doubt_again(&mut self) {
        self.doubts.append(&mut self.doubts_later);
    }

    /// How many members' slices are in doubt.
    pub fn doubtful(&self) -> usize {
        // What is in doubt for later has failed.
        self.doubts.union(&self.failed).count()
    }

    /// Takes out the doubts that can be settled now.
    pub fn take_doubts(&mut self, can: impl Fn(&Uid) -> bool) -> BTreeSet<Uid> {
        let (now, rest) = std::mem::take(&mut self.doubts).into_iter().partition(can);
        self.doubts = rest;
        now
    }
}

/// What is said of controllers that the kernel was started without. They come back with another start of it only.
fn controllers(cgroups: &Cgroups) -> Option<String> {
    match cgroups.missing_controllers() {
        Ok(missing) if missing.is_empty() => None,
        Ok(missing) => {
            let names = missing.join(", ");
            let disabled = format!("cgroup_disable={}", missing.join(","));
            Some(format!(
                "the kernel runs without {names}: remove {disabled} from its command line (/proc/cmdline); \
                 on a Raspberry Pi add cgroup_enable=memory to it"
            ))
        }
        Err(fault) => Some(chain(&fault)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_lasts_until_a_look_has_gone_well() {
        let uid = Uid::new(1001).unwrap();
        let mut condition = Condition::default();
        condition.doubt(uid);
        assert_eq!((condition.take_doubts(|_| true).len(), condition.doubtful()), (1, 0));
        condition.doubt_later(uid);
        condition.looked(uid);
        assert_eq!(condition.doubtful(), 1);
        condition.doubt_again();
        // It is being looked at again.
        assert_eq!((condition.take_doubts(|_| true).len(), condition.doubtful()), (1, 1));
        condition.looked(uid);
        assert_eq!(condition.doubtful(), 0);
    }
}
