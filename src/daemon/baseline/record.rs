//! What was set outside of shares in this boot, kept in a folder below `/run`: it goes with what systemd was told until the next
//! boot. The removal of the package reads it, see `debian/prerm`.
//!
//! A file a unit, a line a figure: what systemd's drop-in says, what was before, as a number of the property's unit, and how far
//! it is with it where systemd has not just what the line says: `MemoryMax=536870912 was 18446744073709551615 telling`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::plan::{Kept, KeptOfUnit, Stage};
use crate::systemd::outside::Figure;

/// The folder of the record, in that of the daemon's runtime data.
const FOLDER: &str = "outside";

/// Between what is set and what was.
const WAS: &str = " was ";

/// How a line ends.
const STAGES: [(Stage, &str); 3] = [(Stage::Telling, " telling"), (Stage::Back, " back"), (Stage::Held, "")];

/// The record, and what it says.
#[derive(Debug)]
pub struct Record {
    folder: PathBuf,
    kept: BTreeMap<String, KeptOfUnit>,
}

impl Record {
    /// The record in a folder of runtime data. What cannot be read was set by nobody.
    pub fn open(runtime: &Path) -> Self {
        let folder = runtime.join(FOLDER);
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
        let kept = entries.filter_map(|entry| {
            let unit = entry.file_name().into_string().ok().filter(|name| !name.starts_with('.'))?;
            Some((unit, read(&fs::read_to_string(entry.path()).ok()?)))
        });
        let kept = kept.collect();
        Self { folder, kept }
    }

    /// What was set, by unit.
    pub fn kept(&self) -> &BTreeMap<String, KeptOfUnit> {
        &self.kept
    }

    /// What was set of a unit.
    pub fn of(&self, unit: &str) -> KeptOfUnit {
        self.kept.get(unit).cloned().unwrap_or_default()
    }

    /// Notes what is about to be set of a unit, or was set after all; nothing is the same as no file.
    ///
    /// # Errors
    /// It could not be written, and nothing was changed.
    pub fn note(&mut self, unit: &str, kept: KeptOfUnit) -> io::Result<()> {
        if self.kept.get(unit) == Some(&kept) {
            return Ok(());
        }
        let fault = |error: io::Error| io::Error::other(format!("{}: {error}", self.folder.display()));
        let file = self.folder.join(unit);
        if kept.is_empty() {
            match fs::remove_file(&file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(fault(error)),
                _ => {}
            }
            self.kept.remove(unit);
            return Ok(());
        }
        fs::create_dir_all(&self.folder).map_err(fault)?;
        let new = self.folder.join(".new");
        fs::write(&new, write(&kept)).and_then(|()| fs::rename(&new, &file)).map_err(fault)?;
        self.kept.insert(unit.to_owned(), kept);
        Ok(())
    }
}

fn write(kept: &KeptOfUnit) -> String {
    let line = |(figure, kept): (&Figure, &Kept)| {
        let stage = STAGES.iter().find(|(stage, _)| *stage == kept.stage).map_or("", |(_, end)| end);
        format!("{}={}{WAS}{}{stage}\n", figure.setting(), figure.written(kept.set), kept.was)
    };
    kept.iter().map(line).collect()
}

fn read(text: &str) -> KeptOfUnit {
    text.lines()
        .filter_map(|line| {
            let (set, was) = line.split_once(WAS)?;
            let (setting, value) = set.split_once('=')?;
            let figure = Figure::ALL.into_iter().find(|figure| figure.setting() == setting)?;
            let (stage, was) =
                STAGES.iter().find_map(|(stage, end)| Some((*stage, was.strip_suffix(end)?)))?;
            Some((figure, Kept { set: figure.read(value)?, was: was.parse().ok()?, stage }))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::systemd::property::NO_LIMIT;

    #[test]
    fn what_was_set_is_found_again() {
        let dir = tempfile::TempDir::new().expect("a folder");
        let mut record = Record::open(dir.path());
        assert!(record.kept().is_empty());
        let kept: KeptOfUnit = [
            (Figure::Cpu, Kept { set: 500_000, was: NO_LIMIT, stage: Stage::Telling }),
            (Figure::Mem, Kept { set: NO_LIMIT, was: NO_LIMIT, stage: Stage::Back }),
            (Figure::Tasks, Kept { set: 256, was: 3964, stage: Stage::Held }),
        ]
        .into();
        record.note("user-1001.slice", kept.clone()).unwrap();
        record.note("cron.service", kept.clone()).unwrap();
        record.note("cron.service", KeptOfUnit::new()).unwrap();
        let text = fs::read_to_string(dir.path().join("outside/user-1001.slice")).unwrap();
        let first = format!("CPUQuota=50% was {NO_LIMIT} telling\nMemoryMax=infinity was {NO_LIMIT} back\n");
        assert_eq!(text, format!("{first}TasksMax=256 was 3964\n"));
        let again = Record::open(dir.path());
        assert_eq!(again.kept(), &BTreeMap::from([("user-1001.slice".to_owned(), kept.clone())]));
        assert_eq!((again.of("user-1001.slice"), again.of("cron.service")), (kept, KeptOfUnit::new()));
    }

    #[test]
    fn what_is_not_understood_was_set_by_nobody() {
        assert_eq!(
            read("MemoryMax=1\nMemoryMax=x was 1\nWeight=1 was 1\n\nTasksMax=5 was\nTasksMax=5 was many\n"),
            KeptOfUnit::new()
        );
    }

    #[test]
    fn what_cannot_be_noted_changes_nothing() {
        let dir = tempfile::TempDir::new().expect("a folder");
        fs::write(dir.path().join("outside"), "a file").unwrap();
        let mut record = Record::open(dir.path());
        let kept = KeptOfUnit::from([(Figure::Mem, Kept { set: 1, was: 2, stage: Stage::Held })]);
        assert!(record.note("user-1001.slice", kept).unwrap_err().to_string().contains("outside"));
        assert!(record.kept().is_empty());
    }
}
