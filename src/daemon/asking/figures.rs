//! Figures as they are asked for.

use super::refuse::bad;
use crate::contract::Amounts;
use crate::ledger::{Wait, Where};
use crate::quantity::{Bytes, MilliCpu, PartialAmount, Priority, QuantityError, Tasks};
use crate::wire::error::WireError;

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

/// The priority that a call names.
///
/// # Errors
/// BadRequest, where there is none of this number.
pub fn priority(number: u64) -> Result<Priority, WireError> {
    Priority::checked(number).map_err(|error| bad(error.to_string()))
}
