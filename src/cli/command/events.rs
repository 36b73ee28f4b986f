//! `fairshare events`: follow what happens.

use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::cli::args::Events;
use crate::cli::exit::{Exit, Failure};
use crate::cli::render::Reader;
use crate::cli::tell::note;
use crate::cli::{link, render};
use crate::client::ClientError;
use crate::contract::EventInfo;

/// How long after a lost connection the next one is made.
const RECONNECT_AFTER: Duration = Duration::from_millis(200);

/// Shows events as they happen, until nobody reads them any more.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Events, socket: &Path) -> Result<Exit, Failure> {
    loop {
        for event in link::subscribe(socket, args.all, None)? {
            match event {
                Ok(event) => {
                    let text = if args.json { render::json(&event)? } else { line(&event) };
                    if render::print_to(&text)? == Reader::Gone {
                        return Ok(Exit::DONE);
                    }
                }
                Err(ClientError::Closed | ClientError::Refused(_)) => break,
                Err(error) => return Err(link::fault(error)),
            }
        }
        note("the daemon closed the connection: following again, something may be missing here");
        thread::sleep(RECONNECT_AFTER);
    }
}

fn line(event: &EventInfo) -> String {
    let mut parts = vec![render::moment(event.at_ms), render::safe(&event.kind)];
    match (&event.share, event.uid) {
        (Some(share), _) => {
            parts.push(share.user.as_deref().map_or_else(|| format!("uid {}", share.uid), render::safe));
            parts.push(render::figures(share.cpu_milli, share.mem_bytes, share.tasks_max));
        }
        (None, Some(uid)) => parts.push(format!("uid {uid}")),
        (None, None) => {}
    }
    match (&event.job, event.job_id) {
        (Some(job), _) => parts.push(format!("job {} {}", job.job_id, job.state.name())),
        (None, Some(job_id)) => parts.push(format!("job {job_id}")),
        (None, None) => {}
    }
    if let Some(lagged) = event.lagged {
        parts.push(format!("{} left out", render::counted(lagged, "event", "events")));
    }
    parts.extend(event.message.as_deref().map(render::safe));
    parts.join("  ")
}
