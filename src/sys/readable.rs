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
    /// The kernel has nothing to tell on this descriptor ever again (`POLLERR`), whatever else it says with that; or the
    /// runtime ends.
    pub async fn told(&self) -> io::Result<()> {
        let mut guard = self.0.ready(Interest::PRIORITY | Interest::ERROR).await?;
        if guard.ready().is_error() {
            return Err(io::Error::other("what the kernel told of is gone"));
        }
        guard.clear_ready();
        Ok(())
    }
}

fn registered(descriptor: Arc<OwnedFd>, interest: Interest) -> io::Result<AsyncFd<Arc<OwnedFd>>> {
    // SAFETY: the descriptor is open for as long as its owner lives, of which the answer holds a reference and hands out none.
    let registered = unsafe { AsyncFd::register_with_interest(descriptor, interest) };
    registered.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use rustix::net::{SendFlags, send, sockopt};

    use super::*;

    /// An urgent byte is told as pressure is, and a reset as the end of a cgroup is: `POLLPRI`, then `POLLERR` beside it.
    #[tokio::test]
    async fn what_is_gone_has_nothing_to_tell() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (theirs, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let urgent = Urgent::register(Arc::new(OwnedFd::from(ours))).unwrap();
        send(&theirs, b"!", SendFlags::OOB).unwrap();
        urgent.told().await.unwrap();
        sockopt::set_socket_linger(&theirs, Some(std::time::Duration::ZERO)).unwrap();
        drop(theirs);
        urgent.told().await.unwrap_err();
    }
}
