//! The policy's users and groups looked up at a start, and again until the database has answered for each.

use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tracing::warn;

use super::accounts::Accounts;
use crate::host::account::Directory;
use crate::policy::Policy;
use crate::policy::file::{self, Names as _};
use crate::policy::names::{Found, Name};

/// How long a start waits for the database. What it says later is taken when it says it.
pub const NAMES_TIMEOUT: Duration = Duration::from_secs(10);

/// How often what was not found is looked for again.
pub const NAMES_PERIOD: Duration = Duration::from_secs(10);

/// What the database said of one name.
#[derive(Debug)]
pub struct Learned {
    /// The name.
    pub name: Name,
    /// Whose it is; nobody's; or why that is not known.
    pub said: Result<Option<Found>, String>,
}

/// What the database is still being asked.
pub type Asked = mpsc::UnboundedReceiver<Learned>;

/// The policy at a start: a name that is not found is no reason to serve nobody.
///
/// # Errors
/// File, line, column, key, and what would be right.
pub async fn first_policy(path: PathBuf, accounts: &Accounts) -> Result<(Policy, Asked), String> {
    let load = move || {
        if let Some(left_out) = file::left_out(&path) {
            warn!("{}: {left_out}", path.display());
        }
        file::load_names_later(&path).map_err(|error| error.to_string())
    };
    let loaded = tokio::task::spawn_blocking(load).await;
    let mut policy = loaded.map_err(|error| error.to_string()).and_then(|loaded| loaded)?;
    let mut asked = ask(accounts, &policy);
    let until = Instant::now() + NAMES_TIMEOUT;
    while let Ok(Some(Learned { name, said })) = timeout_at(until, asked.recv()).await {
        policy.learn(&name, said);
    }
    Ok((policy, asked))
}

/// Has the database asked for every name that was not found, one after the other on one thread: names take no others' threads.
pub fn ask(accounts: &Accounts, policy: &Policy) -> Asked {
    let (sender, learned) = mpsc::unbounded_channel();
    let names = policy.unfound.names();
    let look_up = move |directory: &Directory| {
        for name in names {
            let said = match &name {
                Name::User(user) => directory.user(user).map(|uid| uid.map(Found::User)),
                Name::Group(group) => directory.group(group).map(|gid| gid.map(Found::Group)),
            };
            let said = said.map_err(|error| error.to_string());
            if sender.send(Learned { name, said }).is_err() {
                return;
            }
        }
    };
    if let Err(why) = accounts.start_asking(look_up) {
        warn!("the policy's names cannot be looked up, proceeding: {why}");
    }
    learned
}

/// The policy as a reload takes it: each name is somebody's.
///
/// # Errors
/// File, line, column, key, and what would be right.
pub async fn policy(policy: PathBuf, accounts: &Accounts) -> Result<Policy, String> {
    let path = policy.clone();
    let load = move |names: &Directory| {
        if let Some(left_out) = file::left_out(&path) {
            warn!("{}: {left_out}", path.display());
        }
        file::load(&path, names).map_err(|error| error.to_string())
    };
    let loaded = accounts.ask(NAMES_TIMEOUT, load).await;
    loaded.unwrap_or_else(|why| {
        Err(format!("{}: the user database does not answer for its names: {why}", policy.display()))
    })
}
