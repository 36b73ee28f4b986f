//! The thread that has the state file: it reads it, and writes the newest image, older ones never after it.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, mpsc as blocking};

use tokio::sync::{mpsc, oneshot};
use tracing::error;

use crate::identity::JobId;
use crate::ledger::Image;
use crate::serving::logging::chain;
use crate::state::commands::Commands;
use crate::state::{Loaded, StateFault, StateFile};
use crate::sys::apart;

/// Images that wait to be written. One write answers for all that wait.
const IMAGES_WAITING_MAX: usize = 64;

type Written = Result<(), Arc<StateFault>>;

/// What the writer is to do.
#[derive(Debug)]
enum Due {
    /// Write this image.
    Image {
        image: Box<Image>,
        /// Whether it gives something back, for which disk space is kept.
        gives_back: bool,
        waiter: oneshot::Sender<Written>,
    },
    /// Take away what is kept of a command, once an image of this revision is written, or a newer one.
    Over { job: JobId, revision: u64 },
}

/// What has come for the writer and is not done.
#[derive(Default)]
struct Batch {
    image: Option<Box<Image>>,
    gives_back: bool,
    waiters: Vec<oneshot::Sender<Written>>,
    /// The commands that are over, by the revision that says so.
    over: Vec<(u64, JobId)>,
}

impl Batch {
    fn take(&mut self, due: Due) {
        match due {
            Due::Image { image, gives_back, waiter } => {
                self.waiters.push(waiter);
                self.gives_back |= gives_back;
                if self.image.as_ref().is_none_or(|newest| image.revision > newest.revision) {
                    self.image = Some(image);
                }
            }
            Due::Over { job, revision } => self.over.push((revision, job)),
        }
    }
}

/// The thread that has the state's folder, and does with it what it is asked to.
///
/// Nothing else in the process has the folder's descriptor ([`apart`]). So its lock ends with SIGKILL, also where a thread that
/// closes what a member sent cannot end: else that would keep the next daemon from the state. It wakes no task, for that takes
/// a descriptor of the runtime's: who asks waits on a thread.
#[derive(Debug, Clone)]
pub struct Keeper(blocking::Sender<Ask>);

/// What is done with the folder, where it is open.
type Act = Box<dyn FnOnce(Option<&StateFile>) + Send>;

/// What is to be done with the folder, and where the answer goes.
enum Ask {
    /// Open and lock it, and read the file, as of a moment of wall time in milliseconds.
    Open(PathBuf, u64, blocking::SyncSender<Result<Loaded, StateFault>>),
    /// Write the file; on a full disk with the space that is kept, where the image gives something back.
    Save(Box<Image>, bool, blocking::SyncSender<Result<(), StateFault>>),
    /// Do this with it; nothing, where it is not open.
    With(Act),
    /// Let it go.
    Close,
}

