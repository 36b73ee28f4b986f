//! How much a process may use of what `setrlimit(2)` bounds.

use super::text::only_line;

/// No limit: `RLIM_INFINITY`, and `infinity` on systemd's bus.
const INFINITY: u64 = u64::MAX;

/// What is bounded: its name in `/proc/PID/limits`, and the properties that bound it in a unit (`systemd.exec(5)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Resource {
    line: &'static [u8],
    hard: &'static str,
    soft: &'static str,
}

/// Two limits of one resource, in its own unit, which the kernel and systemd's bus have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rlimit {
    soft: u64,
    hard: u64,
}

/// The limits of all resources.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rlimits([Rlimit; RESOURCES.len()]);

macro_rules! resources {
    ($($line:literal $name:literal),* $(,)?) => {
        [$(Resource { line: $line, hard: concat!("Limit", $name), soft: concat!("Limit", $name, "Soft") }),*]
    };
}

/// All resources, in the order of `proc_pid_limits(5)`.
const RESOURCES: [Resource; 16] = resources![
    b"Max cpu time " "CPU",
    b"Max file size " "FSIZE",
    b"Max data size " "DATA",
    b"Max stack size " "STACK",
    b"Max core file size " "CORE",
    b"Max resident set " "RSS",
    b"Max processes " "NPROC",
    b"Max open files " "NOFILE",
    b"Max locked memory " "MEMLOCK",
    b"Max address space " "AS",
    b"Max file locks " "LOCKS",
    b"Max pending signals " "SIGPENDING",
    b"Max msgqueue size " "MSGQUEUE",
    b"Max nice priority " "NICE",
    b"Max realtime priority " "RTPRIO",
    b"Max realtime timeout " "RTTIME",
];

impl Rlimits {
    /// The limits in `/proc/PID/limits`; `None` where a line is missing, there twice, or no two figures.
    pub fn parse(limits: &[u8]) -> Option<Self> {
        let mut parsed = [Rlimit { soft: INFINITY, hard: INFINITY }; RESOURCES.len()];
        for (limit, resource) in parsed.iter_mut().zip(RESOURCES) {
            let mut figures = only_line(limits, resource.line)?.split_ascii_whitespace().map(figure);
            *limit = Rlimit { soft: figures.next()??, hard: figures.next()?? };
        }
        Some(Self(parsed))
    }

    /// The soft and the hard limit of each resource, as [`Self::of_figures`] takes them.
    pub fn figures(self) -> Vec<(u64, u64)> {
        self.0.map(|limit| (limit.soft, limit.hard)).to_vec()
    }

    /// The limits of these figures; `None` where they are not of so many resources.
    pub fn of_figures(figures: &[(u64, u64)]) -> Option<Self> {
        let limits: Vec<Rlimit> =
            figures.iter().map(|(soft, hard)| Rlimit { soft: *soft, hard: *hard }).collect();
        limits.try_into().ok().map(Self)
    }

    /// The limits there are, as properties of a unit with their values. Of two for one resource the first sets both, and the
    /// second changes the soft one.
    pub fn properties(self) -> impl Iterator<Item = (&'static str, u64)> {
        let limited = RESOURCES.into_iter().zip(self.0).filter(|(_, limit)| limit.soft != INFINITY);
        limited.flat_map(|(resource, limit)| [(resource.hard, limit.hard), (resource.soft, limit.soft)])
    }
}

fn figure(shown: &str) -> Option<u64> {
    match shown {
        "unlimited" => Some(INFINITY),
        digits => digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The limits as `/proc/PID/limits` shows them.
    fn shown(limits: Rlimits) -> String {
        let figure =
            |figure: u64| if figure == INFINITY { "unlimited".to_owned() } else { figure.to_string() };
        let mut text = format!("{:<25} {:<20} {:<20} {:<10}\n", "Limit", "Soft Limit", "Hard Limit", "Units");
        for (Resource { line, .. }, Rlimit { soft, hard }) in RESOURCES.into_iter().zip(limits.0) {
            let line = std::str::from_utf8(line).unwrap().trim();
            text += &format!("{line:<25} {:<20} {:<20} {:<10}\n", figure(soft), figure(hard), "units");
        }
        text
    }

    fn all(soft: u64, hard: u64) -> Rlimits {
        Rlimits([Rlimit { soft, hard }; RESOURCES.len()])
    }

    fn limits() -> impl Strategy<Value = Rlimits> {
        let figure = prop_oneof![Just(INFINITY), any::<u64>(), 0..4096u64];
        proptest::array::uniform16((figure.clone(), figure))
            .prop_map(|all| Rlimits(all.map(|(a, b)| Rlimit { soft: a.min(b), hard: a.max(b) })))
    }

    #[test]
    fn the_kernel_writes_what_is_read() {
        let own = std::fs::read("/proc/self/limits").unwrap();
        let parsed = Rlimits::parse(&own).unwrap();
        assert_eq!(String::from_utf8(own).unwrap().lines().count(), RESOURCES.len() + 1);
        let files = rustix::process::getrlimit(rustix::process::Resource::Nofile);
        let at = RESOURCES.iter().position(|resource| resource.hard == "LimitNOFILE").unwrap();
        let known =
            Rlimit { soft: files.current.unwrap_or(INFINITY), hard: files.maximum.unwrap_or(INFINITY) };
        assert_eq!(parsed.0[at], known);
    }

    #[test]
    fn what_is_not_all_limits_is_none() {
        let text = shown(all(1, 2));
        let without = text.replace("Max file locks", "Max file looks");
        let twice = format!("{text}Max open files            1 2 files\n");
        let signed = text.replacen(" 1 ", " +1 ", 1);
        for wrong in ["", without.as_str(), &twice, &signed, &text[..text.len() - 100]] {
            assert_eq!(Rlimits::parse(wrong.as_bytes()), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_read(limits in limits()) {
            prop_assert_eq!(Rlimits::parse(shown(limits).as_bytes()), Some(limits));
            let soft = limits.0.iter().filter(|limit| limit.soft != INFINITY).count();
            prop_assert_eq!(limits.properties().count(), 2 * soft);
        }
    }
}
