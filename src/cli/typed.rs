//! Figures as people type them: with the units of other tools where it is certain what is meant, and asked back where it
//! is not.

use std::str::FromStr;
use std::time::{Duration, UNIX_EPOCH};

use crate::contract::Amounts;
use crate::quantity::{Bytes, MilliCpu, QuantityError, Tasks};
use crate::sys::local_time;
use crate::time::milliseconds;

/// How much of each resource.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Figures {
    /// CPUs: 2, or 0.5
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub cpu: Option<MilliCpu>,
    /// Memory: with K, M, G, T (powers of 1024), like 8G, 1.5g or 512MiB
    #[arg(long, value_name = "SIZE", allow_negative_numbers = true, value_parser = memory)]
    pub mem: Option<Bytes>,
    /// Processes and threads, together
    #[arg(long, value_name = "N", allow_negative_numbers = true)]
    pub tasks: Option<Tasks>,
}

impl Figures {
    /// The same as a call carries them.
    pub fn amounts(self) -> Amounts {
        Amounts {
            cpu_milli: self.cpu.map(|cpu| cpu.0),
            mem_bytes: self.mem.map(|mem| mem.0),
            tasks_max: self.tasks.map(|tasks| tasks.0),
        }
    }
}

/// A span of time that a person named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span(pub Duration);

impl Span {
    /// The same as a call carries it.
    pub fn ms(self) -> u64 {
        milliseconds(self.0)
    }
}

/// A moment that a person named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// So long from now.
    In(Span),
    /// This one, in Unix milliseconds.
    At(u64),
}

impl Moment {
    /// The same in Unix milliseconds.
    pub fn ms(self, now_ms: u64) -> u64 {
        match self {
            Self::In(span) => now_ms.saturating_add(span.ms()),
            Self::At(ms) => ms,
        }
    }
}

/// Memory under which a figure without a unit is taken for one whose unit was left out, in bytes: no program of any use
/// lives in less, and other tools read `4096` as mebibytes.
const BARE_MEM_MIN_BYTES: u64 = 4 << 20;

/// An amount of memory that a person typed.
///
/// # Errors
/// No such amount, or one that is likely to lack its unit: what would be right.
pub fn memory(text: &str) -> Result<Bytes, String> {
    let figure = text.trim();
    let bytes: Result<Bytes, QuantityError> = figure.parse();
    let bare = figure.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
    let little = bytes.as_ref().map_or(true, |bytes| bytes.0 < BARE_MEM_MIN_BYTES);
    if bare && little && format!("{figure}M").parse::<Bytes>().is_ok() {
        return Err(format!("{figure} bytes are less than any program needs: did you mean {figure}M?"));
    }
    bytes.map_err(|error| error.to_string())
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let span = if text.contains(':') { clock(text) } else { spelled(text) }?;
        if span < Duration::from_millis(1) {
            return Err("it must be longer than nothing".to_owned());
        }
        Ok(Self(span))
    }
}

impl FromStr for Moment {
    type Err = String;

    /// A span, which is counted from now, or a day and a time of it. Without a `Z` at its end that is the time here.
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let wrong =
            || format!("{text:?} is no time: write it like 2h, \"2030-12-01 08:00\" or 2030-12-01T07:00:00Z");
        if !text.contains(':') {
            return spelled(text.strip_prefix("in ").unwrap_or(text).trim())
                .map_err(|_| wrong())
                .and_then(|span| if span.is_zero() { Err(wrong()) } else { Ok(Self::In(Span(span))) });
        }
        if !text.contains('-') {
            return Err(format!(
                "{text:?} could be a time of day or a span: write the day before it, or a span like 2h 30m"
            ));
        }
        let (shown, utc) = match text.strip_suffix(['Z', 'z']) {
            Some(shown) => (shown, true),
            None => (text, false),
        };
        let seconds = if shown.matches(':').count() == 1 { ":00" } else { "" };
        let shown = humantime::parse_rfc3339_weak(&format!("{shown}{seconds}").to_ascii_uppercase())
            .map_err(|_| wrong())?;
        let shown = shown.duration_since(UNIX_EPOCH).map_err(|_| wrong())?;
        if utc {
            return Ok(Self::At(milliseconds(shown)));
        }
        let here = i64::try_from(shown.as_secs()).ok().and_then(local_time::moment_of);
        let here = here.and_then(|seconds| u64::try_from(seconds).ok()).ok_or_else(wrong)?;
        Ok(Self::At(here.saturating_mul(1000)))
    }
}

/// A span with its units, like `90m` or `1h 30m`. A capital letter is taken for a small one, but for `M`: a month.
fn spelled(text: &str) -> Result<Duration, String> {
    if text.ends_with(|last: char| last.is_ascii_digit())
        && text.parse::<u64>().is_ok_and(|figure| figure > 0)
    {
        return Err(format!("{text} of what? Write {text}s, {text}m or {text}h"));
    }
    let text = if text.contains('M') { text.to_owned() } else { text.to_ascii_lowercase() };
    humantime::parse_duration(&text)
        .map_err(|_| format!("{text:?} is not a span of time: write it like 90m, 8h, 7d or 1-12:00:00"))
}

