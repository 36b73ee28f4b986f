//! What to type next, for every refusal.

use std::time::Duration;

use super::whom::Whom;
use crate::contract::Endpoint;
use crate::quantity::{Bytes, MilliCpu};
use crate::wire::detail::{Bound, Detail, Part, Resource};
use crate::wire::error::{Code, WireError};
use crate::wire::hello::Role;

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
        Code::BadRequest if call == Endpoint::JobAlter => "`fairshare jobs` says what each job is".to_owned(),
        Code::BadRequest => "`fairshare --help` says what is taken".to_owned(),
        Code::IncompatibleProtocol => "after an upgrade the daemon may be older than this command: \
             `sudo systemctl restart fairshared.service`; no share is lost"
            .to_owned(),
        Code::Unauthorized => "the kernel could not say who you are: try outside of the container or user \
             namespace, or log in again"
            .to_owned(),
        Code::Forbidden
            if call == Endpoint::JobAlter && said(error, |detail| detail.role) == Some(Role::Admin) =>
        {
            "an administrator ends it with `fairshare cancel`, and changes nothing else of it".to_owned()
        }
        Code::Forbidden => forbidden(error),
        Code::NotFound => not_found(About::of(call), whom),
        Code::Busy => busy(error, call, whom),
        Code::Timeout | Code::Cancelled if call == Endpoint::JobStatus => {
            "`fairshare jobs` shows it; then try again, with more time where that was over".to_owned()
        }
        Code::Timeout => "try again; `fairshare health` says whether the daemon is well".to_owned(),
        Code::Cancelled => format!("`{}` shows what is held now", whom.status()),
        Code::Io => unwritten(error, call),
        Code::Systemd => "try again; an administrator finds more with \
             `journalctl -u fairshared.service` and `systemctl --failed`"
            .to_owned(),
        Code::OverLimit => over_limit(error, call),
        Code::NoCapacity => no_room(error, call, whom),
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
        Code::Degraded => degraded(error, call),
        Code::Internal => format!(
            "this is a bug in fairshare; an administrator finds more with \
             `journalctl -u fairshared.service PEER_PID={}`, please report it",
            std::process::id()
        ),
    };
    Some(hint)
}

/// What the detail of an error says, where it has one.
fn said<'a, T>(error: &'a WireError, of: impl FnOnce(&'a Detail) -> Option<T>) -> Option<T> {
    error.detail.as_deref().and_then(of)
}

fn forbidden(error: &WireError) -> String {
    if let Some(group) = said(error, |detail| detail.group.as_deref()) {
        return format!(
            "an administrator makes you a member: `sudo adduser $USER {group}`, then log in again"
        );
    }
    match said(error, |detail| detail.setting.as_deref()) {
        Some(setting) => format!(
            "start it from a login, cron or a timer; or an administrator allows it with `{setting}: true` in \
             /etc/fairshare/policy.d"
        ),
        None => "`fairshare policy show` says what your role is; an administrator can do this for \
             you, or give you the role in /etc/fairshare/policy.d"
            .to_owned(),
    }
}

/// What could not be stored: whether it holds all the same is what to do next depends on.
fn unwritten(error: &WireError, call: Endpoint) -> String {
    let holds = match said(error, |detail| detail.in_force) {
        Some(true) => "it holds until the daemon restarts".to_owned(),
        Some(false) => "nothing was changed".to_owned(),
        None => format!("`fairshare status` shows what came of `{}`", call.name()),
    };
    format!(
        "{holds}; an administrator should see whether the disk with /var/lib/fairshare is full: \
         `fairshare health`, `df /var/lib/fairshare`"
    )
}

/// What a call is about, as far as what helps depends on it.
#[derive(Clone, Copy)]
enum About {
    Processes,
    Job,
    Cancelling,
    Submission,
    Resize,
    Release,
    /// Whatever is helped as most calls are.
    Share,
}

