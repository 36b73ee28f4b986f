//! Why no daemon answers, and what mends it. Looked into only after connecting failed.

use std::path::Path;
use std::process::{Command, Stdio};

use nix::unistd::{getegid, getgroups, getuid};

use super::exit::{Exit, Failure};
use crate::client::SOCKET_PATH as SOCKET;
use crate::host::account::{Directory, MEMBERS as GROUP, Membership as ByDatabase};
use crate::identity::Uid;

const DAEMON: &str = "/usr/sbin/fairshared";
/// Where the package, or an administrator, may have put the unit (`systemd.unit(5)`).
const SOCKET_UNITS: [&str; 3] = [
    "/usr/lib/systemd/system/fairshared.socket",
    "/lib/systemd/system/fairshared.socket",
    "/etc/systemd/system/fairshared.socket",
];
/// Where there is a unified cgroup hierarchy. `fairshared.socket` starts only under this condition.
const CGROUP_CONTROLLERS: &str = "/sys/fs/cgroup/cgroup.controllers";

/// There is no socket, or (`stale`) there is one on which nobody listens.
pub fn no_daemon(socket: &Path, stale: bool) -> Failure {
    if socket != Path::new(SOCKET) {
        return elsewhere(socket, stale);
    }
    Machine::look().no_daemon(stale)
}

/// The socket may not be opened.
pub fn permission_denied(socket: &Path) -> Failure {
    if socket == Path::new(SOCKET) {
        return Membership::look().permission_denied();
    }
    Failure::new(Exit::NOT_ALLOWED, format!("you may not open {}", socket.display()))
        .hint(format!("`ls -l {}` says who may", socket.display()))
}

fn elsewhere(socket: &Path, stale: bool) -> Failure {
    let what = if stale { "nobody listens on" } else { "there is no socket" };
    Failure::new(Exit::UNAVAILABLE, format!("{what} {}", socket.display())).hint(format!(
        "the daemon's own socket is {SOCKET}: leave out --socket, or `unset FAIRSHARE_SOCKET`; \
         `fairshared POLICY {}` serves this one",
        socket.display()
    ))
}

/// What bears on whether the daemon can be reached.
#[derive(Debug, Clone)]
struct Machine {
    daemon_installed: bool,
    unit_installed: bool,
    unified_cgroups: bool,
    /// As `systemctl is-active` says it; `None` where it cannot be asked.
    socket_unit: Option<String>,
}

impl Machine {
    fn look() -> Self {
        let unit_installed = SOCKET_UNITS.iter().any(|unit| Path::new(unit).exists());
        Self {
            daemon_installed: Path::new(DAEMON).exists(),
            unit_installed,
            unified_cgroups: Path::new(CGROUP_CONTROLLERS).exists(),
            socket_unit: if unit_installed { socket_unit() } else { None },
        }
    }

    fn no_daemon(&self, stale: bool) -> Failure {
        let fail = |message: String| Failure::new(Exit::UNAVAILABLE, message);
        if !self.daemon_installed {
            return fail(format!("the daemon is not installed on this machine: there is no {DAEMON}"))
                .hint("an administrator installs it: `sudo apt install fairshare`");
        }
        if !self.unit_installed {
            return fail(format!(
                "fairshare is installed, but its unit fairshared.socket is missing, so that nothing listens on {SOCKET}"
            ))
            .hint("`sudo apt install --reinstall fairshare` brings it back");
        }
        let what =
            if stale { format!("nobody listens on {SOCKET}") } else { format!("there is no {SOCKET}") };
        match self.socket_unit.as_deref() {
            Some("active") => {
                fail(format!("{what}, although fairshare is installed and its socket unit is active"))
                    .hint("`sudo systemctl restart fairshared.socket` makes the socket again")
            }
            Some("failed") => fail(format!("{what}: fairshare is installed, but its socket unit has failed"))
                .hint(
                    "`systemctl status fairshared.socket` says why; \
                     `sudo systemctl restart fairshared.socket` starts it again",
                ),
            Some(state) if !self.unified_cgroups => fail(format!(
                "{what}: the socket unit is {state}, because this machine has no unified cgroup v2"
            ))
            .hint("boot with `systemd.unified_cgroup_hierarchy=1` on the kernel's command line"),
            Some(state) => fail(format!("{what}: fairshare is installed, but its socket unit is {state}"))
                .hint("`sudo systemctl enable --now fairshared.socket` starts it"),
            None => fail(format!(
                "{what}: fairshare is installed, but systemd cannot be asked about its socket unit"
            ))
            .hint("fairshare needs systemd as PID 1: `ps -p 1` says what it is"),
        }
    }
}

/// What `systemctl is-active` prints. It needs no rights, and tells by words also where it exits with a failure.
fn socket_unit() -> Option<String> {
    let mut command = Command::new("systemctl");
    command.args(["is-active", "fairshared.socket"]).stdin(Stdio::null()).stderr(Stdio::null());
    let output = command.output().ok()?;
    let state = String::from_utf8(output.stdout).ok()?.trim().to_owned();
    let word = !state.is_empty() && state.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-');
    word.then_some(state)
}

