//! The thread that writes the state file: newest image first, older ones never after it.

use std::io;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use crate::ledger::Image;
use crate::store::{Store, StoreFault};

/// Images that wait to be written. One write answers for all that wait.
const IMAGES_WAITING_MAX: usize = 64;

type Written = Result<(), Arc<StoreFault>>;

/// What is to be written, and who waits for it.
#[derive(Debug)]
struct Due {
    image: Image,
    /// Whether it gives something back, for which disk space is kept.
    gives_back: bool,
    waiter: oneshot::Sender<Written>,
}

/// A handle on the writer. Clones share it.
#[derive(Debug, Clone)]
pub struct Persist(mpsc::Sender<Due>);

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
        self.due(image, false).await
    }

    /// Writes the image, which takes nothing more than before, on a full disk with the space that is kept for it.
    ///
    /// # Errors
    /// The state file could not be written.
    pub async fn save_what_gives_back(&self, image: Image) -> Written {
        self.due(image, true).await
    }

    async fn due(&self, image: Image, gives_back: bool) -> Written {
        let (waiter, written) = oneshot::channel();
        if self.0.send(Due { image, gives_back, waiter }).await.is_err() {
            return Err(gone());
        }
        written.await.unwrap_or_else(|_| Err(gone()))
    }
}

/// Writes what comes, the newest of what waits, and tells all who wait.
fn write(store: &Store, mut receiver: mpsc::Receiver<Due>) {
    let mut newest_written = None;
    while let Some(Due { mut image, mut gives_back, waiter }) = receiver.blocking_recv() {
        let mut waiters = vec![waiter];
        while let Ok(other) = receiver.try_recv() {
            waiters.push(other.waiter);
            gives_back |= other.gives_back;
            if other.image.revision > image.revision {
                image = other.image;
            }
        }
        let written = if newest_written.is_some_and(|newest| newest >= image.revision) {
            Ok(())
        } else {
            let save = if gives_back { Store::save_what_gives_back } else { Store::save };
            save(store, &image).map_err(Arc::new)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{BootId, Ledger};
    use crate::store;

    /// Images come in the order in which their writers were ready, which is not that of the changes.
    #[tokio::test]
    async fn an_older_image_is_never_written_over_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let persist = Persist::start(Store::open(dir.path()).unwrap()).unwrap();
        let image = |revision| Image { revision, ..Ledger::new(BootId("boot".to_owned())).image() };
        for (revision, then_in_the_file) in [(6, 6), (5, 6), (7, 7)] {
            persist.save(image(revision)).await.unwrap();
            let bytes = std::fs::read(dir.path().join("state")).unwrap();
            assert_eq!(store::parse(&bytes).unwrap().revision, then_in_the_file);
        }
    }
}
