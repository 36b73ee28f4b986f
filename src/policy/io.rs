//! The most I/O of one share, as the policy says it: figures for everyone and for single users and groups, and the disks by paths
//! on them.

use std::fmt;
use std::str::FromStr;

use super::cursor::{At, Cursor, Wrong};
use crate::enforced::io::IoMost;
use crate::quantity::{Bytes, QuantityError};

/// The least rate, in bytes a second. The kernel lets a bio of up to some megabytes through and then makes its cgroup wait until
/// it is paid for: with less a program would stand still for seconds, and nothing ends it meanwhile.
const RATE_MIN: Bytes = Bytes(1 << 20);

/// The least number of reads or writes a second, so that a program that is read in page by page starts at all.
const OPS_MIN: u64 = 10;

/// The largest number of reads or writes a second: what the kernel keeps is 32 bits wide, and all of them are no bound
/// (`tg_set_limit` in its block/blk-throttle.c).
const OPS_MAX: u64 = u32::MAX as u64 - 1;

/// The most paths. `fairshare policy show` names them all, in an answer that is short.
pub const ON_MAX: usize = 8;

/// What is written below `io` of everyone.
const EXAMPLE: &str = "{read: 200M, write: 100M, on: [/home]}";

/// What is written below `io` of a user or group.
const ENTRY_EXAMPLE: &str = "{read: 400M, write: 200M}";

/// One figure of I/O.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IoBound<T> {
    /// At most so much.
    At(T),
    /// No bound: more than any figure.
    None,
}

/// What is said of I/O for everyone, or for one user or group; `None` where nothing is said of a figure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoRule {
    /// Bytes read a second.
    pub read: Option<IoBound<Bytes>>,
    /// Bytes written a second.
    pub write: Option<IoBound<Bytes>>,
    /// Reads a second.
    pub read_ops: Option<IoBound<u64>>,
    /// Writes a second.
    pub write_ops: Option<IoBound<u64>>,
}

/// What the policy says of everyone's I/O.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Io {
    /// The figures.
    pub rule: IoRule,
    /// Paths on the disks: absolute, without `.` and `..`, of characters that mean nothing to systemd. At most [`ON_MAX`]; none
    /// only where no figure is a bound.
    pub on: Vec<String>,
}

impl<T> IoBound<T> {
    fn figure(self) -> Option<T> {
        match self {
            Self::At(figure) => Some(figure),
            Self::None => None,
        }
    }
}

impl IoRule {
    /// No bound of anything.
    const NONE: Self = Self {
        read: Some(IoBound::None),
        write: Some(IoBound::None),
        read_ops: Some(IoBound::None),
        write_ops: Some(IoBound::None),
    };

    /// Of each figure that either names the larger.
    pub(super) fn generous(self, other: Self) -> Self {
        // `None` is less than any figure, so that one that is named wins.
        Self {
            read: self.read.max(other.read),
            write: self.write.max(other.write),
            read_ops: self.read_ops.max(other.read_ops),
            write_ops: self.write_ops.max(other.write_ops),
        }
    }

    /// Each figure that `self` names, and those of `rest` for the others.
    pub(super) fn over(self, rest: Self) -> Self {
        Self {
            read: self.read.or(rest.read),
            write: self.write.or(rest.write),
            read_ops: self.read_ops.or(rest.read_ops),
            write_ops: self.write_ops.or(rest.write_ops),
        }
    }

    /// What is bounded by it.
    pub(super) fn most(self) -> IoMost {
        IoMost {
            read: self.read.and_then(IoBound::figure),
            write: self.write.and_then(IoBound::figure),
            read_ops: self.read_ops.and_then(IoBound::figure),
            write_ops: self.write_ops.and_then(IoBound::figure),
        }
    }
}

/// Why a figure was not accepted. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum IoError {
    /// The text is no rate.
    #[error("{0:?} is not a rate: write bytes a second, with K, M, G or T, like 200M, or none")]
    NotRate(String),
    /// The unit of a rate is `m`.
    #[error(transparent)]
    Unit(QuantityError),
    /// A rate out of range.
    #[error("must be from 1M to 4194304T, in bytes a second, and {0} is not")]
    RateRange(String),
    /// The text is no number of operations.
    #[error("{0:?} is not a number of operations a second: write a whole number like 5000, or none")]
    NotOps(String),
    /// A number of operations out of range.
    #[error("must be from {OPS_MIN} to {OPS_MAX}, and {0} is not")]
    OpsRange(String),
}

/// Bytes a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rate(IoBound<Bytes>);

impl FromStr for Rate {
    type Err = IoError;

    fn from_str(text: &str) -> Result<Self, IoError> {
        if text == "none" {
            return Ok(Self(IoBound::None));
        }
        match text.parse::<Bytes>() {
            Ok(rate) if rate >= RATE_MIN => Ok(Self(IoBound::At(rate))),
            Ok(_) | Err(QuantityError::MemRange(_)) => Err(IoError::RateRange(text.to_owned())),
            Err(unit @ QuantityError::MemUnit(_)) => Err(IoError::Unit(unit)),
            Err(_) => Err(IoError::NotRate(text.to_owned())),
        }
    }
}

