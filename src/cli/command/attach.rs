//! `fairshare attach`: move running processes into the share.

use std::path::Path;

use crate::cli::args::Attach;
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::{Link, refused};
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::{self, Whom};
use crate::contract::{self, Endpoint, FindingKind, InUnit};
use crate::host::process::{self, ProcessError};
use crate::quantity::Bytes;
use crate::wire::error::{Code, WireError};

/// How many processes one call may name (fairshare-protocol(7)).
const AT_ONCE_MAX: usize = 64;

/// From how much memory on it is said that what is in use stays charged where it was.
const MEMORY_WORTH_A_WORD: Bytes = Bytes(16 << 20);

/// How far up it is looked what the command was started from.
const ANCESTORS_MAX: usize = 64;

/// Moves processes of the caller's into its share, as many at a time as a call takes.
///
/// # Errors
/// Refused, or no daemon answers.
pub fn run(args: &Attach, socket: &Path) -> Result<Exit, Failure> {
    let mut link = Link::new(socket);
    if !args.all {
        return attach(&mut link, &args.pids);
    }
    let pids = outside(&mut link)?;
    if pids.is_empty() {
        // The daemon tells whoever has no share.
        if link.ask(&contract::Status { for_uid: None }, &Whom::Me)?.share.is_some() {
            render::print("Nothing of yours is outside of your share but what this was started from")?;
            return Ok(Exit::DONE);
        }
        return attach(&mut link, &[std::process::id()]);
    }
    attach_each(&mut link, &pids)
}

/// What became of processes that were to be moved.
#[derive(Default)]
struct Moved {
    processes: u64,
    /// What of their memory stays counted where it was.
    memory: Bytes,
    /// Where they are now.
    units: Vec<String>,
}

impl Moved {
    /// Has these moved together; what the daemon refuses is answered.
    fn add(&mut self, link: &mut Link, pids: &[u32]) -> Result<Result<(), WireError>, Failure> {
        let charged: u64 = pids.iter().filter_map(|pid| charged_elsewhere(*pid)).sum();
        let call = contract::Attach { pids: pids.iter().copied().map(u64::from).collect() };
        Ok(link.try_ask(&call)?.map(|InUnit { unit, .. }| {
            self.processes += pids.iter().map(|pid| u64::from(is_moved(*pid))).sum::<u64>();
            self.memory = Bytes(self.memory.0.saturating_add(charged));
            self.units.push(render::safe(&unit));
        }))
    }

    /// Says it. Where nothing was moved it is what the daemon said `last`.
    fn tell(self, last: Option<WireError>) -> Result<Exit, Failure> {
        let unit = match (self.units.as_slice(), last) {
            ([], Some(error)) => return Err(refused(&error, Endpoint::Attach, &Whom::Me)),
            ([unit], _) => unit.clone(),
            (units, _) => format!("{} scopes of your share", units.len()),
        };
        let moved = render::counted(self.processes, "process", "processes");
        render::print(&format!("Moved {moved} into {unit}"))?;
        if self.memory >= MEMORY_WORTH_A_WORD {
            note(&format!(
                "{} of memory that is in use already stay counted where they were; only what is taken from now on counts here",
                self.memory
            ));
        }
        Ok(Exit::DONE)
    }
}

/// Moves these, unless the daemon refuses one.
fn attach(link: &mut Link, all: &[u32]) -> Result<Exit, Failure> {
    let (mut moved, mut last) = (Moved::default(), None);
    for pids in all.chunks(AT_ONCE_MAX) {
        match moved.add(link, pids)? {
            Ok(()) => {}
            // All of these have ended meanwhile; of the others some may not have.
            Err(error) if error.is(Code::NotFound) && all.len() > pids.len() => last = Some(error),
            Err(error) => return Err(refused(&error, Endpoint::Attach, &Whom::Me)),
        }
    }
    moved.tell(last)
}

/// Moves those of these that the daemon takes: one that it refuses keeps no other from its way.
fn attach_each(link: &mut Link, all: &[u32]) -> Result<Exit, Failure> {
    let (mut moved, mut last) = (Moved::default(), None);
    for pids in all.chunks(AT_ONCE_MAX) {
        if moved.add(link, pids)?.is_ok() {
            continue;
        }
        for pid in pids {
            if let Err(error) = moved.add(link, &[*pid])? {
                if !error.is(Code::NotFound) {
                    note(&format!("process {pid} stays where it is: {}", error.message));
                }
                last = Some(error);
            }
        }
    }
    moved.tell(last)
}

/// The caller's processes that are outside of the share, but for this one and those that it was started from: the last of a
/// login's must stay there as long as the login does.
fn outside(link: &mut Link) -> Result<Vec<u32>, Failure> {
    let own = whom::own_uid();
    let mut ancestors = vec![std::process::id()];
    while let Some(parent) = ancestors.last().and_then(|pid| process::parent(*pid).ok()) {
        if parent == 0 || ancestors.len() >= ANCESTORS_MAX {
            break;
        }
        ancestors.push(parent);
    }
    let findings = link.ask(&contract::Audit {}, &Whom::Me)?.findings;
    // What the policy holds in its unit belongs there.
    let of_mine = findings.into_iter().filter(|finding| {
        finding.uid == Some(own) && matches!(finding.kind, FindingKind::Outside | FindingKind::Left)
    });
    let pids = of_mine.filter_map(|finding| finding.pids).flatten();
    Ok(pids.filter_map(|pid| u32::try_from(pid).ok()).filter(|pid| !ancestors.contains(pid)).collect())
}

/// The memory of a process that is not counted in a share, in bytes.
fn charged_elsewhere(pid: u32) -> Option<u64> {
    let inside = process::cgroup_of(pid).ok()?.contains("/fairshare-");
    if inside { None } else { process::memory(pid).ok() }
}

/// Whether a process was moved, of those that the daemon took. One that it left out is named.
fn is_moved(pid: u32) -> bool {
    match process::cgroup_of(pid) {
        Ok(cgroup) if cgroup.ends_with(".service/init.scope") => {
            note(&format!("process {pid} stays where it is: your own systemd is not moved"));
            false
        }
        Err(ProcessError::Gone { .. }) => {
            note(&format!("process {pid} has ended meanwhile"));
            false
        }
        Ok(_) | Err(_) => true,
    }
}
