//! Two members who want more than there is: leases, the queue, and drain, through a crash and a reboot.

use crate::guest::Guest;
use crate::run::PATIENCE;

const ALICES: &str = "fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice";
const BOBS: &str = "fairshare.slice/fairshare-1002.slice/fairshare-1002-own.slice";

guest_test!(who_waits_is_served_when_the_lease_before_ends, |guest: Guest| {
    // The guest has 2 CPUs, less half a CPU that the default policy keeps for the system.
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M --for 60s").expect_ok().stdout_has("1 CPU");
    guest
        .as_user("bob", "fairshare request --cpu 1 --mem 64M")
        .expect_code(75)
        .stderr_has("There is no room for this now")
        .stderr_has("free: 0.5 CPU")
        .stderr_has("there will be room in")
        .stderr_has("held by: alice 1 CPU");
    guest.as_user("bob", "fairshare request --cpu 2 --mem 64M").expect_code(1).stderr_has("(1.5)");
    let call =
        r#"{"endpoint":"request_resources","body":{"cpu_milli":1000,"mem_bytes":67108864,"wait":true}}"#;
    guest.as_user("bob", &format!("echo '{call}' | fairshare json")).expect_ok().stdout_has("job_started");
    let job = guest.as_user("bob", "fairshare jobs --json").expect_ok().json()["jobs"][0].clone();
    assert_eq!((job["state"].as_str(), job["place"].as_u64()), (Some("queued"), Some(1)), "{job}");
    assert!(job["starts_ms"].as_u64() > job["created_ms"].as_u64(), "{job}");
    guest.kill_daemon();
    let after = guest.as_user("bob", "fairshare jobs --json").expect_ok().json()["jobs"][0].clone();
    assert_eq!((&after["job_id"], &after["place"]), (&job["job_id"], &job["place"]), "the place was lost");
    // The lease ends, the share is empty and goes, and bob has what he waited for.
    guest.await_cmd(&format!("test -d /sys/fs/cgroup/{BOBS}"));
    guest.await_cmd(&format!("test ! -d /sys/fs/cgroup/{ALICES}"));
    assert_eq!(guest.cgroup(BOBS, "cpu.max"), "100000 100000");
    guest.await_cmd("runuser -u bob -- fairshare jobs --json | grep -q '\"state\":\"done\"'");
    let journal = guest.journal("fairshared.service");
    let told = |entry: &crate::observe::Entry| {
        entry.message().contains("the lease of the standing allocation of uid 1001 is over")
    };
    assert!(journal.iter().any(told), "the journal does not say that the lease ended");
    // The shipped policy's lease of eight hours runs on, also over a machine that was off in between.
    guest.reboot();
    guest.await_running();
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("1 CPU");
    assert_eq!(guest.cgroup(BOBS, "cpu.max"), "100000 100000");
    guest.as_user("bob", "fairshare renew --for 1h").expect_ok();
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("lease ends in");
    // Maintenance: nothing new until the admin says so; what is held stays.
    guest.as_user("bob", "fairshare admin drain").expect_code(77);
    guest.root("fairshare admin drain").expect_ok();
    guest
        .as_user("alice", "fairshare request --cpu 0.1")
        .expect_code(75)
        .stderr_has("An admin stopped new requests");
    guest.root("fairshare admin undrain").expect_ok();
    guest.as_user("alice", "fairshare request --cpu 0.1 --mem 64M").expect_ok();
});

