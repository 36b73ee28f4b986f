//! What the administrator has said of units in drop-ins: fairshare leaves that alone.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::systemd::outside::Figure;

/// Where an administrator's drop-ins are: written by hand, and by `systemctl set-property` (`systemd.unit(5)`).
pub const ADMINISTRATORS: [&str; 2] = ["/etc/systemd/system", "/etc/systemd/system.control"];

/// Which figures of a unit drop-ins in these folders set. What cannot be read says nothing: only root writes there.
pub fn said(folders: &[PathBuf], unit: &str) -> BTreeSet<Figure> {
    let mut said = BTreeSet::new();
    for folder in folders.iter().flat_map(|folder| of_unit(unit).map(move |name| folder.join(name))) {
        let Ok(entries) = fs::read_dir(folder) else { continue };
        let files = entries.flatten().map(|entry| entry.path());
        for file in files.filter(|file| file.extension().is_some_and(|extension| extension == "conf")) {
            said.extend(set_in(&file));
        }
    }
    said
}

/// The folders that have drop-ins of a unit: its own, and those of all units whose name begins or ends like it
/// (`systemd.unit(5)`, "Description"): `user-.slice.d` has what holds for the logins of each user.
fn of_unit(unit: &str) -> impl Iterator<Item = String> {
    let (stem, kind) = unit.rsplit_once('.').unwrap_or((unit, ""));
    let dashes = stem.match_indices('-').filter_map(|(at, _)| stem.get(..=at));
    let template = stem.find('@').and_then(|at| stem.get(..=at));
    let beginnings = dashes.chain(template).map(move |beginning| format!("{beginning}.{kind}.d"));
    [format!("{unit}.d"), format!("{kind}.d")].into_iter().chain(beginnings)
}

/// Which figures a file of settings sets (`systemd.syntax(7)`).
fn set_in(file: &Path) -> BTreeSet<Figure> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let key = |line: &str| line.split_once('=').map(|(key, _)| key.trim().to_owned());
    let keys: BTreeSet<String> = text.lines().filter_map(key).collect();
    Figure::ALL.into_iter().filter(|figure| keys.contains(figure.setting())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drop_in_says_something_of_the_figures_that_it_sets() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let folders = [dir.path().join("system"), dir.path().join("control")];
        let write = |at: &Path, name: &str, text: &str| {
            fs::create_dir_all(at).expect("a folder");
            fs::write(at.join(name), text).expect("a file");
        };
        assert_eq!(said(&folders, "user-1001.slice"), BTreeSet::new());
        let unit = folders[0].join("user-1001.slice.d");
        write(&unit, "more.conf", "[Slice]\n# CPUQuota=5%\n MemoryMax = 9G\nMemoryMaxOf=1\n");
        write(&unit, "more.conf.old", "[Slice]\nCPUQuota=5%\n");
        assert_eq!(said(&folders, "user-1001.slice"), [Figure::Mem].into());
        write(&folders[1].join("user-1001.slice.d"), "50-TasksMax.conf", "[Slice]\nTasksMax=9\n");
        assert_eq!(said(&folders, "user-1001.slice"), [Figure::Mem, Figure::Tasks].into());
        assert_eq!(said(&folders, "user-1002.slice"), BTreeSet::new());
    }

    #[test]
    fn a_drop_in_for_many_units_says_something_of_each() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let folders = [dir.path().to_owned()];
        for (folder, unit, others) in [
            ("user-.slice.d", "user-1001.slice", ["user.slice", "user-1001.service"]),
            ("slice.d", "docker.slice", ["docker.service", "slice.d.scope"]),
            ("a-b-.service.d", "a-b-c.service", ["a-c.service", "a-b.service"]),
            ("getty@.service.d", "getty@tty1.service", ["getty.service", "x@tty1.service"]),
        ] {
            let folder = dir.path().join(folder);
            fs::create_dir(&folder).expect("a folder");
            fs::write(folder.join("x.conf"), "[Slice]\nCPUQuota=50%\n").expect("a file");
            assert_eq!(said(&folders, unit), [Figure::Cpu].into(), "{unit}");
            for other in others {
                assert_eq!(said(&folders, other), BTreeSet::new(), "{other}");
            }
            fs::remove_dir_all(&folder).expect("removed");
        }
    }
}
