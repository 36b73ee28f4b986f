//! The daemon under attack, what is measured of it, and the member who is to notice nothing.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::stand_in::World;

/// How long anything that must happen may take on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What the daemon may take of memory, whatever is done to it.
pub const MEMORY_MAX: u64 = 64 << 20;

/// What the slowest hundredth of another member's calls may take (issue 3), on a machine that has nothing else to do.
const OTHERS_P99: Duration = Duration::from_millis(50);

/// Fewer calls have no slowest hundredth.
const CALLS_MIN: usize = 1000;

/// Whose calls are to be served meanwhile: nobody's, where the tests may choose.
const OTHER_UID: u32 = 65_534;

/// How many times as long as the calls of a member of a daemon that nobody attacks, on the same machine at the same time.
const OTHERS_TIMES: u32 = 5;

/// How many times an attack is made at most until the calls of another member go as they should.
const ATTACKS_MAX: u32 = 3;

/// A daemon as systemd would have started it.
pub struct Daemon {
    child: Child,
    dir: TempDir,
    /// A daemon that nobody attacks. What slows its member down is the machine.
    undisturbed: Option<Box<Self>>,
    _world: World,
    _socket: UnixListener,
}

impl Daemon {
    /// A daemon to be attacked, and beside it one that is left alone.
    pub fn start() -> Self {
        let mut daemon = Self::alone();
        daemon.undisturbed = Some(Box::new(Self::alone()));
        daemon
    }

    fn alone() -> Self {
        let world = World::start();
        let dir = TempDir::with_prefix("attack-").unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let policy = dir.path().join("policy.yaml");
        fs::write(&policy, "defaults: {cpu: 0.1, mem: 64M}\nmax: {cpu: 0.2, mem: 128M}\n").unwrap();
        crate::daemon::users::database(&dir.path().join("accounts"));
        let socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        fs::set_permissions(dir.path().join("socket"), fs::Permissions::from_mode(0o666)).unwrap();
        let passed: OwnedFd = socket.try_clone().unwrap().into();
        // Descriptor 3 and its own process id are what systemd gives it (`sd_listen_fds(3)`).
        let script = "exec 3<&0 0</dev/null; export LISTEN_PID=$$; exec \"$0\" \"$@\"";
        let child = Command::new("sh")
            .args(["-c", script, env!("CARGO_BIN_EXE_fairshared")])
            .arg(policy)
            .env("LISTEN_FDS", "1")
            .env("DBUS_SYSTEM_BUS_ADDRESS", world.bus_address())
            .env("FAIRSHARE_CGROUP_ROOT", world.cgroup_root())
            .env("STATE_DIRECTORY", dir.path())
            .env("FAIRSHARE_ACCOUNTS", dir.path().join("accounts"))
            .env_remove("JOURNAL_STREAM")
            .env_remove("NOTIFY_SOCKET")
            .env("NO_COLOR", "1")
            .stdin(passed)
            .stdout(Stdio::null())
            .stderr(File::create(dir.path().join("log")).unwrap())
            .spawn()
            .unwrap();
        Self { child, dir, undisturbed: None, _world: world, _socket: socket }
    }

    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// Its open descriptors.
    pub fn descriptors(&self) -> usize {
        fs::read_dir(format!("/proc/{}/fd", self.child.id())).unwrap().count()
    }

    /// A figure of `/proc/PID/status` in bytes: `VmRSS`, or the most there ever was of it, `VmHWM`.
    pub fn memory(&self, name: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.trim_matches(|c: char| !c.is_ascii_digit()).parse::<u64>().unwrap() * 1024
    }

    /// Attacks it, and asserts what every attack must leave as it was.
    ///
    /// Where another member waited too long it is attacked again: a stall of this machine may fall on the one daemon and not on
    /// the other that it is held against, and what an attack does to a member it does each time.
    pub fn survives<T>(&mut self, what: &str, mut attack: impl FnMut(&Path) -> T) -> T {
        for _ in 1..ATTACKS_MAX {
            let (made, others) = self.attacked(what, &mut attack);
            match others {
                Ok(()) => return made,
                Err(waited) => eprintln!("{waited}: again"),
            }
        }
        self.survives_once(what, attack)
    }

