//! What is asked of systemd and stored for a submitted command until it is done: it must not be lost to one call that failed.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::sleep;
use tracing::{error, warn};

use super::allocation::Context;
use super::said::Said;
use crate::identity::JobId;
use crate::ledger::Image;
use crate::serving::logging::chain;
use crate::systemd::Fault;
use crate::time::backoff;

/// Between two questions about a command of which the first failed: from the first to the last, doubled each time, so that
/// what cannot be had is no more than a line a minute.
pub const ASK_AGAIN_PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Asks systemd until it does. What may be the end of a command, or what is left of one, must not be lost to one call that
/// failed.
///
/// # Errors
/// The last [`Fault`], where the connection is gone.
pub async fn answered<T, Answer>(cx: &Context, ask: impl Fn() -> Answer) -> Result<T, Fault>
where
    Answer: Future<Output = Result<T, Fault>>,
{
    let mut pauses = backoff(ASK_AGAIN_PAUSE);
    loop {
        match ask().await {
            Err(fault) if !cx.systemd.is_closed() => warn!("{}, proceeding", chain(&fault)),
            answer => return answer,
        }
        sleep(pauses.pause()).await;
    }
}

/// Tells the owner of the ledger how a command ended, and has stored what comes of that, however long the disk takes. What is `seen`
/// of that; `None` where the daemon stops.
pub async fn stored<T>(
    cx: &Context,
    job: JobId,
    said: impl FnOnce(oneshot::Sender<Image>) -> Said,
    seen: impl Fn(&Image) -> T,
) -> Option<T> {
    let (reply, image) = oneshot::channel();
    let (mut due, mut image, mut pauses) = (said(reply), image, backoff(ASK_AGAIN_PAUSE));
    while cx.said.send(due).await.is_ok() {
        let ended = image.await.ok()?;
        let found = seen(&ended);
        let Err(fault) = cx.persist.save_what_gives_back(ended).await else { return Some(found) };
        error!("how job {job} ended is not stored: {}", chain(&*fault));
        sleep(pauses.pause()).await;
        let (reply, anew) = oneshot::channel();
        (due, image) = (Said::Image(reply), anew);
    }
    None
}
