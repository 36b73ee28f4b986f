//! The stand-in's side of the bus: `org.freedesktop.systemd1.Manager`, as far as fairshare calls it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;
use tokio::sync::mpsc::UnboundedReceiver;
use zbus::message::Type;
use zbus::{Connection, Message, MessageStream, OwnedObjectPath, OwnedVariant, Variant};

use super::faults::Faults;
use super::services::Services;
use super::units::{Setting, Units};

const SERVICE: &str = "org.freedesktop.systemd1";
pub(super) const PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const BUS: &str = "org.freedesktop.DBus";
const BUS_PATH: &str = "/org/freedesktop/DBus";

/// What the test asks of the running stand-in. Each is acknowledged when it is done.
pub enum Order {
    Vanish,
    ComeBack,
    Reload,
    Remove(String),
    SayRemoved(String),
    SayChanged(String),
    EndService(String, i32),
    FailService(String, String),
    Quit,
}

/// An order, and where to say that it is done.
pub type Ordered = (Order, std::sync::mpsc::Sender<()>);

/// What the test and the stand-in both see.
pub struct Shared {
    pub units: Mutex<Units>,
    pub faults: Faults,
    /// Every call of a method of the manager: the method and the unit, or what is in its place.
    pub calls: Mutex<Vec<(String, String)>>,
    pub version: Mutex<String>,
    pub services: Mutex<Services>,
    subscribers: Mutex<BTreeSet<String>>,
    pub(super) next_job: AtomicU32,
}

impl Shared {
    pub fn new(units: Units, faults: Faults) -> Self {
        Self {
            units: Mutex::new(units),
            faults,
            calls: Mutex::default(),
            version: Mutex::new("252.38-1~deb12u1".to_owned()),
            services: Mutex::default(),
            subscribers: Mutex::default(),
            next_job: AtomicU32::new(1),
        }
    }
}

/// How a call ends: a reply, or a D-Bus error's name and message.
pub(super) type Outcome<T> = Result<T, (String, String)>;

#[derive(Clone)]
pub(super) struct Manager {
    pub(super) shared: Arc<Shared>,
    connection: Connection,
}

/// Serves until it is told to quit.
pub async fn run(shared: Arc<Shared>, address: String, mut orders: UnboundedReceiver<Ordered>) {
    let mut service: Option<(Manager, MessageStream)> = None;
    loop {
        let message = async {
            match &mut service {
                Some((_, messages)) => messages.next().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            order = orders.recv() => {
                let Some((order, done)) = order else { return };
                match order {
                    Order::Quit => return,
                    Order::Vanish => {
                        service = None;
                        shared.subscribers.lock().unwrap().clear();
                    }
                    Order::ComeBack => service = Some(connect(&shared, &address).await),
                    order => {
                        let Some((manager, _)) = &service else { panic!("systemd is not on the bus") };
                        match order {
                            Order::Remove(unit) => manager.forget(&unit).await,
                            Order::SayRemoved(unit) => manager.say_removed(&unit).await,
                            Order::SayChanged(unit) => manager.say_changed(&unit).await,
                            Order::EndService(unit, code) => manager.end_service(&unit, code).await,
                            Order::FailService(unit, result) => manager.fail_service(&unit, &result).await,
                            _ => manager.reload().await,
                        }
                    }
                }
                let _ = done.send(());
            }
            message = message => match (message, &service) {
                (Some(Ok(message)), Some((manager, _))) => manager.receive(message).await,
                _ => {
                    service = None;
                    shared.subscribers.lock().unwrap().clear();
                }
            }
        }
    }
}

async fn connect(shared: &Arc<Shared>, address: &str) -> (Manager, MessageStream) {
    let connection = zbus::connection::Builder::address(address).build().await.unwrap();
    let messages = MessageStream::from(&connection);
    connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "RequestName", &(SERVICE, 0u32)).await.unwrap();
    (Manager { shared: Arc::clone(shared), connection }, messages)
}

impl Manager {
    async fn receive(&self, message: Message) {
        if message.message_type() != Type::MethodCall {
            return;
        }
        let method = message.header().member().unwrap().to_string();
        let delay = self.shared.faults.told().delays.get(&method).copied();
        match delay {
            None => self.handle(message, &method).await,
            Some(delay) => {
                let manager = self.clone();
                tokio::spawn(async move {
                    tokio::time::sleep(delay).await;
                    manager.handle(message, &method).await;
                });
            }
        }
    }

