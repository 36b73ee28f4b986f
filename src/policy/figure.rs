//! The policy's own figures: weights and ratios, kept in thousandths so that nothing is ever a float; times; swap.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::quantity::{Bytes, MilliCpu, QuantityError};

/// One, in thousandths.
const ONE_MILLI: u64 = 1000;

/// The shortest time that a policy may name: the unit of every time on the wire (2-protocol.md).
pub const DURATION_MIN: Duration = Duration::from_millis(1);

/// The longest time that a policy may name, 100 years: added to any wall clock in milliseconds it is far from the end of an `i64`.
pub const DURATION_MAX: Duration = Duration::from_secs(100 * 365 * 24 * 3600);

/// The smallest weight, in thousandths.
pub const WEIGHT_MIN_MILLI: u64 = 10;

/// The largest weight, in thousandths: 10 000, the top of a cgroup's `cpu.weight` (`cgroup-v2.rst`).
pub const WEIGHT_MAX_MILLI: u64 = 10_000_000;

/// The smallest overcommit, in thousandths.
pub const RATIO_MIN_MILLI: u64 = 100;

/// The largest overcommit, in thousandths.
pub const RATIO_MAX_MILLI: u64 = 100_000;

/// How much of what is scarce a member gets, relative to others, in thousandths: `Weight::milli() == 2000` is twice as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u64);

/// How many times a machine's resource is handed out, in thousandths: `Ratio::milli() == 1500` is one and a half times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ratio(u64);

/// The largest count.
const COUNT_MAX: usize = 1_000_000;

/// How many of something there may be, up to [`COUNT_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Count(pub usize);

/// A length of time, from [`DURATION_MIN`] to [`DURATION_MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time(pub Duration);

/// An amount of swap, in bytes: what memory may be, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Swap(pub Bytes);

/// What is kept of a resource: what a share may have of it, or 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OrNothing<T>(pub T);

/// Why a figure was not accepted. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FigureError {
    /// The text is no plain decimal.
    #[error("{0:?} is not a number: write one like 2 or 1.5")]
    NotDecimal(String),
    /// More than three decimals.
    #[error("must have at most three decimals, and {0} has more")]
    TooFine(String),
    /// A weight out of range.
    #[error("must be from 0.01 to 10000, and {0} is not")]
    WeightRange(String),
    /// A ratio out of range.
    #[error("must be from 0.1 to 100, and {0} is not")]
    RatioRange(String),
    /// A count out of range, or none.
    #[error("must be a whole number from 0 to 1000000, and {0} is not")]
    CountRange(String),
    /// The text is no length of time.
    #[error("{0:?} is not a time: write a figure and its unit, such as 30m, 8h or 7d")]
    NotTime(String),
    /// A time out of range.
    #[error("must be from 1ms to 100 years, and {0} is not")]
    TimeRange(String),
    /// An amount of swap that is neither 0 nor an amount of memory.
    #[error("{0}; or 0, for no swap")]
    Swap(QuantityError),
    /// A figure that is neither 0 nor what a share may have.
    #[error("{0}; or 0, to keep none")]
    Kept(QuantityError),
}

impl Weight {
    /// The weight in thousandths.
    pub fn milli(self) -> u64 {
        self.0
    }

    /// A weight of `milli` thousandths; `None` outside [`WEIGHT_MIN_MILLI`]..=[`WEIGHT_MAX_MILLI`].
    pub fn new(milli: u64) -> Option<Self> {
        (WEIGHT_MIN_MILLI..=WEIGHT_MAX_MILLI).contains(&milli).then_some(Self(milli))
    }
}

impl Ratio {
    /// The ratio in thousandths.
    pub fn milli(self) -> u64 {
        self.0
    }

    /// A ratio of `milli` thousandths; `None` outside [`RATIO_MIN_MILLI`]..=[`RATIO_MAX_MILLI`].
    pub fn new(milli: u64) -> Option<Self> {
        (RATIO_MIN_MILLI..=RATIO_MAX_MILLI).contains(&milli).then_some(Self(milli))
    }

    /// This many times `figure`, rounded down; `u64::MAX` where it does not fit.
    pub fn of(self, figure: u64) -> u64 {
        let times = u128::from(figure) * u128::from(self.0) / u128::from(ONE_MILLI);
        u64::try_from(times).unwrap_or(u64::MAX)
    }
}

