//! Figures as they are asked for.

use super::refuse::bad;
use crate::contract::Amounts;
use crate::quantity::{Bytes, MilliCpu, PartialAmount, QuantityError, Tasks};
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
