//! The real daemon as a child of the test, against the stand-in: its home, its start, what it says, its end.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use fairshare::testing::identity::AllocationId;
use fairshare::testing::ledger::allocation::{Allocation, Lease, Stage};
use fairshare::testing::ledger::time::Time;
use fairshare::testing::ledger::{BootId, Image, Ledger, Now};
use fairshare::testing::quantity::{Amount, Bytes, MilliCpu, Tasks};
use fairshare::testing::state;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::raw::Raw;
use crate::poll::until;
use crate::stand_in::World;

/// How long anything that must happen may take on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A policy that lets this machine's tests ask for what they like. They may run in a container, whose system calls are filtered.
pub const POLICY: &str = "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 2, mem: 256M, tasks: 1000}\n\
    overcommit: {cpu: 100, mem: 100}\nfrom_sandboxes: true\n";

/// Ends the thread that reads a daemon's messages.
const END: &str = "END";

/// What [`POLICY`] gives to who names nothing.
pub const DEFAULTS: Amount = Amount { cpu: MilliCpu(1000), mem: Bytes(64 << 20), tasks: Tasks(100) };

/// The folder of one daemon after another: policy, state, and the socket that PID 1 would hold.
pub struct Home {
    dir: TempDir,
    bus: String,
    cgroups: PathBuf,
    listener: Option<UnixListener>,
    daemons: AtomicU32,
}

impl Home {
    /// A home with [`POLICY`] in the world.
    pub fn new(world: &World) -> Self {
        let dir = TempDir::with_prefix("fairshared-").unwrap();
        // Others than root are to reach the socket.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("state")).unwrap();
        let home = Self {
            bus: world.bus_address().to_owned(),
            cgroups: world.cgroup_root(),
            listener: None,
            daemons: AtomicU32::new(0),
            dir,
        };
        home.set_policy(POLICY);
        home.set_cpus("0-7");
        super::users::database(&home.accounts());
        fs::create_dir(home.proc()).unwrap();
        home
    }

    /// A home on a machine of which one CPU can be held: who comes second waits.
    pub fn of_one_cpu(world: &World) -> Self {
        let home = Self::new(world);
        home.set_policy(
            "defaults: {cpu: 1, mem: 64M, tasks: 100}\nmax: {cpu: 1, mem: 64M, tasks: 100}\n\
             reserve: {cpu: 1, mem: 1M}\nfrom_sandboxes: true\n",
        );
        home.set_cpus("0-1");
        home
    }

    pub fn policy_file(&self) -> PathBuf {
        self.dir.path().join("policy.yaml")
    }

    pub fn set_policy(&self, text: &str) {
        fs::write(self.policy_file(), text).unwrap();
    }

    /// The machine has these CPUs from now on: a list like `0-3`.
    pub fn set_cpus(&self, list: &str) {
        fs::write(self.online_file(), format!("{list}\n")).unwrap();
    }

    /// Whoever reads the list of CPUs from now on stands still until the value is called with a list.
    pub fn cpus_from_a_pipe(&self) -> impl FnOnce(&str) {
        let (file, pipe) = (self.online_file(), self.online_file().with_extension("pipe"));
        nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
        fs::rename(&pipe, &file).unwrap();
        move |list| {
            // Opening it waits for a reader, which is there.
            let mut writer = File::options().write(true).open(&file).unwrap();
            let after = file.with_extension("file");
            fs::write(&after, list).unwrap();
            fs::rename(&after, &file).unwrap();
            writer.write_all(list.as_bytes()).unwrap();
        }
    }

    fn online_file(&self) -> PathBuf {
        self.dir.path().join("online")
    }

    /// The folder of the user database.
    pub fn accounts(&self) -> PathBuf {
        self.dir.path().join("accounts")
    }

    /// Where the daemon is shown processes of people: none, but for those that a test puts there.
    pub fn proc(&self) -> PathBuf {
        self.dir.path().join("proc")
    }

