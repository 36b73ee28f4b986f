//! Guests that are ready to run: booted, or booted with fairshare installed.
//!
//! A snapshot is three files: the memory, which every guest maps privately and so shares with the others
//! until it writes; the devices' state, half a megabyte; and a layer of the root disk. Restoring reads
//! the second and maps the first: 0.2 s, where `-loadvm` of a qcow2 takes two seconds.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::accel::Accel;
use crate::cache;
use crate::guest::Guest;
use crate::image::{Image, Release};
use crate::qcow2;
use crate::qemu::{self, Memory, Spec, Start};

/// Reads once what tests use, so that a restored guest has it in its page cache. And has a quota on some CPU from here
/// on: the first one makes the kernel patch its scheduler's code while it runs, which the emulator does not survive
/// when the other processor is in that code at that moment (seen once in some sixty guests).
const WARM_UP: &str = "cat /usr/bin/* /usr/sbin/* /usr/lib/systemd/systemd* \
    /usr/lib/x86_64-linux-gnu/*.so* /usr/lib/x86_64-linux-gnu/*/*.so* > /dev/null 2>&1
    systemd-run --quiet --unit=keeper -p CPUQuota=100% -p Slice=keeper.slice sleep infinity
    systemd-run --quiet --wait true && runuser -u alice -- true && systemctl --quiet is-active dbus.socket && sync";
const MEMBERS: &str =
    "for user in alice bob carol; do usermod --append --groups fairshare $user || exit; done";
/// After the package and its members: nothing still starting, everything on the disk.
const SETTLE: &str = "systemctl is-system-running --wait; sync";

/// A snapshot in the cache.
#[derive(Clone)]
pub struct Snapshot {
    pub release: Release,
    pub accel: Accel,
    /// For booting instead of restoring.
    pub kernel: PathBuf,
    pub initrd: PathBuf,
    /// The root disk's layers, all read-only.
    pub layers: Vec<PathBuf>,
    key: String,
    dir: PathBuf,
}

impl Snapshot {
    /// The release, booted to `running`, nothing installed.
    pub fn booted(release: Release) -> Snapshot {
        let image = Image::get(release);
        let accel = Accel::probe(&image.kernel());
        let parts = [image.key.as_str(), accel.argument(), qemu::fingerprint(), WARM_UP];
        let key = cache::digest(parts.map(str::as_bytes));
        let kind = format!("booted-{release}");
        let dir = cache::entry(&kind, &key, |out| take_booted(release, accel, &image, out));
        Snapshot {
            release,
            accel,
            kernel: image.kernel(),
            initrd: image.initrd(),
            layers: vec![image.root_disk(), dir.join("disk.qcow2")],
            key,
            dir,
        }
    }

    /// The release with this package installed as an admin does it, `dpkg -i` on a running system, and
    /// alice, bob and carol made members.
    pub fn installed(release: Release, deb: &Path) -> Snapshot {
        let base = Snapshot::booted(release);
        let bytes = fs::read(deb).unwrap_or_else(|error| panic!("cannot read {}: {error}", deb.display()));
        let parts = [base.key.as_bytes(), MEMBERS.as_bytes(), SETTLE.as_bytes(), &bytes];
        let key = cache::digest(parts);
        let kind = format!("installed-{release}");
        let dir = cache::entry(&kind, &key, |out| take_installed(&base, deb, out));
        let mut layers = base.layers.clone();
        layers.push(dir.join("disk.qcow2"));
        Snapshot { layers, key, dir, ..base }
    }

    /// A machine that goes on from here, with a disk of its own.
    pub fn restored_spec(&self, disk: PathBuf) -> Spec {
        let start = Start::Restore { state: self.dir.join("state") };
        self.spec(Memory::CopyOf(self.dir.join("memory")), start, disk)
    }

    /// A machine that boots from zero with what is on the disk.
    pub fn boot_spec(&self, disk: PathBuf) -> Spec {
        self.boot_spec_told(disk, "")
    }

    /// The same, where the kernel is told this beside what each guest's is told.
    pub fn boot_spec_told(&self, disk: PathBuf, told: &str) -> Spec {
        let (kernel, initrd) = (self.kernel.clone(), self.initrd.clone());
        self.spec(Memory::Own, Start::Boot { kernel, initrd, told: told.to_owned() }, disk)
    }

    fn spec(&self, memory: Memory, start: Start, disk: PathBuf) -> Spec {
        let mut layers = self.layers.clone();
        layers.push(disk);
        Spec { accel: self.accel, memory, start, layers }
    }
}

fn take_booted(release: Release, accel: Accel, image: &Image, out: &Path) {
    let started = Instant::now();
    let disk = out.join("disk.qcow2");
    qcow2::create_overlay(&disk);
    let spec = Spec {
        accel,
        memory: Memory::Kept(out.join("memory")),
        start: Start::Boot { kernel: image.kernel(), initrd: image.initrd(), told: String::new() },
        layers: vec![image.root_disk(), disk],
    };
    let guest = Guest::build(release, &spec);
    guest.await_running();
    guest.root(WARM_UP).expect_ok();
    guest.save(&out.join("state"));
    eprintln!("guest: booted {release} in {:.1} s", started.elapsed().as_secs_f32());
}

fn take_installed(base: &Snapshot, deb: &Path, out: &Path) {
    let started = Instant::now();
    let disk = out.join("disk.qcow2");
    qcow2::create_overlay(&disk);
    let memory = out.join("memory");
    copy_sparse(&base.dir.join("memory"), &memory);
    let mut spec = base.restored_spec(disk);
    spec.memory = Memory::Kept(memory);
    let guest = Guest::build(base.release, &spec);
    guest.set_clock();
    guest.install(deb);
    guest.command(MEMBERS).run().expect_ok();
    guest.command(SETTLE).run().expect_ok();
    guest.save(&out.join("state"));
    eprintln!(
        "guest: installed {} on {} in {:.1} s",
        deb.display(),
        base.release,
        started.elapsed().as_secs_f32()
    );
}

fn copy_sparse(from: &Path, to: &Path) {
    let status = Command::new("cp").args(["--sparse=always", "--reflink=auto"]).arg(from).arg(to).status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cannot copy {} to {}",
        from.display(),
        to.display()
    );
}