/// A span as Slurm writes it, where that cannot be mistaken: `HOURS:MINUTES:SECONDS`, or with
/// `DAYS-` before `HOURS:MINUTES` and perhaps seconds.
fn clock(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is not a span of time: write it like 02:30:00, 1-12:00:00, 90m or 7d");
    let (days, time) = text.split_once('-').map_or((None, text), |(days, time)| (Some(days), time));
    let digits = |part: &str| (1..=6).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit());
    let parts: Vec<&str> = time.split(':').collect();
    if !parts.iter().copied().chain(days).all(digits) {
        return Err(wrong());
    }
    let figure = |part: &str| part.parse::<u64>().map_err(|_| wrong());
    match parts.as_slice() {
        [hours, minutes, rest @ ..] if rest.len() + usize::from(days.is_some()) >= 1 && rest.len() <= 1 => {
            let (hours, minutes) = (figure(hours)?, figure(minutes)?);
            let seconds = rest.first().map_or(Ok(0), |seconds| figure(seconds))?;
            if minutes > 59 || seconds > 59 || days.is_some() && hours > 23 {
                return Err(wrong());
            }
            let days = days.map_or(Ok(0), figure)?;
            Ok(Duration::from_secs(((days * 24 + hours) * 60 + minutes) * 60 + seconds))
        }
        // Minutes and seconds to Slurm, hours and minutes to a clock.
        [first, second] => Err(format!(
            "{text:?} could be hours and minutes or minutes and seconds: write {text}:00, or {}m {}s",
            figure(first)?,
            figure(second)?
        )),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_read_as_other_tools_write_them() {
        let (minute, hour, day) = (60, 3600, 86_400);
        for (text, seconds) in [
            ("90m", 90 * minute),
            ("1h 30m", 90 * minute),
            ("1H", hour),
            ("7D", 7 * day),
            ("00:10:00", 10 * minute),
            ("02:30:00", 150 * minute),
            ("48:00:00", 2 * day),
            ("1-00:00:00", day),
            ("1-12:30", day + 12 * hour + 30 * minute),
            (" 2-01:00:05 ", 2 * day + hour + 5),
        ] {
            assert_eq!(text.parse(), Ok(Span(Duration::from_secs(seconds))), "{text}");
        }
    }

    #[test]
    fn what_a_span_could_be_is_asked() {
        for (text, says) in [
            ("600", "600 of what? Write 600s, 600m or 600h"),
            ("02:30", "write 02:30:00, or 2m 30s"),
            ("0", "it must be longer than nothing"),
            ("0:00:00", "it must be longer than nothing"),
            ("1:60:00", "is not a span of time"),
            ("1-24:00:00", "is not a span of time"),
            ("1:2:3:4", "is not a span of time"),
            ("-1:00:00", "is not a span of time"),
            ("1::00", "is not a span of time"),
            ("1-:00", "is not a span of time"),
            ("9999999:00:00", "is not a span of time"),
            (":", "is not a span of time"),
            ("+1:00:00", "is not a span of time"),
            ("soon", "is not a span of time"),
        ] {
            let error = text.parse::<Span>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn moments_are_read_as_spans_or_as_days_with_a_time() {
        let hours = |hours: u64| Duration::from_secs(hours * 3600);
        for text in ["2h", "in 2h", " in 120m "] {
            assert_eq!(text.parse(), Ok(Moment::In(Span(hours(2)))), "{text}");
        }
        let utc = 1_796_108_400_000;
        for text in ["2026-12-01T07:00:00Z", "2026-12-01 07:00Z", "2026-12-01t07:00z"] {
            assert_eq!(text.parse(), Ok(Moment::At(utc)), "{text}");
        }
        let here = "2026-12-01 07:00".parse::<Moment>().unwrap().ms(0);
        assert!(here.abs_diff(utc) <= 86_400_000, "{here}");
        assert_eq!("2h".parse::<Moment>().unwrap().ms(1000), 7_201_000);
        for (text, says) in [
            ("08:00", "write the day before it"),
            ("tomorrow", "is no time"),
            ("2026-13-01 08:00", "is no time"),
            ("2026-12-01", "is no time"),
            ("1969-12-01 08:00Z", "is no time"),
            ("0s", "is no time"),
            ("", "is no time"),
        ] {
            let error = text.parse::<Moment>().unwrap_err();
            assert!(error.contains(says), "{text}: {error}");
        }
    }

    #[test]
    fn a_bare_amount_that_no_program_lives_in_is_asked_for_its_unit() {
        for bare in ["4096", "16384", "65536", "4194303"] {
            let error = memory(bare).unwrap_err();
            assert!(error.ends_with(&format!("did you mean {bare}M?")), "{error}");
        }
        for (text, bytes) in
            [("4194304", 4 << 20), ("4096K", 4 << 20), ("4096B", 4096), ("8589934592", 8 << 30)]
        {
            assert_eq!(memory(text), Ok(Bytes(bytes)), "{text}");
        }
        assert!(memory("512").unwrap_err().contains("512M"));
        for wrong in ["", "0", "18446744073709551616"] {
            assert!(!memory(wrong).unwrap_err().contains("did you mean"), "{wrong}");
        }
    }
}
