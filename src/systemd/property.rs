//! Figures as unit properties, in the units and types of systemd's D-Bus interface. Pure.
//!
//! Sources: `org.freedesktop.systemd1(5)` for names and types, `systemd.resource-control(5)` for meaning and range.

use crate::enforced::io::{IoCaps, IoMost};
use crate::enforced::{Enforced, EnforcedOfAll, WEIGHT_IDLE, WEIGHT_MIN, io_weight};
use crate::identity::{JobId, JobUnits, UnitName};
use crate::ledger::care::OutOfMemory;
use crate::quantity::{Amount, MilliCpu, PartialAmount};

/// The period of the CPU quota of all shares together, in microseconds. Where it is used up all of them pause at once, up to the
/// period's end: with systemd's 100 ms that is 25 ms for 1.5 of 2 CPUs, and 5 ms with this.
const CAPACITY_PERIOD_USEC: u64 = 20_000;

/// Between SIGTERM and SIGKILL when a scope is stopped, in microseconds.
const SCOPE_STOP_TIMEOUT_USEC: u64 = 10_000_000;

/// The largest finite figure.
const FINITE_MAX: u64 = NO_LIMIT - 1;

/// How systemd is told, and says, that there is no limit (`CGROUP_LIMIT_MAX`, `infinity` in unit files).
pub const NO_LIMIT: u64 = u64::MAX;

/// How much of a display name goes into a `Description`, in characters.
const DISPLAY_NAME_CHARS_MAX: usize = 64;

/// One property of a unit, as SetUnitProperties and StartTransientUnit take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Property {
    /// The name on the bus.
    pub name: &'static str,
    /// The value, whose variant is the D-Bus type.
    pub value: Value,
}

/// The value of a property.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `t`
    U64(u64),
    /// `b`
    Bool(bool),
    /// `s`
    Text(String),
    /// `a(st)`: paths, and a figure for the disk of each.
    OfDisks(Vec<(String, u64)>),
}

/// Everything about the slice of a share, or of an allocation in it: its limits, its accounting, and whose it is. `capacity` is as
/// for [`limits`].
pub fn share(unit: UnitName, display_name: &str, enforced: &Enforced, capacity: MilliCpu) -> Vec<Property> {
    let mut properties = limits(enforced, capacity);
    properties.extend(accounting());
    let what = match unit {
        UnitName::JobSlice(_, _, job) | UnitName::RunSlice(_, job) => format!("job {job}"),
        UnitName::Own(_) => "standing allocation".to_owned(),
        UnitName::Share(_) | UnitName::Run(..) | UnitName::JobService(..) => "share".to_owned(),
    };
    let whose = sanitised(display_name, DISPLAY_NAME_CHARS_MAX);
    properties.push(text("Description", format!("fairshare: {what} of {whose} ({})", unit.uid())));
    properties
}

/// What the kernel is to hold of a share, as a resize sets it.
///
/// `capacity` is the CPU that all shares have together: the I/O weight is a part of it. For I/O there is no weight like
/// `idle`, and who weighs nothing has the least.
pub fn limits(enforced: &Enforced, capacity: MilliCpu) -> Vec<Property> {
    let Enforced { most: Amount { cpu, mem, tasks }, burst: _, swap, weight, low } = *enforced;
    let io = if weight == WEIGHT_IDLE { WEIGHT_MIN } else { io_weight(cpu, capacity) };
    vec![
        enforced.quota().figure().map_or(no_limit("CPUQuotaPerSecUSec"), cpu_quota),
        figure("MemoryMax", mem.0),
        figure("MemorySwapMax", swap.0),
        figure("TasksMax", tasks.0),
        figure("CPUWeight", weight),
        figure("MemoryLow", low.0),
        figure("IOWeight", io),
    ]
}

/// The limits that differ between two shares: what a change in place sets. `capacity` is as for [`limits`].
///
/// systemd keeps each property that is set in a file of its own, so that fewer are quicker.
pub fn changes(from: &Enforced, to: &Enforced, capacity: MilliCpu) -> Vec<Property> {
    let before = limits(from, capacity);
    limits(to, capacity).into_iter().filter(|property| !before.contains(property)).collect()
}

