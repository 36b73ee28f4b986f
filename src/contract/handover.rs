//! What the daemon hands to the process that becomes a submitted command. Between two programs of one package, and no part
//! of the contract.
//!
//! systemd starts `fairshare` as the member, with nothing of the member's: neither a word nor a descriptor. The process
//! connects to the daemon and calls `job_fetch`. The answer brings a sealed file with a [`Handover`] in CBOR, and the
//! command's standard input, output and error, as far as it has them; where there is no third one, errors go where the output
//! goes. So systemd's unit, which everybody may read, has neither the command's arguments nor its environment, and nothing is
//! replaced in them. No file of a member's is ever open in systemd or on the bus, which would wait for whoever serves it when
//! they close it: what the process does not take goes with its own connection.
//!
//! The daemon answers when the kernel was seen to hold the command's limits, and only then.
//!
//! What its member has run at the job's end (`submit --notify`) comes in the same way, to another process that systemd starts when
//! the command is over (`ExecStopPost=`). A [`HowEnded`] follows the [`Handover`] in its file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::submit::DESCRIPTORS_MAX;
use crate::wire::os_text::OsText;

/// The first argument of `fairshare` when it is to become a submitted command. The job's number and the daemon's socket follow.
pub const BECOME: &str = "--become-job";

/// The first argument of `fairshare` when it is to become what is run at a job's end. The job's number and the daemon's socket follow.
pub const NOTIFY: &str = "--notify-job";

/// What the kernel calls the process that is to become a submitted command, until it does (`PR_SET_NAME`; comm has 15 bytes).
pub const BECOMING: &str = "fairshare-job";

/// Descriptors that the answer brings at most: the file, and the command's own.
pub const HANDED_MAX: usize = 1 + DESCRIPTORS_MAX;

/// What a command is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Handover {
    /// The command and its arguments.
    pub argv: Vec<OsText>,
    /// The folder that it runs in.
    pub cwd: OsText,
    /// Its whole environment.
    pub env: BTreeMap<OsText, OsText>,
    /// The files of its standard input, output and error, where they are named ([`Submit`](super::Submit)).
    #[serde(default, skip_serializing_if = "Streams::is_empty")]
    pub streams: Streams,
    /// What is run in place of the first of `argv`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub script: Option<OsText>,
    /// What `sh -c` runs when the job is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub notify: Option<OsText>,
    /// With which `umask(2)` it creates files.
    #[serde(default = "umask_default")]
    pub umask: u32,
}

/// How a command ended, for what its member has run at its end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HowEnded {
    /// The job's state, in the word of [`JobState`](super::JobState).
    pub state: String,
    /// What its main process exited with.
    pub exit_code: Option<u64>,
    /// The signal that killed its main process.
    pub signal: Option<u64>,
}

/// Files that a command's own process opens, as its member.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Streams {
    /// Standard input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<OsText>,
    /// Standard output.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output: Option<OsText>,
    /// Standard error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errors: Option<OsText>,
}

impl Streams {
    /// Standard input, output and error, in this order, each with what a submission calls it.
    pub fn each(&self) -> [(&'static str, Option<&OsText>); 3] {
        let Self { input, output, errors } = self;
        [("input", input.as_ref()), ("output", output.as_ref()), ("errors", errors.as_ref())]
    }

    /// Whether none is named.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The name of a file in which the job's number is: `%j` is the number, and `%%` a percent sign.
pub fn numbered(name: &[u8], job: &str) -> Vec<u8> {
    let (mut numbered, mut rest) = (Vec::with_capacity(name.len()), name);
    while let [first, after @ ..] = rest {
        rest = match (first, after) {
            (b'%', [b'j', after @ ..]) => {
                numbered.extend(job.as_bytes());
                after
            }
            (b'%', [b'%', after @ ..]) => {
                numbered.push(b'%');
                after
            }
            (byte, after) => {
                numbered.push(*byte);
                after
            }
        };
    }
    numbered
}

/// Where the umask of who submitted a command is not known, and where a daemon that is being upgraded knows of none:
/// systemd's own (`systemd.exec(5)`, `UMask=`).
pub fn umask_default() -> u32 {
    0o022
}

impl Handover {
    /// As bytes.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }

    /// From bytes.
    ///
    /// # Errors
    /// They are something else.
    pub fn decode(bytes: &[u8]) -> Result<Self, String> {
        ciborium::from_reader(bytes).map_err(|error| error.to_string())
    }

    /// From bytes after which it says how the command ended, where the command has.
    ///
    /// # Errors
    /// They are something else.
    pub fn decode_with_end(mut bytes: &[u8]) -> Result<(Self, Option<HowEnded>), String> {
        let said = |error: ciborium::de::Error<std::io::Error>| error.to_string();
        let handover = ciborium::from_reader(&mut bytes).map_err(said)?;
        let ended = (!bytes.is_empty()).then(|| ciborium::from_reader(bytes).map_err(said)).transpose()?;
        Ok((handover, ended))
    }
}

impl HowEnded {
    /// As bytes.
    ///
    /// # Errors
    /// It cannot be encoded.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        ciborium::into_writer(self, &mut bytes).map_err(|error| error.to_string())?;
        Ok(bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_may_have_the_jobs_number_in_its_name() {
        for (name, numbered_name) in [
            ("/a/out-%j.txt", "/a/out-17.txt"),
            ("/a/100%%j%j", "/a/100%j17"),
            ("/a/50% off%", "/a/50% off%"),
            ("/%d", "/%d"),
        ] {
            assert_eq!(numbered(name.as_bytes(), "17"), numbered_name.as_bytes());
        }
    }
}
