//! What a history has on disk: a state file, and what changed since.

use fairshare::testing::ledger::{Image, Ledger};
use fairshare::testing::state::{self, changes};

/// After how many changes the state file is written anew: often enough that a history has both.
const CHANGES_MAX: u64 = 64;

/// A state file and the changes beside it, as bytes, and the image that was stored last.
pub struct Stored {
    file: Vec<u8>,
    changes: Vec<u8>,
    count: u64,
    image: Image,
}

impl Stored {
    pub fn new(ledger: &Ledger) -> Self {
        let image = ledger.image();
        Self { file: state::encode(&image).unwrap(), changes: Vec::new(), count: 0, image }
    }

    /// Stores what the ledger is now.
    pub fn store(&mut self, ledger: &Ledger) {
        let image = ledger.image();
        if self.count == CHANGES_MAX {
            return *self = Self::new(ledger);
        }
        let difference = image.since(&self.image);
        let change = changes::encoded(state::checksum_of(&self.file), self.count, &difference).unwrap();
        self.changes.extend(change);
        (self.count, self.image) = (self.count + 1, image);
    }

    /// What a daemon reads that starts now.
    pub fn read(&self) -> Image {
        let read = state::parse_with(&self.file, &self.changes).unwrap();
        assert_eq!(read, state::parse(&state::encode(&self.image).unwrap()).unwrap());
        read
    }
}