/// The most I/O of a share, in place of all that was set before. An empty list takes away what there is, and another one adds to it
/// (`bus_cgroup_set_property` in systemd's core/dbus-cgroup.c).
///
/// PID 1 looks the disks up by their paths. Where it finds none it says so in its journal, and sets nothing.
pub fn io(caps: &IoCaps) -> Vec<Property> {
    let IoMost { read, write, read_ops, write_ops } = caps.most;
    let figures = [
        ("IOReadBandwidthMax", read.map(|rate| rate.0)),
        ("IOWriteBandwidthMax", write.map(|rate| rate.0)),
        ("IOReadIOPSMax", read_ops),
        ("IOWriteIOPSMax", write_ops),
    ];
    let of_disks = |name, disks| Property { name, value: Value::OfDisks(disks) };
    let mut properties: Vec<Property> = figures.iter().map(|(name, _)| of_disks(name, Vec::new())).collect();
    properties.extend(figures.into_iter().filter(|_| !caps.on.is_empty()).filter_map(|(name, figure)| {
        let figure = figure?.min(FINITE_MAX);
        Some(of_disks(name, caps.on.iter().map(|path| (path.clone(), figure)).collect()))
    }));
    properties
}

/// What all shares together have, for `fairshare.slice`: the figures that are named.
pub fn capacity(of_all: &EnforcedOfAll) -> Vec<Property> {
    let EnforcedOfAll { most, weight, low } = *of_all;
    let mut properties = named(most);
    if most.cpu.is_some() {
        properties.push(figure("CPUQuotaPeriodUSec", CAPACITY_PERIOD_USEC));
    }
    properties.extend(weight.map(|weight| figure("CPUWeight", weight)));
    properties.extend(low.map(|low| figure("MemoryLow", low.0)));
    properties
}

/// A scope that running processes enter; which ones is given when it is started.
///
/// `what` says what runs, for `systemctl status`; it may come from a member and is made safe here.
pub fn scope(unit: UnitName, what: &str) -> Vec<Property> {
    vec![
        text("Slice", unit.slice().unwrap_or(unit).to_string()),
        text("Description", format!("fairshare: {}", sanitised(what, DISPLAY_NAME_CHARS_MAX))),
        figure("TimeoutStopUSec", SCOPE_STOP_TIMEOUT_USEC),
        // One program that the kernel killed for its memory is one program: systemd's default (`DefaultOOMPolicy=stop`)
        // would then kill the member's whole shell or build.
        text("OOMPolicy", "continue".to_owned()),
        // A scope that ended badly must not keep its name.
        text("CollectMode", "inactive-or-failed".to_owned()),
        no_limit("TasksMax"),
    ]
}

/// What the service of a submitted command has, beside what it runs.
///
/// What its member calls it is not in its description, which everybody on the machine may read.
pub fn service(
    units: &JobUnits,
    job: JobId,
    time_limit_ms: Option<u64>,
    out_of_memory: OutOfMemory,
) -> Vec<Property> {
    let uid = units.service.uid();
    // The kernel kills all of it by itself (`memory.oom.group`), also for a limit of what is around it.
    let oom_policy = match out_of_memory {
        OutOfMemory::Kill => "kill",
        OutOfMemory::Continue => "continue",
    };
    let mut properties = vec![
        text("Slice", units.slice.to_string()),
        text("Description", format!("fairshare: job {job} of uid {uid}")),
        text("Type", "exec".to_owned()),
        // What it leaves behind is a part of it: it is over when that has ended too, and its time limit holds for that too.
        text("ExitType", "cgroup".to_owned()),
        // By number: whoever has the name by then is another matter.
        text("User", uid.to_string()),
        // How it ended is gone with the unit: it is kept until that was read, and after a crash by nobody else.
        flag("RemainAfterExit", true),
        flag("AddRef", true),
        text("OOMPolicy", oom_policy.to_owned()),
        // As a shell would have started it; systemd's default is to have it ignored.
        flag("IgnoreSIGPIPE", false),
        figure("TimeoutStopUSec", SCOPE_STOP_TIMEOUT_USEC),
        no_limit("TasksMax"),
    ];
    properties.extend(time_limit_ms.map(|ms| figure("RuntimeMaxUSec", ms.saturating_mul(1000))));
    properties
}

