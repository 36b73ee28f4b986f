//! The one task that reads systemd's signals: it hands job results to who waits for them and tells the daemon the rest.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use futures_util::StreamExt;
use tokio::sync::{mpsc, watch};
use zbus::message::{Header, Type};
use zbus::{Message, MessageStream, OwnedObjectPath, Variant};

use super::fault::Fault;
use super::proxy::{
    BUS, LOGIND, LOGIND_MANAGER, LOGIND_PATH, MANAGER, Manager, PATH, PROPERTIES, SERVICE, UNIT,
};
use super::unit::Stage;
use crate::identity::{Uid, UnitName};

/// Signals that the daemon has not taken yet; further ones are dropped and [`Signal::Lagged`] said instead.
const SIGNALS_MAX: usize = 1024;

/// Results of jobs of one unit that one waiter has not taken yet.
const JOB_RESULTS_MAX: usize = 16;

/// Waiters that the dispatcher has not seen yet.
const CONTROLS_MAX: usize = 64;

/// Something systemd did that the daemon should know of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// A unit of ours is gone from systemd's memory.
    UnitRemoved(UnitName),
    /// Somebody logs in who was not: the first of their processes is about to start.
    Login(Uid),
    /// PID 1 began (`true`) or ended (`false`) to reload or re-execute itself. At the end, look at the units again:
    /// removals in between are not told, because systemd says of every unit that it was removed and is there again.
    Reloading(bool),
    /// Signals were dropped because they were not taken in time: look at the units again.
    Lagged,
    /// The connection is gone: connect again.
    BusLost,
}

/// The signals of one connection, in order.
#[derive(Debug)]
pub struct Signals {
    receiver: mpsc::Receiver<Signal>,
    lost: bool,
}

impl Signals {
    /// The next signal. [`Signal::BusLost`] comes once, after everything else; after it this never returns.
    ///
    /// Cancel safe: no signal is lost when the future is dropped.
    pub async fn next(&mut self) -> Signal {
        if self.lost {
            return std::future::pending().await;
        }
        match self.receiver.recv().await {
            Some(signal) => signal,
            None => {
                self.lost = true;
                Signal::BusLost
            }
        }
    }
}

/// How a job ended: its path on the bus and its result.
pub(super) type JobResult = (String, String);

/// What the dispatcher is told by others.
#[derive(Debug)]
pub(super) enum Control {
    /// Somebody waits for jobs of this unit.
    Watch(String, mpsc::Sender<JobResult>),
    /// Somebody wants to know when the service at this path may have ended.
    Follow(String, mpsc::Sender<()>),
    /// systemd's unique name on the bus, as it was when it answered the first call.
    Owner(String),
    /// logind's unique name on the bus, as it was when the connection was made; `None` where it was not there.
    Logind(Option<String>),
}

/// Hands the dispatcher what it must know.
#[derive(Debug, Clone)]
pub(super) struct Controls(mpsc::Sender<Control>);

impl Controls {
    /// Results of this unit's jobs from now on. To be called before the method that queues the job, whose JobRemoved
    /// may come before its reply.
    pub(super) async fn watch(&self, unit: &str) -> Result<mpsc::Receiver<JobResult>, Fault> {
        let (sender, receiver) = mpsc::channel(JOB_RESULTS_MAX);
        self.tell(Control::Watch(unit.to_owned(), sender)).await?;
        Ok(receiver)
    }

    /// A word each time the service at this path may have ended, from now on; several at once are one word. Who followed it
    /// before hears no more.
    pub(super) async fn follow(&self, path: &str) -> Result<mpsc::Receiver<()>, Fault> {
        let (sender, receiver) = mpsc::channel(1);
        self.tell(Control::Follow(path.to_owned(), sender)).await?;
        Ok(receiver)
    }

    pub(super) async fn tell(&self, control: Control) -> Result<(), Fault> {
        self.0.send(control).await.map_err(|_| Fault::bus("waiting for systemd's signals", None))
    }
}

/// Who on the bus is systemd, or logind.
#[derive(Debug)]
enum Owner {
    Unknown,
    Known(Option<String>),
}

impl Owner {
    /// Whether it sent a message of this interface.
    fn sent(&self, header: &Header<'_>, interface: &str) -> bool {
        matches!(self, Self::Known(Some(owner)) if sent_by(header, owner))
            && header.interface().is_some_and(|is| is.as_str() == interface)
    }

    /// Whether it sent a message of this interface for the object at `path`.
    fn is_at(&self, header: &Header<'_>, path: &str, interface: &str) -> bool {
        self.sent(header, interface) && header.path().is_some_and(|at| at.as_str() == path)
    }
}

