//! The thread that has the history, and the task that brings it what has ended and what is asked.
//!
//! What cannot be written is kept and tried again, so much of it as there is room for here; jobs that are over are in the state
//! too, and are brought again by the next daemon. Nothing waits for any of it.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc as blocking;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};
use tracing::{error, info};

use super::said::Said;
use crate::contract::{Answer, HistoryAnswer};
use crate::daemon::clock;
use crate::daemon::telling::reply::Reply;
use crate::history::{self, Asked, Ended, History, HistoryFault, Standing};
use crate::ledger::job::JOBS_KEPT_MAX;
use crate::serving::logging::chain;
use crate::sys::apart;
use crate::time::{backoff, milliseconds};
use crate::wire::error::{Code, WireError};

/// How many ends are kept until they can be written: as many jobs as the state remembers, and as many again.
pub const ENDS_WAITING_MAX: usize = 2 * JOBS_KEPT_MAX;

/// How many words to the task wait at a time: each may be an end.
const ASKS_WAITING_MAX: usize = ENDS_WAITING_MAX;

/// How many ends are written at a time.
const ENDS_AT_A_TIME: usize = 256;

/// How soon what could not be written is tried again, at first and later: opening it reads all of it.
const RETRY: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(120));

/// How long what has ended is gathered before it is written: each write waits for the disk more than once, and may be one of many
/// commands that end in a row. Who asks is answered with all of it.
const GATHERED_FOR: Duration = Duration::from_secs(1);

/// How often what is too old is looked for.
const FORGET_PERIOD: Duration = Duration::from_secs(3600);

/// How long the daemon waits at its own end for what is still to be written.
const LAST_WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the task is told.
enum Ask {
    /// The history is the one beside this state, and these have ended.
    Open(PathBuf, Vec<Ended>),
    /// This has ended.
    Ended(Box<Ended>),
    /// What was over this long ago is forgotten.
    Keep(Duration),
    /// What is to be told, to whom.
    Tell(Asked, Reply),
    /// The daemon stops: what is still to be written is.
    Stop(oneshot::Sender<()>),
}

/// Where what has ended goes. Clones share it.
#[derive(Debug, Clone)]
pub struct Recorder(mpsc::Sender<Ask>);

impl Recorder {
    /// Starts the thread and the task, which tells the owner how it stands.
    ///
    /// # Errors
    /// The thread cannot be started.
    pub fn start(said: mpsc::Sender<Said>) -> io::Result<Self> {
        let (acts, taken) = blocking::channel::<Act>();
        apart::spawn(history::THREAD, move || {
            let mut book = Book::default();
            while let Ok(act) = taken.recv() {
                act(&mut book);
            }
            book.leave();
        })?;
        let (asks, asked) = mpsc::channel(ASKS_WAITING_MAX);
        let desk = Desk {
            hand: Hand(acts),
            state: None,
            keep: None,
            age: Age::default(),
            unusable: false,
            waiting: VecDeque::new(),
            standing: Standing::default(),
            told: Standing::default(),
            said,
        };
        tokio::spawn(desk.serve(asked));
        Ok(Self(asks))
    }

    /// The history is the one beside this state, and these have ended, of which it may have some.
    pub fn open(&self, state: PathBuf, ended: Vec<Ended>) -> bool {
        self.0.try_send(Ask::Open(state, ended)).is_ok()
    }

    /// This has ended; whether it will be written, as far as can be told now.
    pub fn ended(&self, ended: Ended) -> bool {
        self.0.try_send(Ask::Ended(Box::new(ended))).is_ok()
    }

    /// What was over this long ago is forgotten.
    pub fn keep(&self, keep: Duration) {
        let recorder = self.clone();
        tokio::spawn(async move { recorder.0.send(Ask::Keep(keep)).await.is_ok() });
    }

    /// Answers what is asked, after all that has ended before.
    pub fn tell(&self, asked: Asked, reply: Reply) {
        let recorder = self.clone();
        tokio::spawn(async move {
            if let Err(mpsc::error::SendError(Ask::Tell(_, reply))) =
                recorder.0.send(Ask::Tell(asked, reply)).await
            {
                reply.send(Err(cannot_be_read("the daemon is stopping")));
            }
        });
    }