impl Keeper {
    /// Starts the thread.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start() -> io::Result<Self> {
        let (sender, asked) = blocking::channel();
        apart::spawn("state", move || keep(&asked))?;
        Ok(Self(sender))
    }

    /// Opens and locks the folder and reads the state, as of that moment of wall time, and starts the writer, on a thread of
    /// its own: what waits for the disk holds up nobody else who waits for something. The folder is let go when the last
    /// handle on the writer is dropped.
    ///
    /// # Errors
    /// The folder or the file cannot be used, or the thread cannot be started.
    pub async fn open(&self, path: PathBuf, wall_ms: u64) -> Result<(Persist, Loaded), StateFault> {
        let keeper = self.clone();
        let open = move || keeper.ask(|answer| Ask::Open(path, wall_ms, answer));
        let loaded = tokio::task::spawn_blocking(open).await.unwrap_or_else(|_| Err(ended()))?;
        let (sender, receiver) = mpsc::channel(IMAGES_WAITING_MAX);
        let keeper = self.clone();
        let writer = std::thread::Builder::new().name("writer".to_owned());
        match writer.spawn(move || keeper.write(receiver)) {
            Ok(_) => Ok((Persist { due: sender, keeper: self.clone() }, loaded)),
            Err(source) => {
                let _ = self.0.send(Ask::Close);
                Err(StateFault::Io { path: "state".into(), action: "start the writer of", source })
            }
        }
    }

    /// Asks, and waits for the answer.
    fn ask<T>(
        &self,
        ask: impl FnOnce(blocking::SyncSender<Result<T, StateFault>>) -> Ask,
    ) -> Result<T, StateFault> {
        let (sender, answer) = blocking::sync_channel(1);
        self.0.send(ask(sender)).map_err(|_| ended())?;
        answer.recv().unwrap_or_else(|_| Err(ended()))
    }

    /// Does something with the folder, and waits for it.
    fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&StateFile) -> Result<T, StateFault> + Send + 'static,
    ) -> Result<T, StateFault> {
        self.ask(|answer| {
            Ask::With(Box::new(move |file| {
                let _ = answer.send(file.map_or_else(|| Err(ended()), act));
            }))
        })
    }

    /// Writes what comes, the newest of what waits, and tells all who wait. What is kept of commands that are over goes after that.
    fn write(&self, mut receiver: mpsc::Receiver<Due>) {
        let (mut batch, mut newest_written) = (Batch::default(), None);
        while let Some(due) = receiver.blocking_recv() {
            batch.take(due);
            while let Ok(due) = receiver.try_recv() {
                batch.take(due);
            }
            let gives_back = std::mem::take(&mut batch.gives_back);
            let written = match batch.image.take() {
                Some(image) if newest_written.is_none_or(|newest| newest < image.revision) => {
                    let revision = image.revision;
                    let written = self.ask(|answer| Ask::Save(image, gives_back, answer));
                    written.map(|()| newest_written = Some(revision)).map_err(Arc::new)
                }
                Some(_) | None => Ok(()),
            };
            for waiter in batch.waiters.drain(..) {
                // Who waited may have gone; the image is written all the same.
                let _ = waiter.send(written.clone());
            }
            let over = batch.over.extract_if(.., |(revision, _)| newest_written >= Some(*revision));
            for (_, job) in over {
                if let Err(fault) = self.with(move |file| file.forget_command(job)) {
                    error!("{}, proceeding: the next fairshared tries again", chain(&fault));
                }
            }
        }
        // A keeper that has ended has let it go.
        let _ = self.0.send(Ask::Close);
    }
}

/// Does what is asked, in turn. Who asked may have gone; what was done stands all the same.
fn keep(asked: &blocking::Receiver<Ask>) {
    let mut open = None;
    while let Ok(ask) = asked.recv() {
        match ask {
            Ask::Open(path, wall_ms, answer) => {
                open = None;
                let loaded = StateFile::open(&path).and_then(|file| {
                    let loaded = file.load(wall_ms)?;
                    open = Some(file);
                    Ok(loaded)
                });
                let _ = answer.send(loaded);
            }
            Ask::Save(image, gives_back, answer) => {
                let save = if gives_back { StateFile::save_what_gives_back } else { StateFile::save };
                let _ = answer.send(open.as_mut().map_or_else(|| Err(ended()), |file| save(file, *image)));
            }
            Ask::With(act) => act(open.as_ref()),
            Ask::Close => open = None,
        }
    }
}

/// A handle on the writer, and on the commands beside the state. Clones share it.
#[derive(Debug, Clone)]
pub struct Persist {
    due: mpsc::Sender<Due>,
    keeper: Keeper,
}

impl Persist {
    /// Writes the image, or knows a newer one written.
    ///
    /// # Errors
    /// The state file could not be written.
    pub async fn save(&self, image: Image) -> Written {
        self.due(image, false).await
    }

    /// Writes the image, which takes nothing more than before, on a full disk with the space that is kept for it.
    ///
    /// # Errors
    /// The state file could not be written.
    pub async fn save_what_gives_back(&self, image: Image) -> Written {
        self.due(image, true).await
    }

