//! Whether this host's KVM can be used.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::cache;
use crate::channel;

/// A kernel without a root panics, and so ends QEMU, in a second where KVM works.
const PROBE_TIMEOUT: Duration = Duration::from_secs(8);

/// What runs the guest's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Accel {
    /// The processor itself.
    Kvm,
    /// QEMU's translator: about ten times slower, works everywhere.
    Tcg,
}

impl Accel {
    /// Finds out with a short probe boot of `kernel`, once per boot of the host.
    ///
    /// That `/dev/kvm` exists says little: under some hypervisors a stock kernel hangs in it.
    /// `FAIRSHARE_GUEST_ACCEL` (`kvm` or `tcg`) overrules the probe.
    pub fn probe(kernel: &Path) -> Accel {
        match std::env::var("FAIRSHARE_GUEST_ACCEL").as_deref() {
            Ok("kvm") => return Accel::Kvm,
            Ok("tcg") => return Accel::Tcg,
            Ok(other) => panic!("FAIRSHARE_GUEST_ACCEL is {other:?}: kvm or tcg is possible"),
            Err(_) => {}
        }
        let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let dir = cache::entry("accel", boot_id.trim(), |out| {
            let found = if kvm_boots(kernel, out) { "kvm" } else { "tcg" };
            eprintln!("guest: running on {found}");
            fs::write(out.join("accel"), found).expect("the cache can be written");
        });
        match fs::read_to_string(dir.join("accel")).as_deref() {
            Ok("kvm") => Accel::Kvm,
            _ => Accel::Tcg,
        }
    }

    /// As in `-accel`.
    pub fn argument(self) -> &'static str {
        match self {
            Accel::Kvm => "kvm",
            Accel::Tcg => "tcg,thread=multi",
        }
    }
}

fn kvm_boots(kernel: &Path, dir: &Path) -> bool {
    if fs::File::options().read(true).write(true).open("/dev/kvm").is_err() {
        return false;
    }
    let serial = dir.join("serial.log");
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "qemu-system-x86_64", "-accel", "kvm", "-cpu", "max", "-m", "512"])
        .args(["-smp", "2", "-nodefaults", "-display", "none", "-no-reboot", "-nic", "none"])
        .args(["-serial", "file:serial.log", "-append", "console=ttyS0 panic=-1", "-kernel"])
        .arg(kernel)
        .current_dir(dir)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("cannot start setpriv (util-linux)");
    let ended = channel::wait_for_exit(&mut child, PROBE_TIMEOUT);
    let _ = child.kill();
    let _ = child.wait();
    let console = fs::read(serial).unwrap_or_default();
    ended && String::from_utf8_lossy(&console).contains("Kernel panic")
}
