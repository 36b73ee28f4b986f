//! The most I/O of a share, on a disk of a speed of its own; and the disk quota that a member is shown.

use crate::guest::Guest;

const POLICY: &str = "/etc/fairshare/policy.d/site.yaml";
const SLICE: &str = "fairshare.slice/fairshare-1001.slice";
/// How often the file is read under a bound.
const READS: usize = 3;

const MIB: u64 = 1 << 20;

/// Puts a policy in force.
fn policy(guest: &Guest, text: &str) {
    guest.write_file(POLICY, text, 0o644);
    guest.root("fairshare admin reload").expect_ok();
}

/// A disk that gives 64 MiB a second, with a file of 32 MiB on it that anybody may read. Answers its number.
fn scratch(guest: &Guest) -> String {
    guest
        .root(
            "set -e
             modprobe null_blk nr_devices=1 gb=1 memory_backed=1 mbps=64
             mkfs.ext4 -q -O ^has_journal -E nodiscard,lazy_itable_init=0 -N 64 /dev/nullb0
             mkdir /scratch && mount /dev/nullb0 /scratch && mkdir /scratch/below
             head -c 32M /dev/urandom > /scratch/read && chmod 644 /scratch/read && sync",
        )
        .expect_ok();
    guest.root("cat /sys/block/nullb0/dev").text()
}

/// Reads the file past the page cache, and says how many milliseconds that took.
const READ: &str = "bash -c 's=${EPOCHREALTIME/[.,]/}; dd if=/scratch/read of=/dev/null bs=1M iflag=direct status=none; \
                    e=${EPOCHREALTIME/[.,]/}; echo $(((e - s) / 1000))'";

fn milliseconds(guest: &Guest, command: &str) -> u64 {
    let said = guest.as_user("alice", command).expect_ok().stdout();
    said.trim().parse().unwrap_or_else(|_| panic!("{said:?}"))
}

guest_test!(the_io_of_a_share_is_what_the_policy_says, |guest: Guest| {
    let disk = scratch(&guest);
    policy(&guest, "io: {read: 8M, write: 8M, on: [/scratch]}\n");
    let in_share = format!("fairshare run -- {READ}");
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    let bound = format!("{disk} rbps={0} wbps={0} riops=max wiops=max", 8 * MIB);
    assert_eq!(guest.cgroup(SLICE, "io.max"), bound);
    guest.root("fairshare health").expect_ok();
    guest.root("fairshare doctor").expect_ok().stdout_has("the kernel bounds the I/O of one share");
    guest.as_user("alice", "fairshare policy show").expect_ok().stdout_has(
        "I/O        a share reads at most 8.0 MiB/s and writes at most 8.0 MiB/s, on the disk of /scratch",
    );
    // 32 MiB of 8 a second: never in less. In more only by what the machine itself needs, where the host gives its processors to
    // nobody else meanwhile.
    let outside = milliseconds(&guest, READ);
    let inside: Vec<u64> = (0..READS).map(|_| milliseconds(&guest, &in_share)).collect();
    let (least, most) = (inside.iter().min().unwrap(), 4400 + 2 * outside);
    assert!((3600..=most).contains(least), "{inside:?} ms, and {outside} ms outside");

    // What somebody else sets is put right.
    guest
        .root(&format!(
            "set -e
             systemctl set-property --runtime fairshare-1001.slice IOReadBandwidthMax='/scratch 1M'
             systemctl show --property=IOReadBandwidthMax fairshare-1001.slice
             grep rbps=1000000 /sys/fs/cgroup/{SLICE}/io.max
             fairshare admin reload"
        ))
        .expect_ok();
    assert_eq!(guest.cgroup(SLICE, "io.max"), bound);
    guest.kill_daemon();
    guest.root("fairshare health").expect_ok();
    assert_eq!(guest.cgroup(SLICE, "io.max"), bound);
    guest.root("systemctl daemon-reload && fairshare health").expect_ok();
    assert_eq!(guest.cgroup(SLICE, "io.max"), bound);

    // Another path on the same disk. systemd 252 forgets the one before with its next reload.
    policy(&guest, "io: {write: 8M, on: [/scratch/below]}\n");
    guest.root("systemctl daemon-reload").expect_ok();
    let bound = format!("{disk} rbps=max wbps={} riops=max wiops=max", 8 * MIB);
    guest.await_cmd(&format!("grep -qx '{bound}' /sys/fs/cgroup/{SLICE}/io.max"));
    guest.await_cmd("fairshare health");

    // A reload without the key takes it from shares that are held.
    policy(&guest, "");
    assert_eq!(guest.cgroup(SLICE, "io.max"), "");
    let free = milliseconds(&guest, &in_share);
    assert!(free <= 3 * outside.max(500), "{free} ms, and {outside} ms outside");
});

