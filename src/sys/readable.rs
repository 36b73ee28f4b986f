//! Waiting, in the runtime, until a descriptor that it does not know has something to read, or to tell.

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
        registered(descriptor, Interest::READABLE).map(Self)
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

/// A descriptor of which the kernel tells something else than that it can be read (`POLLPRI`, `poll(2)`).
#[derive(Debug)]
pub struct Urgent(AsyncFd<Arc<OwnedFd>>);

impl Urgent {
    /// Has the runtime that this is called in watch a descriptor that does not block.
    ///
    /// # Errors
    /// The kernel cannot watch this kind of file.
    pub fn register(descriptor: Arc<OwnedFd>) -> io::Result<Self> {
        registered(descriptor, Interest::PRIORITY).map(Self)
    }

    /// Waits until the kernel tells. Cancel safe.
    ///
    /// # Errors
    /// The runtime ends.
    pub async fn told(&self) -> io::Result<()> {
        self.0.ready(Interest::PRIORITY).await?.clear_ready();
        Ok(())
    }
}

fn registered(descriptor: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is open for as long as its owner lives, of which the answer holds a reference and hands out none.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    registered.map_err(io::Error::from)
}