    pub fn state_dir(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    /// The folder of what lasts until the next boot.
    pub fn runtime_dir(&self) -> PathBuf {
        self.dir.path().join("runtime")
    }

    pub fn state_file(&self) -> PathBuf {
        self.state_dir().join("state")
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// What the state file holds, with what changed since.
    pub fn state(&self) -> Image {
        let changes = fs::read(self.state_dir().join(state::changes::NAME)).unwrap_or_default();
        state::parse_with(&fs::read(self.state_file()).unwrap(), &changes).unwrap()
    }

    /// Puts a state there, as a daemon before would have left it.
    pub fn set_state(&self, shares: Vec<Allocation>) {
        self.set_image(&image(shares));
    }

    /// The same, with more than shares in it.
    pub fn set_image(&self, image: &Image) {
        fs::write(self.state_file(), state::encode(image).unwrap()).unwrap();
    }

    /// What else is in the state's folder.
    pub fn corrupt_files(&self) -> Vec<PathBuf> {
        let entries = fs::read_dir(self.state_dir()).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.to_string_lossy().contains("/state.corrupt-")).collect()
    }

    /// A daemon started as by the socket unit, ready.
    pub fn activate(&mut self) -> Daemon {
        let daemon = self.activate_with(&[]);
        daemon.wait_ready();
        daemon
    }

    /// A daemon started as by the socket unit, not awaited, with more variables in its environment.
    pub fn activate_with(&mut self, environment: &[(&str, &str)]) -> Daemon {
        let path = self.socket();
        let listener = self.listener.get_or_insert_with(|| {
            let listener = UnixListener::bind(&path).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            listener
        });
        let passed: OwnedFd = listener.try_clone().unwrap().into();
        // Descriptor 3 and its own process id are what systemd gives it (`sd_listen_fds(3)`).
        let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
        let mut command = Command::new("sh");
        command.args(["-c", script, env!("CARGO_BIN_EXE_fairshared")]);
        command.arg(self.policy_file()).stdin(passed).env("LISTEN_FDS", "1");
        self.spawn(command, environment)
    }

    /// A daemon started by hand.
    pub fn by_hand(&self) -> Daemon {
        self.by_hand_with(&[])
    }

    /// A daemon started by hand, with more variables in its environment.
    pub fn by_hand_with(&self, environment: &[(&str, &str)]) -> Daemon {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairshared"));
        command.arg(self.policy_file()).arg(self.socket()).stdin(Stdio::null());
        self.spawn(command, environment)
    }

    /// A daemon started by hand, by a program that makes its system calls other than they are.
    pub fn by_hand_under(&self, program: &[&str]) -> Daemon {
        let mut command = Command::new(program[0]);
        command.args(&program[1..]).arg(env!("CARGO_BIN_EXE_fairshared"));
        command.arg(self.policy_file()).arg(self.socket()).stdin(Stdio::null());
        self.spawn(command, &[])
    }

    fn spawn(&self, mut command: Command, environment: &[(&str, &str)]) -> Daemon {
        let number = self.daemons.fetch_add(1, Ordering::Relaxed);
        let log = self.dir.path().join(format!("log-{number}"));
        let notify_path = self.dir.path().join(format!("notify-{number}"));
        let notify = UnixDatagram::bind(&notify_path).unwrap();
        let child = command
            .env("DBUS_SYSTEM_BUS_ADDRESS", &self.bus)
            .env("FAIRSHARE_CGROUP_ROOT", &self.cgroups)
            .env("STATE_DIRECTORY", self.state_dir())
            .env("RUNTIME_DIRECTORY", self.runtime_dir())
            .env("NOTIFY_SOCKET", &notify_path)
            .env_remove("JOURNAL_STREAM")
            .env("FAIRSHARE_CPUS_ONLINE", self.online_file())
            .env("FAIRSHARE_ACCOUNTS", self.accounts())
            .env("FAIRSHARE_PROC", self.proc())
            .envs(environment.iter().copied())
            .stdout(Stdio::null())
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let (sender, told) = mpsc::channel();
        // As PID 1 does, somebody always reads.
        std::thread::spawn(move || {
            let mut message = vec![0; 65_536];
            while let Ok(count) = notify.recv(&mut message) {
                let text = String::from_utf8(message[..count].to_vec()).unwrap();
                if text == END || sender.send(text).is_err() {
                    return;
                }
            }
        });
        Daemon { child, told, notify: notify_path, log, socket: self.socket() }
    }
}

fn this_boot() -> BootId {
    BootId(fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap().trim().to_owned())
}

/// A state as a daemon of this boot would have left it.
pub fn image(shares: Vec<Allocation>) -> Image {
    Image { revision: 7, next_job: 5, allocations: shares, ..Ledger::new(this_boot()).image() }
}

/// A share as the state file has it: granted in this boot, held.
pub fn share(uid: u64, amount: Amount) -> Allocation {
    let granted = Now { boot_ms: 1, wall_ms: 1_700_000_000_000 };
    let uid = fairshare::testing::identity::Uid::new(uid).unwrap();
    Allocation {
        user: Some(format!("user{uid}")),
        ..Allocation::active(AllocationId::standing(uid), amount, Bytes(0), granted, this_boot())
    }
}

/// The same, with a lease of an hour that ends so soon: nobody can ask for one under a minute.
pub fn ending(uid: u64, amount: Amount, in_ms: u64) -> Allocation {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    let now = u64::try_from(time.tv_sec).unwrap() * 1000;
    let ends = Time(now + in_ms);
    // The warning comes when half of what is left has passed.
    let stage = Stage::Running { warn: Some(Time(now + in_ms / 2)) };
    Allocation { lease: Some(Lease { ends, length_ms: 3_600_000, stage }), ..share(uid, amount) }
}

/// A running daemon. Ends with the value.
pub struct Daemon {
    child: Child,
    told: mpsc::Receiver<String>,
    notify: PathBuf,
    log: PathBuf,
    socket: PathBuf,
}

impl Daemon {
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// A client that has said hello.
    pub fn client(&self) -> Raw {
        Raw::hello(&self.socket)
    }

