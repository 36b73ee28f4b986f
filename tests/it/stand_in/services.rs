//! Services in the stand-in. Nothing is executed: one runs until the test says how it ended, or until it is stopped.

use std::collections::BTreeMap;
use std::time::Duration;

use zbus::{Message, OwnedVariant};

use super::jobs::no_such_unit;
use super::manager::{Manager, Outcome, error, first_argument, invalid};
use super::units::Setting;

/// `CLD_EXITED` and `CLD_KILLED` (`sigaction(2)`).
const EXITED: i32 = 1;
const KILLED: i32 = 2;

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// What a service has that a scope has not.
const PROPERTIES: [&str; 14] = [
    "Slice",
    "Type",
    "ExitType",
    "User",
    "RemainAfterExit",
    "AddRef",
    "OOMPolicy",
    "IgnoreSIGPIPE",
    "NoNewPrivileges",
    "TimeoutStopUSec",
    "RuntimeMaxUSec",
    "StandardInput",
    "StandardOutput",
    "StandardError",
];

/// What the test and the stand-in both see of services.
#[derive(Debug, Default)]
pub struct Services {
    /// What the services run, until they have ended: the words of their command lines.
    pub programs: BTreeMap<String, Vec<String>>,
    /// What services run at their end, until that is over: the words of their command lines.
    pub programs_at_end: BTreeMap<String, Vec<String>>,
    /// The main processes of services of which the test has said it; 0: it has ended.
    pub main: BTreeMap<String, u32>,
    /// The signals that main processes were sent, which reach nobody: of which service, and the number.
    pub signals: Vec<(String, i32)>,
    /// Who on the bus keeps which unit from being forgotten.
    held_by: Vec<(String, String)>,
}

/// Whether systemd knows a property for services alone.
pub(super) fn known(property: &str) -> bool {
    PROPERTIES.contains(&property) || property.starts_with("Limit")
}

impl Manager {
    /// Takes what of a start is a service's own. Whether it was.
    pub(super) fn take_program(&self, name: &str, property: &str, value: &OwnedVariant) -> bool {
        let mut services = self.shared.services.lock().unwrap();
        let programs = match property {
            "ExecStart" => &mut services.programs,
            "ExecStopPost" => &mut services.programs_at_end,
            _ => return false,
        };
        let [(_, words, ignore_failure)] =
            <[(String, Vec<String>, bool); 1]>::try_from(programs_of(value)).unwrap();
        assert!(ignore_failure, "what it ends with would be a failure of the unit");
        programs.insert(name.to_owned(), words);
        true
    }

    /// Who calls keeps a unit from being forgotten, or does not any longer.
    pub(super) async fn refer(&self, message: &Message, method: &str) {
        let name = first_argument(message);
        let there = self.shared.units.lock().unwrap().get(&name).is_some();
        let outcome: Outcome<()> = if there { Ok(()) } else { Err(no_such_unit(&name)) };
        if there && method == "RefUnit" {
            self.hold(message, &name);
        } else if there {
            let caller = message.header().sender().unwrap().to_string();
            let held_by = &mut self.shared.services.lock().unwrap().held_by;
            held_by.retain(|(unit, by)| (unit, by) != (&name, &caller));
        }
        let dead = self.shared.units.lock().unwrap().get(&name).is_some_and(|unit| unit.active == "inactive");
        if dead && !self.held(&name).await {
            self.forget(&name).await;
        }
        self.reply(message, method, outcome).await;
    }

    /// The main process of a service: of one that runs this test, where it was not said to be another.
    pub(super) fn main_process(&self, name: &str, runs: bool) -> u32 {
        let said = self.shared.services.lock().unwrap().main.get(name).copied();
        if runs { said.unwrap_or(std::process::id()) } else { 0 }
    }