impl Default for Weight {
    /// The weight of a member of whom the policy says nothing: 1.
    fn default() -> Self {
        Self(ONE_MILLI)
    }
}

impl Default for Ratio {
    /// What is there is handed out once: 1.
    fn default() -> Self {
        Self(ONE_MILLI)
    }
}

impl FromStr for Weight {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        let milli = thousandths(text)?;
        milli.and_then(Self::new).ok_or_else(|| FigureError::WeightRange(text.to_owned()))
    }
}

impl FromStr for Ratio {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        let milli = thousandths(text)?;
        milli.and_then(Self::new).ok_or_else(|| FigureError::RatioRange(text.to_owned()))
    }
}

impl FromStr for Count {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let count = if digits { text.parse().ok() } else { None };
        let count = count.filter(|count| *count <= COUNT_MAX).map(Self);
        count.ok_or_else(|| FigureError::CountRange(text.to_owned()))
    }
}

impl FromStr for Time {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        match humantime::parse_duration(text) {
            Ok(time) if (DURATION_MIN..=DURATION_MAX).contains(&time) => Ok(Self(time)),
            Ok(_) | Err(humantime::DurationError::NumberOverflow) => {
                Err(FigureError::TimeRange(text.to_owned()))
            }
            Err(_) => Err(FigureError::NotTime(text.to_owned())),
        }
    }
}

impl FromStr for Swap {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        if is_no_memory(text) {
            return Ok(Self(Bytes(0)));
        }
        text.parse().map(Self).map_err(FigureError::Swap)
    }
}

impl FromStr for OrNothing<Bytes> {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        if is_no_memory(text) {
            return Ok(Self(Bytes(0)));
        }
        text.parse().map(Self).map_err(FigureError::Kept)
    }
}

impl FromStr for OrNothing<MilliCpu> {
    type Err = FigureError;

    fn from_str(text: &str) -> Result<Self, FigureError> {
        if thousandths(text) == Ok(Some(0)) {
            return Ok(Self(MilliCpu(0)));
        }
        text.parse().map(Self).map_err(FigureError::Kept)
    }
}

/// Whether a text is `0`, with or without a unit of memory; `0.5G` is not nothing.
fn is_no_memory(text: &str) -> bool {
    let unit = text.trim_start_matches('0');
    let nothing = unit.len() < text.len() && !unit.starts_with(|c: char| c.is_ascii_digit() || c == '.');
    nothing && format!("4096{unit}").parse::<Bytes>().is_ok()
}

impl fmt::Display for Time {
    /// As a policy takes it: `7days`, `1h 30m`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_duration(self.0).fmt(f)
    }
}

impl fmt::Display for Weight {
    /// With as many decimals as needed: `2`, `0.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(self.0, f)
    }
}

impl fmt::Display for Ratio {
    /// With as many decimals as needed: `1`, `1.5`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        decimal(self.0, f)
    }
}

fn decimal(milli: u64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let (whole, part) = (milli / ONE_MILLI, milli % ONE_MILLI);
    if part == 0 {
        return write!(f, "{whole}");
    }
    write!(f, "{whole}.{}", format!("{part:03}").trim_end_matches('0'))
}

