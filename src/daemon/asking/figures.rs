//! Figures as they are asked for.

use super::refuse::bad;
use crate::contract::{self, Amounts, ArrayRange};
use crate::ledger::again::Again;
use crate::ledger::array::{Array, Indices};
use crate::ledger::care::{Care, OutOfMemory, Warning};
use crate::ledger::{Wait, Where};
use crate::quantity::{
    ARRAY_INDEX_MAX, ARRAY_TASKS_MAX, Bytes, MilliCpu, NOTIFY_BYTES_MAX, PartialAmount, Priority,
    QuantityError, RETRIES_MAX, SIGNAL_MAX, Tasks,
};
use crate::wire::error::WireError;
use crate::wire::os_text::OsText;

/// The figures that a call names.
///
/// # Errors
/// BadRequest, where one is outside of what the kernel can hold anybody to.
pub fn figures(amounts: Amounts) -> Result<PartialAmount, WireError> {
    let wrong = |error: QuantityError| bad(error.to_string());
    Ok(PartialAmount {
        cpu: amounts.cpu_milli.map(MilliCpu::checked).transpose().map_err(wrong)?,
        mem: amounts.mem_bytes.map(Bytes::checked).transpose().map_err(wrong)?,
        tasks: amounts.tasks_max.map(Tasks::checked).transpose().map_err(wrong)?,
    })
}

/// Where a command runs, as a call says it.
pub fn place(in_share: Option<bool>) -> Where {
    match in_share {
        None => Where::ByFigures,
        Some(true) => Where::InShare,
        Some(false) => Where::Own,
    }
}

/// What is to happen where there is no room, as a call says it.
pub fn waiting(wait: Option<bool>) -> Wait {
    if wait.unwrap_or(false) { Wait::Granted } else { Wait::No }
}

/// The array that a call names.
///
/// # Errors
/// BadRequest, where there is none like it.
pub fn array(range: ArrayRange) -> Result<Array, WireError> {
    let ArrayRange { first, last, step, at_once } = range;
    let step = step.unwrap_or(1);
    let Some(indices) = Indices::checked(first, last, step) else {
        return Err(bad(format!(
            "No array is {first}-{last}:{step}: it has 1 to {ARRAY_TASKS_MAX} tasks, with indices from 0 to {ARRAY_INDEX_MAX}"
        )));
    };
    if at_once == Some(0) {
        return Err(bad("at_once is how many tasks are at work at a time: at least one"));
    }
    Ok(Array::new(indices, at_once))
}

/// When a command is run again, as a call says it; `None`: never.
///
/// # Errors
/// BadRequest, where that is more often than one is.
pub fn again(retry: Option<u64>, requeue: Option<bool>) -> Result<Option<Again>, WireError> {
    let (retries, requeue) = (retry.unwrap_or(0), requeue.unwrap_or(false));
    if retries > RETRIES_MAX {
        return Err(bad(format!("retry is {retries}, and {RETRIES_MAX} is the most")));
    }
    Ok((retries > 0 || requeue).then(|| Again { retries, requeue, ..Again::default() }))
}

/// What is done for a command while it runs and at its end, as a call says it.
///
/// # Errors
/// BadRequest, where there is no such signal or it would come when the time is over; or nothing is to be run at its end, or too much.
pub fn care(
    signal: Option<contract::Warning>,
    oom: Option<contract::OutOfMemory>,
    notify: Option<&OsText>,
) -> Result<Care, WireError> {
    let out_of_memory = match oom {
        None | Some(contract::OutOfMemory::Kill) => OutOfMemory::Kill,
        Some(contract::OutOfMemory::Continue) => OutOfMemory::Continue,
    };
    let warning = signal.map(warning).transpose()?;
    if let Some(length) = notify.map(|command| command.as_bytes().len())
        && !(1..=NOTIFY_BYTES_MAX).contains(&length)
    {
        return Err(bad(format!("notify has {length} bytes: a command has 1 to {NOTIFY_BYTES_MAX}")));
    }
    Ok(Care { warning, out_of_memory, notifies: notify.is_some() })
}

fn warning(contract::Warning { number, before_ms }: contract::Warning) -> Result<Warning, WireError> {
    let signal = Some(number).filter(|number| (1..=SIGNAL_MAX).contains(number));
    let signal = signal.and_then(|number| u8::try_from(number).ok());
    let signal =
        signal.ok_or_else(|| bad(format!("There is no signal {number}: they are 1 to {SIGNAL_MAX}")))?;
    if before_ms == 0 {
        return Err(bad("A signal that warns is sent before the time limit, not at it: SIGTERM is"));
    }
    Ok(Warning { signal, before_ms, sent: false })
}

/// The priority that a call names.
///
/// # Errors
/// BadRequest, where there is none of this number.
pub fn priority(number: u64) -> Result<Priority, WireError> {
    Priority::checked(number).map_err(|error| bad(error.to_string()))
}
