//! The daemon: start-up in numbered steps, then the listener and the event loop until a signal ends them.

pub mod asking;
mod baseline;
mod clock;
mod confine;
mod doing;
mod following;
mod mending;
mod owner;
mod parts;
mod telling;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch as channel};
use tracing::{error, info, warn};

use crate::cgroup::Cgroups;
use crate::history;
use crate::host::account::{Directory, MEMBERS};
use crate::host::machine;
use crate::host::process::seen::PROC;
use crate::identity::Gid;
use crate::policy::file::POLICY_DIR;
use crate::serving::listener::Listener;
use crate::serving::logging::Logging;
use crate::serving::{logging, notify, socket};
use crate::systemd::BusAddress;
use asking::accounts::Accounts;
use asking::names;
use asking::service::Fairshare;
use asking::submission::{SUBMISSIONS_WAITING_MAX, Submission};
use doing::persist;
use mending::recover;
use owner::EventLoop;
use owner::event::{EVENTS_WAITING_MAX, Event};
use parts::Parts;

/// Where members connect when nothing else is said.
pub const SOCKET: &str = "/run/fairshare.sock";

/// Where the state is when systemd does not say (`STATE_DIRECTORY`, `systemd.exec(5)`).
const STATE_DIR: &str = "/var/lib/fairshare";

/// Where what lasts until the next boot is when systemd does not say (`RUNTIME_DIRECTORY`, `systemd.exec(5)`).
const RUNTIME_DIR: &str = "/run/fairshared";

/// Where the kernel's cgroup files are.
const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// Something that was configured cannot be used (`EX_CONFIG`, `sysexits.h`).
const EXIT_CONFIG: u8 = 78;

/// The daemon that gives every member of this machine a share of it.
///
/// systemd starts it with the first connection to fairshared.socket; then it takes no arguments. Started by hand it
/// binds the socket itself and logs to the terminal, as RUST_LOG says.
#[derive(Debug, Parser)]
#[command(name = "fairshared", version)]
struct Arguments {
    /// The folder or file of the policy.
    #[arg(value_name = "POLICY", default_value = POLICY_DIR)]
    policy: PathBuf,

    /// The socket to bind when started by hand.
    #[arg(value_name = "SOCKET", default_value = SOCKET)]
    socket: PathBuf,
}

/// Runs the daemon to its end.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let logging = logging::start("fairshared");
    end_on_panic();
    confine::give_up_exec();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("no runtime: {error}")),
    };
    // As a task: what the runtime is entered with is woken through the kernel, and all that clients want wakes it.
    let code = runtime.block_on(runtime.spawn(serve(arguments, logging)));
    let code = code.unwrap_or_else(|error| fail(&format!("the daemon ended badly: {error}")));
    // A look-up that hangs in a user database must not keep the daemon from ending.
    runtime.shutdown_background();
    code
}

/// Has whatever panics end the daemon at once, as what contradicts itself must not answer; but for the thread of the history, to
/// which that says what its file is.
fn end_on_panic() {
    let say = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        say(panic);
        if history::ends_all() {
            std::process::abort();
        }
    }));
}

fn fail(why: &str) -> ExitCode {
    error!("{why}");
    ExitCode::from(EXIT_CONFIG)
}

async fn serve(arguments: Arguments, logging: Logging) -> ExitCode {
    // 1. The socket: systemd's, or our own.
    let (listening, bound) = match socket::passed() {
        Ok(Some(socket)) => (socket, None),
        Ok(None) => match socket::bind(&arguments.socket, group()) {
            Ok((socket, bound)) => (socket, Some(bound)),
            Err(error) => return fail(&format!("{}: cannot listen: {error}", arguments.socket.display())),
        },
        Err(error) => return fail(&format!("the socket that systemd passed cannot be used: {error}")),
    };
    let by_hand = bound.is_some();
    let Some(address) = socket::argument(&listening, &arguments.socket) else {
        return fail(
            "the socket's path is to be of letters, digits and `/ . _ + -`: submitted commands connect to it",
        );
    };
    // 2. The signals, before anything that one of them should end.
    let (events, inbox) = mpsc::channel(EVENTS_WAITING_MAX);
    let (calls, asked) = mpsc::channel(SUBMISSIONS_WAITING_MAX);
    if let Err(error) = forward_signals(&events) {
        return fail(&format!("signals cannot be handled: {error}"));
    }
    // 3. Policy, state, bus, each or why not; where all are there, the world made to agree with the state.
    let (policy_told, policy) = channel::channel(None);
    let accounts = Accounts::of(Directory::from_environment());
    let ways = (address, accounts.clone(), logging);
    let event_loop = match prepare(arguments.policy, ways, policy_told, (events, inbox), asked).await {
        Ok(event_loop) => event_loop,
        Err(why) => return fail(&why),
    };
    if let Some(reasons) = event_loop.lacks() {
        if by_hand {
            return fail(&reasons);
        }
        error!("degraded, shares stay as they are: {reasons}");
    }
    // 4. From here on clients are served.
    let stopping = event_loop.stopping();
    let socket = match tokio::net::UnixListener::from_std(listening) {
        Ok(socket) => socket,
        Err(error) => return fail(&format!("the socket cannot be listened on: {error}")),
    };
    let service = Fairshare { calls, policy, accounts };
    let listener = tokio::spawn(Listener::new(socket, service, stopping).serve());
    notify::ready(&event_loop.status_line());
    // 5. Until a signal ends it: then no more clients, the answers in flight, and the slices stay.
    if let Err(error) = event_loop.run(listener).await {
        error!("the listener ended badly: {error}");
    }
    drop(bound);
    info!("stopped");
    ExitCode::SUCCESS
}

