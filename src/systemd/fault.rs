//! What can go wrong between us and systemd, with the unit and systemd's own words in it.

use std::time::Duration;

/// A call to systemd that did not do what it was for.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// The bus, or systemd on it, is not there, or went away before the outcome was known.
    #[error("{what}: the bus or systemd on it cannot be reached")]
    Bus {
        /// What was attempted.
        what: String,
        /// Why, where the connection said so.
        source: Option<zbus::Error>,
    },
    /// systemd refused a call.
    #[error("{method} {unit}: systemd says {message:?} ({name})")]
    Call {
        /// The method of the manager.
        method: &'static str,
        /// The unit that it was about; empty where it was about none.
        unit: String,
        /// The D-Bus name of the error.
        name: String,
        /// systemd's own words.
        message: String,
    },
    /// A job ended with another result than `done`.
    #[error("{method} {unit}: the job ended with result {result:?}")]
    JobFailed {
        /// The method that queued the job.
        method: &'static str,
        /// The unit that it was about.
        unit: String,
        /// `canceled`, `timeout`, `failed`, `dependency` or `skipped` (`org.freedesktop.systemd1(5)`).
        result: String,
    },
    /// No reply or no end of the job in time. What systemd did is not known: ask it.
    #[error("{method} {unit}: no outcome after {after:?}")]
    Timeout {
        /// The method of the manager.
        method: &'static str,
        /// The unit that it was about; empty where it was about none.
        unit: String,
        /// How long was waited.
        after: Duration,
    },
}

/// Errors that the bus gives for a systemd that is not there: the call did not arrive, or nobody is left to answer.
const ABSENT: [&str; 6] = [
    "org.freedesktop.DBus.Error.ServiceUnknown",
    "org.freedesktop.DBus.Error.NameHasNoOwner",
    "org.freedesktop.DBus.Error.NoReply",
    "org.freedesktop.DBus.Error.Disconnected",
    "org.freedesktop.DBus.Error.NoServer",
    "org.freedesktop.DBus.Error.Spawn.ChildExited",
];

impl Fault {
    /// The fault that a failed call is.
    pub(super) fn of_call(method: &'static str, unit: &str, error: zbus::Error) -> Self {
        let (name, message) = match &error {
            zbus::Error::MethodError(name, message, _) => {
                (name.as_str().to_owned(), message.clone().unwrap_or_default())
            }
            zbus::Error::FDO(error) => {
                use zbus::DBusError as _;
                (error.name().as_str().to_owned(), error.description().unwrap_or_default().to_owned())
            }
            _ => return Self::bus(format!("{method} {unit}"), Some(error)),
        };
        if ABSENT.contains(&name.as_str()) {
            return Self::bus(format!("{method} {unit}"), Some(error));
        }
        Self::Call { method, unit: unit.to_owned(), name, message }
    }

    pub(super) fn bus(what: impl Into<String>, source: Option<zbus::Error>) -> Self {
        Self::Bus { what: what.into().trim_end().to_owned(), source }
    }

    /// Whether systemd refused it, and did nothing.
    pub fn is_refusal(&self) -> bool {
        matches!(self, Self::Call { .. })
    }

    /// Whether a unit of that name is loaded already, so that it cannot be started as a new one.
    pub fn is_unit_exists(&self) -> bool {
        self.is_error("org.freedesktop.systemd1.UnitExists")
    }

    /// Whether there is no unit of that name.
    pub fn is_no_such_unit(&self) -> bool {
        self.is_error("org.freedesktop.systemd1.NoSuchUnit")
    }

    /// Whether there is no process in the unit that a signal could be sent to.
    pub fn is_no_such_process(&self) -> bool {
        self.is_error("org.freedesktop.systemd1.NoSuchProcess")
    }

    /// Whether systemd has the unit, with a file or a drop-in of it that it cannot read.
    pub fn is_bad_setting(&self) -> bool {
        self.is_error("org.freedesktop.systemd1.BadUnitSetting")
    }

    /// Whether systemd does not know a property, or not for this kind of unit.
    pub fn is_unknown_property(&self) -> bool {
        self.is_error("org.freedesktop.DBus.Error.PropertyReadOnly")
    }

    pub(super) fn is_already_subscribed(&self) -> bool {
        self.is_error("org.freedesktop.systemd1.AlreadySubscribed")
    }

    fn is_error(&self, wanted: &str) -> bool {
        matches!(self, Self::Call { name, .. } if name == wanted)
    }
}
