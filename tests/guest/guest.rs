//! A running guest, as a test sees it.
#![allow(dead_code, reason = "the tests' vocabulary: not every word of it is in use at any time")]

use std::fs::File;
use std::io::{self, Seek};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use tempfile::TempDir;

use crate::agent::Agent;
use crate::image::Release;
use crate::qcow2;
use crate::qemu::{Machine, PAYLOAD_BYTES_MAX, Spec};
use crate::run::{Background, Command, PATIENCE, Ran};
use crate::slot::Slot;
use crate::snapshot::Snapshot;

/// Below this, a file goes in through the agent; above, through the payload disk.
const STDIN_BYTES_MAX: usize = 256 << 10;

/// One guest of one test. It ends, with all that it wrote, when the test does.
///
/// A clone is another handle to the same guest.
#[derive(Clone)]
pub struct Guest {
    inner: Arc<Inner>,
}

struct Inner {
    release: Release,
    power: Mutex<Option<Power>>,
    /// What the guest restarts from; none for those that only exist to become a snapshot.
    snapshot: Option<Snapshot>,
    /// The machine's folder; after `power`, for it is removed after the machine ended.
    dir: TempDir,
    _slot: Slot,
}

struct Power {
    agent: Agent,
    machine: Machine,
}

impl Guest {
    /// A guest with fairshare installed, its socket listening, and alice, bob and carol as members:
    /// what nearly every test wants.
    pub fn installed(release: Release) -> Guest {
        Guest::installed_from(release, &deb_under_test())
    }

    /// A guest on which nothing is installed yet; see [`Guest::install`].
    pub fn restored(release: Release) -> Guest {
        let slot = Slot::take();
        Guest::from_snapshot(Snapshot::booted(release), slot, Snapshot::restored_spec)
    }

    /// As [`Guest::installed`], but booted from zero: the package was there before PID 1.
    pub fn cold_installed(release: Release) -> Guest {
        Guest::cold_installed_from(release, &deb_under_test())
    }

    /// As [`Guest::cold_installed`] with another package.
    pub fn cold_installed_from(release: Release, deb: &Path) -> Guest {
        let slot = Slot::take();
        let snapshot = Snapshot::installed(release, deb);
        let guest = Guest::from_snapshot(snapshot, slot, Snapshot::boot_spec);
        guest.await_system();
        guest
    }

    /// As [`Guest::installed`] with another package.
    pub fn installed_from(release: Release, deb: &Path) -> Guest {
        let slot = Slot::take();
        Guest::from_snapshot(Snapshot::installed(release, deb), slot, Snapshot::restored_spec)
    }

    /// A guest in the making of a snapshot.
    pub fn build(release: Release, spec: &Spec) -> Guest {
        Guest::start(release, None, Slot::take(), tempdir(), spec)
    }

    fn from_snapshot(snapshot: Snapshot, slot: Slot, spec: fn(&Snapshot, PathBuf) -> Spec) -> Guest {
        let dir = tempdir();
        let disk = dir.path().join("disk.qcow2");
        qcow2::create_overlay(&disk);
        let spec = spec(&snapshot, disk);
        let guest = Guest::start(snapshot.release, Some(snapshot), slot, dir, &spec);
        guest.set_clock();
        guest
    }

    fn start(release: Release, snapshot: Option<Snapshot>, slot: Slot, dir: TempDir, spec: &Spec) -> Guest {
        let power = Mutex::new(Some(Power::on(dir.path(), spec)));
        Guest { inner: Arc::new(Inner { release, power, snapshot, dir, _slot: slot }) }
    }

    /// The Debian release it runs.
    pub fn release(&self) -> Release {
        self.inner.release
    }

    /// Runs a shell command as root, for at most [`PATIENCE`]; for more see [`Guest::command`].
    #[track_caller]
    pub fn root(&self, command: &str) -> Ran {
        self.command(command).run()
    }

