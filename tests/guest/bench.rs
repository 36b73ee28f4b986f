//! `make bench`: fairshare against what a user would use instead, inside a guest, in one run.

use std::time::Duration;

use crate::guest::Guest;

/// The runs of the slowest pair take minutes under emulation.
const TIMEOUT: Duration = Duration::from_secs(2400);

guest_test!(bench, |guest: Guest| {
    // Two hundred shares are more than the guest has: here they may be.
    guest.write_file("/etc/fairshare/policy.d/bench.yaml", "overcommit: {cpu: 10, mem: 10}\n", 0o644);
    guest.write_file("/root/bench.py", include_bytes!("../data/bench/bench.py"), 0o755);
    let ran = guest.command("python3 /root/bench.py 20").within(TIMEOUT).run().expect_ok();
    eprintln!(
        "\n{}\n| fairshare | against | median | median | ratio | at most |\n| --- | --- | --- | --- | --- | --- |\n{}",
        guest.release(),
        ran.stdout()
    );
});
