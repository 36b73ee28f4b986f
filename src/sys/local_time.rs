//! The time of day where this process is (`TZ`, `/etc/localtime`), which the C library knows and no safe one here.

use std::mem::MaybeUninit;

/// The moment, in seconds of Unix time, at which clocks here show what clocks in Greenwich show at `shown`; `None` where the C
/// library cannot say. What the clocks here leave out in spring is an hour later, as mktime(3) has it.
pub fn moment_of(shown: i64) -> Option<i64> {
    let shown: libc::time_t = shown;
    let mut fields = MaybeUninit::<libc::tm>::uninit();
    // SAFETY: both pointers are to live values of the right type, and gmtime_r keeps neither.
    if unsafe { libc::gmtime_r(&raw const shown, fields.as_mut_ptr()) }.is_null() {
        return None;
    }
    // SAFETY: gmtime_r has filled all of it, for it answered with the pointer that it was given.
    let mut fields = unsafe { fields.assume_init() };
    fields.tm_isdst = -1;
    // SAFETY: the pointer is to a live value, whose text of the zone mktime does not read.
    let moment = unsafe { libc::mktime(&raw mut fields) };
    // mktime answers -1 where it cannot say: that is a second before 1970, which nobody means.
    (moment != -1).then_some(moment)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_here_are_no_more_than_a_day_from_those_in_greenwich() {
        for shown in [1_700_000_000, 1_782_000_000] {
            let apart = moment_of(shown).unwrap() - shown;
            assert!(apart.abs() <= 86_400 && apart % 60 == 0, "{apart}");
        }
    }
}
