//! The units that the stand-in has, and the cgroup tree that it keeps for them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use zbus::{OwnedVariant, Variant};

use super::disks;

/// A property of a unit, as far as the stand-in knows them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Setting {
    Figure(u64),
    Switch(bool),
    Text(String),
    Number(i32),
    OfDisks(Vec<(String, u64)>),
}

impl Setting {
    pub fn from_variant(value: &OwnedVariant) -> Option<Self> {
        match &**value {
            Variant::U64(figure) => Some(Self::Figure(*figure)),
            Variant::Bool(on) => Some(Self::Switch(*on)),
            Variant::Str(text) => Some(Self::Text(text.as_str().to_owned())),
            _ => Vec::try_from(value.clone()).ok().map(Self::OfDisks),
        }
    }

    pub fn to_variant(&self) -> Variant<'static> {
        match self {
            Self::Figure(figure) => Variant::new(*figure),
            Self::Switch(on) => Variant::new(*on),
            Self::Text(text) => Variant::new(text.clone()),
            Self::Number(number) => Variant::new(*number),
            Self::OfDisks(list) => Variant::new(list.clone()),
        }
    }
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// `active`, `failed`, `activating` or `deactivating`.
    pub active: &'static str,
    pub settings: BTreeMap<String, Setting>,
    /// Processes that entered it and still run.
    pub pids: BTreeSet<u32>,
}

impl Unit {
    pub fn figure(&self, name: &str) -> Option<u64> {
        match self.settings.get(name) {
            Some(Setting::Figure(figure)) => Some(*figure),
            _ => None,
        }
    }

    pub fn of_disks(&self, name: &str) -> Option<&[(String, u64)]> {
        match self.settings.get(name) {
            Some(Setting::OfDisks(list)) => Some(list),
            _ => None,
        }
    }

    /// Takes a property as PID 1 does: of disks there are lists, to which more is added.
    pub fn set(&mut self, name: &str, setting: Setting) {
        let setting = match setting {
            Setting::OfDisks(list) => {
                Setting::OfDisks(disks::set(self.of_disks(name).unwrap_or_default(), list))
            }
            other => other,
        };
        self.settings.insert(name.to_owned(), setting);
    }

    pub fn text(&self, name: &str) -> Option<&str> {
        match self.settings.get(name) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }
}

/// All units and their cgroups.
#[derive(Debug)]
pub struct Units {
    root: PathBuf,
    units: BTreeMap<String, Unit>,
    /// Processes that came with a scope and still run. The others in units are made up.
    real: BTreeSet<u32>,
}

impl Units {
    pub fn new(root: &Path) -> Self {
        std::fs::create_dir_all(root).unwrap();
        write(root, "cgroup.controllers", "cpuset cpu io memory pids\n");
        Self { root: root.to_owned(), units: BTreeMap::new(), real: BTreeSet::new() }
    }

    pub fn get(&self, name: &str) -> Option<&Unit> {
        self.units.get(name)
    }

    pub fn get_mut(&mut self, name: &str) -> Option<&mut Unit> {
        self.units.get_mut(name)
    }

    pub fn names(&self) -> Vec<String> {
        self.units.keys().cloned().collect()
    }

    pub fn insert(&mut self, name: &str, settings: BTreeMap<String, Setting>) {
        let unit = Unit { active: "activating", settings, pids: BTreeSet::new() };
        self.units.insert(name.to_owned(), unit);
    }

    /// Makes a unit's cgroup, and its slices' where there are none yet, as PID 1 does.
    pub fn realise(&mut self, name: &str, kernel_files: &BTreeMap<String, String>) {
        let slices: Vec<String> = self.slices_above(name);
        for slice in slices {
            if !self.units.contains_key(&slice) {
                self.insert(&slice, BTreeMap::new());
            }
            if !self.cgroup(&slice).exists() {
                self.make_cgroup(&slice);
                self.get_mut(&slice).unwrap().active = "active";
                self.write_limits(&slice, kernel_files);
            }
        }
        self.make_cgroup(name);
        self.get_mut(name).unwrap().active = "active";
        self.write_limits(name, kernel_files);
    }