type Resubscription = Pin<Box<dyn Future<Output = Result<(), Fault>> + Send>>;

/// The state of the reading task.
struct Dispatcher {
    manager: Manager,
    owner: Owner,
    logind: Owner,
    present: watch::Sender<bool>,
    watches: Vec<(String, mpsc::Sender<JobResult>)>,
    /// By path: what follows is looked for with each change of any unit of this machine.
    followed: BTreeMap<String, mpsc::Sender<()>>,
    signals: mpsc::Sender<Signal>,
    lagged: bool,
    reloading: bool,
    resubscription: Option<Resubscription>,
}

/// The match rules whose signals the dispatcher understands.
pub(super) fn match_rules() -> Vec<String> {
    let mut rules: Vec<String> = ["JobRemoved", "UnitRemoved", "Reloading"]
        .iter()
        .map(|member| {
            format!("type='signal',sender='{SERVICE}',path='{PATH}',interface='{MANAGER}',member='{member}'")
        })
        .collect();
    rules.extend([SERVICE, LOGIND].map(|name| {
        format!("type='signal',sender='{BUS}',interface='{BUS}',member='NameOwnerChanged',arg0='{name}'")
    }));
    rules.push(format!(
        "type='signal',sender='{LOGIND}',path='{LOGIND_PATH}',interface='{LOGIND_MANAGER}',member='UserNew'"
    ));
    // One for all units, for the bus lets one connection have only so many. systemd says of each change two things: what
    // is of the unit's kind, and then what all units have; the second is enough.
    rules.push(format!(
        "type='signal',sender='{SERVICE}',path_namespace='{PATH}/unit',interface='{PROPERTIES}',\
         member='PropertiesChanged',arg0='{UNIT}'"
    ));
    rules
}

/// Starts the reading task. It ends when the connection does, or when nobody holds the controls any more.
pub(super) fn spawn(manager: Manager, present: watch::Sender<bool>) -> (Controls, Signals) {
    let (control_sender, controls) = mpsc::channel(CONTROLS_MAX);
    let (signals, receiver) = mpsc::channel(SIGNALS_MAX);
    let messages = MessageStream::from(manager.connection());
    let dispatcher = Dispatcher {
        manager,
        owner: Owner::Unknown,
        logind: Owner::Unknown,
        present,
        watches: Vec::new(),
        followed: BTreeMap::new(),
        signals,
        lagged: false,
        reloading: false,
        resubscription: None,
    };
    tokio::spawn(dispatcher.run(messages, controls));
    (Controls(control_sender), Signals { receiver, lost: false })
}

impl Dispatcher {
    async fn run(mut self, mut messages: MessageStream, mut controls: mpsc::Receiver<Control>) {
        loop {
            tokio::select! {
                control = controls.recv() => match control {
                    Some(control) => self.obey(control),
                    None => return,
                },
                done = wait(&mut self.resubscription), if self.resubscription.is_some() => {
                    self.resubscription = None;
                    // Without signals no job would ever be seen to end: a new connection may do better.
                    if done.is_err() {
                        let _ = self.manager.connection().clone().close().await;
                        return;
                    }
                    self.reloading = false;
                    self.tell(Signal::Reloading(false));
                    // What ended meanwhile may have been told to nobody.
                    self.followed.values().for_each(look);
                }
                message = messages.next() => {
                    let Some(Ok(message)) = message else { return };
                    // Whoever sent the call that this message is about had told us before.
                    while let Ok(control) = controls.try_recv() {
                        self.obey(control);
                    }
                    self.read(&message);
                }
            }
        }
    }

    fn obey(&mut self, control: Control) {
        match control {
            Control::Watch(unit, results) => {
                self.watches.retain(|(_, results)| !results.is_closed());
                self.watches.push((unit, results));
            }
            Control::Follow(path, changes) => {
                self.followed.retain(|_, changes| !changes.is_closed());
                self.followed.insert(path, changes);
            }
            Control::Owner(name) => {
                if matches!(self.owner, Owner::Unknown) {
                    self.owner = Owner::Known(Some(name));
                }
            }
            Control::Logind(name) => {
                if matches!(self.logind, Owner::Unknown) {
                    self.logind = Owner::Known(name);
                }
            }
        }
    }