    /// Everything it logged so far.
    pub fn logs(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn wait_logged(&self, part: &str) {
        until(&format!("log {part:?}"), PATIENCE, || self.logs().contains(part).then_some(()));
    }

    /// The next message of `sd_notify(3)`, `None` when none comes within that time.
    pub fn told(&self, within: Duration) -> Option<String> {
        self.told.recv_timeout(within).ok()
    }

    /// The first message from now on that has this line in it, and all before it that were not read.
    pub fn wait_told(&self, line: &str) -> Vec<String> {
        let deadline = Instant::now() + PATIENCE;
        let mut before = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Some(message) = self.told(left) else {
                panic!("{line:?} was not said but {before:?}; log:\n{}", self.logs())
            };
            let found = message.lines().any(|said| said.starts_with(line));
            before.push(message);
            if found {
                return before;
            }
        }
    }

    /// Waits for READY=1, and gives the message that it came in.
    pub fn wait_ready(&self) -> String {
        self.wait_told("READY=1").pop().unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_raw(i32::try_from(self.pid()).unwrap()).unwrap(), signal).unwrap();
    }

    /// Does something while the whole process stands still.
    pub fn hold<T>(&self, act: impl FnOnce() -> T) -> T {
        self.signal(Signal::STOP);
        let status = format!("/proc/{}/stat", self.pid());
        until("the daemon stands still", PATIENCE, || {
            let stat = fs::read_to_string(&status).unwrap();
            stat.rsplit_once(") ").filter(|(_, rest)| rest.starts_with('T')).map(drop)
        });
        let result = act();
        self.signal(Signal::CONT);
        result
    }

    /// As `kill -9` does, and the end of it awaited.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end.
    pub fn wait_end(&mut self) -> ExitStatus {
        until("the daemon's end", PATIENCE, || self.child.try_wait().unwrap())
    }

    /// Asks it to end, and awaits that.
    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert_eq!(self.wait_end().code(), Some(0), "{}", self.logs());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = UnixDatagram::unbound().and_then(|socket| socket.send_to(END.as_bytes(), &self.notify));
        if std::thread::panicking() {
            eprintln!("the daemon's log:\n{}", self.logs());
        }
    }
}

/// A write of the state that fails, until the value ends.
pub struct Unwritable(PathBuf);

impl Unwritable {
    pub fn state(home: &Home) -> Self {
        let new = home.state_dir().join("state.new");
        fs::create_dir(&new).unwrap();
        Self(new)
    }
}

impl Drop for Unwritable {
    fn drop(&mut self) {
        fs::remove_dir(&self.0).unwrap();
    }
}