    fn make_cgroup(&self, name: &str) {
        let directory = self.cgroup(name);
        if directory.exists() {
            return;
        }
        let new = self.root.join(".new");
        std::fs::create_dir(&new).unwrap();
        for (file, content) in [
            ("cgroup.procs", ""),
            ("cpu.max", "max 100000\n"),
            ("cpu.weight", "100\n"),
            ("cpu.idle", "0\n"),
            ("memory.low", "0\n"),
            ("memory.max", "max\n"),
            ("memory.swap.max", "max\n"),
            ("pids.max", "max\n"),
            ("io.max", ""),
            ("memory.current", "0\n"),
            ("memory.peak", "0\n"),
            ("memory.stat", STAT),
            ("pids.current", "0\n"),
            ("cpu.stat", "usage_usec 0\nuser_usec 0\nsystem_usec 0\n"),
            ("memory.events", "low 0\nhigh 0\nmax 0\noom 0\noom_kill 0\noom_group_kill 0\n"),
            ("cpu.pressure", PRESSURE),
            ("memory.pressure", PRESSURE),
            ("cgroup.events", "populated 0\nfrozen 0\n"),
            ("cgroup.freeze", "0\n"),
        ] {
            std::fs::write(new.join(file), content).unwrap();
        }
        std::fs::rename(new, directory).unwrap();
    }

    /// Writes what a unit's settings say into its cgroup; `instead` wins over them.
    pub fn write_limits(&self, name: &str, instead: &BTreeMap<String, String>) {
        let Some(unit) = self.get(name) else { return };
        let directory = self.cgroup(name);
        if !directory.exists() {
            return;
        }
        let limit = |figure: u64| match figure {
            u64::MAX => "max\n".to_owned(),
            figure => format!("{figure}\n"),
        };
        let quota = |usec: u64| match usec {
            u64::MAX => "max 100000\n".to_owned(),
            usec => format!("{} 100000\n", usec / 10),
        };
        let pages = |bytes: u64| if bytes == u64::MAX { bytes } else { bytes - bytes % 4096 };
        let mut files = BTreeMap::new();
        let figures = [
            ("CPUQuotaPerSecUSec", "cpu.max"),
            ("CPUWeight", "cpu.idle"),
            ("CPUWeight", "cpu.weight"),
            ("MemoryLow", "memory.low"),
            ("MemoryMax", "memory.max"),
            ("MemorySwapMax", "memory.swap.max"),
            ("TasksMax", "pids.max"),
        ];
        for (property, file) in figures {
            let Some(figure) = unit.figure(property) else { continue };
            let content = match file {
                "cpu.max" => quota(figure),
                "pids.max" | "cpu.weight" => limit(figure),
                // Without any weight it is `idle`.
                "cpu.idle" => limit(u64::from(figure == 0)),
                _ => limit(pages(figure)),
            };
            files.insert(file, content);
        }
        let io_max = disks::io_max(unit);
        files.extend(io_max.map(|content| ("io.max", content)));
        for (file, content) in files {
            let of_unit = instead.get(&format!("{name}/{file}"));
            write(&directory, file, of_unit.or(instead.get(file)).unwrap_or(&content));
        }
        reclaim(&directory);
    }

    /// Puts processes into a unit, out of all others, as the kernel does.
    pub fn enter(&mut self, name: &str, pids: &BTreeSet<u32>) {
        for unit in self.units.values_mut() {
            unit.pids.retain(|pid| !pids.contains(pid));
        }
        self.get_mut(name).unwrap().pids.extend(pids);
        self.real.extend(pids);
        self.write_processes();
    }

    /// Makes up the processes of a unit.
    pub fn pretend(&mut self, name: &str, pids: &[u32]) {
        self.get_mut(name).unwrap().pids = pids.iter().copied().collect();
        self.write_processes();
    }

    pub fn is_real(&self, pid: u32) -> bool {
        self.real.contains(&pid)
    }

    /// A process ended. Answers the scopes and services that are empty now, which PID 1 forgets.
    pub fn leave(&mut self, pid: u32) -> Vec<String> {
        self.real.remove(&pid);
        let mut emptied = Vec::new();
        for (name, unit) in &mut self.units {
            if unit.pids.remove(&pid) && unit.pids.is_empty() && !name.ends_with(".slice") {
                emptied.push(name.clone());
            }
        }
        self.write_processes();
        emptied
    }

    /// A unit and all units below it, innermost first.
    pub fn below(&self, name: &str) -> Vec<String> {
        let top = self.cgroup(name);
        let mut below: Vec<String> =
            self.units.keys().filter(|unit| self.cgroup(unit).starts_with(&top)).cloned().collect();
        below.sort_by_key(|unit| std::cmp::Reverse(self.cgroup(unit).components().count()));
        below
    }

    /// Forgets a unit and removes its cgroup.
    pub fn remove(&mut self, name: &str) {
        self.remove_cgroup(name);
        self.units.remove(name);
    }

