//! A client that was written from fairshare-protocol(7) alone talks to the daemon.

use crate::guest::Guest;

/// What this version answers with `ok` to any member; the last three to admins only.
const SERVED: [&str; 22] = [
    "ping",
    "health",
    "status",
    "list",
    "policy",
    "job_list",
    "request_resources",
    "resize",
    "attach",
    "run",
    "release",
    "renew",
    "submit",
    "job_status",
    "job_cancel",
    "job_alter",
    "subscribe",
    "audit",
    "history",
    "reload",
    "drain",
    "undrain",
];
const FOR_ADMINS: usize = 3;

guest_test!(the_page_is_enough_to_write_a_client, |guest: Guest| {
    guest.write_file("/usr/local/lib/client.py", include_str!("../data/client.py"), 0o644);
    for user in ["alice", "root"] {
        let ran = guest.command("python3 /usr/local/lib/client.py").user(user).run().expect_ok();
        let said = ran.text();
        assert!(said.ends_with("end"), "{said}");
        let served = if user == "root" { SERVED.len() } else { SERVED.len() - FOR_ADMINS };
        for endpoint in &SERVED[..served] {
            assert!(said.lines().any(|line| line == format!("{endpoint} ok")), "{user}: {endpoint}:\n{said}");
        }
        // It ended in a share as large as the machine: the next client wants one too.
        guest.command("fairshare release").user(user).run().expect_ok();
        // 255 is a bug, whoever asks for whatever.
        assert!(!said.contains("err 255"), "{said}");
    }
});