    async fn handle(&self, message: Message, method: &str) {
        let header = message.header();
        let interface = header.interface().map(|interface| interface.as_str().to_owned());
        if interface.as_deref() == Some(MANAGER) {
            let unit = match method {
                "Subscribe" | "ListUnitsByPatterns" => String::new(),
                _ => first_argument(&message),
            };
            self.shared.calls.lock().unwrap().push((method.to_owned(), unit));
        }
        let told = self.shared.faults.told().errors.get(method).cloned();
        if let Some(error) = told {
            return self.reply::<()>(&message, method, Err(error)).await;
        }
        match method {
            "Subscribe" => self.reply(&message, method, self.subscribe(&message)).await,
            "StartTransientUnit" => self.start_transient(&message).await,
            "StopUnit" => self.stop(&message).await,
            "SetUnitProperties" => self.reply(&message, method, self.set_properties(&message)).await,
            "FreezeUnit" | "ThawUnit" => {
                self.reply(&message, method, self.freeze(&message, method == "FreezeUnit")).await;
            }
            "KillUnit" => self.reply(&message, method, self.kill_main(&message)).await,
            "ResetFailedUnit" => {
                let name = first_argument(&message);
                let reset = self.reset_failed(&name);
                if reset == Ok(true) {
                    self.forget(&name).await;
                }
                self.reply(&message, method, reset.map(drop)).await;
            }
            "RefUnit" | "UnrefUnit" => {
                let (manager, message, method) = (self.clone(), message.clone(), method.to_owned());
                // The bus is asked, whose answers come only while messages are taken.
                tokio::spawn(async move { manager.refer(&message, &method).await });
            }
            "ListUnitsByPatterns" => self.reply(&message, method, Ok(self.list(&message))).await,
            "Get" => {
                let outcome = self.get(&message);
                self.reply(&message, method, outcome).await;
            }
            _ => {
                let error =
                    error("org.freedesktop.DBus.Error.UnknownMethod", "the stand-in has no such method");
                self.reply::<()>(&message, method, Err(error)).await;
            }
        }
    }

    pub(super) async fn reply<T>(&self, message: &Message, method: &str, outcome: Outcome<T>)
    where
        T: serde::Serialize + zbus::wire::DynamicType,
    {
        if self.shared.faults.told().lost_replies.iter().any(|lost| lost == method) {
            return;
        }
        let header = message.header();
        // A caller that is gone is no matter of ours.
        let _ = match outcome {
            Ok(body) => self.connection.reply(&header, &body).await,
            Err((name, text)) => self.connection.reply_error(&header, name.as_str(), &text).await,
        };
    }

    fn subscribe(&self, message: &Message) -> Outcome<()> {
        let sender = message.header().sender().unwrap().to_string();
        match self.shared.subscribers.lock().unwrap().insert(sender) {
            true => Ok(()),
            false => {
                Err(error("org.freedesktop.systemd1.AlreadySubscribed", "Client is already subscribed."))
            }
        }
    }

    #[allow(clippy::type_complexity)]
    fn list(
        &self,
        message: &Message,
    ) -> Vec<(String, String, String, String, String, String, OwnedObjectPath, u32, String, OwnedObjectPath)>
    {
        let (states, patterns): (Vec<String>, Vec<String>) = message.body().deserialize().unwrap();
        assert!(states.is_empty());
        let units = self.shared.units.lock().unwrap();
        let matches = |name: &String| {
            patterns.iter().any(|pattern| {
                let (start, end) = pattern.split_once('*').unwrap();
                name.starts_with(start) && name.ends_with(end)
            })
        };
        let none = OwnedObjectPath::try_from("/").unwrap();
        let rows = units.names().into_iter().filter(matches).map(|name| {
            let unit = units.get(&name).unwrap();
            let description = unit.text("Description").unwrap_or(&name).to_owned();
            let path = OwnedObjectPath::try_from(unit_path(&name)).unwrap();
            let active = unit.active.to_owned();
            let (loaded, empty) = ("loaded".to_owned(), String::new());
            (name, description, loaded, active.clone(), active, empty.clone(), path, 0, empty, none.clone())
        });
        rows.collect()
    }

