//! `make bench`: fairshare against what a user would use instead, inside a guest, in one run.

use std::time::Duration;

use crate::guest::Guest;

// An emulator keeps what it translated by address, and translates a program that is loaded at another address anew, from
// its first instruction to its last: half of what a short command takes there, and nothing that any hardware does. So
// the table is made twice: with programs at fixed addresses, which is nearer to hardware, and as it comes.

/// The head of a table.
const HEAD: &str = "| fairshare | against | median | median | ratio | at most |\n\
                    | --- | --- | --- | --- | --- | --- |\n";

/// The runs of the slowest pair take minutes under emulation.
const TIMEOUT: Duration = Duration::from_secs(2400);

guest_test!(bench, |guest: Guest| {
    // Two hundred shares are more than the guest has: here they may be.
    guest.write_file("/etc/fairshare/policy.d/bench.yaml", "overcommit: {cpu: 10, mem: 10}\n", 0o644);
    guest.write_file("/root/timing.py", include_bytes!("../data/bench/timing.py"), 0o644);
    guest.write_file("/root/bench.py", include_bytes!("../data/bench/bench.py"), 0o755);
    for (randomised, how) in [(0, "at fixed addresses"), (2, "at random addresses, as it comes")] {
        guest.root(&format!("sysctl -q kernel.randomize_va_space={randomised}")).expect_ok();
        let ran = guest.command("python3 /root/bench.py 20").within(TIMEOUT).run().expect_ok();
        eprintln!("\n{}, programs {how}\n{HEAD}{}", guest.release(), ran.stdout());
    }
});

guest_test!(bench_of_floors, |guest: Guest| {
    guest.write_file("/root/timing.py", include_bytes!("../data/bench/timing.py"), 0o644);
    guest.write_file("/root/floors.py", include_bytes!("../data/bench/floors.py"), 0o755);
    let ran = guest.command("python3 /root/floors.py 20").within(TIMEOUT).run().expect_ok();
    eprintln!("\n{}\n{HEAD}{}", guest.release(), ran.stdout());
});
