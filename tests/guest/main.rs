//! Tests on a real systemd: Debian 12 and 13 guests in QEMU, and the words to write such tests with.
//!
//! ```ignore
//! use crate::guest::Guest;
//!
//! guest_test!(a_share_is_what_the_kernel_enforces, |guest: Guest| {
//!     guest.as_user("alice", "fairshare request --cpu 1 --mem 256M").expect_ok().stdout_has("1 CPU");
//!     assert_eq!(guest.cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "memory.max"), "268435456");
//!     guest.as_user("mallory", "fairshare status").expect_code(77).stderr_has("group `fairshare`");
//! });
//! ```
//!
//! This is two tests, `…::bookworm` and `…::trixie`. Run them with `make deb` done and, as root,
//! `cargo test --test guest -- --test-threads=1000 [NAME]`: each waits for its place, the longest first; `bookworm` and `trixie` are names as well.
//! `FAIRSHARE_DEB` names another package than the one in `target/deb`.
//!
//! # What a test gets
//! - A [`Guest`](guest::Guest) of its own, restored in a fraction of a second, dead and forgotten when the
//!   test ends. `Guest::installed` has the package installed by `dpkg -i` on the running system;
//!   `Guest::restored` has nothing, for tests of the installation itself (`install`, `put` and `dpkg`);
//!   `Guest::cold_installed` booted with the package already there.
//! - Users: alice (1001), bob (1002) and carol (1003) are members where the package is installed; mallory
//!   (1666) is not. Groups `students` and `staff` have nobody in them.
//! - `root`, `as_user`, `spawn_as`, and `command(…)` for all that needs more words: `.user()`, `.login()`,
//!   `.stdin()`, `.env()`, `.within()`, then `.run()`, `.spawn()` or `.until_ok()`.
//! - `cgroup`, `property`, `journal`, `daemon_pid`, `kill_daemon`, `read_file`, `write_file`, `await_cmd`.
//! - `reboot` and `power_cut`, for every guest: the root is a real disk, so that everything an admin or the
//!   package did is found again, `/run` and transient units are not, and after a power cut only what was
//!   flushed. Ten to twenty seconds.
//! - An end: every wait has a deadline, and a failure shows the command, its output, the daemon's journal
//!   and the console.
//!
//! # How it is done
//! `image/build.sh` makes the image with mmdebstrap ([`image`]); [`snapshot`] boots it once, and once
//! more for each package; [`qemu`] runs a machine, [`agent`] commands in it. All that is built is kept in
//! [`cache`]: `$FAIRSHARE_GUEST_CACHE`, else `~/.cache/fairshare/guest`. To build anew, remove that.
//! [`accel`] finds out whether KVM works; `FAIRSHARE_GUEST_ACCEL=tcg` or `kvm` says so instead.
//! [`slot`] keeps the host from running more guests at once than it has processors.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a harness that cannot go on fails its test, and a panic is how a test fails"
)]

mod accel;
mod agent;
mod cache;
mod channel;
mod guest;
mod image;
mod observe;
mod qcow2;
mod qemu;
mod run;
mod slot;
mod snapshot;

/// How often a test is begun whose guest's kernel crashes: that is the emulator's doing (two processors, and code that is
/// patched while it runs), and says nothing of fairshare, which has no business in the kernel.
const BEGUN_MAX: usize = 3;

/// Runs a test, and once more where it failed because the guest's kernel crashed under it or never came up.
fn unless_the_kernel_crashes(test: impl Fn()) {
    for begun in 1.. {
        let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(&test)) else { return };
        if !qemu::crashed() || begun == BEGUN_MAX {
            std::panic::resume_unwind(panic);
        }
        eprintln!(
            "guest: the kernel crashed under the emulator: the test begins again ({begun} of {BEGUN_MAX})"
        );
    }
}

/// A test that runs once on each release: `guest_test!(name, |guest: Guest| { … });` makes
/// `name::bookworm` and `name::trixie`. The guest is [`Guest::installed`](guest::Guest::installed), or
/// what a second argument says: `guest_test!(name, Guest::restored, |guest: Guest| { … });`.
macro_rules! guest_test {
    ($(#[$attribute:meta])* $name:ident, $body:expr) => {
        guest_test!($(#[$attribute])* $name, $crate::guest::Guest::installed, $body);
    };
    ($(#[$attribute:meta])* $name:ident, $start:expr, $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing of its module")]
            use super::*;

            fn on(release: $crate::image::Release) {
                let body: fn($crate::guest::Guest) = $body;
                $crate::unless_the_kernel_crashes(|| body($start(release)));
            }

            #[test]
            $(#[$attribute])*
            fn bookworm() {
                on($crate::image::Release::Bookworm);
            }

            #[test]
            $(#[$attribute])*
            fn trixie() {
                on($crate::image::Release::Trixie);
            }
        }
    };
}

mod activation;
mod allocations;
mod arrays;
mod attack;
mod background;
mod bench;
mod changing;
mod conditions;
mod degraded;
mod demo;
mod disks;
mod doctor;
mod entering;
mod events;
mod eviction;
mod exhausting;
mod floors;
mod handed;
mod history;
mod hostile;
mod jobs;
mod later;
mod leaks;
mod limits;
mod logins;
mod main_job;
mod notify;
mod package;
mod paused;
mod protocol_client;
mod queue;
mod roles;
mod scripts;
mod selftest;
mod surviving;
mod tries;
mod unusual;
mod waiting;
mod warned;
mod words;
