//! A command as it is submitted: what it is checked for before anybody is asked whether it may run.

use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::caller::Brought;
use super::refuse::bad;
use crate::contract::DESCRIPTORS_MAX;
use crate::contract::handover::Handover;
use crate::host::process::inherited::{Inherited, inherited_from};
use crate::host::process::rlimits::Rlimits;
use crate::identity::Uid;
use crate::quantity::Bytes;
use crate::serving::account::Room;
use crate::serving::closing::Received;
use crate::serving::incoming::Descriptors;
use crate::serving::logging::chain;
use crate::serving::peer::Peer;
use crate::wire::detail::Detail;
use crate::wire::error::{Code, WireError};
use crate::wire::os_text::OsText;

/// A command as it was submitted, until it has been handed over.
#[derive(Debug)]
pub struct Spec {
    /// What it is, encoded: in memory it takes as much as on the wire, and not the many times more of what was decoded.
    pub handover: Vec<u8>,
    /// Its standard input, output and error, as far as they were sent.
    pub stdio: Arc<Received>,
    /// What it has of the process that submitted it.
    pub inherited: Inherited,
    /// Room in what one member may keep waiting here; none where it was kept on disk.
    pub room: Option<Arc<Room>>,
}

/// What is kept on disk of a command, after its [`Handover`].
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    no_new_privs: bool,
    filtered: bool,
    /// Soft and hard limits, in the order of `proc_pid_limits(5)`.
    rlimits: Vec<(u64, u64)>,
}

impl Spec {
    /// A command of the peer's with what came with it, encoded.
    ///
    /// # Errors
    /// BadRequest, naming the descriptor that no command can have; Forbidden, where the process that has connected cannot be
    /// looked at; those of [`Brought::hold`]; Internal, where the command cannot be encoded.
    pub fn of(handover: Handover, peer: &Peer, brought: &mut Brought<'_>) -> Result<Self, WireError> {
        let stdio = Arc::new(streams(brought.take(peer.uid))?);
        let of_sent = handover.streams.each().into_iter().take(stdio.len());
        if let Some((name, _)) = of_sent.into_iter().find(|(_, path)| path.is_some()) {
            return Err(bad(format!("{name} is named, and a descriptor sent for it")));
        }
        let inherited = inherited(peer)?;
        let encoded = Handover { umask: inherited.umask, ..handover }.encode();
        let mut bytes = encoded
            .map_err(|why| WireError::new(Code::Internal, "The command cannot be handed over").detail(why))?;
        bytes.shrink_to_fit();
        let room = Some(Arc::new((brought.hold)(bytes.len())?));
        Ok(Self { handover: bytes, stdio, inherited, room })
    }

    /// Whether another daemon could run it: no descriptor came with it, which would end with this one.
    pub fn can_be_kept(&self) -> bool {
        self.stdio.is_empty()
    }

    /// How much of the disk it takes, about, where it is kept.
    pub fn kept_bytes(&self) -> Bytes {
        let bytes = u64::try_from(self.handover.len()).unwrap_or(u64::MAX);
        Bytes(if self.can_be_kept() { bytes } else { 0 })
    }

    /// What it takes to run it after another daemon has started, where that can be.
    pub fn kept(&self) -> Option<Vec<u8>> {
        if !self.can_be_kept() {
            return None;
        }
        let Inherited { no_new_privs, filtered, rlimits, umask: _ } = self.inherited;
        let mut bytes = self.handover.clone();
        ciborium::into_writer(&Kept { no_new_privs, filtered, rlimits: rlimits.figures() }, &mut bytes)
            .ok()?;
        Some(bytes)
    }

    /// A command of this member's, of what was kept of it.
    ///
    /// # Errors
    /// In words, what is wrong with it.
    pub fn of_kept(uid: Uid, bytes: &[u8]) -> Result<Self, String> {
        let said = |error: ciborium::de::Error<std::io::Error>| error.to_string();
        let mut rest = bytes;
        let Handover { umask, .. } = ciborium::from_reader(&mut rest).map_err(said)?;
        let handover = bytes.get(..bytes.len().saturating_sub(rest.len())).unwrap_or_default().to_vec();
        let Kept { no_new_privs, filtered, rlimits } = ciborium::from_reader(&mut rest).map_err(said)?;
        let rlimits = Rlimits::of_figures(&rlimits).ok_or("its limits are not those of this kernel")?;
        let inherited = Inherited { umask, no_new_privs, rlimits, filtered };
        Ok(Self { handover, stdio: Arc::new(Received::from(uid)), inherited, room: None })
    }