    fn get(&self, message: &Message) -> Outcome<Variant<'static>> {
        let (_, property): (String, String) = message.body().deserialize().map_err(|_| invalid())?;
        let path = message.header().path().unwrap().to_string();
        if path == PATH {
            return match property.as_str() {
                "Version" => Ok(Variant::new(self.shared.version.lock().unwrap().clone())),
                _ => Err(error("org.freedesktop.DBus.Error.UnknownProperty", &property)),
            };
        }
        let units = self.shared.units.lock().unwrap();
        let name = units.names().into_iter().find(|name| unit_path(name) == path);
        // A unit that does not exist has everything, with defaults.
        let unit = name.as_ref().and_then(|name| units.get(name));
        let set = unit.and_then(|unit| unit.settings.get(&property)).map(Setting::to_variant);
        Ok(match property.as_str() {
            "ActiveState" => Variant::new(unit.map_or("inactive", |unit| unit.active)),
            "LoadState" => set.unwrap_or(Variant::new("loaded")),
            "Id" => set.unwrap_or(Variant::new(unit_at(&path))),
            "ControlGroup" => {
                Variant::new(name.and_then(|name| units.control_group(&name)).unwrap_or_default())
            }
            "MainPID" => {
                let runs = unit.is_some_and(|unit| unit.active == "active") && set.is_none();
                Variant::new(name.map_or(0, |name| self.main_process(&name, runs)))
            }
            "SubState" => set.unwrap_or(Variant::new(unit.map_or("dead", |_| "running"))),
            "ExecMainCode" | "ExecMainStatus" => set.unwrap_or(Variant::new(0i32)),
            "Job" => {
                let job = unit.is_some_and(|unit| unit.settings.contains_key("Job"));
                Variant::new((u32::from(job), OwnedObjectPath::try_from(PATH).unwrap()))
            }
            "Result" => set.unwrap_or(Variant::new("success")),
            _ => set.unwrap_or(Variant::new(u64::MAX)),
        })
    }

    pub(super) async fn forget(&self, name: &str) {
        {
            let mut units = self.shared.units.lock().unwrap();
            if units.get(name).is_none() {
                return;
            }
            units.remove(name);
        }
        self.say_removed(name).await;
    }

    async fn say_removed(&self, name: &str) {
        let path = OwnedObjectPath::try_from(unit_path(name)).unwrap();
        self.emit("UnitRemoved", &(name, path)).await;
    }

    /// As in a daemon-reload: of every unit it is said that it is removed.
    async fn reload(&self) {
        self.emit("Reloading", &true).await;
        let names = self.shared.units.lock().unwrap().names();
        for name in names {
            let path = OwnedObjectPath::try_from(unit_path(&name)).unwrap();
            self.emit("UnitRemoved", &(name.clone(), path.clone())).await;
            self.emit("UnitNew", &(name, path)).await;
        }
        self.emit("Reloading", &false).await;
    }

    /// As systemd says it of each unit: first of its kind, then of what all units have; of the figures only what matters here.
    pub(super) async fn say_changed(&self, name: &str) {
        let states = {
            let units = self.shared.units.lock().unwrap();
            let unit = units.get(name);
            let sub = unit.and_then(|unit| unit.text("SubState").map(str::to_owned));
            let active = unit.map_or("inactive", |unit| unit.active);
            [("ActiveState", active.to_owned()), ("SubState", sub.unwrap_or_else(|| "running".to_owned()))]
        };
        let states: BTreeMap<&str, OwnedVariant> = states
            .into_iter()
            .map(|(state, text)| (state, OwnedVariant::try_from(Variant::from(text)).unwrap()))
            .collect();
        for (kind, figures) in
            [("org.freedesktop.systemd1.Service", BTreeMap::new()), ("org.freedesktop.systemd1.Unit", states)]
        {
            let body = (kind, figures, Vec::<String>::new());
            self.emit_at(&unit_path(name), "org.freedesktop.DBus.Properties", "PropertiesChanged", &body)
                .await;
        }
    }

    pub(super) async fn emit<B>(&self, member: &str, body: &B)
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        self.emit_at(PATH, MANAGER, member, body).await;
    }

    /// Signals are sent only while somebody subscribed.
    async fn emit_at<B>(&self, path: &str, interface: &str, member: &str, body: &B)
    where
        B: serde::Serialize + zbus::wire::DynamicType,
    {
        if !self.shared.subscribers.lock().unwrap().is_empty() {
            let _ = self.connection.emit_signal(None::<&str>, path, interface, member, body).await;
        }
    }

    /// Whether this connection is still on the bus.
    pub(super) async fn on_bus(&self, name: &str) -> bool {
        let reply =
            self.connection.call_method(Some(BUS), BUS_PATH, Some(BUS), "NameHasOwner", &(name,)).await;
        reply.is_ok_and(|reply| reply.body().deserialize::<bool>() == Ok(true))
    }
}

pub(super) fn first_argument(message: &Message) -> String {
    let body = message.body();
    let first: Result<String, _> = match body.signature().to_string().as_str() {
        "(ssa(sv)a(sa(sv)))" => body
            .deserialize::<(String, String, Vec<(String, OwnedVariant)>, Vec<(String, Vec<(String, OwnedVariant)>)>)>()
            .map(|args| args.0),
        "(sba(sv))" => body.deserialize::<(String, bool, Vec<(String, OwnedVariant)>)>().map(|args| args.0),
        "(ssi)" => body.deserialize::<(String, String, i32)>().map(|args| args.0),
        "(ss)" => body.deserialize::<(String, String)>().map(|args| args.0),
        _ => body.deserialize::<(String,)>().map(|args| args.0),
    };
    first.unwrap_or_default()
}

/// As `bus_label_escape` in systemd.
fn unit_path(unit: &str) -> String {
    let escaped = unit.bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("_{byte:02x}"),
    });
    format!("{PATH}/unit/{}", escaped.collect::<String>())
}

/// The unit at a path that [`unit_path`] makes.
fn unit_at(path: &str) -> String {
    let label = path.rsplit('/').next().unwrap_or_default();
    let mut parts = label.split('_');
    let mut unit = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (byte, rest) = part.split_at(2);
        unit.push(char::from(u8::from_str_radix(byte, 16).unwrap()));
        unit.push_str(rest);
    }
    unit
}

pub(super) fn error(name: &str, message: &str) -> (String, String) {
    (name.to_owned(), message.to_owned())
}

pub(super) fn invalid() -> (String, String) {
    error("org.freedesktop.DBus.Error.InvalidArgs", "Invalid arguments.")
}
