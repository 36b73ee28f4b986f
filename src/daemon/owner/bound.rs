//! What this machine has to hand out, and what bounds all shares together by it.

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::EventLoop;
use crate::cgroup::Group;
use crate::daemon::doing::bound;
use crate::host::machine;
use crate::ledger::{Command, Rules};
use crate::quantity::PartialAmount;
use crate::serving::logging::chain;

impl EventLoop {
    /// Notices that the machine has become another: CPUs go and come while it runs, and nobody says so.
    pub(crate) fn look_at_machine(&mut self) {
        if machine::read(&self.parts.online).is_ok_and(|machine| Some(machine) != self.machine) {
            info!("the machine has other CPUs or memory than before");
            self.bound_all();
        }
    }

    /// Sets what bounds all shares together.
    pub(crate) fn bound_all(&mut self) {
        match machine::read(&self.parts.online) {
            Ok(machine) => self.machine = Some(machine),
            Err(fault) => error!("{}, proceeding with what was known", chain(&fault)),
        }
        let whole =
            self.policy.as_ref().zip(self.machine).and_then(|(policy, machine)| policy.capacity(machine));
        let (cpu, mem) = whole.unwrap_or_default();
        self.tell(Command::SetCapacity { cpu, mem });
        if let Some(policy) = self.policy.clone() {
            self.tell(Command::SetRules(Rules {
                half_life: policy.half_life,
                patience: policy.patience,
                lease_max: policy.lease_max,
                evict: policy.evict,
            }));
        }
        self.bounds = PartialAmount {
            cpu: Some(cpu).filter(|cpu| cpu.0 > 0),
            mem: Some(mem).filter(|mem| mem.0 > 0),
            tasks: machine::tasks()
                .map_err(|fault| error!("{fault}, proceeding with the bound of tasks that was known"))
                .map_or(self.bounds.tasks, Some),
        };
        if let Some(cx) = self.context.clone().filter(|_| cpu.0 > 0 && mem.0 > 0) {
            let (before, bounds) = (self.bounding.take(), self.bounds);
            self.bounding = Some(tokio::spawn(async move {
                // One after the other: what was wanted last holds at last.
                if let Some(before) = before {
                    let _ = before.await;
                }
                bound::bound_all(&cx, bounds).await;
            }));
        }
    }

    /// Sets what bounds all shares together again where the kernel holds something else, as after somebody else set it, or
    /// where it could not be set before.
    pub(crate) fn look_at_bounds(&mut self) {
        let idle = self.bounding.as_ref().is_none_or(JoinHandle::is_finished);
        let drifted = match self.parts.cgroups.limits(Group::All) {
            Ok(limits) => limits.is_some_and(|limits| limits.holds_named(self.bounds).is_err()),
            Err(fault) => return error!("{}", chain(&fault)),
        };
        if idle && drifted {
            self.bound_all();
        }
    }
}