    /// Refuses a command of a process whose system calls are filtered: PID 1 would run it outside of that filter.
    ///
    /// # Errors
    /// Forbidden, with the setting of the policy that allows it.
    pub fn refuse_filtered(&self) -> Result<(), WireError> {
        if !self.inherited.filtered {
            return Ok(());
        }
        let message = "The process that submits is in a sandbox: its system calls are filtered (seccomp)";
        let detail = Detail { setting: Some("from_sandboxes".to_owned()), ..Detail::default() };
        Err(WireError::new(Code::Forbidden, message)
            .detail(detail.and_text("the command would run outside of it")))
    }
}

/// What the process that has connected hands on to what it starts. Where that process has ended, or runs as somebody else by
/// now, nobody can say what held it: a command would run without.
fn inherited(peer: &Peer) -> Result<Inherited, WireError> {
    inherited_from(peer.pid.unsigned_abs(), peer.uid, peer.connected_boot_ms).map_err(|fault| {
        let message = "The process that has connected cannot be looked at";
        WireError::new(Code::Forbidden, message).detail(format!(
            "{}; a submitted command is held by what holds its submitter: submit from a process that runs as you and waits \
             for the answer",
            chain(&fault)
        ))
    })
}

/// Whether a command can be what it says.
///
/// # Errors
/// BadRequest, naming the argument or variable.
pub fn checked(handover: Handover) -> Result<Handover, WireError> {
    let nul = |text: &OsText| text.as_bytes().contains(&0);
    if handover.argv.first().is_none_or(|argument| argument.as_bytes().is_empty()) {
        return Err(bad("argv[0] is empty".to_owned()));
    }
    if let Some(at) = handover.argv.iter().position(nul) {
        return Err(bad(format!("argv[{at}] has a NUL in it")));
    }
    for (name, text) in [("script", &handover.script), ("notify", &handover.notify)] {
        if text.as_ref().is_some_and(nul) {
            return Err(bad(format!("{name} has a NUL in it")));
        }
    }
    let paths = handover.streams.each().into_iter().filter_map(|(name, path)| Some((name, path?)));
    for (name, path) in paths.chain([("cwd", &handover.cwd)]) {
        if !path.as_bytes().starts_with(b"/") || nul(path) {
            return Err(bad(format!("{name} is not an absolute path")));
        }
    }
    for (name, value) in &handover.env {
        if name.as_bytes().is_empty() || name.as_bytes().contains(&b'=') || nul(name) || nul(value) {
            return Err(bad(format!("env: no environment can have the variable \"{name}\", or its value")));
        }
    }
    Ok(handover)
}

/// Whether the descriptors that came can be a command's standard input, output and error.
///
/// # Errors
/// BadRequest, naming the descriptor.
fn streams(descriptors: Descriptors) -> Result<Received, WireError> {
    if descriptors.cut {
        return Err(bad(format!("More than {DESCRIPTORS_MAX} descriptors were sent")));
    }
    for (descriptor, name) in descriptors.kept.iter().zip(["input", "output", "error"]) {
        let unusable = |why: &str| bad(format!("The descriptor for standard {name} is {why}"));
        // Of what the kernel knows already: a file system may be a member's own, and not answer.
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        match rustix::fs::statx(descriptor, "", flags, StatxFlags::TYPE) {
            Ok(stat) => match FileType::from_raw_mode(stat.stx_mode.into()) {
                FileType::RegularFile | FileType::Fifo | FileType::CharacterDevice => {}
                FileType::Directory => return Err(unusable("a folder")),
                FileType::Socket => return Err(unusable("a socket")),
                _ => return Err(unusable("no file, pipe or terminal")),
            },
            // A file system that answers its own member only, as those in FUSE do. It is theirs to use.
            Err(Errno::ACCESS) => {}
            Err(errno) => return Err(unusable(&errno.to_string())),
        }
        let flags = rustix::fs::fcntl_getfl(descriptor).map_err(|errno| unusable(&errno.to_string()))?;
        let mode = flags & OFlags::RWMODE;
        match name {
            _ if flags.contains(OFlags::PATH) => return Err(unusable("only a path")),
            "input" if mode == OFlags::WRONLY => return Err(unusable("not open for reading")),
            "output" | "error" if mode == OFlags::RDONLY => return Err(unusable("not open for writing")),
            _ => {}
        }
    }
    Ok(descriptors.kept)
}
