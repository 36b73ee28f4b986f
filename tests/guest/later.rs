//! Time that passes in a moment: the daemon's own boot clock is set ahead, by a time namespace (`time_namespaces(7)`).
//!
//! Deadlines run on `CLOCK_BOOTTIME`, which nobody can set. In a time namespace it has an offset, so that a daemon
//! started in one is where it would be had it been away for so long: in the same boot, with the same shares and processes.

use crate::guest::Guest;

impl Guest {
    /// Stops the daemon and starts it again so many seconds of its boot clock later, counted from the guest's own: each
    /// call says a larger figure than the one before.
    pub fn go_on_later(&self, seconds: u64) {
        let place = format!("/run/later-{seconds}");
        // With full privileges, for it takes some to enter a namespace; what it runs then is the daemon as always.
        let unit = format!(
            "[Service]\nExecStart=\nExecStart=+/usr/bin/nsenter --no-fork --time={place} /usr/sbin/fairshared\n"
        );
        self.root(&format!("touch {place} && unshare --time={place} --boottime {seconds} true")).expect_ok();
        self.root("mkdir -p /run/systemd/system/fairshared.service.d").expect_ok();
        self.write_file("/run/systemd/system/fairshared.service.d/later.conf", unit, 0o644);
        self.root("systemctl daemon-reload && systemctl stop fairshared.service").expect_ok();
        self.root("systemctl start fairshared.service").expect_ok();
    }
}