/// A decimal without sign or exponent, in thousandths; `None` where it is too large for any range.
fn thousandths(text: &str) -> Result<Option<u64>, FigureError> {
    let not_decimal = || FigureError::NotDecimal(text.to_owned());
    let (whole, part) = match text.split_once('.') {
        Some((_, "")) => return Err(not_decimal()),
        Some((whole, part)) => (whole, part),
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(part) {
        return Err(not_decimal());
    }
    let part = part.trim_end_matches('0');
    if part.len() > 3 {
        return Err(FigureError::TooFine(text.to_owned()));
    }
    let part = format!("{part:0<3}").parse::<u64>().map_err(|_| not_decimal())?;
    let milli = whole.parse::<u64>().ok().and_then(|whole| whole.checked_mul(ONE_MILLI));
    Ok(milli.and_then(|milli| milli.checked_add(part)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_and_ratios_are_exact_decimals_within_bounds() {
        for (text, milli) in
            [("1", 1000), ("0.01", 10), ("1.5", 1500), ("1.500000", 1500), ("10000", 10_000_000)]
        {
            assert_eq!(text.parse(), Ok(Weight(milli)), "{text}");
        }
        for (text, milli) in [("1.0", 1000), ("0.1", 100), ("1.125", 1125), ("100", 100_000)] {
            assert_eq!(text.parse(), Ok(Ratio(milli)), "{text}");
        }
        for wrong in ["", ".5", "1.", "-1", "+1", "1e3", "NaN", "inf", "1,5", "1_000", "0x2", "½", " 1"] {
            assert_eq!(wrong.parse::<Weight>(), Err(FigureError::NotDecimal(wrong.into())), "{wrong}");
        }
        assert_eq!("1.0005".parse::<Ratio>(), Err(FigureError::TooFine("1.0005".into())));
        for range in ["0", "0.0", "0.009", "10000.001", "99999999999999999999999", "18446744073709551615"] {
            assert_eq!(range.parse::<Weight>(), Err(FigureError::WeightRange(range.into())), "{range}");
        }
        for range in ["0", "0.099", "100.001"] {
            assert_eq!(range.parse::<Ratio>(), Err(FigureError::RatioRange(range.into())), "{range}");
        }
    }

    #[test]
    fn times_have_a_unit_and_bounds() {
        assert_eq!("8h".parse(), Ok(Time(Duration::from_secs(8 * 3600))));
        assert_eq!("1h 30m".parse(), Ok(Time(Duration::from_secs(5400))));
        assert_eq!("1ms".parse(), Ok(Time(DURATION_MIN)));
        assert_eq!("36500d".parse(), Ok(Time(DURATION_MAX)));
        for wrong in ["", "8", "1e3h", "-8h", "h", "8 parsecs", "NaN", "inf", "8h8", "½h"] {
            assert_eq!(wrong.parse::<Time>(), Err(FigureError::NotTime(wrong.into())), "{wrong}");
        }
        for range in ["0", "0s", "999us", "36501d", "99999999999999999999y", "18446744073709551615y"] {
            assert_eq!(range.parse::<Time>(), Err(FigureError::TimeRange(range.into())), "{range}");
        }
    }

    #[test]
    fn swap_may_be_nothing() {
        for nothing in ["0", "00", "0B", "0G", "0 GiB"] {
            assert_eq!(nothing.parse(), Ok(Swap(Bytes(0))), "{nothing}");
        }
        assert_eq!("0.5G".parse(), Ok(Swap(Bytes(1 << 29))));
        for wrong in ["", "-1", "0X", "1", "0.0001K", "G", "~", "0 0"] {
            assert!(matches!(wrong.parse::<Swap>(), Err(FigureError::Swap(_))), "{wrong}");
        }
    }

    #[test]
    fn nothing_may_be_kept() {
        for nothing in ["0", "00", "0.0", "0.00"] {
            assert_eq!(nothing.parse(), Ok(OrNothing(MilliCpu(0))), "{nothing}");
        }
        assert_eq!("0.5".parse(), Ok(OrNothing(MilliCpu(500))));
        for wrong in ["", "-0", "0.", ".0", "0.0001", "0.005", "0G", "none", "0 0"] {
            let said = wrong.parse::<OrNothing<MilliCpu>>();
            assert!(matches!(said, Err(FigureError::Kept(_))), "{wrong}");
        }
        for nothing in ["0", "0B", "0G", "0 GiB"] {
            assert_eq!(nothing.parse(), Ok(OrNothing(Bytes(0))), "{nothing}");
        }
        for wrong in ["", "-1", "1", "0.0001K", "10%"] {
            let said = wrong.parse::<OrNothing<Bytes>>();
            assert!(matches!(said, Err(FigureError::Kept(_))), "{wrong}");
        }
    }

    #[test]
    fn they_print_as_people_write_them() {
        assert_eq!(Weight(2000).to_string(), "2");
        assert_eq!(Ratio(1250).to_string(), "1.25");
        assert_eq!(Ratio(1005).to_string(), "1.005");
    }

    #[test]
    fn a_ratio_of_the_largest_figure_does_not_overflow() {
        assert_eq!(Ratio(1500).of(3), 4);
        assert_eq!(Ratio(RATIO_MAX_MILLI).of(u64::MAX), u64::MAX);
    }
}
