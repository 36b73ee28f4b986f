//! What a share is measured in: CPU, memory, tasks. Typed, parsed, printed, with checked arithmetic.

use std::fmt;
use std::str::FromStr;

/// The smallest CPU figure and the step between figures, in thousandths of one CPU.
///
/// `cpu.max` holds a quota for each period of 100 ms, and the kernel refuses a quota under 1 ms
/// (`min_cfs_quota_period` in the kernel's `sched/core.c`), which is one hundredth of a CPU.
pub const CPU_STEP_MILLI: u64 = 10;

/// The largest CPU figure that parses, in thousandths of one CPU: far over `CONFIG_NR_CPUS` (8192).
pub const CPU_MAX_MILLI: u64 = 1_000_000_000;

/// The smallest memory figure in bytes: one page. `memory.max` is counted in pages and rounds down,
/// so that less than one page would be a limit of nothing.
pub const MEM_MIN_BYTES: u64 = 4096;

/// The largest memory figure in bytes: 4 EiB, so that a sum of two still fits.
pub const MEM_MAX_BYTES: u64 = 1 << 62;

/// The largest number of tasks: the kernel's `PID_MAX_LIMIT` on 64 bit (`proc_sys_kernel(5)`).
pub const TASKS_MAX: u64 = 4_194_304;

/// CPU time per time, in thousandths of one CPU: `MilliCpu(1500)` is one and a half CPUs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MilliCpu(pub u64);

/// An amount of memory in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Bytes(pub u64);

/// A number of tasks (processes and threads, as `pids.max` counts them).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Tasks(pub u64);

/// How many tasks an array has at most.
pub const ARRAY_TASKS_MAX: u64 = 10_000;

/// The largest index of a task of an array.
pub const ARRAY_INDEX_MAX: u64 = u32::MAX as u64;

/// The largest number of a signal (`signal(7)`).
pub const SIGNAL_MAX: u64 = 64;

/// How often a submitted command is run again at most after it has failed.
pub const RETRIES_MAX: u64 = 100;

/// How long the command is at most that is run when a submitted one is over, in bytes.
pub const NOTIFY_BYTES_MAX: usize = 4096;

/// Before which others of its own member's a waiting job goes: the more the sooner, from 0 to [`Priority::MAX`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(u8);

/// One figure for each resource that a share has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Amount {
    /// CPU, in thousandths.
    pub cpu: MilliCpu,
    /// Memory, in bytes.
    pub mem: Bytes,
    /// Tasks.
    pub tasks: Tasks,
}

impl Amount {
    /// The larger figure of each resource.
    #[must_use]
    pub fn larger(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.max(other.cpu),
            mem: self.mem.max(other.mem),
            tasks: self.tasks.max(other.tasks),
        }
    }
}

/// Figures that somebody named; the others are filled in from the policy's defaults or what is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct PartialAmount {
    /// CPU, where named.
    pub cpu: Option<MilliCpu>,
    /// Memory, where named.
    pub mem: Option<Bytes>,
    /// Tasks, where named.
    pub tasks: Option<Tasks>,
}

impl PartialAmount {
    /// Whether no figure is named.
    pub fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// The figures that are named here, and those of `rest` for the others.
    #[must_use]
    pub fn first(self, rest: Self) -> Self {
        Self { cpu: self.cpu.or(rest.cpu), mem: self.mem.or(rest.mem), tasks: self.tasks.or(rest.tasks) }
    }

    /// Of each figure that either names the larger.
    #[must_use]
    pub fn largest(self, other: Self) -> Self {
        // `None` is less than any figure, so that one that is named wins.
        Self {
            cpu: self.cpu.max(other.cpu),
            mem: self.mem.max(other.mem),
            tasks: self.tasks.max(other.tasks),
        }
    }

    /// The whole amount, with `rest` for each figure that was not named.
    pub fn or(self, rest: Amount) -> Amount {
        Amount {
            cpu: self.cpu.unwrap_or(rest.cpu),
            mem: self.mem.unwrap_or(rest.mem),
            tasks: self.tasks.unwrap_or(rest.tasks),
        }
    }
}

