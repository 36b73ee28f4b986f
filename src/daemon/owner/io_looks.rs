//! When the I/O of shares is looked at.

use std::collections::BTreeMap;

use super::EventLoop;
use super::event::Event;
use crate::daemon::doing::io::IoHeld;
use crate::daemon::telling::shown::is_held;
use crate::identity::Uid;

impl EventLoop {
    /// Has all shares looked at. `anew`: what could not be had before is tried again, and members are looked up again.
    pub(crate) fn look_at_io(&mut self, anew: bool) {
        let Some(cx) = &self.context else { return };
        if cx.io.is_idle() && !self.io.is_looking() {
            return self.io.forget_all();
        }
        let Some(before) = self.io.begin(anew) else { return };
        let held = self.ledger.allocations().values().filter(|allocation| is_held(allocation));
        let uids = held.map(|allocation| allocation.id.uid).collect();
        let (hands, events) = (cx.io.clone(), self.events.clone());
        tokio::spawn(async move {
            let held = hands.look(uids, before).await;
            let _ = events.send(Event::IoLooked(held)).await;
        });
    }

    /// Takes what came of a look.
    pub(crate) fn io_looked(&mut self, looked: BTreeMap<Uid, IoHeld>) {
        looked.into_iter().for_each(|(uid, held)| self.io.told(uid, held));
        if let Some(anew) = self.io.over() {
            self.look_at_io(anew);
        }
        self.answer_reloads();
    }

    /// Forgets how it stood with shares that are gone: of those nothing is told.
    pub(crate) fn io_of_shares_only(&mut self) {
        let ledger = &self.ledger;
        self.io.keep(|uid| ledger.share(uid).is_some());
    }
}
