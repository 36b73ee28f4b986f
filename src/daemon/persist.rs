//! The thread that writes the state file: newest image first, older ones never after it.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::ledger::Image;
use crate::store::{Store, StoreFault};

/// Images that wait to be written. One write answers for all that wait.
const IMAGES_WAITING_MAX: usize = 64;

type Written = Result<(), Arc<StoreFault>>;

/// A handle on the writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Persist(mpsc::Sender<(Image, oneshot::Sender<Written>)>);

impl Persist {
    /// Starts the writer, on a thread of its own: what waits for the disk holds up nobody else who waits for something.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(store: Store) -> io::Result<Self> {
        let (sender, receiver) = mpsc::channel(IMAGES_WAITING_MAX);
        std::thread::Builder::new().name("state".to_owned()).spawn(move || write(&store, receiver))?;
        Ok(Self(sender))
    }

    /// Writes the image, or knows a newer one written.
    ///
    /// # Errors
    /// The state file could not be written.
    pub async fn save(&self, image: Image) -> Written {
        let (waiter, written) = oneshot::channel();
        if self.0.send((image, waiter)).await.is_err() {
            return Err(gone());
        }
        written.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Writes what comes, the newest of what waits, and tells all who wait.
fn write(store: &Store, mut receiver: mpsc::Receiver<(Image, oneshot::Sender<Written>)>) {
    let mut newest_written = None;
    while let Some((mut image, waiter)) = receiver.blocking_recv() {
        let mut waiters = vec![waiter];
        while let Ok((other, waiter)) = receiver.try_recv() {
            waiters.push(waiter);
            if other.revision > image.revision {
                image = other;
            }
        }
        let written = if newest_written.is_some_and(|newest| newest >= image.revision) {
            Ok(())
        } else {
            store.save(&image).map_err(Arc::new)
        };
        if written.is_ok() {
            newest_written = newest_written.max(Some(image.revision));
        }
        for waiter in waiters {
            // Who waited may have gone; the image is written all the same.
            let _ = waiter.send(written.clone());
        }
    }
}

/// The writer ends only with the daemon.
fn gone() -> Arc<StoreFault> {
    Arc::new(StoreFault::Io {
        path: "state".into(),
        action: "write",
        source: io::Error::other("the daemon is stopping"),
    })
}