    /// Waits until all that has ended is written, or cannot be.
    pub async fn stop(&self) {
        let (sender, written) = oneshot::channel();
        let asked = async {
            if self.0.send(Ask::Stop(sender)).await.is_ok() {
                let _ = written.await;
            }
        };
        if timeout(LAST_WRITE_TIMEOUT, asked).await.is_err() {
            error!("the history could not be written in time: jobs that have ended are in the state still");
        }
    }
}

/// What the thread is to do.
type Act = Box<dyn FnOnce(&mut Book) + Send>;

/// What has the thread do something. The thread wakes no task, as the state's does not: who asks waits on one of its own.
struct Hand(blocking::Sender<Act>);

impl Hand {
    async fn with<T: Send + 'static>(&self, act: impl FnOnce(&mut Book) -> T + Send + 'static) -> Option<T> {
        let (sender, done) = blocking::sync_channel(1);
        let act: Act = Box::new(move |book| drop(sender.send(act(book))));
        self.0.send(act).ok()?;
        tokio::task::spawn_blocking(move || done.recv().ok()).await.ok()?
    }
}

/// The history, as the thread has it.
#[derive(Default)]
struct Book {
    open: Option<History>,
    /// What became of a damaged file, where that has not been told.
    aside: Option<String>,
}

impl Book {
    /// Does something with the history, which is opened where it is not. One that turns out to be damaged is put aside, and it is
    /// done with another.
    fn with<T>(
        &mut self,
        state: &Path,
        wall_ms: u64,
        act: impl Fn(&History) -> Result<T, HistoryFault>,
    ) -> Result<T, HistoryFault> {
        let mut done = self.once(state, wall_ms, &act);
        let damaged = match &done {
            Err(HistoryFault::Damaged { .. }) => self.open.take(),
            _ => None,
        };
        if let Some(damaged) = damaged {
            self.aside = Some(damaged.put_aside(wall_ms)?);
            done = self.once(state, wall_ms, &act);
        }
        match &done {
            Ok(_) | Err(HistoryFault::Full { .. }) => {}
            // It is opened anew, by what the disk says then.
            Err(_) => self.close(),
        }
        done
    }

    fn once<T>(
        &mut self,
        state: &Path,
        wall_ms: u64,
        act: impl Fn(&History) -> Result<T, HistoryFault>,
    ) -> Result<T, HistoryFault> {
        if self.open.is_none() {
            let (history, aside) = History::open(state, wall_ms)?;
            self.aside = aside.or(self.aside.take());
            self.open = Some(history);
        }
        self.open.as_ref().map_or_else(|| Err(HistoryFault::Full { path: state.to_owned() }), act)
    }

    fn close(&mut self) {
        self.open.take().into_iter().for_each(History::close);
    }

    fn leave(&mut self) {
        self.open.take().into_iter().for_each(History::leave);
    }
}

/// The task.
struct Desk {
    hand: Hand,
    /// The folder of the state; nothing until the state is open, and locked against a second daemon.
    state: Option<PathBuf>,
    /// For how long what is over is kept; nothing until a policy has said it, and then nothing is forgotten.
    keep: Option<Duration>,
    /// What is so old that it is forgotten.
    age: Age,
    /// Whether the file cannot be used, and is opened when it is time for that, not for each who asks.
    unusable: bool,
    waiting: VecDeque<Ended>,
    standing: Standing,
    /// What the owner knows of that.
    told: Standing,
    said: mpsc::Sender<Said>,
}

