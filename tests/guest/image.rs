//! A guest's image: a Debian release as a root disk, with its own kernel.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::cache;

const RECIPE: &str = include_str!("image/build.sh");

/// A Debian release that fairshare supports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Release {
    /// Debian 12: systemd 252 on Linux 6.1.
    Bookworm,
    /// Debian 13: systemd 257 on Linux 6.12.
    Trixie,
}

impl Release {
    /// The release's name in Debian's archive.
    pub fn name(self) -> &'static str {
        match self {
            Release::Bookworm => "bookworm",
            Release::Trixie => "trixie",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A built image in the cache.
pub struct Image {
    /// The hash of the recipe and the release.
    pub key: String,
    dir: PathBuf,
}

impl Image {
    /// The release's image, built on first use: half a minute to a minute, needs root and a Debian mirror.
    pub fn get(release: Release) -> Image {
        let key = cache::digest([RECIPE.as_bytes(), release.name().as_bytes()]);
        let dir = cache::entry(&format!("image-{release}"), &key, |out| build(release, out));
        Image { key, dir }
    }

    /// The package's own kernel.
    pub fn kernel(&self) -> PathBuf {
        self.dir.join("vmlinuz")
    }

    /// A small initramfs that loads the disk's driver and mounts the root.
    pub fn initrd(&self) -> PathBuf {
        self.dir.join("initrd")
    }

    /// The root disk, raw and never written.
    pub fn root_disk(&self) -> PathBuf {
        self.dir.join("root.raw")
    }
}

fn build(release: Release, out: &Path) {
    let started = Instant::now();
    eprintln!("guest: building the {release} image in {}", out.display());
    let output = Command::new("bash")
        .args(["-c", RECIPE, "build.sh", release.name()])
        .arg(out)
        .stdin(Stdio::null())
        .output()
        .expect("cannot start bash");
    assert!(
        output.status.success(),
        "the {release} image was not built ({}); it needs root and a Debian mirror.\n{}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    eprintln!("guest: built the {release} image in {:.1} s", started.elapsed().as_secs_f32());
}