    /// Removes a unit's cgroup, and what is in it.
    pub fn remove_cgroup(&mut self, name: &str) {
        let directory = self.cgroup(name);
        // What the kernel does in one step; a reader must not find a cgroup with half of its files.
        let gone = self.root.join(".gone");
        if std::fs::rename(&directory, &gone).is_ok() {
            std::fs::remove_dir_all(&gone).unwrap();
        }
        if self.get_mut(name).is_some_and(|unit| !std::mem::take(&mut unit.pids).is_empty()) {
            self.write_processes();
        }
    }

    /// Where a unit's cgroup is.
    pub fn cgroup(&self, name: &str) -> PathBuf {
        let mut path = self.root.clone();
        path.extend(self.slices_above(name));
        path.join(name)
    }

    /// The same below the root, as systemd says it; `None` where there is none.
    pub fn control_group(&self, name: &str) -> Option<String> {
        let path = self.cgroup(name);
        let below = path.strip_prefix(&self.root).ok().filter(|_| path.exists())?;
        Some(format!("/{}", below.display()))
    }

    fn slices_above(&self, name: &str) -> Vec<String> {
        if let Some(stem) = name.strip_suffix(".slice") {
            let dashes = stem.match_indices('-').map(|(at, _)| format!("{}.slice", &stem[..at]));
            return dashes.collect();
        }
        let slice = self.get(name).and_then(|unit| unit.text("Slice")).unwrap_or("system.slice").to_owned();
        let mut slices = self.slices_above(&slice);
        slices.push(slice);
        slices
    }

    fn write_processes(&self) {
        for (name, unit) in &self.units {
            let directory = self.cgroup(name);
            if !directory.exists() {
                continue;
            }
            let lines: String = unit.pids.iter().map(|pid| format!("{pid}\n")).collect();
            write(&directory, "cgroup.procs", &lines);
            let tasks: usize = self.below(name).iter().map(|below| self.units[below].pids.len()).sum();
            write(&directory, "pids.current", &format!("{tasks}\n"));
            let frozen = self.is_frozen(name);
            let events = format!("populated {}\nfrozen {}\n", u8::from(tasks > 0), u8::from(frozen));
            change(&directory, "cgroup.events", &events);
        }
    }

    /// Freezes or thaws what is in a unit: the kernel says so of all below it too.
    pub fn freeze(&self, name: &str, frozen: bool) {
        write(&self.cgroup(name), "cgroup.freeze", &format!("{}\n", u8::from(frozen)));
        self.write_processes();
    }

    /// Whether a unit, or one above it, is frozen.
    pub fn is_frozen(&self, name: &str) -> bool {
        let of = |directory: &Path| std::fs::read_to_string(directory.join("cgroup.freeze")).ok();
        let path = self.cgroup(name);
        let mut above = path.ancestors().take_while(|above| above.starts_with(&self.root));
        above.any(|above| of(above).is_some_and(|freeze| freeze == "1\n"))
    }
}

const STAT: &str =
    "anon 0\nkernel 0\nsock 0\nshmem 0\nfile_dirty 0\nfile_writeback 0\ninactive_file 0\nactive_file 0\n";

const PRESSURE: &str =
    "some avg10=0.00 avg60=0.00 avg300=0.00 total=0\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=0\n";

/// Changes what a file holds to as many other bytes, where it differs: who watches the file is told, as by the kernel.
pub fn change(directory: &Path, file: &str, content: &str) {
    let path = directory.join(file);
    if std::fs::read_to_string(&path).unwrap() != content {
        let file = std::fs::File::options().write(true).open(&path).unwrap();
        std::os::unix::fs::FileExt::write_all_at(&file, content.as_bytes(), 0).unwrap();
    }
}

/// Replaces a file in one step, as a write to a cgroup file is one.
pub fn write(directory: &Path, file: &str, content: &str) {
    let new = directory.join(format!(".{file}"));
    std::fs::write(&new, content).unwrap();
    std::fs::rename(&new, directory.join(file)).unwrap();
}

/// Takes clean page cache back until a cgroup is within its limit, as the kernel does when that is set.
fn reclaim(directory: &Path) {
    let read = |file: &str| std::fs::read_to_string(directory.join(file)).unwrap();
    let number = |text: &str| text.trim().parse::<u64>().ok();
    let (Some(limit), Some(current)) = (number(&read("memory.max")), number(&read("memory.current"))) else {
        return;
    };
    let stat = read("memory.stat");
    let cache = stat.lines().find_map(|line| number(line.strip_prefix("inactive_file ")?)).unwrap();
    let taken = current.saturating_sub(limit).min(cache);
    if taken > 0 {
        write(directory, "memory.current", &format!("{}\n", current - taken));
        let rest = format!("inactive_file {}", cache - taken);
        write(directory, "memory.stat", &stat.replace(&format!("inactive_file {cache}"), &rest));
    }
}
