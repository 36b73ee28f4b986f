//! How it stands with the I/O of shares.

use std::collections::BTreeMap;

use tracing::warn;

use crate::contract::{Check, Finding, FindingKind};
use crate::daemon::doing::io::IoHeld;
use crate::identity::{Uid, UnitName};

/// Of how many shares `health` says what is wrong.
const SHARES_NAMED_MAX: usize = 8;

/// How it stands with the I/O of shares, as far as the policy says or said something of it.
#[derive(Debug, Default)]
pub struct Io {
    held: BTreeMap<Uid, IoHeld>,
    looking: bool,
    /// Whether there is to be another look when the one under way is over, and whether one that takes nothing as known.
    again: Option<bool>,
}

impl Io {
    /// Whether it is being looked at.
    pub fn is_looking(&self) -> bool {
        self.looking
    }

    /// Begins a look, and answers what it takes as known; `None` where one is under way, and another one comes after it. `anew`:
    /// nothing is taken as known.
    pub fn begin(&mut self, anew: bool) -> Option<BTreeMap<Uid, IoHeld>> {
        if self.looking {
            self.again = Some(anew || self.again == Some(true));
            return None;
        }
        self.looking = true;
        Some(if anew { BTreeMap::new() } else { self.held.clone() })
    }

    /// A look is over: whether there is to be another one, and whether anew.
    pub fn over(&mut self) -> Option<bool> {
        self.looking = false;
        self.again.take()
    }

    /// Nothing is said of I/O.
    pub fn forget_all(&mut self) {
        self.held.clear();
    }

    /// Forgets shares that are gone.
    pub fn keep(&mut self, is_there: impl Fn(Uid) -> bool) {
        self.held.retain(|uid, _| is_there(*uid));
    }

    /// Takes how it stands with one share, and tells the journal of what is new.
    pub fn told(&mut self, uid: Uid, held: IoHeld) {
        let before = self.held.get(&uid).and_then(|before| before.fault.as_ref());
        if let Some(why) = held.fault.as_ref().filter(|why| before != Some(*why)) {
            let unit = UnitName::Share(uid);
            warn!(unit = %unit, "the I/O of {unit} is not bounded as the policy says, proceeding: {why}");
        }
        self.held.insert(uid, held);
    }

    /// Shares whose I/O is not bounded as the policy says, and why.
    fn faults(&self) -> impl Iterator<Item = (Uid, &String)> {
        self.held.iter().filter_map(|(uid, held)| Some((*uid, held.fault.as_ref()?)))
    }

    /// Whether the I/O of all shares is bounded as the policy says. Of which it is not, and why, is for who may know `names`.
    pub fn check(&self, names: bool) -> Check {
        let faults: Vec<String> =
            self.faults().map(|(uid, why)| format!("{}: {why}", UnitName::Share(uid))).collect();
        let detail = match (faults.len(), names) {
            (0, _) => None,
            (1, false) => Some("the I/O of 1 share is not bounded as the policy says".to_owned()),
            (count, false) => Some(format!("the I/O of {count} shares is not bounded as the policy says")),
            (count, true) => {
                let mut said = faults.iter().take(SHARES_NAMED_MAX).cloned().collect::<Vec<_>>().join("; ");
                if count > SHARES_NAMED_MAX {
                    said.push_str(&format!("; and {} more", count - SHARES_NAMED_MAX));
                }
                Some(said)
            }
        };
        Check { name: "io".to_owned(), ok: detail.is_none(), detail }
    }

    /// The same as findings, of one member's share or of all; nothing where the policy says nothing of I/O.
    pub fn findings(&self, only: Option<Uid>) -> Vec<Finding> {
        let asked = |uid: Uid| only.is_none_or(|only| only == uid);
        let finding = |(uid, why): (Uid, &String)| Finding {
            uid: Some(uid.get().into()),
            hint: Some("io in the policy: fairshare-policy(5)".to_owned()),
            ..Finding::new(
                FindingKind::Broken,
                format!("{}: its I/O is not bounded as the policy says: {why}", UnitName::Share(uid)),
            )
        };
        let mut findings: Vec<Finding> = self.faults().filter(|(uid, _)| asked(*uid)).map(finding).collect();
        let bounded =
            self.held.iter().filter(|(uid, held)| asked(**uid) && held.fault.is_none() && held.bounds());
        let text = match (bounded.count(), only) {
            (0, _) => return findings,
            (_, Some(_)) => "the kernel bounds the I/O of your share".to_owned(),
            (1, None) => "the kernel bounds the I/O of one share".to_owned(),
            (count, None) => format!("the kernel bounds the I/O of {count} shares"),
        };
        findings.push(Finding::new(FindingKind::Kept, format!("{text} as the policy says")));
        findings
    }
}