/// Why a figure was not accepted. The message says what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum QuantityError {
    /// The text is no CPU figure.
    #[error("{0:?} is not a CPU figure: write CPUs like 2 or 0.5")]
    Cpu(String),
    /// The text is no amount of memory.
    #[error("{0:?} is not an amount of memory: write bytes, or a figure with K, M, G or T, like 8G or 1.5G")]
    Mem(String),
    /// The unit of an amount of memory is `m`, which is a thousandth elsewhere.
    #[error("{0:?} could be mebibytes or thousandths of a byte: did you mean {figure}M?", figure = figure_of(.0))]
    MemUnit(String),
    /// The text is a CPU figure as another tool writes it, in thousandths (`250m`) or hundredths (`25%`).
    #[error("{text:?} is not a CPU figure here: did you mean {meant}?")]
    CpuUnit {
        /// The text.
        text: String,
        /// The same figure in CPUs.
        meant: MilliCpu,
    },
    /// The text is no number of tasks.
    #[error("{0:?} is not a number of tasks: write a whole number like 4096")]
    Tasks(String),
    /// CPU is handed out in hundredths.
    #[error("CPU comes in steps of 0.01, and {0} is between two")]
    CpuStep(String),
    /// CPU under the smallest or over the largest figure.
    #[error("CPU must be from 0.01 to 1000000, and {0} is not")]
    CpuRange(String),
    /// Memory under the smallest or over the largest figure.
    #[error("memory must be from 4 KiB (one page) to 4 EiB, and {0} is not")]
    MemRange(String),
    /// Tasks under the smallest or over the largest figure.
    #[error("tasks must be from 1 to 4194304, and {0} is not")]
    TasksRange(String),
    /// A priority over the highest.
    #[error("a priority is a whole number from 0 to 100, and {0} is not")]
    Priority(String),
}

impl MilliCpu {
    /// The figure, where it can be given to a share.
    ///
    /// # Errors
    /// Out of range, or not a multiple of [`CPU_STEP_MILLI`].
    pub fn checked(milli: u64) -> Result<Self, QuantityError> {
        let cpu = Self(milli);
        if !(CPU_STEP_MILLI..=CPU_MAX_MILLI).contains(&milli) {
            return Err(QuantityError::CpuRange(cpu.to_string()));
        }
        if !milli.is_multiple_of(CPU_STEP_MILLI) {
            return Err(QuantityError::CpuStep(cpu.to_string()));
        }
        Ok(cpu)
    }
}

impl MilliCpu {
    /// Why a text that is no figure is refused: with the figure that is meant, where another tool writes it so.
    fn foreign(text: &str) -> QuantityError {
        let trimmed = text.trim();
        let unit =
            |unit: char, scale: u64| trimmed.strip_suffix(unit).and_then(|figure| scaled(figure, scale));
        let milli = unit('m', 1).or_else(|| unit('%', 10)).and_then(|milli| u64::try_from(milli).ok());
        match milli.and_then(|milli| Self::checked(milli).ok()) {
            Some(meant) => QuantityError::CpuUnit { text: text.to_owned(), meant },
            None => QuantityError::Cpu(text.to_owned()),
        }
    }
}

impl Bytes {
    /// The figure, where it can be given to a share.
    ///
    /// # Errors
    /// Out of range.
    pub fn checked(bytes: u64) -> Result<Self, QuantityError> {
        if (MEM_MIN_BYTES..=MEM_MAX_BYTES).contains(&bytes) {
            Ok(Self(bytes))
        } else {
            Err(QuantityError::MemRange(format!("{bytes} bytes")))
        }
    }

    /// What the kernel holds for this figure: whole pages, rounded down (`page_counter_memparse`).
    pub fn whole_pages(self) -> Self {
        Self(self.0 - self.0 % MEM_MIN_BYTES)
    }
}

impl Tasks {
    /// The figure, where it can be given to a share.
    ///
    /// # Errors
    /// Out of range.
    pub fn checked(tasks: u64) -> Result<Self, QuantityError> {
        if (1..=TASKS_MAX).contains(&tasks) {
            Ok(Self(tasks))
        } else {
            Err(QuantityError::TasksRange(tasks.to_string()))
        }
    }
}

/// A decimal figure without sign or exponent, scaled by `scale`: `None` where it is no such figure.
///
/// Exact where the decimals divide `scale`; else rounded down to a whole unit.
fn scaled(text: &str, scale: u64) -> Option<u128> {
    let (whole, fraction) = match text.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
        None => (text, ""),
    };
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    // 20 digits before and 15 after the point: neither times the largest scale (10^15) reaches 2^128.
    if whole.is_empty() || whole.len() > 20 || fraction.len() > 15 || !digits(whole) || !digits(fraction) {
        return None;
    }
    let whole: u128 = whole.parse().ok()?;
    let mut value = whole.checked_mul(u128::from(scale))?;
    if !fraction.is_empty() {
        let numerator: u128 = fraction.parse().ok()?;
        let denominator = 10u128.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        value = value.checked_add(numerator.checked_mul(u128::from(scale))? / denominator)?;
    }
    Some(value)
}

