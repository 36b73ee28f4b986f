//! The task that writes the state file: newest image first, older ones never after it.

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
    /// Starts the writer.
    pub fn start(store: Arc<Store>) -> Self {
        let (sender, mut receiver) = mpsc::channel::<(Image, oneshot::Sender<Written>)>(IMAGES_WAITING_MAX);
        tokio::spawn(async move {
            let mut newest_written = None;
            while let Some((mut image, waiter)) = receiver.recv().await {
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
                    let revision = image.revision;
                    let written = save(Arc::clone(&store), image).await;
                    if written.is_ok() {
                        newest_written = Some(revision);
                    }
                    written
                };
                for waiter in waiters {
                    // Who waited may have gone; the image is written all the same.
                    let _ = waiter.send(written.clone());
                }
            }
        });
        Self(sender)
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

async fn save(store: Arc<Store>, image: Image) -> Written {
    match tokio::task::spawn_blocking(move || store.save(&image)).await {
        Ok(written) => written.map_err(Arc::new),
        Err(_) => Err(gone()),
    }
}

/// The writer ends only with the daemon.
fn gone() -> Arc<StoreFault> {
    Arc::new(StoreFault::Io {
        path: "state".into(),
        action: "write",
        source: std::io::Error::other("the daemon is stopping"),
    })
}
