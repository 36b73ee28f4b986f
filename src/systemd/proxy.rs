//! The methods of `org.freedesktop.systemd1.Manager` that we use, each with a deadline.
//!
//! Plain calls instead of a generated proxy: nothing is introspected or cached, so that connecting costs two round trips.

use std::sync::Arc;

use serde::Serialize;
use tokio::sync::{Semaphore, watch};
use tokio::time::timeout;
use zbus::wire::DynamicType;
use zbus::{Connection, Fd, Message, OwnedObjectPath, OwnedVariant, Variant};

use super::fault::Fault;
use super::property::{Property, Value};
use super::unit::{CALL_TIMEOUT, Process, Program};

pub(super) const SERVICE: &str = "org.freedesktop.systemd1";
pub(super) const PATH: &str = "/org/freedesktop/systemd1";
pub(super) const MANAGER: &str = "org.freedesktop.systemd1.Manager";
pub(super) const UNIT: &str = "org.freedesktop.systemd1.Unit";
pub(super) const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
pub(super) const BUS: &str = "org.freedesktop.DBus";

/// Who knows of logins (`org.freedesktop.login1(5)`).
pub(super) const LOGIND: &str = "org.freedesktop.login1";
pub(super) const LOGIND_PATH: &str = "/org/freedesktop/login1";
pub(super) const LOGIND_MANAGER: &str = "org.freedesktop.login1.Manager";

/// Whatever a program ends with is no failure of its unit ("-" before it, systemd.service(5)): after a failure systemd would
/// kill what the program left behind.
const IGNORE_FAILURE: bool = true;

/// Calls that are under way at once. The bus lets one connection wait for 128 answers (`max_replies_per_connection`,
/// dbus-daemon(1)) and refuses what is beyond; some room is for calls that were given up and may be answered still.
const CALLS_MAX: usize = 96;

/// Descriptors that one message takes (`max_message_unix_fds`, dbus-daemon(1): 16 unless its configuration says otherwise).
/// Whoever sends more loses the connection.
const DESCRIPTORS_MAX: usize = 16;

/// What ListUnitsByPatterns answers for one unit: name, description, load state, active state, sub state, followed unit,
/// object path, job id, job type, job path.
pub(super) type UnitRow =
    (String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath);

/// The methods we use, over one connection.
#[derive(Debug, Clone)]
pub(super) struct Manager {
    connection: Connection,
    /// Whether systemd owns its name: PID 1 gives it up for a moment when it re-executes.
    present: watch::Receiver<bool>,
    calls: Arc<Semaphore>,
}

/// Which method of what is called.
struct Call<'a> {
    path: &'a str,
    interface: &'a str,
    method: &'static str,
    unit: &'a str,
}

