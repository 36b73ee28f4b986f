//! Who is shut out and for how long, in the contract's figures, under a clock that stands still until it is moved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{mpsc, watch};
use tokio::time::advance;

use super::session::{BROKEN, heard, hello, said};
use crate::daemon::asking::accounts::Accounts;
use crate::daemon::asking::service::Fairshare;
use crate::host::account::Directory;
use crate::serving::listener::*;
use crate::wire::error::{Code, WireError};
use crate::wire::hello::{HelloReply, decode_hello_reply};

/// A listener at work. It ends with the value.
struct Listening {
    dir: TempDir,
    _stop: watch::Sender<bool>,
}

impl Listening {
    fn start() -> Self {
        let dir = TempDir::new().unwrap();
        let socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        let (_, policy) = watch::channel(None);
        let (stop, stopping) = watch::channel(false);
        let (calls, _) = mpsc::channel(1);
        let service = Fairshare { calls, policy, accounts: Accounts::of(Directory::System) };
        tokio::spawn(Listener::new(socket, service, stopping).serve());
        Self { dir, _stop: stop }
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// Has one connection closed for five violations.
    async fn violate(&self) {
        let mut client = connected(&self.path()).await;
        client.write_all(&BROKEN.repeat(5)).await.unwrap();
        assert_eq!(said(&client).await.len(), 7, "the hello, five answers and the last word");
    }

    /// What a new connection is told.
    async fn greets(&self) -> Result<(), WireError> {
        let client = connected(&self.path()).await;
        match decode_hello_reply(&heard(&client, 1).await[0]).unwrap() {
            HelloReply::Ack(_) => Ok(()),
            HelloReply::Refused(error) => Err(error),
        }
    }

    /// A new connection is told to come back after so long.
    async fn shuts_out(&self, ms: u64) {
        let error = self.greets().await.expect_err("nobody was shut out");
        assert!(error.is(Code::RateLimited), "{error:?}");
        assert_eq!(error.retry_after_ms, Some(ms));
    }
}

/// A client that has said hello, where the listener hears it.
async fn connected(path: &Path) -> UnixStream {
    let mut client = UnixStream::connect(path).await.unwrap();
    let _ = client.write_all(&hello()).await;
    client
}

#[tokio::test(start_paused = true)]
async fn three_closings_within_a_minute_shut_out_for_a_minute() {
    let listening = Listening::start();
    listening.violate().await;
    advance(Duration::from_secs(30)).await;
    listening.violate().await;
    advance(Duration::from_millis(29_999)).await;
    assert_eq!(listening.greets().await, Ok(()), "two are too few");
    listening.violate().await;
    listening.shuts_out(60_000).await;
    advance(Duration::from_millis(59_999)).await;
    listening.shuts_out(1).await;
    advance(Duration::from_millis(1)).await;
    assert_eq!(listening.greets().await, Ok(()));
    // What they were shut out for is forgotten with it.
    listening.violate().await;
    listening.violate().await;
    assert_eq!(listening.greets().await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn a_closing_is_forgotten_after_a_minute() {
    let listening = Listening::start();
    for _ in 0..4 {
        listening.violate().await;
        advance(Duration::from_secs(30)).await;
        assert_eq!(listening.greets().await, Ok(()), "never three in less than a minute");
    }
}
