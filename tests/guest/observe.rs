//! What a test looks at: the kernel's files, systemd's units, the journal, the daemon's process.
#![allow(dead_code, reason = "the tests' vocabulary: not every word of it is in use at any time")]

use std::time::Instant;

use serde_json::Value;

use crate::guest::Guest;
use crate::run::{Ran, SWEEP};

/// One entry of the journal, all fields of it.
pub struct Entry(pub Value);

impl Entry {
    /// A field as text: `MESSAGE`, `PRIORITY`, or one of fairshare's own.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.0[name].as_str()
    }

    /// The message.
    pub fn message(&self) -> &str {
        self.field("MESSAGE").unwrap_or_default()
    }

    /// 3 is an error, 4 a warning, 6 information (`syslog(3)`).
    pub fn priority(&self) -> u8 {
        self.field("PRIORITY").and_then(|text| text.parse().ok()).unwrap_or(6)
    }
}

impl Guest {
    /// A file of a cgroup, without the newline: `cgroup("fairshare.slice/fairshare-1001.slice/fairshare-1001-own.slice", "memory.max")`.
    #[track_caller]
    pub fn cgroup(&self, group: &str, file: &str) -> String {
        self.root(&format!("cat '/sys/fs/cgroup/{group}/{file}'")).expect_ok().text()
    }

    /// Whether a cgroup is there.
    #[track_caller]
    pub fn cgroup_exists(&self, group: &str) -> bool {
        self.root(&format!("test -d '/sys/fs/cgroup/{group}'")).ok()
    }

    /// A property of a unit, as `systemctl show` prints it.
    #[track_caller]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.root(&format!("systemctl show --property={name} --value '{unit}'")).expect_ok().text()
    }

    /// What a unit logged since this boot, oldest first, all that was sent until now; never nothing.
    #[track_caller]
    pub fn journal(&self, unit: &str) -> Vec<Entry> {
        let command = format!("journalctl --sync && journalctl --no-pager --all -b -o json -u '{unit}'");
        // A file that journald appends to between two looks at its header is passed over as "truncated".
        let whole = |ran: &Ran| !ran.stderr().contains("is truncated, ignoring file");
        let mut looks = (0..10).map(|_| self.root(&command).expect_ok());
        let ran = looks.find(whole).unwrap_or_else(|| panic!("the journal cannot be read: {command}"));
        let output = ran.stdout();
        if output.is_empty() {
            let look = "ls -l /var/log/journal/* /run/log/journal; df -h /var/log; journalctl --list-boots; dmesg | tail";
            panic!("{unit} logged nothing: {}\n{}", ran.stderr(), self.root(look).text());
        }
        let parse = |line| serde_json::from_str(line).expect("journalctl prints a JSON object a line");
        output.lines().map(parse).map(Entry).collect()
    }

    /// The messages that the daemon logged since this boot, in all its lives, a line each.
    #[track_caller]
    pub fn daemon_log(&self) -> String {
        self.journal("fairshared.service").iter().map(|entry| format!("{}\n", entry.message())).collect()
    }

    /// Fails where the daemon has not logged this.
    #[track_caller]
    pub fn logged(&self, text: &str) {
        let log = self.daemon_log();
        assert!(log.contains(text), "{text:?} is not in\n{log}");
    }

    /// Follows what happens to all members, from now on: events as JSON come into /tmp/events.
    #[track_caller]
    pub fn follow_events(&self) {
        self.root("fairshare events --all --json > /tmp/events 2> /dev/null < /dev/null &").expect_ok();
        self.await_cmd("journalctl --sync; journalctl -u fairshared | grep -q 'subscribe of uid 0: ok'");
    }

    /// The daemon's process, if it runs.
    #[track_caller]
    pub fn daemon_pid(&self) -> Option<u32> {
        self.property("fairshared.service", "MainPID").parse().ok().filter(|&pid| pid != 0)
    }

    /// Kills the daemon as a crash would, and waits until its process is gone. Answers which it was.
    #[track_caller]
    pub fn kill_daemon(&self) -> u32 {
        let pid = self.daemon_pid().unwrap_or_else(|| panic!("{}", self.report("no daemon to kill")));
        self.root(&format!("kill -KILL {pid}; while kill -0 {pid} 2>/dev/null; do sleep 0.01; done"));
        pid
    }

    /// Waits until a share's cgroup is gone, for less than it takes the daemon to look at everything by itself; on a slow
    /// host for as long as thirty questions to the daemon take.
    #[track_caller]
    pub fn await_gone_before_the_sweep(&self, group: &str) {
        let began = Instant::now();
        self.root("fairshare status").expect_ok();
        let within = (SWEEP / 4 * 3).max(began.elapsed() * 30);
        self.command(&format!("test ! -d /sys/fs/cgroup/{group}")).until_ok(within);
    }
}
