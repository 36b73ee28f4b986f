//! A client that was written from fairshare-protocol(7) alone talks to the daemon.

use crate::guest::Guest;

/// What this version answers with `ok` to any member; the last three to admins.
const SERVED: [&str; 12] = [
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
    "reload",
];

guest_test!(the_page_is_enough_to_write_a_client, |guest: Guest| {
    guest.write_file("/usr/local/lib/client.py", include_str!("../data/client.py"), 0o644);
    for user in ["alice", "root"] {
        let ran = guest.command("python3 /usr/local/lib/client.py").user(user).run().expect_ok();
        let said = ran.text();
        assert!(said.ends_with("end"), "{said}");
        for endpoint in SERVED.iter().filter(|endpoint| user == "root" || **endpoint != "reload") {
            assert!(said.lines().any(|line| line == format!("{endpoint} ok")), "{user}: {endpoint}:\n{said}");
        }
        // 255 is a bug, whoever asks for whatever.
        assert!(!said.contains("err 255"), "{said}");
    }
});
