//! The harness tests itself, with a package of its own that stands in for fairshare's.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use crate::guest::Guest;
use crate::image::Release;

guest_test!(a_guest_is_the_debian_it_says, Guest::restored, |guest: Guest| {
    let (systemd, kernel) = match guest.release() {
        Release::Bookworm => ("systemd 252", "6.1."),
        Release::Trixie => ("systemd 257", "6.12."),
    };
    guest.root("systemctl --version").stdout_has(systemd);
    assert!(guest.root("uname -r").text().starts_with(kernel));
    guest.root("systemctl is-system-running; hostname").expect_ok().stdout_has("running\nfairbox");
    let controllers = guest.cgroup("", "cgroup.controllers");
    for controller in ["cpu", "io", "memory", "pids"] {
        assert!(controllers.split(' ').any(|name| name == controller), "{controller} not in {controllers}");
    }
    guest.root("cat /proc/pressure/memory").expect_ok().stdout_has("full avg10");
    let clock: u64 = guest.root("date +%s").text().parse().unwrap();
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
    assert!(now.abs_diff(clock) <= 5, "the guest's clock says {clock}, the host's {now}");
});

guest_test!(users_act_as_themselves, Guest::restored, |guest: Guest| {
    guest
        .as_user("alice", "echo $(id -un) $HOME $PWD; exit 7")
        .expect_code(7)
        .stdout_has("alice /home/alice /home/alice");
    guest.as_user("mallory", "cat /etc/shadow").expect_code(1).stderr_has("Permission denied");
    guest.command("wc -c").user("bob").stdin(b"\0\xff\n").run().expect_ok().stdout_has("3\n");
    guest.command("echo $XDG_RUNTIME_DIR").user("carol").login().run().stdout_has("/run/user/1003");
    guest.write_file("/etc/motd", "hello", 0o600);
    assert_eq!(guest.read_file("/etc/motd"), b"hello");
    guest.as_user("alice", "cat /etc/motd").expect_code(1);

    let sleeper = guest.spawn_as("alice", "sleep 1000");
    guest.await_cmd(&format!("ps -o user=,comm= {} | grep 'alice *sleep'", sleeper.pid));
    assert!(sleeper.is_running());
    sleeper.kill("TERM");
    sleeper.wait().expect_code(128 + 15);
});

guest_test!(guests_do_not_see_each_other, Guest::restored, |guest: Guest| {
    guest.root("touch /root/mine; sync").expect_ok();
    Guest::restored(guest.release()).root("ls /root").expect_ok().stdout_lacks("mine");
});

guest_test!(a_package_is_installed_on_a_running_system, installed_stand_in, |guest: Guest| {
    guest.root("systemctl is-active fairshared.socket").expect_ok();
    assert_eq!(guest.daemon_pid(), None);
    guest.as_user("alice", "id -Gn").stdout_has("fairshare");
    guest.as_user("mallory", "id -Gn").stdout_lacks("fairshare");
    guest.root("systemctl start fairshared.service").expect_ok();
    guest.await_cmd("systemctl is-active --quiet fairshared.service");
    let first = guest.kill_daemon();
    guest.await_cmd("systemctl is-active --quiet fairshared.service");
    assert_ne!(guest.daemon_pid(), Some(first));
    let journal = guest.journal("fairshared.service");
    assert_eq!(journal.iter().filter(|entry| entry.message() == "the stand-in runs").count(), 2);
    assert_eq!(guest.cgroup("system.slice/fairshared.service", "pids.max"), "32");
    assert!(!guest.cgroup_exists("fairshare.slice"));
});

guest_test!(a_reboot_keeps_the_disk_and_nothing_else, installed_stand_in, |guest: Guest| {
    let boot = guest.root("cat /proc/sys/kernel/random/boot_id").text();
    guest
        .root("echo kept > /var/lib/kept; echo gone > /run/gone; systemctl enable fairshared.service")
        .expect_ok();
    guest.reboot();
    guest.await_running();
    guest.root("cat /var/lib/kept; ls /run").expect_ok().stdout_has("kept").stdout_lacks("gone");
    guest.root("systemctl is-active fairshared.socket fairshared.service").expect_ok();
    assert_ne!(guest.root("cat /proc/sys/kernel/random/boot_id").text(), boot);

    guest.root("echo flushed > /root/flushed; sync; echo lost > /root/lost").expect_ok();
    guest.power_cut();
    guest.await_running();
    guest.root("cat /root/flushed").expect_ok().stdout_has("flushed");
    guest.root("cat /root/lost").stdout_lacks("lost\n");
});

