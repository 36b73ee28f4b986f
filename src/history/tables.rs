//! The tables of the database, and what holds between them: each end is in `ends`, in `of_uid` and in `known`, and counted once.

use redb::{
    Database, ReadTransaction, ReadableTable as _, ReadableTableMetadata as _, Table, TableDefinition,
    WriteTransaction,
};

use crate::contract::{EndInfo, EndPlace, HistoryAnswer};
use crate::identity::Uid;

/// The version that this code writes. What is added to [`EndInfo`] raises it.
pub const VERSION: u64 = 1;

/// How many ends that are too old go with one write.
const FORGOTTEN_AT_A_TIME: usize = 1024;

/// The moment of an end and its number.
type Place = (u64, u64);
/// By what an end that comes again is known: its member, its job or 0, and when it began.
type Identity = (u64, u64, u64);

/// What ended: when it began and how it ended, in CBOR.
const ENDS: TableDefinition<'_, Place, &[u8]> = TableDefinition::new("ends");
/// The ends of each member: user id, moment, number.
const OF_UID: TableDefinition<'_, (u64, u64, u64), ()> = TableDefinition::new("of_uid");
const KNOWN: TableDefinition<'_, Identity, Place> = TableDefinition::new("known");
/// How many ends there are of each member.
const COUNTS: TableDefinition<'_, u64, u64> = TableDefinition::new("counts");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

/// The version of the file.
const META_VERSION: &str = "version";
/// The number of the next end.
const META_NEXT: &str = "next";

type Fault = redb::Error;

/// An end, as it is handed in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// How it ended.
    pub end: EndInfo,
    /// When it began to be, in Unix milliseconds as the clock was then: by this, its member and its job an end that is handed in
    /// again is known.
    pub begun_ms: u64,
}

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Of this member only.
    pub only: Option<Uid>,
    /// What ended at this moment or later, in Unix milliseconds.
    pub since_ms: u64,
    /// What ended before this moment, in Unix milliseconds.
    pub until_ms: u64,
    /// What comes after this one.
    pub after: Option<EndPlace>,
    /// So many at most.
    pub limit: usize,
}

/// How many ends are remembered.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Of one member.
    pub per_uid: u64,
    /// Of all together.
    pub all: u64,
}

/// The version of a database; a new one gets its tables and the version that is written.
///
/// # Errors
/// It cannot be read, or written.
pub fn version(database: &Database) -> Result<u64, Fault> {
    let write = database.begin_write()?;
    let found = write.open_table(META)?.get(META_VERSION)?.map(|version| version.value());
    if let Some(version) = found {
        write.abort()?;
        return Ok(version);
    }
    drop(Tables::of(&write)?);
    write.open_table(META)?.insert(META_VERSION, VERSION)?;
    write.commit()?;
    Ok(VERSION)
}

/// The tables, to be written.
pub struct Tables<'txn> {
    ends: Table<'txn, Place, &'static [u8]>,
    of_uid: Table<'txn, (u64, u64, u64), ()>,
    known: Table<'txn, Identity, Place>,
    counts: Table<'txn, u64, u64>,
    meta: Table<'txn, &'static str, u64>,
}