impl About {
    fn of(call: Endpoint) -> Self {
        match call {
            Endpoint::Attach => Self::Processes,
            Endpoint::JobStatus | Endpoint::JobAlter | Endpoint::Subscribe => Self::Job,
            Endpoint::JobCancel => Self::Cancelling,
            Endpoint::Submit => Self::Submission,
            Endpoint::Resize => Self::Resize,
            Endpoint::Release => Self::Release,
            Endpoint::Ping
            | Endpoint::Health
            | Endpoint::Status
            | Endpoint::List
            | Endpoint::Policy
            | Endpoint::RequestResources
            | Endpoint::Renew
            | Endpoint::Run
            | Endpoint::JobList
            | Endpoint::JobFetch
            | Endpoint::Reload
            | Endpoint::Drain
            | Endpoint::Undrain
            | Endpoint::Dump
            | Endpoint::Audit
            | Endpoint::History
            | Endpoint::Log => Self::Share,
        }
    }
}

fn not_found(about: About, whom: &Whom) -> String {
    match about {
        About::Processes => {
            "`fairshare status` says whether you hold a share (`fairshare request` takes one), \
             `ps -u $USER` which processes are yours"
                .to_owned()
        }
        About::Job | About::Cancelling => "`fairshare jobs` shows which jobs there are".to_owned(),
        About::Submission | About::Resize | About::Release | About::Share => {
            format!("`{}` takes a share", whom.command("request"))
        }
    }
}

/// What is too much now and will not be later: for the machine, or beside what is held already.
fn no_room(error: &WireError, call: Endpoint, whom: &Whom) -> String {
    let waits = match About::of(call) {
        About::Submission => "without --no-wait it waits".to_owned(),
        _ => format!("`{}` waits", whom.command("request --wait")),
    };
    match said(error, |detail| detail.held.as_ref()) {
        Some(_) => format!("`{}` shows what is held: {waits} until enough of it has ended", whom.status()),
        None => format!("ask for less, or {waits} for room; `fairshare status` says what is free"),
    }
}

fn taken(error: &WireError, whom: &Whom) -> String {
    if let Some(id) = said(error, |detail| detail.job_id) {
        return format!(
            "`fairshare jobs` shows it, `fairshare wait {id}` waits for it, `fairshare cancel {id}` takes it back"
        );
    }
    format!(
        "`{}` changes it in place, `{}` gives it back",
        whom.command("resize --cpu N --mem SIZE"),
        whom.command("release")
    )
}

fn busy(error: &WireError, call: Endpoint, whom: &Whom) -> String {
    match said(error, |detail| detail.resource) {
        Some(Resource::Scopes) => {
            return "end one of them, or put many processes into one with `fairshare attach`".to_owned();
        }
        Some(Resource::Connections) => {
            return "end another fairshare command of yours (`pgrep -u $USER -a fairshare`), or try again"
                .to_owned();
        }
        Some(Resource::Jobs) => {
            return "`fairshare jobs` shows what is not over, `fairshare cancel ID` ends one".to_owned();
        }
        _ => {}
    }
    match About::of(call) {
        About::Release => format!(
            "end them and try again, or `{}` does it: SIGTERM, ten seconds, SIGKILL",
            whom.command("release --stop")
        ),
        About::Submission => {
            "`fairshare jobs` shows what is not over, `fairshare cancel ID` ends one".to_owned()
        }
        About::Cancelling => "`fairshare jobs` shows when it is over".to_owned(),
        About::Resize => "ask for more than is in use, or end something in the share first".to_owned(),
        About::Processes | About::Job | About::Share => {
            "end another fairshare command of yours (`pgrep -u $USER -a fairshare`), or try again".to_owned()
        }
    }
}

fn over_limit(error: &WireError, call: Endpoint) -> String {
    let bound = said(error, |detail| detail.bound);
    if call == Endpoint::Submit && bound == Some(Bound::Share) {
        let hint = "`fairshare status` shows what you hold, `fairshare resize` makes it larger; without --in-share the \
             command has room of its own";
        return hint.to_owned();
    }
    let where_it_is = match bound {
        Some(Bound::Machine) => "`fairshare status`",
        _ => "`fairshare policy show`",
    };
    match said(error, |detail| detail.resource.zip(detail.allowed).map(figure)) {
        Some(most) => format!("ask for {most} or less, or see {where_it_is}"),
        None => format!("ask for less, or see {where_it_is}"),
    }
}