impl Manager {
    pub(super) fn new(connection: Connection, present: watch::Receiver<bool>) -> Self {
        Self { connection, present, calls: Arc::new(Semaphore::new(CALLS_MAX)) }
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Asks for signals. The answer's sender is systemd's unique name.
    pub(super) async fn subscribe(&self) -> Result<(), Fault> {
        match self.manager("Subscribe", "", &()).await {
            Err(fault) if !fault.is_already_subscribed() => Err(fault),
            _ => Ok(()),
        }
    }

    /// systemd's version, and the unique name of the connection that answered.
    pub(super) async fn version(&self) -> Result<(String, String), Fault> {
        let call = Call { path: PATH, interface: PROPERTIES, method: "Get", unit: "" };
        let reply = self.call(call, &(MANAGER, "Version")).await?;
        let sender = reply.header().sender().map(|sender| sender.as_str().to_owned());
        let version: OwnedVariant = body("Get", "", &reply)?;
        Ok((String::try_from(version).unwrap_or_default(), sender.unwrap_or_default()))
    }

    /// Queues the start of a new transient unit with what belongs to its kind; answers the job's path.
    pub(super) async fn start_transient(
        &self,
        unit: &str,
        properties: &[Property],
        with: With<'_>,
    ) -> Result<String, Fault> {
        let mut list = variants(properties);
        let mut auxiliary: Vec<(&str, Vec<(&str, Variant<'_>)>)> = Vec::new();
        match with {
            With::Nothing => (),
            With::Processes(Processes::Pids(pids)) => list.push(("PIDs", Variant::new(pids))),
            With::Processes(Processes::PidFds(pidfds)) => list.push(("PIDFDs", Variant::new(pidfds))),
            With::Program(program, around) => {
                let Program { path, argv, argv_at_end } = *program;
                // Not ExecStartEx: systemd 252 writes that name into the unit's file, where it does not know it, and has a
                // service without a program after its next reload. Variables are replaced in these words, so they are ours.
                list.push(("ExecStart", Variant::new(vec![(path, argv.to_vec(), IGNORE_FAILURE)])));
                list.extend(
                    argv_at_end.map(|argv| {
                        ("ExecStopPost", Variant::new(vec![(path, argv.to_vec(), IGNORE_FAILURE)]))
                    }),
                );
                list.extend(
                    ["StandardInput", "StandardOutput", "StandardError"]
                        .map(|name| (name, Variant::new("null"))),
                );
                auxiliary.extend(around.map(|(slice, properties)| (slice, variants(properties))));
            }
        }
        // "fail": a start that would cancel a queued stop of the same unit is refused.
        self.queue("StartTransientUnit", unit, &(unit, "fail", list, auxiliary)).await
    }

    /// Queues the start of a unit that systemd has loaded; answers the job's path.
    pub(super) async fn start_loaded(&self, unit: &str) -> Result<String, Fault> {
        self.queue("StartUnit", unit, &(unit, "fail")).await
    }

    /// Queues a stop; answers the job's path.
    pub(super) async fn stop(&self, unit: &str) -> Result<String, Fault> {
        self.queue("StopUnit", unit, &(unit, "replace")).await
    }

    /// Sends a unit's main process a signal.
    pub(super) async fn kill_main(&self, unit: &str, signal: i32) -> Result<(), Fault> {
        self.manager("KillUnit", unit, &(unit, "main", signal)).await.map(drop)
    }

    /// Has all that is in a unit stand still. Answered when the kernel says so.
    pub(super) async fn freeze(&self, unit: &str) -> Result<(), Fault> {
        self.manager("FreezeUnit", unit, &(unit,)).await.map(drop)
    }

    /// Has all that is in a unit go on.
    pub(super) async fn thaw(&self, unit: &str) -> Result<(), Fault> {
        self.manager("ThawUnit", unit, &(unit,)).await.map(drop)
    }

    /// Sets properties until the next boot (`runtime`): what a share is for longer is ours to remember, not systemd's.
    pub(super) async fn set_properties(&self, unit: &str, properties: &[Property]) -> Result<(), Fault> {
        self.manager("SetUnitProperties", unit, &(unit, true, variants(properties))).await.map(drop)
    }

    /// Keeps a unit from being forgotten for as long as this connection lives, or until it is let go.
    pub(super) async fn hold(&self, unit: &str) -> Result<(), Fault> {
        self.manager("RefUnit", unit, &(unit,)).await.map(drop)
    }

    /// The same of a unit that need not be loaded: what is called by its path is.
    pub(super) async fn load_and_hold(&self, unit: &str) -> Result<(), Fault> {
        let path = unit_path(unit);
        self.call(Call { path: &path, interface: UNIT, method: "Ref", unit }, &()).await.map(drop)
    }

    pub(super) async fn let_go(&self, unit: &str) -> Result<(), Fault> {
        self.manager("UnrefUnit", unit, &(unit,)).await.map(drop)
    }

    pub(super) async fn reset_failed(&self, unit: &str) -> Result<(), Fault> {
        self.manager("ResetFailedUnit", unit, &(unit,)).await.map(drop)
    }

    pub(super) async fn list(&self, patterns: &[&str]) -> Result<Vec<UnitRow>, Fault> {
        let states: [&str; 0] = [];
        let method = "ListUnitsByPatterns";
        let reply = self.manager(method, "", &(states.as_slice(), patterns)).await?;
        body(method, "", &reply)
    }

    /// Whether a unit's file is enabled, in systemd's words.
    pub(super) async fn unit_file_state(&self, unit: &str) -> Result<String, Fault> {
        let method = "GetUnitFileState";
        let reply = self.manager(method, unit, &(unit,)).await?;
        body(method, unit, &reply)
    }

    /// One property of a unit. A unit that does not exist has all properties too, with systemd's defaults.
    pub(super) async fn get<T>(&self, unit: &str, interface: &str, property: &str) -> Result<T, Fault>
    where
        T: TryFrom<OwnedVariant>,
        T::Error: Into<zbus::Error>,
    {
        let path = unit_path(unit);
        let call = Call { path: &path, interface: PROPERTIES, method: "Get", unit };
        let reply = self.call(call, &(interface, property)).await?;
        let value: OwnedVariant = body("Get", unit, &reply)?;
        T::try_from(value).map_err(|error| Fault::of_call("Get", unit, error.into()))
    }

    async fn queue<B>(&self, method: &'static str, unit: &str, args: &B) -> Result<String, Fault>
    where
        B: Serialize + DynamicType,
    {
        let reply = self.manager(method, unit, args).await?;
        let job: OwnedObjectPath = body(method, unit, &reply)?;
        Ok(job.as_str().to_owned())
    }

    async fn manager<B>(&self, method: &'static str, unit: &str, args: &B) -> Result<Message, Fault>
    where
        B: Serialize + DynamicType,
    {
        self.call(Call { path: PATH, interface: MANAGER, method, unit }, args).await
    }

    async fn call<B>(&self, call: Call<'_>, args: &B) -> Result<Message, Fault>
    where
        B: Serialize + DynamicType,
    {
        let Call { path, interface, method, unit } = call;
        let answered = async {
            let mut present = self.present.clone();
            present
                .wait_for(|present| *present)
                .await
                .map_err(|_| Fault::bus(format!("{method} {unit}"), None))?;
            let _room = self.calls.acquire().await;
            self.connection
                .call_method(Some(SERVICE), path, Some(interface), method, args)
                .await
                .map_err(|error| Fault::of_call(method, unit, error))
        };
        timeout(CALL_TIMEOUT, answered)
            .await
            .unwrap_or_else(|_| Err(Fault::Timeout { method, unit: unit.to_owned(), after: CALL_TIMEOUT }))
    }
}

/// Has the bus send us the signals that `rule` matches.
pub(super) async fn add_match(connection: &Connection, rule: &str) -> Result<(), Fault> {
    let (method, args) = ("AddMatch", (rule,));
    let call = connection.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), method, &args);
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(Fault::of_call(method, "", error)),
        Err(_) => Err(Fault::Timeout { method, unit: String::new(), after: CALL_TIMEOUT }),
    }
}

/// The unique name of whoever owns a name on the bus; `None` where nobody does. Nobody is started for it.
pub(super) async fn name_owner(connection: &Connection, name: &str) -> Result<Option<String>, Fault> {
    let (method, args) = ("GetNameOwner", (name,));
    let call = connection.call_method(Some(BUS), "/org/freedesktop/DBus", Some(BUS), method, &args);
    match timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(reply)) => body(method, "", &reply).map(Some),
        // Where the bus itself is gone, that is found by whoever needs it.
        Ok(Err(_)) => Ok(None),
        Err(_) => Err(Fault::Timeout { method, unit: String::new(), after: CALL_TIMEOUT }),
    }
}

/// What belongs to the kind of a unit that is started.
pub(super) enum With<'a> {
    /// A slice has nothing.
    Nothing,
    /// A scope has processes.
    Processes(Processes<'a>),
    /// A service has a program; and where it is said, the slice around it is made with it, with these properties.
    Program(&'a Program<'a>, Option<(&'a str, &'a [Property])>),
}

/// The processes that enter a scope, in the form this systemd takes.
pub(super) enum Processes<'a> {
    Pids(Vec<u32>),
    PidFds(Vec<Fd<'a>>),
}

impl<'a> Processes<'a> {
    /// By descriptor where systemd knows that, all have one and the bus takes so many, else by number.
    pub(super) fn new(processes: &[Process<'a>], by_descriptor: bool) -> Self {
        let pidfds = || processes.iter().map(|process| process.pidfd.map(Fd::from)).collect();
        match (by_descriptor && processes.len() <= DESCRIPTORS_MAX).then(pidfds).flatten() {
            Some(pidfds) => Self::PidFds(pidfds),
            None => Self::Pids(processes.iter().map(|process| process.pid).collect()),
        }
    }
}

/// Where a unit is on the bus: every byte but letters and digits as `_` and two hexadecimal digits, and a leading
/// digit too (`bus_label_escape` in systemd).
pub(super) fn unit_path(unit: &str) -> String {
    let mut path = format!("{PATH}/unit/");
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (at > 0 && byte.is_ascii_digit()) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

fn variants(properties: &[Property]) -> Vec<(&'static str, Variant<'_>)> {
    let variant = |value| match value {
        &Value::U64(figure) => Variant::new(figure),
        &Value::Bool(on) => Variant::new(on),
        Value::Text(text) => Variant::new(text.as_str()),
        Value::OfDisks(disks) => {
            Variant::new(disks.iter().map(|(path, figure)| (path.as_str(), *figure)).collect::<Vec<_>>())
        }
    };
    properties.iter().map(|property| (property.name, variant(&property.value))).collect()
}

fn body<T>(method: &'static str, unit: &str, reply: &Message) -> Result<T, Fault>
where
    T: serde::de::DeserializeOwned + zbus::wire::Type,
{
    reply.body().deserialize().map_err(|error| Fault::of_call(method, unit, error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_descriptors_than_the_bus_takes_are_not_sent() {
        let file = std::fs::File::open("/dev/null").unwrap();
        let process = Process { pid: 7, pidfd: Some(std::os::fd::AsFd::as_fd(&file)) };
        let sent = |count, by_descriptor| match Processes::new(&vec![process; count], by_descriptor) {
            Processes::Pids(pids) => (pids.len(), false),
            Processes::PidFds(pidfds) => (pidfds.len(), true),
        };
        assert_eq!([sent(1, true), sent(16, true)], [(1, true), (16, true)]);
        assert_eq!([sent(17, true), sent(64, true), sent(1, false)], [(17, false), (64, false), (1, false)]);
        let without = Process { pid: 7, pidfd: None };
        assert!(matches!(Processes::new(&[process, without], true), Processes::Pids(_)));
    }

    #[test]
    fn unit_names_become_object_paths() {
        assert_eq!(
            unit_path("fairshare-1001.slice"),
            "/org/freedesktop/systemd1/unit/fairshare_2d1001_2eslice"
        );
        assert_eq!(unit_path("7.scope"), "/org/freedesktop/systemd1/unit/_37_2escope");
    }
}