impl<'txn> Tables<'txn> {
    /// The tables of a write.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn of(write: &'txn WriteTransaction) -> Result<Self, Fault> {
        Ok(Self {
            ends: write.open_table(ENDS)?,
            of_uid: write.open_table(OF_UID)?,
            known: write.open_table(KNOWN)?,
            counts: write.open_table(COUNTS)?,
            meta: write.open_table(META)?,
        })
    }

    /// Puts an end in, where it is not there. Of what there are too many then the oldest goes.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn add(&mut self, ended: &Ended, bounds: Bounds) -> Result<(), Fault> {
        let Ended { end, begun_ms } = ended;
        let identity = identity(end, *begun_ms);
        if self.known.get(identity)?.is_some() {
            return Ok(());
        }
        let number = self.meta.get(META_NEXT)?.map_or(1, |next| next.value());
        self.meta.insert(META_NEXT, number.saturating_add(1))?;
        let place = (end.ended_ms, number);
        let mut bytes = Vec::new();
        ciborium::into_writer(&(begun_ms, end), &mut bytes).map_err(|error| broken(&error.to_string()))?;
        self.ends.insert(place, bytes.as_slice())?;
        self.of_uid.insert((end.uid, place.0, place.1), ())?;
        self.known.insert(identity, place)?;
        let count = self.count(end.uid)?.saturating_add(1);
        self.counts.insert(end.uid, count)?;
        if count > bounds.per_uid {
            let oldest = self.of_uid.range((end.uid, 0, 0)..)?.next().transpose()?;
            let oldest = oldest.map(|(key, _)| key.value()).ok_or_else(|| broken("a count is wrong"))?;
            self.forget((oldest.1, oldest.2))?;
        }
        if self.ends.len()? > bounds.all {
            self.oldest()?.map_or(Ok(()), |oldest| self.forget(oldest))?;
        }
        Ok(())
    }

    /// Forgets what was over before this moment, [`FORGOTTEN_AT_A_TIME`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn forget_before(&mut self, oldest_ms: u64) -> Result<(), Fault> {
        for _ in 0..FORGOTTEN_AT_A_TIME {
            match self.oldest()? {
                Some(place) if place.0 < oldest_ms => self.forget(place)?,
                Some(_) | None => break,
            }
        }
        Ok(())
    }

    fn oldest(&self) -> Result<Option<Place>, Fault> {
        Ok(self.ends.first()?.map(|(place, _)| place.value()))
    }

    fn count(&self, uid: u64) -> Result<u64, Fault> {
        Ok(self.counts.get(uid)?.map_or(0, |count| count.value()))
    }

    fn forget(&mut self, place: Place) -> Result<(), Fault> {
        let (begun_ms, end) = match self.ends.remove(place)? {
            Some(bytes) => decoded(bytes.value())?,
            None => return Err(broken("an end is missing")),
        };
        self.of_uid.remove((end.uid, place.0, place.1))?;
        self.known.remove(identity(&end, begun_ms))?;
        match self.count(end.uid)?.saturating_sub(1) {
            0 => drop(self.counts.remove(end.uid)?),
            count => drop(self.counts.insert(end.uid, count)?),
        }
        Ok(())
    }
}

/// The tables, to be read.
pub struct Read {
    ends: redb::ReadOnlyTable<Place, &'static [u8]>,
    of_uid: redb::ReadOnlyTable<(u64, u64, u64), ()>,
}

impl Read {
    /// The tables at this moment.
    ///
    /// # Errors
    /// They cannot be opened.
    pub fn of(read: &ReadTransaction) -> Result<Self, Fault> {
        Ok(Self { ends: read.open_table(ENDS)?, of_uid: read.open_table(OF_UID)? })
    }

    /// Whether something was over before this moment.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn has_before(&self, oldest_ms: u64) -> Result<bool, Fault> {
        Ok(self.ends.first()?.is_some_and(|(place, _)| place.value().0 < oldest_ms))
    }

    /// What is asked for, the oldest first.
    ///
    /// # Errors
    /// It cannot be read.
    pub fn ends(&self, asked: &Asked) -> Result<HistoryAnswer, Fault> {
        let mut answer = HistoryAnswer { history: Vec::new(), next: None };
        let since = (asked.since_ms, 0);
        let after = asked.after.map(|after| (after.ended_ms, after.number.saturating_add(1)));
        let (from, until) = (after.map_or(since, |after| after.max(since)), (asked.until_ms, 0));
        if from >= until {
            return Ok(answer);
        }
        let mut last = None;
        let mut take = |place: Place, bytes: &[u8]| {
            if answer.history.len() >= asked.limit {
                answer.next = last.map(|(ended_ms, number)| EndPlace { ended_ms, number });
                return Ok(false);
            }
            answer.history.push(decoded(bytes)?.1);
            last = Some(place);
            Ok::<bool, Fault>(true)
        };
        match asked.only.map(|uid| u64::from(uid.get())) {
            None => {
                for entry in self.ends.range(from..until)? {
                    let (place, bytes) = entry?;
                    if !take(place.value(), bytes.value())? {
                        break;
                    }
                }
            }
            Some(uid) => {
                for entry in self.of_uid.range((uid, from.0, from.1)..(uid, until.0, until.1))? {
                    let (_, ended_ms, number) = entry?.0.value();
                    let bytes =
                        self.ends.get((ended_ms, number))?.ok_or_else(|| broken("an end is missing"))?;
                    if !take((ended_ms, number), bytes.value())? {
                        break;
                    }
                }
            }
        }
        Ok(answer)
    }
}

fn identity(end: &EndInfo, begun_ms: u64) -> Identity {
    (end.uid, end.job_id.unwrap_or(0), begun_ms)
}

fn decoded(bytes: &[u8]) -> Result<(u64, EndInfo), Fault> {
    ciborium::from_reader(bytes).map_err(|error| broken(&error.to_string()))
}

fn broken(why: &str) -> Fault {
    Fault::Corrupted(why.to_owned())
}
