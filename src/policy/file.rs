//! Reads the policy: `policy.d/*.yaml` in name order, or one file. The same code for the daemon and for
//! `fairshare policy check`.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::Policy;
use super::cursor::Wrong;
pub use super::draft::Names;
use super::draft::{Draft, UnfoundDraft};
use super::yaml::{self, KeyPath};
use crate::identity::{Gid, Uid};

pub use super::yaml::Position;

/// Where the policy is, unless the daemon or the command was told otherwise.
pub const POLICY_DIR: &str = "/etc/fairshare/policy.d";

/// The largest policy file, in bytes: some ten thousand users.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// The most policy files in a directory.
pub const FILES_MAX: usize = 64;

/// The most names of files that [`left_out`] names; of more it says how many.
const LEFT_OUT_NAMED_MAX: usize = 8;

/// What a directory without a policy needs first.
const EXAMPLE: &str = "\"defaults: {cpu: 2, mem: 8G}\" and \"max: {cpu: 8, mem: 32G}\"";

/// What is wrong with a policy, where, and what would be right.
///
/// Displayed as `FILE:LINE:COLUMN: KEY: PROBLEM`, less what does not apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PolicyError {
    /// The file; the directory, where no file is to blame.
    pub file: PathBuf,
    /// Where in the file; `None` where the file or directory as a whole is to blame.
    pub position: Option<Position>,
    /// The key from the top, like `users.alice.max.cpu`; empty where it is about no key.
    pub key: String,
    /// What is wrong and what would be right, one short sentence.
    pub problem: String,
}

/// Reads the policy at `path`: a directory's `*.yaml` in byte order of their names, hidden ones left out, later
/// ones over earlier ones key by key; or one file, whatever its name. Symbolic links are followed: who can write
/// the directory can write the policy.
///
/// # Errors
/// The first thing that is wrong: nothing can be read there, or what is read is no policy (1-product.md "Policy").
pub fn load(path: &Path, names: &dyn Names) -> Result<Policy, PolicyError> {
    assemble(&files(path)?, path, Draft::default(), names, read)
}

/// The same, but no name is looked up: all users and groups are [`Policy::unfound`], and looked up later.
///
/// # Errors
/// As of [`load`], less what is wrong with a name.
pub fn load_names_later(path: &Path) -> Result<Policy, PolicyError> {
    let files = files(path)?;
    let draft = Draft { unfound: Some(UnfoundDraft::default()), ..Draft::default() };
    let mut policy = assemble(&files, path, draft, &NobodyAsked, read)?;
    policy.unfound = policy.unfound.in_files(&files);
    Ok(policy)
}

/// Stands for a database where none is asked.
struct NobodyAsked;

impl Names for NobodyAsked {
    fn user(&self, _name: &str) -> io::Result<Option<Uid>> {
        Ok(None)
    }

    fn group(&self, _name: &str) -> io::Result<Option<Gid>> {
        Ok(None)
    }
}

/// What [`load`] leaves out in the directory at `path`, for whoever expects it to be read: a line that names the files
/// that are neither hidden nor `*.yaml`. Nothing where there are none, or `path` is no directory that can be read.
pub fn left_out(path: &Path) -> Option<String> {
    let entries = std::fs::read_dir(path).ok()?;
    let names = entries.filter_map(|entry| Some(entry.ok()?.file_name()));
    let mut names: Vec<OsString> =
        names.filter(|name| !is_read(name) && !name.as_bytes().starts_with(b".")).collect();
    names.sort();
    let shown =
        names.iter().take(LEFT_OUT_NAMED_MAX).map(|name| name.to_string_lossy().escape_debug().to_string());
    let mut shown = shown.collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(LEFT_OUT_NAMED_MAX) {
        0 => {}
        more => shown.push_str(&format!(" and {more} more")),
    }
    (!names.is_empty()).then(|| format!("left out: {shown} (only *.yaml is read)"))
}

/// Whether a file of this name in a directory is a part of the policy.
fn is_read(name: &OsStr) -> bool {
    !name.as_bytes().starts_with(b".") && name.as_bytes().ends_with(b".yaml")
}

