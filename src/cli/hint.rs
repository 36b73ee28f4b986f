//! What to type next, for every refusal.

use super::whom::Whom;
use crate::contract::Endpoint;
use crate::wire::error::{Code, WireError};

/// What to do about a refusal of `call`, which was made for `whom`.
///
/// Every code has its hint; a code that this version does not know has none.
pub fn refusal(error: &WireError, call: Endpoint, whom: &Whom) -> Option<String> {
    let code = Code::from_number(error.code)?;
    let hint = match code {
        // What was bad is the policy, and the answer's detail says where.
        Code::BadRequest if call == Endpoint::Reload => {
            "mend it, `fairshare policy check` tries it; `man 5 fairshare-policy` has every key".to_owned()
        }
        Code::BadRequest => {
            "`fairshare --help` says what is taken; if that was right, the daemon may be of another version: \
             `fairshare --version`, `sudo systemctl restart fairshared.service`"
                .to_owned()
        }
        Code::IncompatibleProtocol => "after an upgrade the daemon may be older than this command: \
             `sudo systemctl restart fairshared.service`; no share is lost"
            .to_owned(),
        Code::Unauthorized => "the kernel could not say who you are: try outside of the container or user \
             namespace, or log in again"
            .to_owned(),
        Code::Forbidden => forbidden(error).to_owned(),
        Code::NotFound => not_found(call, whom),
        Code::Busy => busy(call, whom),
        Code::Timeout | Code::Cancelled if call == Endpoint::JobStatus => {
            "`fairshare jobs` shows it; then try again, with more time where that was over".to_owned()
        }
        Code::Timeout => "try again; `fairshare health` says whether the daemon is well".to_owned(),
        Code::Cancelled => format!("`{}` shows what is held now", whom.status()),
        Code::Io => "nothing was granted; an administrator should see whether the disk with \
             /var/lib/fairshare is full: `fairshare health`, `df /var/lib/fairshare`"
            .to_owned(),
        Code::Systemd => "try again; an administrator finds more with \
             `journalctl -u fairshared.service` and `systemctl --failed`"
            .to_owned(),
        Code::OverLimit => over_limit(error, call),
        Code::NoCapacity => {
            format!(
                "ask for less, or `{}` waits for room; `fairshare status` says what is free",
                whom.command("request --wait")
            )
        }
        Code::AlreadyAllocated => taken(error, whom),
        Code::RateLimited => match error.retry_after_ms {
            Some(ms) => format!("try again in {}s", ms.div_ceil(1000)),
            None => "try again in a minute".to_owned(),
        },
        Code::Interrupted => format!("`{}` shows what is held now; then try again", whom.status()),
        Code::CleanupFailed => format!(
            "`{}` shows what is held now; an administrator finds more with `journalctl -u fairshared.service`",
            whom.status()
        ),
        Code::Draining => {
            "what is held stays; try again later: `fairshare admin undrain` is the administrator's way \
             to end this"
                .to_owned()
        }
        Code::Degraded => degraded(call),
        Code::Internal => format!(
            "this is a bug in fairshare; an administrator finds more with \
             `journalctl -u fairshared.service PEER_PID={}`, please report it",
            std::process::id()
        ),
    };
    Some(hint)
}

fn forbidden(error: &WireError) -> &'static str {
    if error.message.contains("sandbox") {
        "start it from a login, cron or a timer; or an administrator allows it with `from_sandboxes: true` in \
         /etc/fairshare/policy.d"
    } else {
        "`fairshare policy show` says what your role is; an administrator can do this for \
         you, or give you the role in /etc/fairshare/policy.d"
    }
}

fn not_found(call: Endpoint, whom: &Whom) -> String {
    match call {
        Endpoint::Attach => {
            "`fairshare status` says whether you hold a share (`fairshare request` takes one), \
             `ps -u $USER` which processes are yours"
                .to_owned()
        }
        Endpoint::JobStatus | Endpoint::JobCancel | Endpoint::Subscribe => {
            "`fairshare jobs` shows which jobs there are".to_owned()
        }
        _ => format!("`{}` takes a share", whom.command("request")),
    }
}

fn taken(error: &WireError, whom: &Whom) -> String {
    if error.message.contains("as job ") {
        return "`fairshare jobs` shows it, `fairshare wait ID` waits for it, `fairshare cancel ID` takes it back"
            .to_owned();
    }
    format!(
        "`{}` changes it in place, `{}` gives it back",
        whom.command("resize --cpu N --mem SIZE"),
        whom.command("release")
    )
}