/// A number of operations a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ops(IoBound<u64>);

impl FromStr for Ops {
    type Err = IoError;

    fn from_str(text: &str) -> Result<Self, IoError> {
        if text == "none" {
            return Ok(Self(IoBound::None));
        }
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(IoError::NotOps(text.to_owned()));
        }
        match text.parse() {
            Ok(ops) if (OPS_MIN..=OPS_MAX).contains(&ops) => Ok(Self(IoBound::At(ops))),
            _ => Err(IoError::OpsRange(text.to_owned())),
        }
    }
}

/// `io` of everyone, or of one user or group, as files say it so far.
#[derive(Debug, Default)]
pub(super) struct IoDraft {
    /// The key itself.
    pub at: Option<At<()>>,
    pub rule: IoRule,
    on: Vec<String>,
}

impl IoDraft {
    /// Reads what is said of everyone.
    pub fn read(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        self.at = Some(at.key_at());
        for (name, at) in at.entries(EXAMPLE)? {
            match name {
                "on" => self.on = read_paths(&at)?,
                _ if self.read_figure(name, &at)? => {}
                _ => return Err(at.unknown("read, write, read_ops, write_ops, on")),
            }
        }
        Ok(())
    }

    /// Reads what is said of one user or group: `none`, or figures. On which disks is said for everyone.
    pub fn read_entry(&mut self, at: &Cursor<'_>) -> Result<(), Wrong> {
        self.at = Some(at.key_at());
        if matches!(at.text(), Ok(("none", true))) {
            self.rule = IoRule::NONE;
            return Ok(());
        }
        for (name, at) in at.entries(&format!("{ENTRY_EXAMPLE}, or none"))? {
            if name == "on" {
                return Err(
                    at.key_fault("is said once for everyone: write io: {on: [...]} at the top".to_owned())
                );
            }
            if !self.read_figure(name, &at)? {
                return Err(at.unknown("read, write, read_ops, write_ops"));
            }
        }
        Ok(())
    }

    fn read_figure(&mut self, name: &str, at: &Cursor<'_>) -> Result<bool, Wrong> {
        let rate = || Ok(Some(at.figure::<Rate>()?.value.0));
        let ops = || Ok(Some(at.figure::<Ops>()?.value.0));
        match name {
            "read" => self.rule.read = rate()?,
            "write" => self.rule.write = rate()?,
            "read_ops" => self.rule.read_ops = ops()?,
            "write_ops" => self.rule.write_ops = ops()?,
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What is said of everyone.
    ///
    /// # Errors
    /// A figure is bounded, here or in one of `entries`, and nothing says on which disks.
    pub fn finish<'a>(&'a self, entries: impl Iterator<Item = &'a IoDraft>) -> Result<Io, Wrong> {
        let bounding = std::iter::once(self).chain(entries).find(|draft| !draft.rule.most().is_empty());
        if let (Some(at), true) = (bounding.and_then(|draft| draft.at.as_ref()), self.on.is_empty()) {
            return Err(at.wrong(format!("nothing says on which disks: add on, as in io: {EXAMPLE}")));
        }
        Ok(Io { rule: self.rule, on: self.on.clone() })
    }
}

fn read_paths(at: &Cursor<'_>) -> Result<Vec<String>, Wrong> {
    let mut paths: Vec<String> = Vec::new();
    for item in at.items("[/home, /scratch]")? {
        let (path, _) = item.text()?;
        check_path(path).map_err(|problem| item.fault(problem))?;
        if paths.iter().any(|known| known == path) {
            return Err(item.fault(format!("{path} is named twice: keep one")));
        }
        if paths.len() == ON_MAX {
            return Err(item.fault(format!("more than {ON_MAX} paths: one for each disk is enough")));
        }
        paths.push(path.to_owned());
    }
    match paths.is_empty() {
        true => Err(at.fault("names no path: write it like [/home, /scratch]".to_owned())),
        false => Ok(paths),
    }
}

/// What is wrong with a path, in words. PID 1 takes those only that are `path_is_normalized` (systemd's basic/path-util.h), and
/// writes them as they are into a unit's file, where spaces, quotes, backslashes and `%` mean something.
fn check_path(path: &str) -> Result<(), String> {
    let refused = |must: fmt::Arguments<'_>| Err(format!("must be {must}, and {path:?} is not"));
    let Some(below) = path.strip_prefix('/') else {
        return refused(format_args!("an absolute path like /home"));
    };
    if !below.is_empty() && below.split('/').any(|part| ["", ".", ".."].contains(&part)) {
        return refused(format_args!("a path without ., .. and empty parts"));
    }
    if !path.chars().all(|c| c.is_alphanumeric() || "/_-+.,:@=~".contains(c)) {
        return refused(format_args!("of letters, digits and / _ - + . , : @ = ~"));
    }
    Ok(())
}