/// The figure without its unit, for a message.
fn figure_of(text: &str) -> &str {
    text.trim_end_matches(|c: char| !c.is_ascii_digit())
}

impl Priority {
    /// The highest.
    pub const MAX: Self = Self(100);

    /// The priority of this number.
    ///
    /// # Errors
    /// It is over [`Self::MAX`].
    pub fn checked(number: u64) -> Result<Self, QuantityError> {
        let priority = u8::try_from(number).map(Self).ok().filter(|priority| *priority <= Self::MAX);
        priority.ok_or_else(|| QuantityError::Priority(number.to_string()))
    }

    /// The number of it.
    pub fn number(self) -> u64 {
        self.0.into()
    }
}

impl Default for Priority {
    /// That of a job of which nobody says one.
    fn default() -> Self {
        Self(50)
    }
}

impl FromStr for Priority {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let number = text.trim().parse().map_err(|_| QuantityError::Priority(format!("{text:?}")))?;
        Self::checked(number)
    }
}

impl FromStr for MilliCpu {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        // Far finer than the step, so that a figure between two steps is seen to be between them.
        const FINE: u64 = 1_000_000_000_000;
        let fine = scaled(trimmed, 1000 * FINE).ok_or_else(|| Self::foreign(text))?;
        let milli = u64::try_from(fine / u128::from(FINE))
            .map_err(|_| QuantityError::CpuRange(trimmed.to_owned()))?;
        let cpu = Self::checked(milli).map_err(|error| match error {
            QuantityError::CpuRange(_) => QuantityError::CpuRange(trimmed.to_owned()),
            other => other,
        })?;
        if fine.is_multiple_of(u128::from(FINE)) {
            Ok(cpu)
        } else {
            Err(QuantityError::CpuStep(trimmed.to_owned()))
        }
    }
}

impl FromStr for Bytes {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let wrong = || QuantityError::Mem(text.to_owned());
        let trimmed = text.trim();
        let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (figure, unit) = trimmed.split_at(unit_at);
        let unit = unit.trim_start();
        // In Kubernetes `m` is a thousandth; of every other unit it is known what is meant, in any case.
        if unit == "m" && scaled(figure, 1).is_some() {
            return Err(QuantityError::MemUnit(trimmed.to_owned()));
        }
        let scale = match unit.to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kb" | "ki" | "kib" => 1 << 10,
            "m" | "mb" | "mi" | "mib" => 1 << 20,
            "g" | "gb" | "gi" | "gib" => 1 << 30,
            "t" | "tb" | "ti" | "tib" => 1 << 40,
            _ => return Err(wrong()),
        };
        let bytes = scaled(figure, scale).ok_or_else(wrong)?;
        // `8` is most often meant to be 8G: say what it is.
        let shown = || if unit.is_empty() { format!("{trimmed} bytes") } else { trimmed.to_owned() };
        let out_of_range = || QuantityError::MemRange(shown());
        let bytes = u64::try_from(bytes).map_err(|_| out_of_range())?;
        Self::checked(bytes).map_err(|_| out_of_range())
    }
}

impl FromStr for Tasks {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, QuantityError> {
        let trimmed = text.trim();
        if trimmed.is_empty() || !trimmed.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(QuantityError::Tasks(text.to_owned()));
        }
        let tasks = trimmed.parse().map_err(|_| QuantityError::TasksRange(trimmed.to_owned()))?;
        Self::checked(tasks)
    }
}

impl fmt::Display for MilliCpu {
    /// CPUs, with as many decimals as needed: `2`, `0.5`, `0.25`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, milli) = (self.0 / 1000, self.0 % 1000);
        if milli == 0 {
            return write!(f, "{whole}");
        }
        let decimals = format!("{milli:03}");
        write!(f, "{whole}.{}", decimals.trim_end_matches('0'))
    }
}

impl fmt::Display for Bytes {
    /// The largest binary unit, with one decimal: `8.0 GiB`, `512 B`. For people, not for parsing back.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        for (unit, shift) in UNITS {
            if self.0 >> shift > 0 {
                let tenths = (u128::from(self.0) * 10) >> shift;
                return write!(f, "{}.{} {unit}", tenths / 10, tenths % 10);
            }
        }
        write!(f, "{} B", self.0)
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Bytes {
    /// The figure as a policy or the command takes it, exact: `8G`, `1536M`, `5000` (bytes).
    pub fn exact(self) -> String {
        for (unit, shift) in [("T", 40), ("G", 30), ("M", 20), ("K", 10)] {
            if self.0 > 0 && self.0.trailing_zeros() >= shift {
                return format!("{}{unit}", self.0 >> shift);
            }
        }
        self.0.to_string()
    }
}

