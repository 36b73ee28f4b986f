//! What this machine has to hand out, and what bounds all shares together by it.

use tokio::task::JoinHandle;
use tracing::{error, info};

use super::EventLoop;
use crate::daemon::doing::bound::{self, Bounds};
use crate::host::machine;
use crate::ledger::{Command, Order, Rules};
use crate::quantity::{Bytes, MilliCpu};
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
        if let Some(cx) = &mut self.context {
            cx.capacity = cpu;
        }
        self.tell(Command::SetCapacity { cpu, mem });
        if let Some(policy) = self.policy.clone() {
            self.tell(Command::SetRules(Rules {
                half_life: policy.half_life,
                tau: policy.tau,
                patience: policy.patience,
                queue: policy.queue,
                order: Order::Fair,
                lease_max: policy.lease_max,
                evict: policy.evict,
            }));
        }
        let tasks = machine::tasks()
            .map_err(|fault| error!("{fault}, proceeding with the bound of tasks that was known"))
            .map_or(self.bounds.and_then(|bounds| bounds.tasks), Some);
        self.bounds = self.machine.filter(|_| cpu.0 > 0 && mem.0 > 0).map(|machine| {
            let kept = self.policy.as_ref().map(|policy| policy.reserve.cpu(machine.cpu)).unwrap_or_default();
            Bounds { machine, cpu: machine.cpu.minus(kept).map_or(cpu, |rest| cpu.min(rest)), mem, tasks }
        });
        self.hold_bounds(true);
    }

    /// Sees to it that the kernel holds what all shares together have: it may not as after somebody else set it, where it
    /// could not be set before, and where what is beside `fairshare.slice` weighs another sum than before.
    pub(crate) fn look_at_bounds(&mut self) {
        if self.bounding.as_ref().is_none_or(JoinHandle::is_finished) {
            self.hold_bounds(false);
        }
    }

    /// `ahead`: also where there is no share yet, for the next.
    fn hold_bounds(&mut self, ahead: bool) {
        let (Some(cx), Some(bounds)) = (self.context.clone(), self.bounds) else { return };
        let before = self.bounding.take();
        self.bounding = Some(tokio::spawn(async move {
            // One after the other: what was wanted last holds at last.
            if let Some(before) = before {
                let _ = before.await;
            }
            bound::bound_all(&cx, bounds, ahead).await;
        }));
    }

    /// What can be handed out of this machine, read anew: CPU and memory.
    pub(crate) fn capacity(&self) -> Option<(MilliCpu, Bytes)> {
        self.policy.as_ref()?.capacity(machine::read(&self.parts.online).ok()?)
    }
}