    /// Sends the main process of a service a signal.
    pub(super) fn kill_main(&self, message: &Message) -> Outcome<()> {
        let (name, who, signal): (String, String, i32) =
            message.body().deserialize().map_err(|_| invalid())?;
        assert_eq!(who, "main");
        let runs = match self.shared.units.lock().unwrap().get(&name) {
            None => return Err(no_such_unit(&name)),
            Some(unit) => unit.active == "active" && unit.text("SubState").is_none(),
        };
        if self.main_process(&name, runs) == 0 {
            return Err(error("org.freedesktop.systemd1.NoSuchProcess", "No main process to kill"));
        }
        self.shared.services.lock().unwrap().signals.push((name, signal));
        Ok(())
    }

    pub(super) fn hold(&self, message: &Message, name: &str) {
        let caller = message.header().sender().unwrap().to_string();
        self.shared.services.lock().unwrap().held_by.push((name.to_owned(), caller));
    }

    /// Whether somebody who is on the bus holds a unit.
    async fn held(&self, name: &str) -> bool {
        let held_by = self.shared.services.lock().unwrap().held_by.clone();
        for (_, by) in held_by.iter().filter(|(unit, _)| unit == name) {
            if self.on_bus(by).await {
                return true;
            }
        }
        false
    }

    /// The process of a service exits, with what is no failure of it whatever the code (`-` before its program).
    pub(super) async fn end_service(&self, name: &str, code: i32) {
        self.shared.services.lock().unwrap().programs.remove(name);
        self.set_state(
            name,
            "active",
            &[("SubState", "exited"), ("Result", "success")],
            Some((EXITED, code)),
        );
        self.say_changed(name).await;
    }

    /// systemd ends a service by itself, with this result.
    pub(super) async fn fail_service(&self, name: &str, result: &str) {
        self.shared.services.lock().unwrap().programs.remove(name);
        let texts = [("SubState", "stop-post"), ("Result", result)];
        self.set_state(name, "deactivating", &texts, Some((KILLED, SIGTERM)));
        self.say_changed(name).await;
    }

    /// What a service runs at its end is there, until the test says that it is over.
    async fn run_at_end(&self, name: &str) {
        let is_there = || self.shared.services.lock().unwrap().programs_at_end.contains_key(name);
        if !is_there() {
            return;
        }
        let ran =
            self.shared.units.lock().unwrap().get(name).is_some_and(|unit| unit.text("SubState").is_none());
        self.set_state(name, "deactivating", &[("SubState", "stop-post")], ran.then_some((KILLED, SIGTERM)));
        self.say_changed(name).await;
        while is_there() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// A unit has been stopped: it is forgotten, but for a service that somebody holds.
    pub(super) async fn put_away(&self, name: &str) {
        self.run_at_end(name).await;
        if !name.ends_with(".service") || !self.held(name).await {
            return self.forget(name).await;
        }
        self.shared.services.lock().unwrap().programs.remove(name);
        let (ran, frozen) = {
            let units = self.shared.units.lock().unwrap();
            let ran = units.get(name).is_some_and(|unit| unit.text("SubState").is_none());
            (ran, units.is_frozen(name))
        };
        // SIGKILL alone reaches who stands still.
        let signal = if frozen { SIGKILL } else { SIGTERM };
        self.set_state(name, "inactive", &[("SubState", "dead")], ran.then_some((KILLED, signal)));
        self.shared.units.lock().unwrap().remove_cgroup(name);
        self.say_changed(name).await;
    }

    fn set_state(&self, name: &str, active: &'static str, texts: &[(&str, &str)], main: Option<(i32, i32)>) {
        let mut units = self.shared.units.lock().unwrap();
        let Some(unit) = units.get_mut(name) else { return };
        unit.active = active;
        for (property, text) in texts {
            unit.settings.insert((*property).to_owned(), Setting::Text((*text).to_owned()));
        }
        for (property, number) in
            main.into_iter().flat_map(|(code, status)| [("Code", code), ("Status", status)])
        {
            unit.settings.insert(format!("ExecMain{property}"), Setting::Number(number));
        }
    }
}

fn programs_of(value: &OwnedVariant) -> Vec<(String, Vec<String>, bool)> {
    value.try_clone().unwrap().try_into().unwrap()
}
