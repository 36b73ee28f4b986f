//! One QEMU process: its command line, its monitor, its end.

use std::cell::Cell;
use std::collections::VecDeque;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::accel::Accel;
use crate::channel::{self, Channel};

/// Where guests read big files from: a raw disk of this size whose start the harness overwrites.
pub const PAYLOAD_BYTES_MAX: u64 = 256 << 20;
/// A monitor command answers at once, or QEMU hangs.
const MONITOR_TIMEOUT: Duration = Duration::from_secs(120);
/// From the kernel's start to the guest agent's; a busy machine without KVM takes its time: up to a minute was seen.
const BOOT_TIMEOUT: Duration = Duration::from_secs(300);
/// What is on the console of a guest whose kernel crashed.
const CRASHES: [&str; 3] = ["Call Trace:", "Oops:", "Kernel panic"];

thread_local! {
    static CRASHED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the kernel of a guest of this thread's crashed under what failed since this was last asked, or never came up.
pub fn crashed() -> bool {
    CRASHED.replace(false)
}

/// What every guest has in common: what a snapshot was taken with, it must be restored with.
#[rustfmt::skip]
const DEVICES: &[&str] = &[
    "-machine", "q35,memory-backend=ram", "-cpu", "max", "-smp", "2", "-m", "1536",
    "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-nic", "none",
    "-serial", "file:serial.log",
    "-chardev", "socket,id=monitor,path=monitor.sock,server=off", "-mon", "chardev=monitor,mode=control",
    "-device", "virtio-serial",
    "-chardev", "socket,id=agent,path=agent.sock,server=off",
    "-device", "virtserialport,id=agent,chardev=agent,name=org.qemu.guest_agent.0",
    "-device", "virtio-blk-pci,drive=root,serial=root",
    "-device", "virtio-blk-pci,drive=payload,serial=payload",
    "-device", "virtio-rng-pci",
    "-blockdev", "driver=raw,node-name=payload,read-only=on,file.driver=file,file.filename=payload.raw",
];
/// The guest's memory, as `-m` above.
const MEMORY_BYTES: u64 = 1536 << 20;
/// Programs at the same addresses each time (`norandmaps`): the emulator knows code that it has translated by its address,
/// and translates what has moved again, which makes a fork and exec take six times as long. And the processor's own clock:
/// the others are devices, which take a walk through the emulator for each look.
const KERNEL_ARGUMENTS: &str = "console=ttyS0 panic=-1 quiet rdinit=/init systemd.show_status=0 mitigations=off psi=1 \
    norandmaps tsc=reliable";

/// So many lines of a log are shown of a machine that failed.
const SHOWN_LINES_MAX: usize = 40;

/// How a machine's memory comes to be.
pub enum Memory {
    /// Its own, gone with it.
    Own,
    /// In this file, to be kept as a snapshot's.
    Kept(PathBuf),
    /// A private copy, page by page as it writes, of a snapshot's file.
    CopyOf(PathBuf),
}

/// How a machine starts.
pub enum Start {
    /// From the kernel, which is told this beside what each guest's is told.
    Boot { kernel: PathBuf, initrd: PathBuf, told: String },
    /// From a snapshot's device state.
    Restore { state: PathBuf },
}

/// All that tells one machine from another.
pub struct Spec {
    pub accel: Accel,
    pub memory: Memory,
    pub start: Start,
    /// The root disk's layers, the raw image first, then qcow2 overlays; the last one is written.
    pub layers: Vec<PathBuf>,
}

/// What a snapshot depends on besides its disk: this program's idea of a machine, and QEMU's version.
pub fn fingerprint() -> &'static str {
    static FINGERPRINT: OnceLock<String> = OnceLock::new();
    FINGERPRINT.get_or_init(|| {
        let version = Command::new("qemu-system-x86_64").arg("--version").output();
        let version = version.expect("cannot start qemu-system-x86_64 (package qemu-system-x86)");
        format!("{DEVICES:?} {KERNEL_ARGUMENTS} {}", String::from_utf8_lossy(&version.stdout))
    })
}

/// A running QEMU. It ends with this value, and with the thread that started it.
pub struct Machine {
    child: Child,
    monitor: Channel,
    events: VecDeque<Value>,
    dir: PathBuf,
}