fn busy(call: Endpoint, whom: &Whom) -> String {
    match call {
        Endpoint::Release => format!(
            "end them and try again, or `{}` does it: SIGTERM, ten seconds, SIGKILL",
            whom.command("release --stop")
        ),
        Endpoint::Submit => {
            "`fairshare jobs` shows what is not over, `fairshare cancel ID` ends one".to_owned()
        }
        Endpoint::JobCancel => "`fairshare jobs` shows when it is over".to_owned(),
        Endpoint::Resize => "ask for more than is in use, or end something in the share first".to_owned(),
        _ => {
            "end another fairshare command of yours (`pgrep -u $USER -a fairshare`), or try again".to_owned()
        }
    }
}

fn over_limit(error: &WireError, call: Endpoint) -> String {
    if call == Endpoint::Submit && !error.message.contains("maximum allowed") {
        return "`fairshare status` shows your share, `fairshare resize` makes it larger".to_owned();
    }
    match most_allowed(&error.message) {
        Some(most) => format!("ask for {most} or less, or see `fairshare policy show`"),
        None => "ask for less, or see `fairshare policy show`".to_owned(),
    }
}

/// The figure in `Requested CPU (16) exceeds maximum allowed (8)`.
fn most_allowed(message: &str) -> Option<&str> {
    let (_, rest) = message.split_once("maximum allowed (")?;
    rest.split_once(')').map(|(most, _)| most)
}

fn degraded(call: Endpoint) -> String {
    match call {
        Endpoint::Reload => {
            "`fairshare policy check` says what is wrong, by the daemon's own code; the old policy stays in force"
                .to_owned()
        }
        _ => "what is held stays; an administrator mends it: `fairshare health` says what, \
             `fairshare policy check` tries the policy, `fairshare admin reload` reads it again"
            .to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_says_what_to_type_next() {
        for code in Code::ALL {
            for endpoint in Endpoint::ALL {
                let hint = refusal(&WireError::new(*code, "no"), *endpoint, &Whom::Me).unwrap();
                assert!(!hint.is_empty() && !hint.contains('\n') && !hint.contains("  "), "{code}: {hint:?}");
            }
        }
    }

    #[test]
    fn the_most_that_is_allowed_is_taken_from_the_message() {
        let error = WireError::new(Code::OverLimit, "Requested CPU (16) exceeds maximum allowed (8)");
        assert_eq!(
            refusal(&error, Endpoint::RequestResources, &Whom::Me).unwrap(),
            "ask for 8 or less, or see `fairshare policy show`"
        );
        let other = WireError::new(Code::OverLimit, "too much");
        assert_eq!(
            refusal(&other, Endpoint::Resize, &Whom::Me).unwrap(),
            "ask for less, or see `fairshare policy show`"
        );
    }

    #[test]
    fn hints_of_a_submission_name_what_helps() {
        let hint =
            |code, message: &str, call| refusal(&WireError::new(code, message), call, &Whom::Me).unwrap();
        let over = "Requested CPU (4) exceeds what your share has (1)";
        assert!(hint(Code::OverLimit, over, Endpoint::Submit).contains("`fairshare resize` makes it larger"));
        let over = "Requested CPU (16) exceeds maximum allowed (8)";
        assert!(hint(Code::OverLimit, over, Endpoint::Submit).starts_with("ask for 8 or less"));
        let waits = "A request of yours waits already, as job 3";
        assert!(hint(Code::AlreadyAllocated, waits, Endpoint::Submit).contains("`fairshare cancel ID`"));
        let many = "256 submitted commands of yours are not over yet";
        assert!(hint(Code::Busy, many, Endpoint::Submit).contains("`fairshare jobs`"));
    }

    #[test]
    fn hints_for_others_name_them() {
        let alice = Whom::Other { name: "alice".into(), uid: crate::identity::Uid::new(1000).unwrap() };
        let busy = WireError::new(Code::Busy, "2 processes are inside");
        assert_eq!(
            refusal(&busy, Endpoint::Release, &alice).unwrap(),
            "end them and try again, or `fairshare admin release --user alice --stop` does it: \
             SIGTERM, ten seconds, SIGKILL"
        );
    }
}
