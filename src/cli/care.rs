//! What is done for a submitted command while it runs, as it is typed.

use std::str::FromStr;

use clap::ValueEnum;
use nix::sys::signal::Signal;

use super::typed::Span;
use crate::contract::{self, Submit};
use crate::quantity::{NOTIFY_BYTES_MAX, SIGNAL_MAX};
use crate::wire::os_text::OsText;

/// What is done for a submitted command while it runs.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct Care {
    /// Send the command this signal so long before its time is over, once: USR1@5m, or by number 10@90s
    #[arg(long, value_name = "SIG@DUR")]
    pub signal: Option<Warning>,
    /// When the kernel kills for want of memory: kill all of the job, or let what is left continue [default: kill]
    #[arg(long, value_name = "WHAT", value_enum, hide_possible_values = true)]
    pub oom: Option<OutOfMemory>,
    /// When the job is over have sh -c run this in its room; FAIRSHARE_JOB_STATE and FAIRSHARE_EXIT_CODE say how it ended
    #[arg(long, value_name = "CMD", value_parser = Notify::checked, conflicts_with = "in_share")]
    pub notify: Option<Notify>,
}

/// A command for `sh -c`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notify(OsText);

impl Notify {
    fn checked(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("write what is to be run, like 'mail -s done me </dev/null'".to_owned()),
            1..=NOTIFY_BYTES_MAX => Ok(Self(text.into())),
            length => Err(format!(
                "it has {length} bytes, and {NOTIFY_BYTES_MAX} is the most: have it run a script"
            )),
        }
    }
}

/// A signal, and how long before the end of a command's time it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    number: u64,
    before: Span,
}

/// What the kernel ends of a command that wants more memory than it may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutOfMemory {
    /// All of it.
    Kill,
    /// The one process that it chooses.
    Continue,
}

impl Care {
    /// The same, where what was not said is as the `other` says it.
    pub fn or(self, other: Self) -> Self {
        Self {
            signal: self.signal.or(other.signal),
            oom: self.oom.or(other.oom),
            notify: self.notify.or(other.notify),
        }
    }

    /// Puts it in what is submitted.
    pub fn put_in(&self, submission: &mut Submit) {
        submission.signal = self
            .signal
            .map(|Warning { number, before }| contract::Warning { number, before_ms: before.ms() });
        submission.oom = self.oom.map(|oom| match oom {
            OutOfMemory::Kill => contract::OutOfMemory::Kill,
            OutOfMemory::Continue => contract::OutOfMemory::Continue,
        });
        submission.notify = self.notify.as_ref().map(|Notify(command)| command.clone());
    }
}

impl FromStr for Warning {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (signal, before) = text.split_once('@').ok_or_else(|| {
            "write the signal and how long before the end of the command's time it is sent, like USR1@5m"
                .to_owned()
        })?;
        Ok(Self { number: number(signal.trim())?, before: before.parse()? })
    }
}

/// The number of a signal that is named as `kill -l` has it, with or without SIG, or by that number.
fn number(text: &str) -> Result<u64, String> {
    if let Ok(number) = text.parse::<u64>() {
        let is = (1..=SIGNAL_MAX).contains(&number);
        return if is { Ok(number) } else { Err(format!("signals are 1 to {SIGNAL_MAX}, and not {number}")) };
    }
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let signal: Option<Signal> = format!("SIG{name}").parse().ok();
    let number = signal.and_then(|signal| u64::try_from(signal as i32).ok());
    number.ok_or_else(|| format!("{text:?} is no signal: name one like USR1 or TERM, or its number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_is_named_as_other_tools_name_it() {
        let typed = |text: &str| text.parse().map(|Warning { number, before }| (number, before.ms()));
        for name in ["USR1", "SIGUSR1", "usr1", "sigusr1", "10"] {
            assert_eq!(typed(&format!("{name}@5m")), Ok((10, 300_000)), "{name}");
        }
        assert_eq!(typed("TERM@00:01:30"), Ok((15, 90_000)));
        assert_eq!(typed("64@1s"), Ok((64, 1000)));
        for (text, why) in [
            ("USR1", "like USR1@5m"),
            ("@5m", "is no signal"),
            ("USR3@5m", "\"USR3\" is no signal"),
            ("SIGSIGUSR1@5m", "is no signal"),
            ("RTMIN@5m", "is no signal"),
            ("0@5m", "1 to 64"),
            ("65@5m", "1 to 64"),
            ("USR1@0s", "longer than nothing"),
            ("USR1@", "time"),
        ] {
            let refused = typed(text).unwrap_err();
            assert!(refused.contains(why), "{text}: {refused}");
        }
    }
}
