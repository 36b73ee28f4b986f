//! What a member is told when the daemon cannot be reached: what is wrong, and what to type.

use crate::guest::Guest;
use crate::run::Ran;

/// Every such message was looked at: `cargo test --test guest -- words --nocapture`.
fn shown(ran: Ran) -> Ran {
    eprintln!("{}\n{}", ran.command, ran.stderr());
    ran
}

guest_test!(who_cannot_reach_the_daemon_is_told_what_to_do, |guest: Guest| {
    // Not a member; a member since just now, in a login from before; a member.
    shown(guest.as_user("mallory", "fairshare status"))
        .expect_code(77)
        .stderr_has("membership of the group fairshare")
        .stderr_has("sudo adduser mallory fairshare");
    guest.root("usermod -aG fairshare mallory").expect_ok();
    let stale = "setpriv --reuid mallory --regid mallory --clear-groups fairshare status";
    shown(guest.root(stale))
        .expect_code(77)
        .stderr_has("newer than this login")
        .stderr_has("newgrp fairshare");
    guest.as_user("mallory", "fairshare status").expect_ok();
    guest.root("chmod 600 /run/fairshare.sock").expect_ok();
    shown(guest.as_user("alice", "fairshare status"))
        .expect_code(77)
        .stderr_has("although you are in the group");
    guest.root("systemctl restart fairshared.socket").expect_code(0);
    guest.as_user("alice", "fairshare status").expect_ok();

    // No socket, for one reason after the other.
    guest.root("systemctl stop fairshared.socket fairshared.service").expect_ok();
    for command in ["status", "run -- true", "request --json", "health"] {
        shown(guest.as_user("alice", &format!("fairshare {command}")))
            .expect_code(69)
            .stderr_has("its socket unit is inactive")
            .stderr_has("sudo systemctl enable --now fairshared.socket");
    }
    guest.root("systemctl start fairshared.socket; rm /run/fairshare.sock").expect_ok();
    shown(guest.as_user("alice", "fairshare status"))
        .expect_code(69)
        .stderr_has("its socket unit is active")
        .stderr_has("sudo systemctl restart fairshared.socket");
    guest.root("systemctl restart fairshared.socket").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok();
    shown(guest.as_user("alice", "fairshare --socket /run/other.sock status"))
        .expect_code(69)
        .stderr_has("leave out --socket");
    guest
        .root(
            "systemctl stop fairshared.socket fairshared.service; python3 -c 'import socket
s = socket.socket(socket.AF_UNIX); s.bind(\"/run/fairshare.sock\")'; chmod 666 /run/fairshare.sock",
        )
        .expect_ok();
    shown(guest.as_user("alice", "fairshare status"))
        .expect_code(69)
        .stderr_has("nobody listens on /run/fairshare.sock");
    guest.root("rm /run/fairshare.sock; mv /usr/sbin/fairshared /root").expect_ok();
    shown(guest.as_user("alice", "fairshare status"))
        .expect_code(69)
        .stderr_has("not installed")
        .stderr_has("apt install");
    guest.root("systemctl start fairshared.socket").expect_ok();
    shown(guest.command("fairshare status").user("alice").run()).expect_code(69).stderr_has("hint:");
    guest.root("mv /root/fairshared /usr/sbin/fairshared; systemctl reset-failed fairshared.service fairshared.socket; systemctl restart fairshared.socket").expect_ok();
    guest.as_user("alice", "fairshare status").expect_ok();

    // What a pipe that closes, a full disk and a terminal without colours see.
    guest.as_user("alice", "fairshare status --all | true; echo ${PIPESTATUS[0]}").stdout_has("0");
    shown(guest.as_user("alice", "fairshare status > /dev/full"))
        .expect_code(1)
        .stderr_has("cannot write the output");
    for wrong in ["frobnicate", "request --cpu", "resize", "status --frobnicate"] {
        shown(guest.as_user("alice", &format!("fairshare {wrong}"))).expect_code(2);
    }
});