guest_test!(io_that_cannot_be_bounded_is_said_and_refuses_nobody, |guest: Guest| {
    let root = guest.root("cat /sys/class/block/vda/dev").text();
    policy(&guest, "io: {read_ops: 1000, on: [/proc, /dev/shm, /home]}\n");
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M").expect_ok();
    assert_eq!(guest.cgroup(SLICE, "io.max"), format!("{root} rbps=max wbps=max riops=1000 wiops=max"));
    let health = guest.root("fairshare health").expect_code(1).text();
    for why in ["/proc is on proc, and on no disk", "/dev/shm is on tmpfs, and on no disk"] {
        assert!(health.contains(&format!("fairshare-1001.slice: {why}")) || health.contains(why), "{health}");
    }
    guest.as_user("alice", "fairshare health").expect_code(1).stdout_has("the I/O of 1 share");
    guest
        .as_user("alice", "fairshare doctor")
        .expect_code(1)
        .stdout_has("FAULT    fairshare-1001.slice: its I/O");
    // The kernel has the last word on what PID 1 finds nothing of.
    policy(&guest, "io: {read_ops: 1000, on: [/nowhere]}\n");
    guest.root("fairshare health").expect_code(1).stdout_has("io.max bounds no disk");
    guest.as_user("bob", "fairshare run --cpu 0.5 --mem 64M -- true").expect_ok();
    policy(&guest, "io: {read_ops: 1000, on: [/]}\n");
    guest.root("fairshare health").expect_ok();

    // The removal takes it from work that goes on.
    let work = guest.command("exec fairshare run -- sleep 1000").user("alice").spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{SLICE}/cgroup.events"));
    assert!(guest.cgroup(SLICE, "io.max").contains("riops=1000"));
    guest.command("DEBIAN_FRONTEND=noninteractive dpkg -r fairshare").run().expect_ok();
    assert_eq!(guest.cgroup(SLICE, "io.max"), "");
    assert!(work.is_running());
});

/// Sets the most space of a user on a mounted file system, in KiB (`quotactl(2)`: `Q_SETQUOTA`, `QIF_BLIMITS`).
const SET_QUOTA: &str = "import ctypes, os, struct, sys
point, uid, kib = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
quota = ctypes.create_string_buffer(struct.pack('=8QI4x', kib, kib, 0, 0, 0, 0, 0, 0, 1))
libc = ctypes.CDLL(None, use_errno=True)
done = libc.syscall(443, os.open(point, os.O_RDONLY), 0x800008 << 8, uid, quota)
sys.exit(0 if done == 0 else os.strerror(ctypes.get_errno()))
";

guest_test!(ones_own_disk_quota_is_shown_where_there_is_one, |guest: Guest| {
    guest.write_file("/root/set_quota.py", SET_QUOTA, 0o644);
    guest
        .root(
            "set -e
             truncate -s 64M /var/tmp/image && mkfs.ext4 -q -O quota /var/tmp/image
             mkdir /quota && mount -o loop,usrquota /var/tmp/image /quota && chmod 1777 /quota
             python3 /root/set_quota.py /quota 1001 20480",
        )
        .expect_ok();
    guest.as_user("alice", "head -c 5M /dev/zero > /quota/mine").expect_ok();
    let status =
        |user: &str, how: &str| guest.as_user(user, &format!("{how} fairshare status")).expect_ok().stdout();
    let line = "Disk        5 of 20 MiB on /quota";
    let said = status("alice", "cd /quota &&");
    assert_eq!(said.lines().filter(|said| *said == line).count(), 1, "{said}");
    let said = status("alice", "cd /quota && HOME=/quota");
    assert_eq!(said.lines().filter(|said| said.starts_with("Disk")).count(), 1, "{said}");
    let said = status("alice", "HOME=/quota");
    assert!(said.lines().any(|said| said == line), "{said}");
    // None where there is none: on this file system for another, or on another one.
    for said in [status("bob", "cd /quota &&"), status("alice", ""), status("alice", "cd /proc &&")] {
        assert!(!said.contains("Disk"), "{said}");
    }
});