/// The group that may connect to a socket that is bound by hand, as the socket unit has it.
fn group() -> Option<Gid> {
    let group = Directory::System.members().ok().flatten();
    if group.is_none() {
        warn!("there is no group {MEMBERS}: only root can connect, proceeding");
    }
    group
}

/// The event loop with everything that could be had.
async fn prepare(
    policy_path: PathBuf,
    (socket, accounts, logging): (Arc<str>, Accounts, Logging),
    policy_told: channel::Sender<Option<Arc<crate::policy::Policy>>>,
    (events, inbox): (mpsc::Sender<Event>, mpsc::Receiver<Event>),
    calls: mpsc::Receiver<Submission>,
) -> Result<EventLoop, String> {
    let variable = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cgroup_root = variable("FAIRSHARE_CGROUP_ROOT").unwrap_or_else(|| CGROUP_ROOT.into());
    let cgroups = Cgroups::open(&cgroup_root).map_err(|fault| logging::chain(&fault))?;
    let online = variable("FAIRSHARE_CPUS_ONLINE").unwrap_or_else(|| machine::ONLINE.into());
    let boot = clock::boot_id().map_err(|error| format!("the boot id cannot be read: {error}"))?;
    let parts = Parts {
        policy: policy_path,
        socket,
        keeper: persist::Keeper::start().map_err(|error| format!("no thread for the state: {error}"))?,
        state: variable("STATE_DIRECTORY").unwrap_or_else(|| STATE_DIR.into()),
        runtime: variable("RUNTIME_DIRECTORY").unwrap_or_else(|| RUNTIME_DIR.into()),
        cgroups: Arc::new(cgroups),
        online,
        proc: variable("FAIRSHARE_PROC").unwrap_or_else(|| PROC.into()),
        bus: BusAddress::System,
        boot,
        accounts,
        logging,
    };
    let (policy, asked) = (parts.policy.clone(), parts.accounts.clone());
    let mut event_loop = EventLoop::new(parts, policy_told, (events, inbox), calls);
    let first = names::first_policy(policy, &asked).await;
    event_loop.starts_with(first);
    let recovery = recover::recover(event_loop.before(true)).await;
    // Ready means that the next start finds what this one made of the state.
    if let Some(written) = event_loop.recovered(recovery) {
        written.await.map_err(|error| error.to_string())?;
    }
    Ok(event_loop)
}

fn forward_signals(events: &mpsc::Sender<Event>) -> std::io::Result<()> {
    let (mut hangup, mut terminate, mut interrupt) =
        (signal(SignalKind::hangup())?, signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let events = events.clone();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                _ = hangup.recv() => Event::Hangup,
                _ = terminate.recv() => Event::Terminate,
                _ = interrupt.recv() => Event::Terminate,
            };
            if events.send(event).await.is_err() {
                return;
            }
        }
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::following::pressure::TRIGGERS_MAX;
    use crate::contract::DESCRIPTORS_MAX;
    use crate::contract::handover::HANDED_MAX;
    use crate::serving::account::{CONNECTIONS_MAX, HELD_MAX};
    use crate::serving::closing::{CLOSING_MAX, CLOSING_OF_STRANGERS_MAX, DESCRIPTORS_AT_ONCE_MAX};

    /// Beside what is counted: epoll's and the timer's, the bus, the journal, the state, files that are read in passing.
    const OTHERS: usize = 256;

    /// Without one nobody is accepted, no file of the kernel's is read, and nothing is stored.
    #[test]
    fn all_that_members_can_have_open_is_under_the_units_limit() {
        let unit = include_str!("../../systemd/fairshared.service");
        let limit = unit.lines().find_map(|line| line.strip_prefix("LimitNOFILE=")).expect("a limit");
        let connections = CONNECTIONS_MAX * (1 + DESCRIPTORS_MAX);
        let closing = CLOSING_MAX + CLOSING_OF_STRANGERS_MAX + DESCRIPTORS_AT_ONCE_MAX;
        let all = HELD_MAX * HANDED_MAX + connections + closing + TRIGGERS_MAX + OTHERS;
        let limit: usize = limit.parse().expect("a number");
        assert!(all <= limit, "{all} of {limit}");
    }
}