/// How the caller stands to the members' group.
#[derive(Debug, Clone)]
struct Membership {
    user: String,
    group_exists: bool,
    /// What the user database says: holds from the next login on.
    by_database: bool,
    /// What the kernel says about this process: holds now.
    by_kernel: bool,
}

impl Membership {
    fn look() -> Self {
        let group = Directory::System.members().ok().flatten().map(|gid| gid.get());
        let said = Uid::new(getuid().as_raw().into()).and_then(|uid| Directory::System.membership(uid).ok());
        let (by_database, user) = match said {
            Some(ByDatabase::Member { name }) => (true, Some(name)),
            Some(ByDatabase::NotInGroup { name }) => (false, Some(name)),
            Some(ByDatabase::NoAccount | ByDatabase::NoGroup) | None => (false, None),
        };
        let by_kernel = group.is_some_and(|group| {
            let is_it = |gid: nix::unistd::Gid| gid.as_raw() == group;
            is_it(getegid()) || getgroups().is_ok_and(|groups| groups.into_iter().any(is_it))
        });
        Self {
            user: user.unwrap_or_else(|| getuid().to_string()),
            group_exists: group.is_some(),
            by_database,
            by_kernel,
        }
    }

    fn permission_denied(&self) -> Failure {
        let fail = |message: String| Failure::new(Exit::NOT_ALLOWED, message);
        if !self.group_exists {
            return fail(format!("you may not open {SOCKET}, and the group {GROUP} does not exist"))
                .hint("an administrator makes it: `sudo systemd-sysusers`, then `sudo systemctl restart fairshared.socket`");
        }
        if self.by_kernel {
            return fail(format!("you may not open {SOCKET}, although you are in the group {GROUP}")).hint(
                format!(
                    "`ls -l {SOCKET}` should say `srw-rw---- root {GROUP}`; \
                     `sudo systemctl restart fairshared.socket` makes it so"
                ),
            );
        }
        if self.by_database {
            return fail(format!(
                "you may not open {SOCKET} yet: your membership of the group {GROUP} is newer than this login"
            ))
            .hint(format!("log out and in again, or type `newgrp {GROUP}`"));
        }
        fail(format!("you may not open {SOCKET}: that needs membership of the group {GROUP}"))
            .hint(format!("ask an administrator: `sudo adduser {} {GROUP}`, then log in again", self.user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(socket_unit: Option<&str>) -> Machine {
        Machine {
            daemon_installed: true,
            unit_installed: true,
            unified_cgroups: true,
            socket_unit: socket_unit.map(str::to_owned),
        }
    }

    #[test]
    fn a_missing_socket_says_what_is_missing_and_what_mends_it() {
        for (machine, stale, says, mends) in [
            (
                Machine { daemon_installed: false, ..machine(None) },
                false,
                "not installed",
                "apt install fairshare",
            ),
            (
                Machine { unit_installed: false, ..machine(None) },
                false,
                "fairshared.socket is missing",
                "--reinstall",
            ),
            (
                machine(Some("inactive")),
                false,
                "its socket unit is inactive",
                "enable --now fairshared.socket",
            ),
            (machine(Some("failed")), false, "has failed", "systemctl status fairshared.socket"),
            (machine(Some("active")), false, "there is no /run/fairshare.sock", "restart fairshared.socket"),
            (machine(Some("active")), true, "nobody listens", "restart fairshared.socket"),
            (
                Machine { unified_cgroups: false, ..machine(Some("inactive")) },
                false,
                "no unified cgroup v2",
                "systemd.unified_cgroup_hierarchy=1",
            ),
            (machine(None), false, "cannot be asked", "ps -p 1"),
        ] {
            let failure = machine.no_daemon(stale);
            assert_eq!(failure.exit, Exit::UNAVAILABLE);
            assert!(failure.message.contains(says), "{}", failure.message);
            assert!(failure.hint.as_ref().unwrap().contains(mends), "{failure:?}");
        }
    }

    #[test]
    fn a_closed_door_says_whether_a_membership_or_a_login_is_missing() {
        let nobody =
            Membership { user: "alice".into(), group_exists: true, by_database: false, by_kernel: false };
        for (membership, says, mends) in [
            (nobody.clone(), "needs membership", "adduser alice fairshare"),
            (Membership { by_database: true, ..nobody.clone() }, "newer than this login", "newgrp fairshare"),
            (Membership { by_database: true, by_kernel: true, ..nobody.clone() }, "although", "ls -l"),
            (Membership { group_exists: false, ..nobody.clone() }, "does not exist", "systemd-sysusers"),
        ] {
            let failure = membership.permission_denied();
            assert_eq!(failure.exit, Exit::NOT_ALLOWED);
            assert!(failure.message.contains(says), "{}", failure.message);
            assert!(failure.hint.as_ref().unwrap().contains(mends), "{failure:?}");
        }
    }
}