/// What holds the service of a submitted command because it holds the process that submitted it.
/// `rlimits` are names and values of its resource limits.
pub fn inherited(
    no_new_privs: bool,
    rlimits: impl IntoIterator<Item = (&'static str, u64)>,
) -> impl Iterator<Item = Property> {
    let rlimits = rlimits.into_iter().map(|(name, limit)| Property { name, value: Value::U64(limit) });
    no_new_privs.then(|| flag("NoNewPrivileges", true)).into_iter().chain(rlimits)
}

/// The slice around a submitted command: what it may use within its share. It outlives the command's own cgroup, which
/// systemd removes at once, and with it what the kernel says of the most memory that was used.
pub fn job_slice(limits: PartialAmount) -> Vec<Property> {
    accounting().chain(named(limits)).collect()
}

/// The limits that are named, and none for the others.
fn named(limits: PartialAmount) -> Vec<Property> {
    let PartialAmount { cpu, mem, tasks } = limits;
    let mut properties = Vec::new();
    properties.extend(cpu.map(cpu_quota));
    properties.extend(mem.map(|mem| figure("MemoryMax", mem.0)));
    properties.extend(tasks.map(|tasks| figure("TasksMax", tasks.0)));
    properties
}

fn accounting() -> impl Iterator<Item = Property> {
    ["CPUAccounting", "MemoryAccounting", "TasksAccounting", "IOAccounting"]
        .into_iter()
        .map(|name| Property { name, value: Value::Bool(true) })
}

fn cpu_quota(cpu: MilliCpu) -> Property {
    // One thousandth of a CPU is 1000 µs of CPU time in each second.
    figure("CPUQuotaPerSecUSec", cpu.0.saturating_mul(1000))
}

fn figure(name: &'static str, figure: u64) -> Property {
    Property { name, value: Value::U64(figure.min(FINITE_MAX)) }
}

/// Has no limit, and takes one away that systemd would set by itself. A scope or service has `DefaultTasksMax`, 15 % of what the machine
/// has (`systemd-system.conf(5)`), where nothing is said: less than the slice around it may have.
fn no_limit(name: &'static str) -> Property {
    Property { name, value: Value::U64(NO_LIMIT) }
}

fn flag(name: &'static str, on: bool) -> Property {
    Property { name, value: Value::Bool(on) }
}

fn text(name: &'static str, text: String) -> Property {
    Property { name, value: Value::Text(text) }
}

/// The name with everything but letters, digits and a few harmless signs escaped, and cut to `chars_max`.
///
/// systemd writes a `Description` into a unit file and programs print it on terminals: a line break, an escape
/// sequence, a backslash or a change of writing direction in it would mean something there.
pub fn sanitised(name: &str, chars_max: usize) -> String {
    let mut out = String::new();
    for (at, c) in name.chars().enumerate() {
        if at == chars_max {
            out.push('…');
            break;
        }
        if c.is_alphanumeric() || " -_.,:@+/=()".contains(c) {
            out.push(c);
        } else {
            out.extend(['<', 'U', '+']);
            out.push_str(&format!("{:04X}>", u32::from(c)));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::enforced::Burst;
    use crate::identity::{Uid, Within};
    use crate::quantity::{Bytes, Tasks};
    use proptest::prelude::*;

    fn get<'a>(properties: &'a [Property], name: &str) -> &'a Value {
        &properties.iter().find(|property| property.name == name).expect(name).value
    }

    const CAPACITY: MilliCpu = MilliCpu(15_000);

    fn of(cpu: u64) -> Enforced {
        let most = Amount { cpu: MilliCpu(cpu), mem: Bytes(8 << 30), tasks: Tasks(4096) };
        Enforced::promised(most, Bytes(0))
    }

    #[test]
    fn a_share_has_its_limits_in_systemds_units() {
        let uid = Uid::new(1001).unwrap();
        let share = share(UnitName::Share(uid), "alice", &of(1500), CAPACITY);
        assert_eq!(get(&share, "CPUQuotaPerSecUSec"), &Value::U64(1_500_000));
        assert_eq!(get(&share, "MemoryMax"), &Value::U64(8 << 30));
        assert_eq!(get(&share, "MemorySwapMax"), &Value::U64(0));
        assert_eq!(get(&share, "TasksMax"), &Value::U64(4096));
        assert_eq!(get(&share, "CPUWeight"), &Value::U64(150));
        assert_eq!(get(&share, "MemoryLow"), &Value::U64(8 << 30));
        assert_eq!(get(&share, "IOWeight"), &Value::U64(10), "a tenth of the capacity");
        let bursts = limits(&Enforced { burst: Some(Burst::All), ..of(1500) }, CAPACITY);
        assert_eq!(get(&bursts, "CPUQuotaPerSecUSec"), &Value::U64(u64::MAX));
        assert_eq!(
            (get(&bursts, "CPUWeight"), get(&bursts, "IOWeight")),
            (&Value::U64(150), &Value::U64(10))
        );
        let idle = limits(&Enforced { weight: WEIGHT_IDLE, low: Bytes(0), ..of(1500) }, CAPACITY);
        assert_eq!((get(&idle, "CPUWeight"), get(&idle, "IOWeight")), (&Value::U64(0), &Value::U64(1)));
        assert_eq!(
            (get(&idle, "MemoryLow"), get(&idle, "CPUQuotaPerSecUSec")),
            (&Value::U64(0), &Value::U64(1_500_000))
        );
        assert_eq!(get(&share, "IOAccounting"), &Value::Bool(true));
        assert_eq!(get(&share, "Description"), &Value::Text("fairshare: share of alice (1001)".to_owned()));
    }

    #[test]
    fn a_change_names_what_changes_and_nothing_else() {
        let names = |to: Enforced| {
            changes(&of(1500), &to, CAPACITY).iter().map(|property| property.name).collect::<Vec<_>>()
        };
        let mem = |mem: u64| Amount { mem: Bytes(mem), ..of(1500).most };
        assert_eq!(names(of(1500)), Vec::<&str>::new());
        assert_eq!(names(of(500)), ["CPUQuotaPerSecUSec", "CPUWeight", "IOWeight"]);
        assert_eq!(names(Enforced { most: mem(1 << 30), ..of(1500) }), ["MemoryMax"]);
        assert_eq!(
            names(Enforced { most: mem(1 << 30), low: Bytes(1 << 30), ..of(1500) }),
            ["MemoryMax", "MemoryLow"]
        );
        let tasks = Amount { tasks: Tasks(7), ..of(1500).most };
        assert_eq!(names(Enforced { most: tasks, ..of(1500) }), ["TasksMax"]);
    }

    #[test]
    fn io_is_set_in_place_of_what_was_set_before() {
        let most = IoMost { read: Some(Bytes(8 << 20)), write_ops: Some(50), ..IoMost::default() };
        let sent = |most, on: &[&str]| {
            let on = on.iter().map(|path| (*path).to_owned()).collect();
            let of_disks = |property: Property| match property.value {
                Value::OfDisks(disks) => (property.name, disks),
                other => panic!("{other:?}"),
            };
            io(&IoCaps { most, on }).into_iter().map(of_disks).collect::<Vec<_>>()
        };
        let names = ["IOReadBandwidthMax", "IOWriteBandwidthMax", "IOReadIOPSMax", "IOWriteIOPSMax"];
        let mut wanted: Vec<_> = names.iter().map(|name| (*name, Vec::new())).collect();
        assert_eq!(sent(IoMost::default(), &["/home"]), wanted);
        assert_eq!(sent(most, &[]), wanted);
        let on = |figure| vec![("/home".to_owned(), figure), ("/srv".to_owned(), figure)];
        wanted.extend([("IOReadBandwidthMax", on(8 << 20)), ("IOWriteIOPSMax", on(50))]);
        assert_eq!(sent(most, &["/home", "/srv"]), wanted);
    }

    /// systemd rounds up to a whole millisecond of each 100: a figure between would be more than was granted.
    #[test]
    fn every_hundredth_of_a_cpu_is_exact() {
        for hundredths in 1..=400 {
            let quota = limits(&of(hundredths * 10), CAPACITY);
            assert_eq!(get(&quota, "CPUQuotaPerSecUSec"), &Value::U64(hundredths * 10_000));
        }
    }

    #[test]
    fn no_figure_becomes_no_limit() {
        let most = PartialAmount {
            cpu: Some(MilliCpu(u64::MAX)),
            mem: Some(Bytes(u64::MAX)),
            tasks: Some(Tasks(u64::MAX)),
        };
        let all = capacity(&EnforcedOfAll { most, weight: Some(u64::MAX), low: Some(Bytes(u64::MAX)) });
        assert_eq!(get(&all, "TasksMax"), &Value::U64(u64::MAX - 1));
        assert_eq!(get(&all, "CPUQuotaPerSecUSec"), &Value::U64(u64::MAX - 1));
        assert_eq!(get(&all, "MemoryMax"), &Value::U64(u64::MAX - 1));
        assert_eq!(get(&all, "MemoryLow"), &Value::U64(u64::MAX - 1));
        assert_eq!(get(&all, "CPUQuotaPeriodUSec"), &Value::U64(20_000));
        assert_eq!(capacity(&EnforcedOfAll::default()), []);
    }

    #[test]
    fn a_scope_is_in_its_members_share() {
        let unit = UnitName::Run(Uid::new(7).unwrap(), Within::Own, 3);
        let scope = scope(unit, "make -j4");
        assert_eq!(get(&scope, "Slice"), &Value::Text("fairshare-7-own.slice".to_owned()));
        assert_eq!(get(&scope, "TimeoutStopUSec"), &Value::U64(10_000_000));
        assert_eq!(get(&scope, "OOMPolicy"), &Value::Text("continue".to_owned()));
        assert_eq!(get(&scope, "CollectMode"), &Value::Text("inactive-or-failed".to_owned()));
        assert_eq!(get(&scope, "TasksMax"), &Value::U64(u64::MAX), "less than its share has");
    }

    #[test]
    fn a_submitted_command_is_over_when_all_of_it_is_and_is_killed_as_it_was_submitted() {
        let units = JobUnits::of(Uid::new(7).unwrap(), Within::Share, JobId(3));
        let of = |out_of_memory| service(&units, JobId(3), Some(1500), out_of_memory);
        let continues = of(OutOfMemory::Continue);
        assert_eq!(get(&continues, "OOMPolicy"), &Value::Text("continue".to_owned()));
        let service = of(OutOfMemory::Kill);
        for (name, value) in [
            ("Slice", "fairshare-7-job3.slice"),
            ("Type", "exec"),
            ("ExitType", "cgroup"),
            ("User", "7"),
            ("OOMPolicy", "kill"),
            ("Description", "fairshare: job 3 of uid 7"),
        ] {
            assert_eq!(get(&service, name), &Value::Text(value.to_owned()), "{name}");
        }
        for (name, on) in [("RemainAfterExit", true), ("AddRef", true), ("IgnoreSIGPIPE", false)] {
            assert_eq!(get(&service, name), &Value::Bool(on), "{name}");
        }
        for (name, figure) in
            [("TimeoutStopUSec", 10_000_000), ("RuntimeMaxUSec", 1_500_000), ("TasksMax", u64::MAX)]
        {
            assert_eq!(get(&service, name), &Value::U64(figure), "{name}");
        }
    }

    #[test]
    fn the_slice_of_a_submitted_command_has_what_was_named_and_nothing_else() {
        let limits =
            PartialAmount { cpu: Some(MilliCpu(500)), mem: Some(Bytes(1 << 20)), tasks: Some(Tasks(9)) };
        let slice = job_slice(limits);
        assert_eq!(get(&slice, "CPUQuotaPerSecUSec"), &Value::U64(500_000));
        assert_eq!(get(&slice, "MemoryMax"), &Value::U64(1 << 20));
        assert_eq!(get(&slice, "TasksMax"), &Value::U64(9));
        assert_eq!(get(&slice, "MemoryAccounting"), &Value::Bool(true));
        let without = job_slice(PartialAmount::default());
        let limits = ["CPUQuotaPerSecUSec", "MemoryMax", "TasksMax"];
        assert!(!without.iter().any(|property| limits.contains(&property.name)), "{without:?}");
    }

    #[test]
    fn names_cannot_write_unit_files_or_terminals() {
        assert_eq!(sanitised("Zoë Müller-2", 64), "Zoë Müller-2");
        assert_eq!(sanitised("a\nExecStart=x", 64), "a<U+000A>ExecStart=x");
        assert_eq!(sanitised("\u{1b}[2J\u{202e}", 64), "<U+001B><U+005B>2J<U+202E>");
        assert_eq!(sanitised("abcdef", 5), "abcde…");
        assert_eq!(sanitised("", 5), "");
    }

    proptest! {
        #[test]
        fn any_name_becomes_one_short_printable_line(name in ".{0,200}") {
            let out = sanitised(&name, 64);
            prop_assert!(!out.chars().any(char::is_control));
            prop_assert!(out.chars().count() <= 64 * "<U+10FFFF>".len() + 1);
        }
    }
}
