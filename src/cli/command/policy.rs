//! `fairshare policy`: what holds for me, and whether a policy is right.

use std::path::Path;
use std::time::Duration;

use crate::cli::args::{Policy, PolicyCheck, PolicyShow};
use crate::cli::exit::{Exit, Failure};
use crate::cli::link::Link;
use crate::cli::render;
use crate::cli::tell::note;
use crate::cli::whom::Whom;
use crate::contract::{self, AmountInfo, IoInfo, KeyInfo, PolicyInfo};
use crate::host::account::Directory;
use crate::policy::file;
use crate::quantity::{Amount, Bytes, MilliCpu, Tasks};
use crate::wire::hello::Role;

/// Shows or checks a policy.
///
/// # Errors
/// Refused, no daemon answers, or the policy that was checked is wrong.
pub fn run(args: &Policy, socket: &Path) -> Result<Exit, Failure> {
    match args {
        Policy::Show(args) => show(args, socket),
        Policy::Check(args) => check(args),
        Policy::Simulate(args) => super::simulate::run(args, socket),
    }
}

fn show(args: &PolicyShow, socket: &Path) -> Result<Exit, Failure> {
    let answer = Link::new(socket).ask(&contract::Policy { for_uid: None }, &Whom::Me)?;
    if args.json {
        render::print(&render::json(&answer)?)?;
    } else {
        render::print(&text(&answer.policy))?;
    }
    Ok(Exit::DONE)
}

fn text(policy: &PolicyInfo) -> String {
    let role = match policy.role {
        Role::ReadOnly => "read_only (you may look)",
        Role::Operator => "operator (you may have a share)",
        Role::Admin => "admin (you may act for others)",
    };
    let idle =
        policy.idle_ms.map(|ms| format!("an empty standing allocation is released after {}", span(ms)));
    let burst = policy
        .burst_cpu_milli
        .map(|milli| format!("a share may use up to {} CPU while nobody wants them", MilliCpu(milli)));
    let sandboxes = match policy.from_sandboxes {
        true => "what runs in one may enter a share, and submit",
        false => "what runs in one may not enter a share, nor submit",
    };
    let row = |name: &str, value: String| vec![name.to_owned(), value];
    let mut rows = vec![
        row("Your role", role.to_owned()),
        row("Default", amount(&policy.defaults)),
        row("At most", amount(&policy.max)),
        row("Lease", lease(policy)),
        row("Idle", idle.unwrap_or_else(|| "an empty standing allocation stays".to_owned())),
        row("Burst", burst.unwrap_or_else(|| "a share never uses more CPU than its own".to_owned())),
        row("I/O", policy.io.as_ref().map_or_else(|| "a share's has no bound".to_owned(), io)),
        row("Sandboxes", sandboxes.to_owned()),
    ];
    rows.extend(policy.key.as_ref().map(|told| row("Your turn", key(told))));
    render::table(&rows)
}

/// One's own key: what is held, what was on average, and how many come before.
fn key(key: &KeyInfo) -> String {
    let KeyInfo { held_milli, had_milli, waits, others, before } = *key;
    let had = had_milli.map_or(String::new(), |had| {
        format!(" and count as having held {} on average of late, while somebody waited", percent(had))
    });
    let who = match (before, others) {
        (_, 0) => "nobody else waits".to_owned(),
        (before, others) => {
            let members = if waits { "other members who wait" } else { "members who wait" };
            let come = match (waits, before) {
                (true, 0 | 1) => "comes before you",
                (true, _) => "come before you",
                (false, _) => "would come before you",
            };
            let before = if before == 0 { "none".to_owned() } else { before.to_string() };
            format!("{before} of {others} {members} {come}")
        }
    };
    format!("you hold {} now{had}: {who}", percent(held_milli))
}

/// A part in thousandths: `12 %`, `0.4 %`.
fn percent(milli: u64) -> String {
    let tenths = match milli % 10 {
        0 => String::new(),
        tenths => format!(".{tenths}"),
    };
    format!("{}{tenths} %", milli / 10)
}

fn amount(amount: &AmountInfo) -> String {
    let (cpu, mem) = (MilliCpu(amount.cpu_milli), Bytes(amount.mem_bytes));
    format!("{cpu} CPU   {mem}   {} tasks", Tasks(amount.tasks_max))
}

fn io(io: &IoInfo) -> String {
    let rate = |bytes: u64| format!("{}/s", Bytes(bytes));
    let ops = |ops: u64| format!("{ops} times a second");
    let of = |verb: &str, bytes: Option<u64>, times: Option<u64>| {
        let figures: Vec<String> = bytes.map(rate).into_iter().chain(times.map(ops)).collect();
        (!figures.is_empty()).then(|| format!("{verb} at most {}", figures.join(" and ")))
    };
    let verbs = [of("reads", io.read_bytes, io.read_ops), of("writes", io.write_bytes, io.write_ops)];
    let verbs: Vec<String> = verbs.into_iter().flatten().collect();
    let disks = if io.on.len() == 1 { "the disk" } else { "each disk" };
    let on: Vec<String> = io.on.iter().map(|path| render::safe(path)).collect();
    format!("a share {}, on {disks} of {}", verbs.join(" and "), on.join(", "))
}

fn lease(policy: &PolicyInfo) -> String {
    let default = match policy.lease_default_ms {
        Some(ms) => format!("ends after {} unless asked otherwise", span(ms)),
        None => "held until released".to_owned(),
    };
    match policy.lease_max_ms {
        Some(ms) => format!("{default}, after {} at the latest", span(ms)),
        None => default,
    }
}

fn span(ms: u64) -> String {
    render::span(Duration::from_millis(ms))
}

fn check(args: &PolicyCheck) -> Result<Exit, Failure> {
    let dir = args.dir.display();
    if let Some(left_out) = file::left_out(&args.dir) {
        note(&format!("{dir}: {left_out}"));
    }
    match file::load(&args.dir, &Directory::System) {
        Ok(policy) => {
            let held = |amount: Amount| render::figures(amount.cpu.0, amount.mem.0, amount.tasks.0);
            let (defaults, max) = (held(policy.defaults), held(policy.max));
            render::print(&render::safe(&format!("{dir}: right; {defaults} by default, at most {max}")))?;
            Ok(Exit::DONE)
        }
        Err(error) => Err(Failure::new(Exit::REFUSED, error.to_string()).hint(format!(
            "mend it and try again: `fairshare policy check {dir}`; `man 5 fairshare-policy` has every key"
        ))),
    }
}
