//! A command as it is submitted: what it is checked for before anybody is asked whether it may run.

use std::sync::Arc;

use rustix::fs::{AtFlags, FileType, OFlags, StatxFlags};
use rustix::io::Errno;

use crate::contract::DESCRIPTORS_MAX;
use crate::contract::handover::Handover;
use crate::host::process::inherited::Inherited;
use crate::serving::closing::Received;
use crate::serving::incoming::Descriptors;
use crate::serving::quota::Room;
use crate::wire::cbor::shown;
use crate::wire::error::{Code, WireError};

/// A command as it was submitted, until it has been handed over.
#[derive(Debug)]
pub struct Spec {
    /// What it is, encoded: in memory it takes as much as on the wire, and not the many times more of what was decoded.
    pub handover: Vec<u8>,
    /// Its standard input, output and error, as far as they were sent.
    pub stdio: Arc<Received>,
    /// What it has of the process that submitted it.
    pub inherited: Option<Inherited>,
    /// Room in what one member may keep waiting here.
    pub room: Option<Arc<Room>>,
}

/// Whether a command can be what it says.
///
/// # Errors
/// BadRequest, naming the argument or variable.
pub fn checked(handover: Handover) -> Result<Handover, WireError> {
    let bad = |what: String| Err(WireError::new(Code::BadRequest, what));
    let nul = |text: &str| text.contains('\0');
    if handover.argv.first().is_none_or(String::is_empty) {
        return bad("argv[0] is empty".to_owned());
    }
    if let Some(at) = handover.argv.iter().position(|argument| nul(argument)) {
        return bad(format!("argv[{at}] has a NUL in it"));
    }
    if !handover.cwd.starts_with('/') || nul(&handover.cwd) {
        return bad("cwd is not an absolute path".to_owned());
    }
    for (name, value) in &handover.env {
        if name.is_empty() || name.contains('=') || nul(name) || nul(value) {
            let name = shown(name);
            return bad(format!("env: no environment can have the variable \"{name}\", or its value"));
        }
    }
    Ok(handover)
}

/// Whether the descriptors that came can be a command's standard input, output and error.
///
/// # Errors
/// BadRequest, naming the descriptor.
pub fn streams(descriptors: Descriptors) -> Result<Received, WireError> {
    let bad = |what: String| WireError::new(Code::BadRequest, what);
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
