//! Bounds of I/O as PID 1 keeps them, and the kernel's file that follows.

use std::collections::BTreeMap;

use super::units::Unit;

/// The properties and their words in `io.max`.
const FIGURES: [(&str, &str); 4] = [
    ("IOReadBandwidthMax", "rbps"),
    ("IOWriteBandwidthMax", "wbps"),
    ("IOReadIOPSMax", "riops"),
    ("IOWriteIOPSMax", "wiops"),
];

/// The disk that a path is on: below `/disk-N` it is the one with the number `8:N`, and anything else is on none.
fn disk(path: &str) -> Option<String> {
    let number = path.strip_prefix("/disk-")?.split('/').next()?;
    Some(format!("8:{number}"))
}

/// What a list comes to that is set after another: an empty one takes all away, and any other adds to it.
pub fn set(before: &[(String, u64)], list: Vec<(String, u64)>) -> Vec<(String, u64)> {
    if list.is_empty() {
        return list;
    }
    let others = before.iter().filter(|(path, _)| !list.iter().any(|(new, _)| new == path)).cloned();
    let others: Vec<_> = others.collect();
    others.into_iter().chain(list).collect()
}

/// What the kernel's file holds where any of this was set: a line for each disk with a bound.
pub fn io_max(unit: &Unit) -> Option<String> {
    let lists: Vec<_> =
        FIGURES.iter().filter_map(|(name, word)| Some((word, unit.of_disks(name)?))).collect();
    if lists.is_empty() {
        return None;
    }
    let mut disks: BTreeMap<String, BTreeMap<&str, u64>> = BTreeMap::new();
    for (word, list) in lists {
        for (path, figure) in list {
            if let Some(disk) = disk(path) {
                disks.entry(disk).or_default().insert(word, *figure);
            }
        }
    }
    let line = |(disk, figures): (&String, &BTreeMap<&str, u64>)| {
        let figure = |word: &str| figures.get(word).map_or("max".to_owned(), u64::to_string);
        let words = FIGURES.map(|(_, word)| format!("{word}={}", figure(word)));
        format!("{disk} {}\n", words.join(" "))
    };
    Some(disks.iter().map(line).collect())
}