/// The policy in the bytes of one file, as [`load`] has it.
///
/// # Errors
/// The first thing that is wrong, in a file of no name.
pub fn parse(bytes: &[u8], names: &dyn Names) -> Result<Policy, PolicyError> {
    let nameless = PathBuf::new();
    assemble(std::slice::from_ref(&nameless), &nameless, Draft::default(), names, |file| {
        text(file, bytes.to_owned())
    })
}

fn assemble(
    files: &[PathBuf],
    path: &Path,
    mut draft: Draft,
    names: &dyn Names,
    read: impl Fn(&Path) -> Result<String, PolicyError>,
) -> Result<Policy, PolicyError> {
    for (index, file) in files.iter().enumerate() {
        let text = read(file)?;
        let position = |fault| Wrong { file: index, fault };
        yaml::parse(&text)
            .map_err(position)
            .and_then(|top| top.map_or(Ok(()), |top| draft.read(index, &top, names)))
            .map_err(|wrong| in_file(wrong, files, path))?;
    }
    draft.finish().map_err(|wrong| in_file(wrong, files, path))
}

fn in_file(wrong: Wrong, files: &[PathBuf], path: &Path) -> PolicyError {
    let file = files.get(wrong.file).map_or(path, PathBuf::as_path).to_owned();
    let key = wrong.fault.key.to_string();
    PolicyError { file, position: Some(wrong.fault.position), key, problem: wrong.fault.problem }
}

/// The files at `path` in the order in which they are read; at least one.
fn files(path: &Path) -> Result<Vec<PathBuf>, PolicyError> {
    let wrong = |problem: String| whole(path, problem);
    let metadata = std::fs::metadata(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => wrong(format!(
            "does not exist: create the directory, with a file default.yaml in it that holds {EXAMPLE}"
        )),
        _ => wrong(format!("cannot be read: {error}")),
    })?;
    if !metadata.is_dir() {
        return Ok(vec![path.to_owned()]);
    }
    let mut files = Vec::new();
    let unreadable = |error: io::Error| wrong(format!("cannot be read: {error}"));
    for entry in std::fs::read_dir(path).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !is_read(&name) {
            continue;
        }
        if files.len() == FILES_MAX {
            return Err(wrong(format!("has more than {FILES_MAX} files: join some of them")));
        }
        files.push(path.join(name));
    }
    if files.is_empty() {
        return Err(wrong(format!("has no *.yaml file: create one, default.yaml, that holds {EXAMPLE}")));
    }
    // `Path` compares component by component, so that a whole path is ordered by the bytes of its last.
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> Result<String, PolicyError> {
    let unreadable = |error: io::Error| whole(path, format!("cannot be read: {error}"));
    let mut file = open(path).map_err(unreadable)?;
    if !file.metadata().map_err(unreadable)?.is_file() {
        return Err(whole(path, "is not a regular file: move it away".to_owned()));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed, so that what is too large is seen to be.
    file.by_ref().take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(whole(path, format!("is larger than {FILE_BYTES_MAX} bytes: split it")));
    }
    text(path, bytes)
}

fn text(path: &Path, bytes: Vec<u8>) -> Result<String, PolicyError> {
    String::from_utf8(bytes).map_err(|error| {
        let valid = error.as_bytes().get(..error.utf8_error().valid_up_to()).unwrap_or_default();
        let position = Some(end_of(&String::from_utf8_lossy(valid)));
        let problem = "not UTF-8: save the file as UTF-8".to_owned();
        PolicyError { file: path.to_owned(), position, key: String::new(), problem }
    })
}

/// Opens without waiting: a named pipe would be waited for until somebody writes to it.
fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(nix::libc::O_NONBLOCK).open(path)
}

/// The position right after `text`.
fn end_of(text: &str) -> Position {
    let last = text.rsplit('\n').next().unwrap_or_default();
    Position { line: text.matches('\n').count() + 1, column: last.chars().count() + 1 }
}

fn whole(path: &Path, problem: String) -> PolicyError {
    PolicyError { file: path.to_owned(), position: None, key: KeyPath::default().to_string(), problem }
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file.display())?;
        if let Some(Position { line, column }) = self.position {
            write!(f, ":{line}:{column}")?;
        }
        if !self.key.is_empty() {
            write!(f, ": {}", self.key)?;
        }
        write!(f, ": {}", self.problem)
    }
}

impl std::error::Error for PolicyError {}