impl Machine {
    /// Starts a machine in `dir` and waits until its guest agent can be spoken to.
    pub fn start(dir: &Path, spec: &Spec) -> (Machine, Channel) {
        let monitor_listener = channel::listen(&dir.join("monitor.sock"));
        let agent_listener = channel::listen(&dir.join("agent.sock"));
        let payload = dir.join("payload.raw");
        if !payload.exists() {
            let made = File::create(&payload).and_then(|file| file.set_len(PAYLOAD_BYTES_MAX));
            made.unwrap_or_else(|error| panic!("cannot create {}: {error}", payload.display()));
        }
        let mut child = command(dir, spec).spawn().expect("cannot start setpriv (util-linux)");
        // In the order in which QEMU opens its character devices.
        let connected = Channel::accept(&monitor_listener, &child)
            .and_then(|monitor| Ok((monitor, Channel::accept(&agent_listener, &child)?)));
        let (monitor, agent) = connected.unwrap_or_else(|error| {
            let _ = child.kill();
            let _ = child.wait();
            panic!("{error}: {}", fs::read_to_string(dir.join("qemu.log")).unwrap_or_default())
        });
        let mut machine = Machine { child, monitor, events: VecDeque::new(), dir: dir.to_owned() };
        machine.await_greeting();
        match spec.start {
            Start::Boot { .. } => machine.await_agent_port(),
            Start::Restore { .. } => machine.restore(),
        }
        (machine, agent)
    }

    /// Stops the guest and writes its device state; its memory stays in the file of `Memory::Kept`.
    pub fn save(mut self, state: &Path) {
        self.call("stop", json!({}));
        self.migrate("migrate", &format!("exec:cat > {}", shell_word(state)));
        self.call("quit", json!({}));
        assert!(
            channel::wait_for_exit(&mut self.child, MONITOR_TIMEOUT),
            "{}",
            self.describe("QEMU did not quit")
        );
    }

    /// Waits until the guest turned itself off.
    pub fn await_off(&mut self, timeout: Duration) {
        assert!(
            channel::wait_for_exit(&mut self.child, timeout),
            "{}",
            self.describe(&format!("the guest did not go down within {timeout:?}"))
        );
    }

    /// What can be said of a machine that does not answer.
    pub fn describe(&self, what: &str) -> String {
        let (console, qemu) =
            (self.tail("serial.log", SHOWN_LINES_MAX), self.tail("qemu.log", SHOWN_LINES_MAX));
        format!("{what}\n--- console\n{console}\n--- qemu\n{qemu}")
    }