guest_test!(a_machine_that_shrinks_takes_nothing_and_grants_nothing_until_it_fits, |guest: Guest| {
    let work = guest
        .command("fairshare request --cpu 1 --mem 64M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICES}/cgroup.events"));
    guest.root("echo 0 > /sys/devices/system/cpu/cpu1/online").expect_ok();
    // Who asks is told at once.
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("0.5 of 0.5 CPU");
    guest
        .as_user("bob", "fairshare request --cpu 0.25 --mem 64M")
        .expect_code(75)
        .stderr_has("There is no room for this now")
        .stderr_has("free: 0 CPU");
    guest.await_cmd("grep -qx '10000 20000' /sys/fs/cgroup/fairshare.slice/cpu.max");
    assert_eq!(guest.cgroup(ALICES, "cpu.max"), "100000 100000", "it was taken from who holds it");
    assert!(work.is_running());
    let waits = guest.command("exec fairshare request --cpu 0.25 --mem 64M --wait").user("bob").spawn();
    guest.await_cmd("runuser -u bob -- fairshare jobs | grep -q queued");
    guest.root("echo 1 > /sys/devices/system/cpu/cpu1/online").expect_ok();
    guest.as_user("carol", "fairshare status").expect_ok().stdout_has("of 1.5 CPU");
    waits.wait().expect_ok().stdout_has("Granted: 0.25 CPU").stderr_has("place 1");
    assert_eq!(guest.cgroup(BOBS, "cpu.max"), "25000 100000");
    guest.await_cmd("grep -qx '30000 20000' /sys/fs/cgroup/fairshare.slice/cpu.max");
});

guest_test!(who_waits_no_longer_leaves_the_queue, |guest: Guest| {
    guest.as_user("alice", "fairshare request --cpu 1 --mem 64M --for 1h").expect_ok();
    let over = guest
        .as_user("bob", "fairshare request --cpu 1 --mem 64M --wait=2s")
        .expect_code(75)
        .stderr_has("fairshare: waiting as job ")
        .stderr_has("place 1, starts in 59m")
        .stderr_has("fairshare: no room within 2s; the request was taken back\n  hint: ");
    eprintln!("{}", over.stderr());
    for (signal, number) in [("TERM", 15), ("INT", 2)] {
        let waits = guest.command("exec fairshare request --cpu 1 --mem 64M --wait").user("bob").spawn();
        guest.await_cmd("runuser -u bob -- fairshare jobs | grep -q queued");
        waits.kill(signal);
        waits.wait().expect_code(128 + number).stderr_has("interrupted; the request was taken back");
        let jobs = guest.as_user("bob", "fairshare jobs --json").expect_ok().json();
        let states: Vec<_> =
            jobs["jobs"].as_array().unwrap().iter().map(|job| job["state"].clone()).collect();
        assert!(states.iter().all(|state| state == "cancelled"), "{jobs}");
    }
    // The machine's own end of the lease: nobody waits for it any more.
    guest.as_user("alice", "fairshare release").expect_ok();
    guest.as_user("bob", "fairshare status").expect_ok().stdout_has("none");
});

guest_test!(an_empty_share_goes_by_itself_where_the_policy_says_so, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "idle: 1s\n", 0o644);
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 64M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICES}/cgroup.events"));
    guest.kill_daemon();
    guest.as_user("bob", "fairshare status").expect_ok();
    assert!(guest.cgroup_exists(ALICES), "it went with a process inside");
    work.kill("KILL");
    // By the kernel's word, long before the next sweep, which comes a minute after the daemon's start.
    guest.await_gone_before_the_sweep(ALICES);
    guest.as_user("alice", "fairshare status").expect_ok().stdout_has("none");
    let journal = guest.journal("fairshared.service");
    assert!(!journal.iter().any(|entry| entry.message().contains("cannot be watched")));
});

guest_test!(where_the_kernel_allows_no_more_watches_the_sweep_looks, |guest: Guest| {
    guest.write_file("/etc/fairshare/policy.d/site.yaml", "idle: 1s\n", 0o644);
    guest.root("sysctl -q fs.inotify.max_user_watches=0").expect_ok();
    let work = guest
        .command("fairshare request --cpu 0.5 --mem 64M > /dev/null && exec fairshare run -- sleep 1000")
        .user("alice")
        .spawn();
    guest.await_cmd(&format!("grep -qx 'populated 1' /sys/fs/cgroup/{ALICES}/cgroup.events"));
    guest.as_user("bob", "fairshare run --cpu 0.5 --mem 64M -- true").expect_ok();
    work.kill("KILL");
    guest.command(&format!("test ! -d /sys/fs/cgroup/{ALICES}")).until_ok(PATIENCE);
    let journal = guest.journal("fairshared.service");
    let said = journal.iter().filter(|entry| entry.message().contains("cgroups cannot be watched"));
    assert_eq!(said.map(crate::observe::Entry::priority).collect::<Vec<_>>(), [4], "said once, as a warning");
});