    /// The same for an attack that cannot be made again.
    pub fn survives_once<T>(&mut self, what: &str, attack: impl FnOnce(&Path) -> T) -> T {
        let (made, others) = self.attacked(what, attack);
        others.unwrap_or_else(|waited| panic!("{waited}"));
        made
    }

    /// Attacks it; the other is what to say where another member waited too long.
    fn attacked<T>(&mut self, what: &str, attack: impl FnOnce(&Path) -> T) -> (T, Result<(), String>) {
        let socket = self.socket();
        let control = self.undisturbed.as_ref().map(|daemon| Member::of(&daemon.socket()).keep_asking());
        let mut other = Member::of(&socket);
        other.ask();
        let (descriptors, lines) = (self.descriptors(), self.log().lines().count());
        let watch = other.keep_asking();
        let made = attack(&socket);
        let busy = watch.end();
        let quiet = control.map_or(Duration::ZERO, |control| control.end().p99);
        assert!(self.child.try_wait().unwrap().is_none(), "{what}: the daemon ended:\n{}", self.log());
        let deadline = Instant::now() + PATIENCE;
        while self.descriptors() > descriptors {
            assert!(Instant::now() < deadline, "{what}: {} descriptors stay", self.descriptors());
            std::thread::yield_now();
        }
        let lines = self.log().lines().count() - lines;
        let memory = self.memory("VmHWM");
        eprintln!(
            "{what}: {} calls of another member, p99 {:?} ({quiet:?} where nobody attacks), {lines} lines, {} KiB at most",
            busy.calls,
            busy.p99,
            memory >> 10
        );
        assert!(memory < MEMORY_MAX, "{what}: {memory} bytes");
        assert!(lines < 1000, "{what}: {lines} lines in the journal");
        // A machine on which a call takes that long without an attack is busy with other things.
        let served = busy.p99 < OTHERS_P99.max(quiet * OTHERS_TIMES);
        let waited = || format!("{what}: {:?}, {quiet:?} where nobody attacks", busy.p99);
        (made, if served { Ok(()) } else { Err(waited()) })
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let log = self.log();
            eprintln!(
                "the end of the daemon's log:\n{}",
                log.get(log.len().saturating_sub(4000)..).unwrap_or(&log)
            );
        }
    }
}

/// Another member, who has a connection and asks for its status: by `fairshare json`, so that it can be another user.
struct Member {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

/// How another member's calls went.
pub struct Calls {
    pub calls: usize,
    pub p99: Duration,
}

/// Another member's calls, for as long as they are made.
struct Watch {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Calls>,
}

impl Member {
    fn of(socket: &Path) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fairshare"));
        command.arg("json").env("FAIRSHARE_SOCKET", socket);
        if rustix::process::geteuid().is_root() {
            command.uid(OTHER_UID).gid(OTHER_UID);
        }
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        Self { child, stdin, stdout }
    }

    /// How long one call takes.
    fn ask(&mut self) -> Duration {
        let asked = Instant::now();
        self.stdin.write_all(b"{\"type\":\"status\"}\n").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert!(line.contains("status_info"), "another member was told {line:?}");
        asked.elapsed()
    }

    fn keep_asking(mut self) -> Watch {
        let over = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&over);
        let thread = std::thread::spawn(move || {
            let mut took = Vec::new();
            while !until.load(Ordering::Relaxed) || took.len() < CALLS_MIN {
                took.push(self.ask());
            }
            drop(self.stdin);
            self.child.wait().unwrap();
            Calls { calls: took.len(), p99: p99(took) }
        });
        Watch { over, thread }
    }
}

impl Watch {
    fn end(self) -> Calls {
        self.over.store(true, Ordering::Relaxed);
        self.thread.join().expect("another member was not served")
    }
}

fn p99(mut took: Vec<Duration>) -> Duration {
    took.sort();
    took[took.len() * 99 / 100]
}

/// A number from the environment, to make more of a test by hand.
pub fn number(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|number| number.parse().ok()).unwrap_or(default)
}
