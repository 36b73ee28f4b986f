//! libFuzzer on one of the targets, whose name is in `FAIRSHARE_FUZZ_TARGET`: one program is built in a sixth of the time of six.
#![no_main]

mod entries;

use std::sync::LazyLock;

static TARGET: LazyLock<entries::Target> = LazyLock::new(|| {
    let name = std::env::var("FAIRSHARE_FUZZ_TARGET").unwrap_or_default();
    let target = entries::TARGETS.iter().find(|target| target.0 == name);
    *target.unwrap_or_else(|| panic!("FAIRSHARE_FUZZ_TARGET is {name:?}, which is no target"))
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.1(data));