guest_test!(a_command_that_hangs_fails_the_test, Guest::restored, |guest: Guest| {
    let hanging = guest.command("sleep 1000").within(Duration::from_secs(1));
    let report = panic_message(|| drop(hanging.run()));
    assert!(report.contains("root$ sleep 1000: still running after 1s"), "{report}");
    let report = panic_message(|| drop(guest.root("echo out; echo err >&2; false").expect_ok()));
    for part in ["expected exit code 0", "root$ echo out;", "exit code 1", "out\n", "err\n", "--- console"] {
        assert!(report.contains(part), "{part:?} is not in {report}");
    }
});

guest_test!(bench_of_the_harness, installed_stand_in, |guest: Guest| {
    let took = |what: &str, act: &dyn Fn()| {
        let started = Instant::now();
        act();
        eprintln!("{}: {what}: {:.3} s", guest.release(), started.elapsed().as_secs_f32());
    };
    took("restore", &|| drop(Guest::restored(guest.release())));
    took("installed", &|| drop(installed_stand_in(guest.release())));
    for _ in 0..3 {
        took("root: true", &|| drop(guest.root("true")));
        took("alice: true", &|| drop(guest.as_user("alice", "true")));
    }
    took("1 MiB of output", &|| drop(guest.root("head -c 1M /dev/zero")));
    took("4 MiB of output", &|| drop(guest.root("head -c 4M /dev/zero")));
    took("power cut", &|| drop(guest.power_cut()));
    took("reboot", &|| drop(guest.reboot()));
});

fn panic_message(act: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(act)).expect_err("this was to fail");
    panic.downcast_ref::<String>().expect("a message").clone()
}

fn installed_stand_in(release: Release) -> Guest {
    let dir = tempfile::tempdir().unwrap();
    let deb = build_stand_in(dir.path());
    Guest::installed_from(release, &deb)
}

/// Builds a package with the names that the harness knows of fairshare; the same bytes each time.
fn build_stand_in(dir: &Path) -> std::path::PathBuf {
    let script = r#"
        umask 022
        mkdir -p tree/DEBIAN tree/usr/lib/systemd/system
        cat > tree/DEBIAN/control <<-END
	Package: fairshare
	Version: 0
	Architecture: all
	Maintainer: nobody <nobody@localhost>
	Description: stand-in for the harness's own tests
	END
        cat > tree/DEBIAN/postinst <<-END
	#!/bin/sh
	groupadd -f fairshare
	systemctl daemon-reload
	systemctl enable --now fairshared.socket
	END
        chmod 755 tree/DEBIAN/postinst
        cat > tree/usr/lib/systemd/system/fairshared.socket <<-END
	[Socket]
	ListenStream=/run/fairshare.sock
	[Install]
	WantedBy=sockets.target
	END
        cat > tree/usr/lib/systemd/system/fairshared.service <<-END
	[Service]
	ExecStart=/bin/sh -c 'echo the stand-in runs; exec sleep infinity'
	Restart=on-failure
	TasksMax=32
	[Install]
	WantedBy=multi-user.target
	END
        SOURCE_DATE_EPOCH=0 dpkg-deb --root-owner-group --build tree stand-in.deb
    "#;
    let output = Command::new("bash").args(["-euc", script]).current_dir(dir).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    dir.join("stand-in.deb")
}

guest_test!(a_test_begins_again_whose_guests_kernel_crashes_and_no_other, Guest::restored, |guest: Guest| {
    let begun = Cell::new(0);
    crate::unless_the_kernel_crashes(|| {
        begun.set(begun.get() + 1);
        let crashing = Guest::restored(guest.release());
        if begun.get() == 1 {
            crashing.root("(sleep 1; echo c >/proc/sysrq-trigger) >/dev/null 2>&1 &").expect_ok();
            // Its message says nothing of the console.
            assert_eq!(crashing.command("sleep 1000").try_run().map(|exit| exit.code).ok(), Some(0));
        }
    });
    assert_eq!(begun.get(), 2);
    let other = panic_message(|| crate::unless_the_kernel_crashes(|| drop(guest.root("false").expect_ok())));
    assert!(other.contains("expected exit code 0"), "{other}");
});