impl Desk {
    async fn serve(mut self, mut asked: mpsc::Receiver<Ask>) {
        let mut due = Instant::now() + FORGET_PERIOD;
        let mut pauses = backoff(RETRY);
        loop {
            let first = tokio::select! {
                ask = asked.recv() => match ask {
                    Some(ask) => Some(ask),
                    None => return,
                },
                () = sleep_until(due) => None,
            };
            let (mut is_due, mut telling, mut stopping) = (first.is_none(), Vec::new(), None);
            let mut next = first;
            while let Some(ask) = next {
                match ask {
                    Ask::Open(state, ended) => {
                        self.state = Some(state);
                        self.take(ended);
                        is_due = true;
                    }
                    Ask::Ended(ended) => self.take([*ended]),
                    Ask::Keep(keep) => is_due |= self.keep_for(keep) && self.standing.why.is_none(),
                    Ask::Tell(asked, reply) => telling.push((asked, reply)),
                    Ask::Stop(sender) => stopping = Some(sender),
                }
                next = asked.try_recv().ok();
            }
            let writes = self.standing.why.is_none();
            // What cannot be written is not tried again for each end that comes, nor for who asks.
            if is_due || stopping.is_some() || (writes && !telling.is_empty()) {
                self.write().await;
                let pause = match self.standing.why {
                    Some(_) => pauses.pause(),
                    None => FORGET_PERIOD,
                };
                if self.standing.why.is_none() {
                    pauses = backoff(RETRY);
                }
                due = Instant::now() + pause;
            } else {
                if writes && !self.waiting.is_empty() {
                    due = due.min(Instant::now() + GATHERED_FOR);
                }
                self.stands(self.standing.why.clone()).await;
            }
            for (asked, reply) in telling {
                let answer = self.read(asked).await;
                reply.send(answer);
            }
            if self.unusable {
                due = due.min(Instant::now() + RETRY.1);
            }
            if let Some(sender) = stopping {
                self.hand.with(Book::leave).await;
                let _ = sender.send(());
                return;
            }
        }
    }

    /// Takes what has ended. Where too much waits, the oldest of it is lost.
    fn take(&mut self, ended: impl IntoIterator<Item = Ended>) {
        self.waiting.extend(ended);
        let over = self.waiting.len().saturating_sub(ENDS_WAITING_MAX);
        self.waiting.drain(..over);
        self.standing.lost = self.standing.lost.saturating_add(over as u64);
    }

    /// For how long what is over is kept from now on; whether that is another span than before.
    fn keep_for(&mut self, keep: Duration) -> bool {
        let before = self.keep.replace(keep);
        if before.is_some_and(|before| before != keep) {
            // Who says it knows what they do: the clock is not asked twice.
            self.age = Age::said(too_old_ms(keep, clock::now().wall_ms), Instant::now());
        }
        before != Some(keep)
    }

    /// Writes what waits, as far as it can be, and says where that is another thing than before.
    async fn write(&mut self) {
        let Some(state) = self.state.clone() else { return };
        let mut why = None;
        loop {
            let count = self.waiting.len().min(ENDS_AT_A_TIME);
            let ends: Vec<Ended> = self.waiting.iter().take(count).cloned().collect();
            let (state, now_ms) = (state.clone(), clock::now().wall_ms);
            let oldest_ms =
                self.keep.map_or(0, |keep| self.age.seen(too_old_ms(keep, now_ms), Instant::now()));
            let write = move |book: &mut Book| {
                let done = book.with(&state, now_ms, |history| history.add(&ends, oldest_ms));
                (done, book.aside.take())
            };
            let Some((done, aside)) = self.hand.with(write).await else { return };
            self.put_aside(aside);
            match done {
                Ok(()) => drop(self.waiting.drain(..count)),
                Err(fault) => {
                    self.unusable = !matches!(fault, HistoryFault::Full { .. });
                    why = Some(chain(&fault));
                }
            }
            if why.is_some() || self.waiting.is_empty() {
                break;
            }
        }
        self.unusable &= why.is_some();
        self.stands(why).await;
    }