    fn read(&mut self, message: &Message) {
        if message.message_type() != Type::Signal {
            return;
        }
        let header = message.header();
        let Some(member) = header.member().map(|member| member.as_str()) else { return };
        if sent_by(&header, BUS) {
            if member == "NameOwnerChanged" {
                self.name_owner_changed(message);
            }
        } else if member == "PropertiesChanged" && self.owner.sent(&header, PROPERTIES) {
            let path = header.path().map_or("", |path| path.as_str());
            self.followed.get(path).filter(|_| may_be_an_end(message)).into_iter().for_each(look);
        } else if member == "UserNew" && self.logind.is_at(&header, LOGIND_PATH, LOGIND_MANAGER) {
            self.user_new(message);
        } else if self.is_systemd(&header) {
            match member {
                "JobRemoved" => self.job_removed(message),
                "UnitRemoved" => self.unit_removed(message),
                "Reloading" => self.reloading(message),
                _ => (),
            }
        }
    }

    /// Whether systemd sent it. The bus lets anybody send a signal to one receiver directly, past our match rules.
    fn is_systemd(&self, header: &Header<'_>) -> bool {
        self.owner.is_at(header, PATH, MANAGER)
    }

    fn name_owner_changed(&mut self, message: &Message) {
        let body = message.body();
        let Ok((name, _, owner)) = body.deserialize::<(&str, &str, &str)>() else { return };
        let present = !owner.is_empty();
        let known = Owner::Known(present.then(|| owner.to_owned()));
        match name {
            SERVICE => self.owner = known,
            LOGIND => return self.logind = known,
            _ => return,
        }
        self.present.send_replace(present);
        if present {
            self.resubscribe();
        } else {
            self.resubscription = None;
            self.begin_reload();
        }
    }

    fn job_removed(&self, message: &Message) {
        let body = message.body();
        let Ok((_, job, unit, result)) = body.deserialize::<(u32, OwnedObjectPath, &str, &str)>() else {
            return;
        };
        for (watched, results) in &self.watches {
            if watched == unit {
                // A full channel is one whose waiter has other jobs of this unit to look at first; it will time out.
                let _ = results.try_send((job.as_str().to_owned(), result.to_owned()));
            }
        }
    }

    fn user_new(&mut self, message: &Message) {
        let body = message.body();
        let Ok((uid, _)) = body.deserialize::<(u32, OwnedObjectPath)>() else { return };
        if let Some(uid) = Uid::new(uid.into()) {
            self.tell(Signal::Login(uid));
        }
    }

    fn unit_removed(&mut self, message: &Message) {
        let body = message.body();
        let Ok((unit, _)) = body.deserialize::<(&str, OwnedObjectPath)>() else { return };
        if self.reloading {
            return;
        }
        if let Ok(unit) = unit.parse() {
            self.tell(Signal::UnitRemoved(unit));
        }
    }

    fn reloading(&mut self, message: &Message) {
        match message.body().deserialize::<bool>() {
            Ok(true) => self.begin_reload(),
            Ok(false) => self.resubscribe(),
            Err(_) => (),
        }
    }

    fn begin_reload(&mut self) {
        if !self.reloading {
            self.reloading = true;
            self.tell(Signal::Reloading(true));
        }
    }

    fn resubscribe(&mut self) {
        let manager = self.manager.clone();
        self.resubscription = Some(Box::pin(async move { manager.subscribe().await }));
    }

    /// Never waits: a dispatcher that waits for the daemon would keep the daemon's own calls from being answered.
    fn tell(&mut self, signal: Signal) {
        if self.lagged && self.signals.try_send(Signal::Lagged).is_ok() {
            self.lagged = false;
        }
        if matches!(self.signals.try_send(signal), Err(mpsc::error::TrySendError::Full(_))) {
            self.lagged = true;
        }
    }
}

/// Has a follower look. A full channel is one whose follower has yet to.
fn look(changes: &mpsc::Sender<()>) {
    let _ = changes.try_send(());
}

/// Whether a unit's changes, as they are told, may be a service's end: most are of one that starts, or goes on.
fn may_be_an_end(message: &Message) -> bool {
    let body = message.body();
    let Ok((_, properties, _)) = body.deserialize::<(&str, BTreeMap<&str, Variant<'_>>, Vec<&str>)>() else {
        return true;
    };
    match (properties.get("ActiveState"), properties.get("SubState")) {
        (Some(Variant::Str(active)), Some(Variant::Str(sub))) => {
            Stage::of(active.as_str(), sub.as_str()) != Stage::Running
        }
        _ => true,
    }
}

fn sent_by(header: &Header<'_>, name: &str) -> bool {
    header.sender().is_some_and(|sender| sender.as_str() == name)
}

async fn wait(resubscription: &mut Option<Resubscription>) -> Result<(), Fault> {
    match resubscription {
        Some(resubscription) => resubscription.as_mut().await,
        None => std::future::pending().await,
    }
}