    /// The last lines of a file of this machine's.
    fn tail(&self, name: &str, most: usize) -> String {
        let text = fs::read(self.dir.join(name)).unwrap_or_default();
        let text = String::from_utf8_lossy(&text).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(most)..].join("\n")
    }

    fn await_greeting(&mut self) {
        let deadline = Instant::now() + MONITOR_TIMEOUT;
        if let Err(silence) = self.monitor.receive(deadline) {
            panic!("{}", self.describe(&format!("QEMU's monitor is silent ({silence:?})")));
        }
        self.call("qmp_capabilities", json!({}));
        let capability = |name| json!({"capability": name, "state": true});
        // Memory is in a file that both sides have: only the devices' state is to be moved.
        let capabilities = [capability("x-ignore-shared"), capability("events")];
        self.call("migrate-set-capabilities", json!({"capabilities": capabilities}));
    }

    fn await_agent_port(&mut self) {
        let deadline = Instant::now() + BOOT_TIMEOUT;
        // Until it is heard: a kernel that hangs says nothing.
        CRASHED.set(true);
        self.await_event(deadline, "the guest agent", |event| {
            event["event"] == "VSERPORT_CHANGE" && event["data"]["open"] == true
        });
        CRASHED.set(false);
    }

    fn restore(&mut self) {
        self.migrate("migrate-incoming", "exec:cat state");
        self.call("cont", json!({}));
    }

    fn migrate(&mut self, command: &str, uri: &str) {
        self.call(command, json!({ "uri": uri }));
        let deadline = Instant::now() + MONITOR_TIMEOUT;
        let event = self.await_event(deadline, command, |event| {
            event["event"] == "MIGRATION"
                && (event["data"]["status"] == "completed" || event["data"]["status"] == "failed")
        });
        assert!(event["data"]["status"] == "completed", "{}", self.describe(&format!("{command} failed")));
    }

    fn call(&mut self, command: &str, arguments: Value) -> Value {
        let deadline = Instant::now() + MONITOR_TIMEOUT;
        let sent = self.monitor.send(&json!({"execute": command, "arguments": arguments}));
        let mut answer = sent.and_then(|()| self.monitor.receive(deadline));
        while let Ok(event) = &answer
            && !event["event"].is_null()
        {
            self.events.push_back(event.clone());
            answer = self.monitor.receive(deadline);
        }
        match answer {
            Ok(mut answer) if answer["error"].is_null() => answer["return"].take(),
            other => panic!("{}", self.describe(&format!("QEMU's answer to {command}: {other:?}"))),
        }
    }

    fn await_event(&mut self, deadline: Instant, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let event = match self.events.pop_front() {
                Some(event) => event,
                None => self.monitor.receive(deadline).unwrap_or_else(|silence| {
                    panic!("{}", self.describe(&format!("waiting for {what}: {silence:?}")))
                }),
            };
            if wanted(&event) {
                return event;
            }
        }
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What failed may have said nothing of the console.
        let console = self.tail("serial.log", usize::MAX);
        if std::thread::panicking() && CRASHES.iter().any(|mark| console.contains(mark)) {
            CRASHED.set(true);
        }
    }
}

/// QEMU's command line. Every path in it is relative to `dir`: sockets have short names, and no
/// path needs escaping.
fn command(dir: &Path, spec: &Spec) -> Command {
    let log = File::create(dir.join("qemu.log")).expect("the guest's folder can be written");
    // setpriv becomes QEMU; the kernel kills it when the thread that started it ends, however that ends.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]).args(DEVICES);
    command.args(["-accel", spec.accel.argument()]);
    let memory = match &spec.memory {
        Memory::Own => json!({"qom-type": "memory-backend-ram", "id": "ram", "size": MEMORY_BYTES}),
        Memory::Kept(path) => memory_file(path, true),
        Memory::CopyOf(path) => memory_file(path, false),
    };
    command.arg("-object").arg(memory.to_string());
    command.arg("-blockdev").arg(root_disk(&spec.layers).to_string());
    match &spec.start {
        Start::Boot { kernel, initrd, told } => {
            command.arg("-kernel").arg(kernel).arg("-initrd").arg(initrd);
            command.arg("-append").arg(format!("{KERNEL_ARGUMENTS} {told}"));
        }
        Start::Restore { state } => {
            link(state, &dir.join("state"));
            command.args(["-incoming", "defer"]);
        }
    }
    command.current_dir(dir).stdin(Stdio::null());
    command.stdout(log.try_clone().expect("a second handle")).stderr(log);
    command
}

fn memory_file(path: &Path, share: bool) -> Value {
    json!({"qom-type": "memory-backend-file", "id": "ram", "size": MEMORY_BYTES, "mem-path": path, "share": share})
}

/// The root disk as QEMU's nested description of layers, the writable one outermost.
///
/// Flushes reach the file: what a guest did not flush is lost when its machine is killed, as with a
/// real power cut.
fn root_disk(layers: &[PathBuf]) -> Value {
    let (image, overlays) = layers.split_first().expect("a disk has an image");
    let mut node = json!({"driver": "raw", "read-only": true, "file": {"driver": "file", "filename": image}});
    for overlay in overlays {
        node["read-only"] = true.into();
        node = json!({"driver": "qcow2", "file": {"driver": "file", "filename": overlay}, "backing": node});
    }
    node["node-name"] = "root".into();
    node
}

fn link(target: &Path, name: &Path) {
    let _ = fs::remove_file(name);
    std::os::unix::fs::symlink(target, name)
        .unwrap_or_else(|error| panic!("cannot link {}: {error}", name.display()));
}

fn shell_word(path: &Path) -> String {
    format!("'{}'", path.display().to_string().replace('\'', r"'\''"))
}