    /// The commands that are kept.
    ///
    /// # Errors
    /// The folder cannot be read.
    pub async fn commands(&self) -> Result<Commands, StateFault> {
        self.with(StateFile::commands).await
    }

    /// Writes what a command is to run.
    ///
    /// # Errors
    /// It could not be written.
    pub async fn keep_command(&self, job: JobId, payload: Vec<u8>) -> Result<(), StateFault> {
        self.with(move |file| file.keep_command(job, &payload)).await
    }

    /// What a command is to run, that was kept.
    ///
    /// # Errors
    /// It cannot be read, or is damaged.
    pub async fn command(&self, job: JobId) -> Result<Vec<u8>, StateFault> {
        self.with(move |file| file.command(job)).await
    }

    /// Whether it is certain that nobody has begun with a command, which is kept under the number of this `file`.
    ///
    /// # Errors
    /// It cannot be looked for.
    pub async fn is_unbegun(&self, job: JobId, file: JobId) -> Result<bool, StateFault> {
        self.with(move |folder| folder.is_unbegun(job, file)).await
    }

    /// Takes away what is kept of a command that no state names.
    ///
    /// # Errors
    /// It could not be taken away.
    pub async fn remove_command(&self, job: JobId) -> Result<(), StateFault> {
        self.with(move |file| file.forget_command(job)).await
    }

    /// Has it stored that a command begins.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn begin_command(&self, job: JobId) -> Result<(), StateFault> {
        self.with(move |file| file.begin_command(job)).await
    }

    /// Has it stored that a command has not begun, which is to be run again. Of a `task` nothing is kept but whether it had.
    ///
    /// # Errors
    /// It could not be stored.
    pub async fn command_not_begun(&self, job: JobId, task: bool) -> Result<(), StateFault> {
        self.with(move |file| file.command_not_begun(job, task)).await
    }

    /// Takes away what is kept of a command that is over, once an image of this revision is written, or a newer one. What cannot be
    /// taken away is logged, and is for the next daemon.
    pub async fn forget_command(&self, job: JobId, revision: u64) {
        let _ = self.due.send(Due::Over { job, revision }).await;
    }

    /// Has the keeper do something with the folder, and waits for it on a thread of its own.
    async fn with<T: Send + 'static>(
        &self,
        act: impl FnOnce(&StateFile) -> Result<T, StateFault> + Send + 'static,
    ) -> Result<T, StateFault> {
        let keeper = self.keeper.clone();
        tokio::task::spawn_blocking(move || keeper.with(act)).await.unwrap_or_else(|_| Err(ended()))
    }

    async fn due(&self, image: Image, gives_back: bool) -> Written {
        let (waiter, written) = oneshot::channel();
        if self.due.send(Due::Image { image: Box::new(image), gives_back, waiter }).await.is_err() {
            return Err(Arc::new(ended()));
        }
        written.await.unwrap_or_else(|_| Err(Arc::new(ended())))
    }
}

/// The keeper ends only with the daemon.
fn ended() -> StateFault {
    StateFault::Io {
        path: "state".into(),
        action: "use the file",
        source: io::Error::other("the daemon is stopping"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{BootId, Ledger};
    use crate::state;

    /// Images come in the order in which their writers were ready, which is not that of the changes.
    #[tokio::test]
    async fn an_older_image_is_never_written_over_a_newer_one() {
        let dir = tempfile::tempdir().unwrap();
        let keeper = Keeper::start().unwrap();
        let (persist, _) = keeper.open(dir.path().to_owned(), 0).await.unwrap();
        let image = |revision| Image { revision, ..Ledger::new(BootId("boot".to_owned())).image() };
        for (revision, then_in_the_file) in [(6, 6), (5, 6), (7, 7)] {
            persist.save(image(revision)).await.unwrap();
            let bytes = std::fs::read(dir.path().join("state")).unwrap();
            assert_eq!(state::parse(&bytes).unwrap().revision, then_in_the_file);
        }
    }
}