    /// What is remembered, as it is answered.
    async fn read(&mut self, asked: Asked) -> Result<Answer, WireError> {
        let Some(state) = self.state.clone() else { return Err(cannot_be_read("the state is not open")) };
        if let Some(why) = self.standing.why.as_ref().filter(|_| self.unusable) {
            return Err(cannot_be_read(why));
        }
        let now_ms = clock::now().wall_ms;
        let read = move |book: &mut Book| {
            let done = book.with(&state, now_ms, |history| history.ends(&asked));
            (done, book.aside.take())
        };
        let done: Option<(Result<HistoryAnswer, HistoryFault>, _)> = self.hand.with(read).await;
        let Some((done, aside)) = done else { return Err(cannot_be_read("the daemon is stopping")) };
        if aside.is_some() {
            self.put_aside(aside);
            self.stands(self.standing.why.clone()).await;
        }
        if let Err(fault) = &done
            && !matches!(fault, HistoryFault::Full { .. })
        {
            self.unusable = true;
            self.stands(Some(chain(fault))).await;
        }
        done.map(Answer::History).map_err(|fault| cannot_be_read(&chain(&fault)))
    }

    fn put_aside(&mut self, aside: Option<String>) {
        if let Some(aside) = aside {
            error!("{aside}");
            self.standing.aside = Some(aside);
        }
    }

    /// Tells the owner where it stands another way than before, and the journal where that begins and ends.
    async fn stands(&mut self, why: Option<String>) {
        match (&self.standing.why, &why) {
            (None, Some(why)) => error!("the history is not written, and what has ended waits for it: {why}"),
            (Some(_), None) => info!("the history is written again"),
            _ => {}
        }
        // What is only gathered is no news.
        let waiting = if why.is_some() { self.waiting.len() } else { 0 };
        (self.standing.why, self.standing.waiting) = (why, waiting);
        if self.standing != self.told {
            self.told = self.standing.clone();
            let _ = self.said.send(Said::History(self.standing.clone())).await;
        }
    }
}

/// What is so old that it is forgotten: what was so by the clock of [`FORGET_PERIOD`] ago, and is by the clock of now. A clock that is
/// wrong for less than that costs nothing.
#[derive(Debug, Default)]
struct Age {
    /// What was over before this moment is forgotten, in Unix milliseconds.
    forgotten_ms: u64,
    /// The same by the clock of the last look, and when that was.
    looked: Option<(u64, Instant)>,
}

impl Age {
    /// What is too old is known to be.
    fn said(too_old_ms: u64, now: Instant) -> Self {
        Self { forgotten_ms: too_old_ms, looked: Some((too_old_ms, now)) }
    }

    /// By the clock of now what was over before this moment is too old; before which moment it is forgotten.
    fn seen(&mut self, too_old_ms: u64, now: Instant) -> u64 {
        match self.looked {
            Some((_, at)) if now.saturating_duration_since(at) < FORGET_PERIOD => {}
            before => {
                self.forgotten_ms = before.map_or(0, |(before_ms, _)| before_ms.min(too_old_ms));
                self.looked = Some((too_old_ms, now));
            }
        }
        self.forgotten_ms.min(too_old_ms)
    }
}

/// The moment before which was over what is too old, in Unix milliseconds.
fn too_old_ms(keep: Duration, now_ms: u64) -> u64 {
    now_ms.saturating_sub(milliseconds(keep))
}

/// A history that is asked for, and why it is not told.
pub fn cannot_be_read(why: &str) -> WireError {
    WireError::new(Code::Io, "The history cannot be read now").detail(why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_wrong_for_a_while_has_nothing_forgotten() {
        let (mut age, start) = (Age::default(), Instant::now());
        let mut after = |periods: u32, too_old_ms| age.seen(too_old_ms, start + FORGET_PERIOD * periods / 2);
        assert_eq!([after(0, 100), after(1, 110), after(2, 120), after(3, 130)], [0, 0, 100, 100]);
        // By half a period too far ahead, and back.
        assert_eq!([after(4, 999), after(5, 999), after(6, 160), after(7, 170)], [120, 120, 160, 160]);
        assert_eq!(after(8, 180), 160);
        // Back by more: what was too old is not now.
        assert_eq!(after(9, 50), 50);
        let mut said = Age::said(300, start);
        assert_eq!(said.seen(310, start), 300);
    }
}
