//! Units outside of shares: logins, and what else holds members' work. What they may use is set and asked; logind says who is
//! logged in.

use tokio::time::timeout;
use zbus::OwnedObjectPath;

use super::property::{NO_LIMIT, Property, Value};
use super::proxy::{LOGIND, LOGIND_MANAGER, LOGIND_PATH, UNIT};
use super::unit::CALL_TIMEOUT;
use super::{Fault, Systemd};
use crate::identity::Uid;

/// Microseconds of CPU time in each second that are one percent of a CPU.
const USEC_PER_PERCENT: u64 = 10_000;

/// A figure of a unit that is held outside of shares. Its value is in the unit of systemd's property.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Figure {
    /// CPU time, in microseconds a second.
    Cpu,
    /// Memory, in bytes.
    Mem,
    /// Tasks.
    Tasks,
}

impl Figure {
    /// All figures.
    pub const ALL: [Self; 3] = [Self::Cpu, Self::Mem, Self::Tasks];

    /// Its property on the bus (`org.freedesktop.systemd1(5)`).
    pub fn property(self) -> &'static str {
        match self {
            Self::Cpu => "CPUQuotaPerSecUSec",
            Self::Mem => "MemoryMax",
            Self::Tasks => "TasksMax",
        }
    }

    /// Its name in a unit's file (`systemd.resource-control(5)`), and in that of the drop-in that systemd makes of it.
    pub fn setting(self) -> &'static str {
        match self {
            Self::Cpu => "CPUQuota",
            Self::Mem => "MemoryMax",
            Self::Tasks => "TasksMax",
        }
    }

    /// A value as systemd writes it into the drop-in (`bus_cgroup_set_property` in its core/dbus-cgroup.c); a percentage without
    /// the decimals `.00` that systemd 257 adds.
    pub fn written(self, value: u64) -> String {
        match (self, value) {
            (Self::Cpu, NO_LIMIT) => String::new(),
            (Self::Cpu, usec) => format!("{}%", usec / USEC_PER_PERCENT),
            (_, NO_LIMIT) => "infinity".to_owned(),
            (_, value) => value.to_string(),
        }
    }

    /// The value that [`Self::written`] makes this text of.
    pub fn read(self, text: &str) -> Option<u64> {
        let value = match (self, text) {
            (Self::Cpu, "") | (Self::Mem | Self::Tasks, "infinity") => NO_LIMIT,
            (Self::Cpu, percent) => {
                percent.strip_suffix('%')?.parse::<u64>().ok()?.checked_mul(USEC_PER_PERCENT)?
            }
            (_, number) => number.parse().ok()?,
        };
        (self.written(value) == text).then_some(value)
    }

    /// The property with this value.
    pub fn at(self, value: u64) -> Property {
        Property { name: self.property(), value: Value::U64(value) }
    }
}

/// What systemd knows by the name of a unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Named {
    /// Nothing that can run: there is no such unit, or it is masked.
    Absent,
    /// Another name of this unit.
    Alias(String),
    /// A unit, and where its cgroup is, below the cgroup root; `None` while it has none.
    Unit(Option<String>),
}

impl Systemd {
    /// A figure as systemd has it for a unit, whether that is loaded or not; [`NO_LIMIT`] for none.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn figure(&self, unit: &str, figure: Figure) -> Result<u64, Fault> {
        self.manager.get(unit, interface(unit), figure.property()).await
    }

    /// Has systemd not forget a unit that nothing runs in, until it is let go or this connection ends.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn keep_loaded(&self, unit: &str) -> Result<(), Fault> {
        self.manager.load_and_hold(unit).await
    }

    /// Has systemd forget a unit when it likes.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn let_forget(&self, unit: &str) -> Result<(), Fault> {
        self.manager.let_go(unit).await
    }

    /// What systemd knows by a name.
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`].
    pub async fn named(&self, name: &str) -> Result<Named, Fault> {
        let text = async |interface, property| self.manager.get::<String>(name, interface, property).await;
        let (state, id, path) = tokio::try_join!(
            text(UNIT, "LoadState"),
            text(UNIT, "Id"),
            text(interface(name), "ControlGroup")
        )?;
        if ["not-found", "masked"].contains(&state.as_str()) {
            return Ok(Named::Absent);
        }
        if id != name {
            return Ok(Named::Alias(id));
        }
        Ok(Named::Unit(path.strip_prefix('/').filter(|path| !path.is_empty()).map(str::to_owned)))
    }

    /// Whether a unit is enabled, in systemd's words (`systemctl(1)`, is-enabled).
    ///
    /// # Errors
    /// Any [`Fault`] but [`Fault::JobFailed`]; a [`Fault::Call`] where there is no such unit.
    pub async fn unit_file_state(&self, unit: &str) -> Result<String, Fault> {
        self.manager.unit_file_state(unit).await
    }

    /// Who is logged in, or has something running as if they were (`loginctl enable-linger`).
    ///
    /// # Errors
    /// [`Fault::Call`] where there is no logind; any [`Fault`] but [`Fault::JobFailed`].
    pub async fn logged_in(&self) -> Result<Vec<Uid>, Fault> {
        let method = "ListUsers";
        let connection = self.manager.connection();
        let call = connection.call_method(Some(LOGIND), LOGIND_PATH, Some(LOGIND_MANAGER), method, &());
        let reply = timeout(CALL_TIMEOUT, call).await;
        let reply = reply
            .map_err(|_| Fault::Timeout { method, unit: String::new(), after: CALL_TIMEOUT })?
            .map_err(|error| Fault::of_call(method, "", error))?;
        let users: Vec<(u32, String, OwnedObjectPath)> =
            reply.body().deserialize().map_err(|error| Fault::of_call(method, "", error))?;
        Ok(users.into_iter().filter_map(|(uid, _, _)| Uid::new(uid.into())).collect())
    }
}

/// The interface that has a unit's figures.
fn interface(unit: &str) -> &'static str {
    match unit.rsplit_once('.') {
        Some((_, "service")) => "org.freedesktop.systemd1.Service",
        Some((_, "scope")) => "org.freedesktop.systemd1.Scope",
        _ => "org.freedesktop.systemd1.Slice",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_are_written_as_systemd_writes_them() {
        assert_eq!(Figure::Cpu.written(500_000), "50%");
        assert_eq!(Figure::Cpu.written(NO_LIMIT), "");
        assert_eq!(Figure::Mem.written(1 << 29), "536870912");
        assert_eq!(Figure::Tasks.written(NO_LIMIT), "infinity");
        for (figure, wrong) in [
            (Figure::Cpu, "50"),
            (Figure::Cpu, "050%"),
            (Figure::Cpu, "infinity"),
            (Figure::Mem, ""),
            (Figure::Mem, "+1"),
            (Figure::Tasks, "33%"),
        ] {
            assert_eq!(figure.read(wrong), None, "{wrong:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(hundredths in 1u64..1_000_000, figure in 0usize..3, value: u64) {
            let figure = Figure::ALL[figure];
            let value = if figure == Figure::Cpu { hundredths * 10_000 } else { value };
            prop_assert_eq!(figure.read(&figure.written(value)), Some(value));
            prop_assert_eq!(figure.read(&figure.written(NO_LIMIT)), Some(NO_LIMIT));
        }
    }
}