    /// Runs a shell command as a user, in the user's home: `runuser -u alice -- bash -c …`.
    #[track_caller]
    pub fn as_user(&self, user: &str, command: &str) -> Ran {
        self.command(command).user(user).run()
    }

    /// Starts a shell command as a user and lets it run.
    #[track_caller]
    pub fn spawn_as(&self, user: &str, command: &str) -> Background {
        self.command(command).user(user).spawn()
    }

    /// A shell command with more to say about it: whose, how long, with what input.
    pub fn command(&self, text: &str) -> Command {
        Command::new(self.clone(), text)
    }

    /// Polls, in the guest, until a root command succeeds.
    #[track_caller]
    pub fn await_cmd(&self, command: &str) -> Ran {
        self.command(command).until_ok(PATIENCE)
    }

    /// Polls until a condition, which asks the guest, holds; [`Guest::await_cmd`] needs one round trip only.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !condition() {
            assert!(
                Instant::now() < deadline,
                "{}",
                self.report(&format!("{what}: not within {PATIENCE:?}"))
            );
        }
    }

    /// Installs a package as an admin does: `dpkg -i` on the running system.
    #[track_caller]
    pub fn install(&self, deb: &Path) -> Ran {
        self.put(deb, "/var/tmp/under-test.deb");
        let command =
            "DEBIAN_FRONTEND=noninteractive dpkg -i /var/tmp/under-test.deb && rm /var/tmp/under-test.deb";
        self.command(command).run().expect_ok()
    }

    /// Copies a file of the host into the guest, through the payload disk: megabytes a second.
    #[track_caller]
    pub fn put(&self, host: &Path, path: &str) {
        let copy = || -> io::Result<u64> {
            let mut from = File::open(host)?;
            let mut payload = File::options().write(true).open(self.inner.dir.path().join("payload.raw"))?;
            payload.rewind()?;
            io::copy(&mut from, &mut payload)
        };
        let bytes = copy().unwrap_or_else(|error| panic!("cannot hand over {}: {error}", host.display()));
        assert!(bytes <= PAYLOAD_BYTES_MAX, "{} is over {PAYLOAD_BYTES_MAX} bytes", host.display());
        // Direct reads: the guest's cache may hold what the disk said to an earlier reader.
        let command = format!(
            "dd if=/dev/disk/by-id/virtio-payload of='{path}' bs=1M iflag=direct count={} status=none &&
             truncate -s {bytes} '{path}'",
            bytes.div_ceil(1 << 20)
        );
        self.command(&command).run().expect_ok();
    }

    /// Writes a file as root. `mode` as in chmod.
    #[track_caller]
    pub fn write_file(&self, path: &str, bytes: impl AsRef<[u8]>, mode: u32) {
        let bytes = bytes.as_ref();
        if bytes.len() <= STDIN_BYTES_MAX {
            let command = format!("cat > '{path}' && chmod {mode:o} '{path}'");
            self.command(&command).stdin(bytes).run().expect_ok();
        } else {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            io::Write::write_all(&mut file, bytes).expect("a temporary file can be written");
            self.put(file.path(), path);
            self.root(&format!("chmod {mode:o} '{path}'")).expect_ok();
        }
    }

    /// Reads a file as root.
    #[track_caller]
    pub fn read_file(&self, path: &str) -> Vec<u8> {
        self.root(&format!("cat '{path}'")).expect_ok().stdout
    }

    /// Restarts it as an admin does. The disk stays, `/run` and every transient unit go. Answers what
    /// `systemctl is-system-running` says then.
    pub fn reboot(&self) -> String {
        self.reboot_telling("")
    }

    /// The same, with this more on the kernel's command line.
    pub fn reboot_telling(&self, kernel: &str) -> String {
        // In the background, so that the command's own end is told before the agent ends with everything else.
        self.root("(sleep 1; systemctl --no-block reboot) > /dev/null 2>&1 &").expect_ok();
        if let Some(power) = self.power().as_mut() {
            power.machine.await_off(PATIENCE);
        }
        self.power_on(kernel)
    }

    /// Pulls the plug and boots again: what was not flushed to the disk is lost.
    pub fn power_cut(&self) -> String {
        self.power_on("")
    }

    fn power_on(&self, kernel: &str) -> String {
        let snapshot = self.inner.snapshot.as_ref().expect("a guest that becomes a snapshot does not reboot");
        let spec = snapshot.boot_spec_told(self.inner.dir.path().join("disk.qcow2"), kernel);
        let mut power = self.power();
        // The old machine ends first: it holds the disk.
        drop(power.take());
        *power = Some(Power::on(self.inner.dir.path(), &spec));
        drop(power);
        self.await_system()
    }

    /// Waits until the boot is over, however it ended.
    fn await_system(&self) -> String {
        self.command("systemctl is-system-running --wait").run().text()
    }

    /// Waits until the boot is over and fails unless every unit started.
    pub fn await_running(&self) {
        let state = self.await_system();
        let failed = || self.root("systemctl --failed --no-legend --plain").text();
        assert!(
            state == "running",
            "{}",
            self.report(&format!("the guest is {state:?}, not running: {}", failed()))
        );
    }

    /// Gives the guest the host's time; a restored one has that of its snapshot.
    pub fn set_clock(&self) {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("a host after 1970");
        self.root(&format!("date --set=@{}.{:03}", now.as_secs(), now.subsec_millis())).expect_ok();
    }

    /// Turns this guest into a snapshot's device state.
    pub fn save(&self, state: &Path) {
        let power = self.power().take().expect("the guest is on");
        power.machine.save(state);
    }

    /// Does one thing with the agent.
    pub fn with_agent<T>(&self, act: impl FnOnce(&mut Agent) -> Result<T, String>) -> Result<T, String> {
        match self.power().as_mut() {
            Some(power) => act(&mut power.agent),
            None => Err("the guest is off".into()),
        }
    }

    /// A failure's message, with the daemon's journal and the console.
    pub fn report(&self, what: &str) -> String {
        let journal = self
            .command(
                "journalctl --no-pager -b -n 40 -o short-precise -u fairshared.service -u fairshared.socket",
            )
            .within(Duration::from_secs(60))
            .try_run()
            .map_or_else(|error| error, |exit| String::from_utf8_lossy(&exit.stdout).into_owned());
        let text = format!("{} guest: {what}\n--- journal of fairshared\n{journal}", self.inner.release);
        match self.power().as_ref() {
            Some(power) => power.machine.describe(&text),
            None => text,
        }
    }

    fn power(&self) -> MutexGuard<'_, Option<Power>> {
        self.inner.power.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Power {
    fn on(dir: &Path, spec: &Spec) -> Power {
        let (machine, channel) = Machine::start(dir, spec);
        match Agent::new(channel) {
            Ok(agent) => Power { agent, machine },
            Err(error) => panic!("{}", machine.describe(&error)),
        }
    }
}

fn tempdir() -> TempDir {
    tempfile::Builder::new().prefix("fairshare-guest-").tempdir().expect("a temporary folder")
}

/// The package that the tests are about: `$FAIRSHARE_DEB`, else the one that `make deb` left.
pub fn deb_under_test() -> PathBuf {
    if let Some(path) = std::env::var_os("FAIRSHARE_DEB") {
        return std::path::absolute(path).expect("a current folder");
    }
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/deb");
    let mut found: Vec<PathBuf> = std::fs::read_dir(&folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with("fairshare_") && name.ends_with(".deb")
        })
        .collect();
    match (found.pop(), found.is_empty()) {
        (Some(deb), true) => deb,
        (None, _) => panic!("no package in {}: run `make deb`, or set FAIRSHARE_DEB", folder.display()),
        (Some(_), false) => panic!("several packages in {}: set FAIRSHARE_DEB", folder.display()),
    }
}