macro_rules! checked_arithmetic {
    ($($quantity:ident),*) => {$(
        impl $quantity {
            /// The sum; `None` where it does not fit.
            pub fn plus(self, other: Self) -> Option<Self> {
                self.0.checked_add(other.0).map(Self)
            }

            /// The difference; `None` where `other` is larger.
            pub fn minus(self, other: Self) -> Option<Self> {
                self.0.checked_sub(other.0).map(Self)
            }
        }
    )*};
}
checked_arithmetic!(MilliCpu, Bytes, Tasks);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_figures_parse_in_hundredths() {
        assert_eq!("2".parse(), Ok(MilliCpu(2000)));
        assert_eq!("0.5".parse(), Ok(MilliCpu(500)));
        assert_eq!("0.01".parse(), Ok(MilliCpu(10)));
        assert_eq!("1.250".parse(), Ok(MilliCpu(1250)));
        for wrong in ["", "-1", "+1", "1e3", "NaN", "inf", ".5", "1.", "two", "0x2", "1,5", "½", "1 2"] {
            assert_eq!(wrong.parse::<MilliCpu>(), Err(QuantityError::Cpu(wrong.into())), "{wrong}");
        }
        for (foreign, meant) in [("250m", 250), ("25%", 250), ("2000m", 2000), ("150%", 1500)] {
            let (text, meant) = (foreign.to_owned(), MilliCpu(meant));
            assert_eq!(foreign.parse::<MilliCpu>(), Err(QuantityError::CpuUnit { text, meant }));
        }
        for wrong in ["m", "%", "5m", "-25%", "0%", "1.m"] {
            assert_eq!(wrong.parse::<MilliCpu>(), Err(QuantityError::Cpu(wrong.into())), "{wrong}");
        }
        for range in ["0", "0.0", "0.001", "1000001", "99999999999999999999"] {
            assert_eq!(range.parse::<MilliCpu>(), Err(QuantityError::CpuRange(range.into())), "{range}");
        }
        assert!(matches!("0.015".parse::<MilliCpu>(), Err(QuantityError::CpuStep(_))));
        assert_eq!("1.0100000001".parse::<MilliCpu>(), Err(QuantityError::CpuStep("1.0100000001".into())));
    }

    #[test]
    fn memory_units_are_powers_of_1024() {
        for (text, bytes) in [
            ("4096", 4096),
            ("4096B", 4096),
            ("4K", 4096),
            ("4KB", 4096),
            ("4KiB", 4096),
            ("1.5G", 3 << 29),
            ("8G", 8 << 30),
            ("8 GiB", 8 << 30),
            ("8g", 8 << 30),
            ("8Gi", 8 << 30),
            ("200Mi", 200 << 20),
            ("200mb", 200 << 20),
            ("0.5gib", 1 << 29),
            ("64k", 64 << 10),
            ("1ti", 1 << 40),
            ("2TB", 2 << 40),
        ] {
            assert_eq!(text.parse(), Ok(Bytes(bytes)), "{text}");
        }
        for wrong in ["", "G", "-8G", "8X", "8gx", "8iB", "8GG", "8.G", "1e9", "NaN", "8 G B"] {
            assert!(matches!(wrong.parse::<Bytes>(), Err(QuantityError::Mem(_))), "{wrong}");
        }
        for asked in ["200m", "1.5m", "8 m"] {
            assert!(matches!(asked.parse::<Bytes>(), Err(QuantityError::MemUnit(_))), "{asked}");
        }
        assert!("1.5m".parse::<Bytes>().unwrap_err().to_string().ends_with("did you mean 1.5M?"));
        for range in ["0", "1", "4095", "3.9K", "99999999T", "18446744073709551616"] {
            assert!(matches!(range.parse::<Bytes>(), Err(QuantityError::MemRange(_))), "{range}");
        }
    }

    #[test]
    fn figures_print_as_people_write_them() {
        assert_eq!(MilliCpu(2000).to_string(), "2");
        assert_eq!(MilliCpu(250).to_string(), "0.25");
        assert_eq!(Bytes(8 << 30).to_string(), "8.0 GiB");
        assert_eq!(Bytes((3 << 30) + (1 << 29)).to_string(), "3.5 GiB");
        assert_eq!(Bytes(512).to_string(), "512 B");
        assert_eq!(Bytes(16 << 30).exact(), "16G");
        assert_eq!(Bytes(3 << 29).exact(), "1536M");
        assert_eq!(Bytes(5000).exact(), "5000");
    }
}
