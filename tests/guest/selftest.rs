//! The harness tests itself.

use crate::guest::Guest;

guest_test!(restored_guest_is_a_debian, Guest::restored, |guest: Guest| {
    guest.root("systemctl is-system-running").expect_ok().stdout_has("running");
    guest.as_user("alice", "id -un; pwd; exit 7").expect_code(7).stdout_has("alice\n/home/alice\n");
});