/// A figure of a refusal, as the command takes it.
fn figure((resource, figure): (Resource, u64)) -> String {
    match resource {
        Resource::CpuMilli => MilliCpu(figure).to_string(),
        Resource::MemBytes => Bytes(figure).exact(),
        Resource::LeaseMs => humantime::format_duration(Duration::from_millis(figure)).to_string(),
        Resource::TasksMax | Resource::Jobs | Resource::Scopes | Resource::Connections => figure.to_string(),
    }
}

fn degraded(error: &WireError, call: Endpoint) -> String {
    let lacking = said(error, |detail| detail.lacking.as_ref().and_then(|parts| parts.first().copied()));
    if call == Endpoint::Reload {
        let hint = "`fairshare policy check` says what is wrong, by the daemon's own code; the old policy stays in force";
        return hint.to_owned();
    }
    match lacking {
        Some(Part::Users) => {
            "try again; an administrator sees whether the directory server answers: `getent group fairshare`"
        }
        Some(Part::Names) => {
            "what is held stays; try again: an administrator sees whether the directory server answers, \
             `fairshare health` says for which names of the policy it does not"
        }
        Some(Part::State) => {
            "what is held stays; an administrator mends it: `fairshare health` says what, \
             `df /var/lib/fairshare`, `sudo systemctl restart fairshared.service`"
        }
        Some(Part::Bus) => {
            "what is held stays; an administrator mends it: `fairshare health` says what, `systemctl status dbus.service`"
        }
        Some(Part::Controllers) => {
            "an administrator changes the kernel's command line and boots anew: `fairshare health` says what"
        }
        Some(Part::Policy) | None => {
            "what is held stays; an administrator mends it: `fairshare health` says what, \
             `fairshare policy check` tries the policy, `fairshare admin reload` reads it again"
        }
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::detail::Held;

    #[test]
    fn every_code_says_what_to_type_next() {
        for code in Code::ALL {
            for endpoint in Endpoint::ALL {
                let hint = refusal(&WireError::new(*code, "no"), *endpoint, &Whom::Me).unwrap();
                assert!(!hint.is_empty() && !hint.contains('\n') && !hint.contains("  "), "{code}: {hint:?}");
            }
        }
    }

    fn hint(code: Code, detail: Detail, call: Endpoint) -> String {
        // What the sentence says is for people alone.
        let error =
            WireError::new(code, "Requested CPU (1) exceeds maximum allowed (1), as job 1, in a sandbox");
        refusal(&error.detail(detail), call, &Whom::Me).unwrap()
    }

    fn over(resource: Resource, allowed: u64, bound: Bound) -> Detail {
        Detail { bound: Some(bound), ..Detail::over(resource, u64::MAX, allowed) }
    }

    #[test]
    fn the_most_that_is_allowed_is_the_figure_of_the_detail() {
        let see = "or less, or see `fairshare policy show`";
        for (resource, allowed, most) in [
            (Resource::CpuMilli, 8000, "8"),
            (Resource::CpuMilli, 500, "0.5"),
            (Resource::MemBytes, 16 << 30, "16G"),
            (Resource::TasksMax, 4096, "4096"),
            (Resource::LeaseMs, 28_800_000, "8h"),
        ] {
            let hint =
                hint(Code::OverLimit, over(resource, allowed, Bound::Policy), Endpoint::RequestResources);
            assert_eq!(hint, format!("ask for {most} {see}"));
        }
        let of_the_machine = over(Resource::CpuMilli, 8000, Bound::Machine);
        assert_eq!(
            hint(Code::OverLimit, of_the_machine, Endpoint::Resize),
            "ask for 8 or less, or see `fairshare status`"
        );
        assert_eq!(
            hint(Code::OverLimit, Detail::default(), Endpoint::Resize),
            "ask for less, or see `fairshare policy show`"
        );
    }

    #[test]
    fn hints_of_a_submission_name_what_helps() {
        let call = Endpoint::Submit;
        let more_than_the_share = over(Resource::CpuMilli, 1000, Bound::Share);
        assert!(
            hint(Code::OverLimit, more_than_the_share, call).contains("`fairshare resize` makes it larger")
        );
        let more_than_the_policy = over(Resource::CpuMilli, 8000, Bound::Policy);
        assert!(hint(Code::OverLimit, more_than_the_policy, call).starts_with("ask for 8 or less"));
        let waits = Detail { job_id: Some(3), ..Detail::default() };
        assert!(hint(Code::AlreadyAllocated, waits, call).contains("`fairshare cancel 3`"));
        assert!(hint(Code::AlreadyAllocated, Detail::default(), call).contains("changes it in place"));
        assert!(hint(Code::Busy, Detail::full(Resource::Jobs, 256), call).contains("`fairshare jobs`"));
    }

    #[test]
    fn what_is_held_already_and_who_waits_already_decide_what_helps() {
        let held = Held { cpu_milli: 6000, mem_bytes: 1 << 30, tasks_max: 64 };
        let beside_it = || Detail { held: Some(held), ..over(Resource::CpuMilli, 8000, Bound::Policy) };
        assert_eq!(
            hint(Code::NoCapacity, beside_it(), Endpoint::RequestResources),
            "`fairshare status` shows what is held: `fairshare request --wait` waits until enough of it has ended"
        );
        assert_eq!(
            hint(Code::NoCapacity, beside_it(), Endpoint::Submit),
            "`fairshare status` shows what is held: without --no-wait it waits until enough of it has ended"
        );
        assert_eq!(
            hint(Code::NoCapacity, Detail::default(), Endpoint::Submit),
            "ask for less, or without --no-wait it waits for room; `fairshare status` says what is free"
        );
        assert_eq!(
            hint(Code::NoCapacity, Detail::default(), Endpoint::RequestResources),
            "ask for less, or `fairshare request --wait` waits for room; `fairshare status` says what is free"
        );
        for call in [Endpoint::RequestResources, Endpoint::Submit] {
            let full = hint(Code::Busy, Detail::full(Resource::Jobs, 1000), call);
            assert_eq!(full, "`fairshare jobs` shows what is not over, `fairshare cancel ID` ends one");
        }
    }

    #[test]
    fn what_could_not_be_stored_says_whether_it_holds() {
        let unwritten = |in_force| hint(Code::Io, Detail { in_force, ..Detail::default() }, Endpoint::Renew);
        assert!(unwritten(Some(true)).starts_with("it holds until the daemon restarts; "));
        assert!(unwritten(Some(false)).starts_with("nothing was changed; "));
        assert!(unwritten(None).starts_with("`fairshare status` shows"));
    }

    #[test]
    fn what_is_in_the_way_decides_the_hint_and_not_the_sentence() {
        let call = Endpoint::RequestResources;
        let sandbox = Detail { setting: Some("from_sandboxes".to_owned()), ..Detail::default() };
        assert!(hint(Code::Forbidden, sandbox, call).contains("`from_sandboxes: true`"));
        let stranger = Detail { group: Some("fairshare".to_owned()), ..Detail::default() };
        assert!(hint(Code::Forbidden, stranger, call).contains("`sudo adduser $USER fairshare`"));
        assert!(hint(Code::Forbidden, Detail::default(), call).starts_with("`fairshare policy show`"));
        assert!(
            hint(Code::Degraded, Detail::lacking(Part::Users), call).contains("`getent group fairshare`")
        );
        assert!(hint(Code::Degraded, Detail::lacking(Part::State), call).contains("`df /var/lib/fairshare`"));
        assert!(
            hint(Code::Degraded, Detail::lacking(Part::Policy), call).contains("`fairshare policy check`")
        );
        assert!(
            hint(Code::Busy, Detail::full(Resource::Scopes, 256), Endpoint::Run)
                .contains("`fairshare attach`")
        );
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
