//! Tests on a real systemd.
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

/// A test that runs once on each release: `guest_test!(name, |guest: Guest| { … });` makes
/// `name::bookworm` and `name::trixie`. The guest is [`Guest::installed`](guest::Guest::installed), or
/// what a second argument says: `guest_test!(name, Guest::restored, |guest: Guest| { … });`.
macro_rules! guest_test {
    ($name:ident, $body:expr) => {
        guest_test!($name, $crate::guest::Guest::installed, $body);
    };
    ($name:ident, $start:expr, $body:expr) => {
        mod $name {
            #[allow(unused_imports, reason = "a body may need nothing of its module")]
            use super::*;

            fn on(release: $crate::image::Release) {
                let body: fn($crate::guest::Guest) = $body;
                body($start(release));
            }

            #[test]
            fn bookworm() {
                on($crate::image::Release::Bookworm);
            }

            #[test]
            fn trixie() {
                on($crate::image::Release::Trixie);
            }
        }
    };
}

mod selftest;
