//! Waiting, in the runtime, until a descriptor that it does not know has something to read.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A descriptor that is waited for.
#[derive(Debug)]
pub struct Readable(AsyncFd<Arc<OwnedFd>>);

impl Readable {
    /// Has the runtime that this is called in watch a descriptor that does not block.
    ///
    /// # Errors
    /// The kernel cannot watch this kind of file.
    pub fn register(descriptor: Arc<OwnedFd>) -> io::Result<Self> {
        // SAFETY: the descriptor is open for as long as its owner lives, which this value holds and hands to nobody.
        let registered = unsafe { AsyncFd::register_with_interest(descriptor, Interest::READABLE) };
        registered.map(Self).map_err(io::Error::from)
    }

    /// What `read` gives, as soon as it gives something else than `WouldBlock`. Cancel safe: after a `read` that gave
    /// something nothing is awaited.
    ///
    /// # Errors
    /// Those of `read`.
    pub async fn read<R>(&self, mut read: impl FnMut() -> io::Result<R>) -> io::Result<R> {
        self.0.async_io(Interest::READABLE, |_| read()).await
    }
}
