//! How much more counts what is later: `2^(t / half_life)`, in integers.
//!
//! Decay runs forward (Cormode et al., "Forward Decay", ICDE 2009): not what was is made smaller as time goes by, but what is new
//! larger. So an account changes only where its member has part in what happens, and what has happened never changes its order.

/// Bits after the point of a growth.
pub(crate) const GROWTH_BITS: u32 = 48;

/// The most half-lives that are told apart. Beyond them growth stays what it is.
const HALF_LIVES_MAX: u64 = 63;

/// `2^(ahead_ms / half_life_ms)`, with [`GROWTH_BITS`] after the point, wrong by at most one unit of it and one part in `2^48`.
pub(crate) fn growth(ahead_ms: u64, half_life_ms: u64) -> u128 {
    let half_life_ms = half_life_ms.max(1);
    let (whole, part) = (ahead_ms / half_life_ms, ahead_ms % half_life_ms);
    let fraction = exp2((u128::from(part) << 64) / u128::from(half_life_ms)) >> (63 - GROWTH_BITS);
    fraction << whole.min(HALF_LIVES_MAX)
}

/// `2^(2^-k)` for `k` from 1, with 63 bits after the point: each is the square root of the one before.
const ROOTS: [u128; 32] = roots();

#[expect(clippy::indexing_slicing, reason = "computed at compile time, within the bounds of the loop")]
const fn roots() -> [u128; 32] {
    let mut roots = [0; 32];
    let mut value: u128 = 2 << 63;
    let mut k = 0;
    while k < 32 {
        value = (value << 63).isqrt();
        roots[k] = value;
        k += 1;
    }
    roots
}

/// `2^(fraction / 2^64)` with 63 bits after the point, wrong by less than `2^-30` of a step in the fraction's 32nd bit
/// and `2^-57` by rounding; what is after the 32nd bit is taken as straight.
fn exp2(fraction: u128) -> u128 {
    let mut value: u128 = 1 << 63;
    for (k, root) in ROOTS.iter().enumerate() {
        if fraction & (1 << (63 - k)) != 0 {
            value = (value * root) >> 63;
        }
    }
    // 2^x - 1 is x ln 2 and less than x^2 more, and x is under 2^-32 here.
    const LN_2: u128 = 6_393_154_322_601_327_829;
    let rest = fraction & 0xffff_ffff;
    let slope = (rest * LN_2) >> 64;
    value + ((value * slope) >> 63)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn powers_agree_with_floating_point() {
        for step in 0..1000u32 {
            let x = f64::from(step) / 1000.0;
            let fixed = exp2((u128::from(step) << 64) / 1000) as f64 / (1u64 << 63) as f64;
            assert!((fixed - x.exp2()).abs() < 1e-14, "2^{x}: {fixed}");
        }
    }

    #[test]
    fn growth_doubles_with_each_half_life_and_never_falls() {
        for half_life in [1, 7, 1000, 345_600_000] {
            let mut before = 0;
            for step in 0..1000 {
                let ahead = step * half_life / 16;
                let grown = growth(ahead, half_life);
                assert!(grown >= before, "{grown} after {before}");
                let later = growth(ahead + half_life, half_life);
                assert!(step >= 16 * 62 || later == 2 * grown, "{later} is not twice {grown}");
                before = grown;
            }
        }
        assert_eq!(growth(u64::MAX, 1), growth(63, 1));
    }
}
