//! The main job: a member gets a share that the kernel enforces, works in it, and loses nothing when the daemon dies.

use crate::guest::Guest;

guest_test!(a_member_works_in_a_share_that_the_kernel_holds, |guest: Guest| {
    assert_eq!(guest.daemon_pid(), None, "the daemon runs before anyone asked");
    guest
        .as_user(
            "alice",
            "fairshare request --cpu 0.5 --mem 64M > /dev/null && fairshare run -- cat /proc/self/cgroup",
        )
        .expect_ok()
        .stdout_has("/fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice/fairshare-1001-own-run");
    let slice = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
    assert_eq!(guest.cgroup(slice, "cpu.max"), "50000 100000");
    assert_eq!(guest.cgroup(slice, "memory.max"), (64u64 << 20).to_string());
    assert_eq!(guest.cgroup(slice, "memory.swap.max"), "0");
    assert_eq!(guest.cgroup(slice, "pids.max"), "4096");
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("0.5 CPU");
    guest.as_user("alice", "fairshare release").expect_ok();
    assert!(!guest.cgroup_exists(slice), "the slice is still there after release");
});
