//! What a call costs, against a bare tokio echo of the same frames on a Unix socket: the same client, in one run, in
//! turn, each server a process with one thread.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use fairshare::contract::{Call, List, Ping, Request};
use fairshare::wire::frame::{FrameBuffer, PREFIX_BYTES, encode_frame};
use fairshare::wire::hello::{Hello, PROTOCOL_VERSION};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::harness::PATIENCE;
use crate::poll::until;
use crate::shares;
use crate::stand_in::World;

/// Each server in turn, this often; the figures are medians of the rounds.
const ROUNDS: usize = 21;
/// Calls of a round, one after the other.
const CALLS: usize = 2000;
/// Calls of a round, written without waiting for answers.
const PIPELINED: usize = 20_000;
/// As many requests of a connection as may be unanswered.
const WINDOW: usize = 16;
const SHARES: u64 = 1000;
const LISTS: usize = 500;

/// What was promised (issue 3).
const P50_MAX: f64 = 1.5;
const P99_MAX: f64 = 2.0;
const PIPELINED_MIN: f64 = 0.5;
const LISTS_A_SECOND_MIN: f64 = 2000.0;

/// Serves an echo until it is killed: as little as a server on tokio can do.
pub fn echo(socket: &Path) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let listener = tokio::net::UnixListener::bind(socket).unwrap();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut buffer = vec![0; 8192];
                while let Ok(count @ 1..) = stream.read(&mut buffer).await {
                    if stream.write_all(&buffer[..count]).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
}

/// The process of an echo; it ends with the value.
struct Echo(Child);

impl Drop for Echo {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A connection, for frames of one call.
struct Line {
    stream: UnixStream,
    request: Vec<u8>,
    incoming: FrameBuffer,
}

impl Line {
    fn new(socket: &Path, hello: bool, call: Call) -> Self {
        let mut request = Vec::new();
        encode_frame(&Request { v: PROTOCOL_VERSION, request_id: 1, call }, &mut request).unwrap();
        let stream = UnixStream::connect(socket).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = Self { stream, request, incoming: FrameBuffer::new() };
        if hello {
            let mut out = Vec::new();
            let (client_name, client_version) = ("bench".to_owned(), "1".to_owned());
            let supports = Vec::new();
            encode_frame(
                &Hello { protocol_version: PROTOCOL_VERSION, client_name, client_version, supports },
                &mut out,
            )
            .unwrap();
            line.stream.write_all(&out).unwrap();
            line.frame();
        }
        line
    }

    fn frame(&mut self) -> Vec<u8> {
        loop {
            let count = self.stream.read(self.incoming.space().unwrap()).unwrap();
            assert!(count > 0, "closed");
            if let Some(payload) = self.incoming.filled(count) {
                return payload;
            }
        }
    }

    fn call(&mut self) -> Duration {
        let asked = Instant::now();
        self.stream.write_all(&self.request).unwrap();
        self.frame();
        asked.elapsed()
    }

    /// p50 and p99 of calls one after the other, in seconds.
    fn latency(&mut self, calls: usize) -> [f64; 2] {
        let mut took: Vec<Duration> = (0..calls).map(|_| self.call()).collect();
        took.sort_unstable();
        [took[calls / 2], took[calls * 99 / 100]].map(|took| took.as_secs_f64())
    }

    /// Calls a second, where as many are under way as may be.
    fn throughput(&mut self, calls: usize) -> f64 {
        let window = self.request.repeat(WINDOW);
        // Answers are cut from whatever came, so that the client costs as little as it can.
        let mut answers = vec![0; 256 << 10];
        let began = Instant::now();
        for _ in 0..calls / WINDOW {
            self.stream.write_all(&window).unwrap();
            let (mut filled, mut seen, mut at) = (0, 0, 0);
            while seen < WINDOW {
                filled += self.stream.read(&mut answers[filled..]).unwrap();
                while let Some(prefix) =
                    answers.get(at..at + PREFIX_BYTES).filter(|_| at + PREFIX_BYTES <= filled)
                {
                    let end = at + PREFIX_BYTES + u32::from_be_bytes(prefix.try_into().unwrap()) as usize;
                    if end > filled {
                        break;
                    }
                    (at, seen) = (end, seen + 1);
                }
            }
        }
        (calls / WINDOW * WINDOW) as f64 / began.elapsed().as_secs_f64()
    }
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Prints one row: ours, the other's, their ratio, and what was promised.
fn row(
    what: &str,
    unit: &str,
    ours: Vec<f64>,
    theirs: Vec<f64>,
    promised: &str,
    holds: impl Fn(f64) -> bool,
) {
    let (ours, theirs) = (median(ours), median(theirs));
    let ratio = ours / theirs;
    let word = if holds(ratio) { "" } else { " **missed**" };
    println!("| {what} | {ours:.1} {unit} | {theirs:.1} {unit} | {ratio:.2}{word} | {promised} |");
}

/// On one processor, all of it: else where the scheduler happens to put two processes decides, by a factor of four.
fn stay_on_one_processor() {
    let allowed = rustix::thread::sched_getaffinity(None).unwrap();
    let last = (0..rustix::thread::CpuSet::MAX_CPU).rfind(|cpu| allowed.is_set(*cpu)).unwrap();
    let mut one = rustix::thread::CpuSet::new();
    one.set(last);
    rustix::thread::sched_setaffinity(None, &one).unwrap();
}

/// Prints the table.
pub fn run() {
    stay_on_one_processor();
    let world = World::start();
    let (home, daemon) = shares::held(&world, SHARES);
    let socket = home.socket();
    let echo_socket = world.dir().join("echo");
    let program = std::env::current_exe().unwrap();
    let _echo = Echo(Command::new(program).arg("echo").arg(&echo_socket).spawn().unwrap());
    until("the echo", PATIENCE, || UnixStream::connect(&echo_socket).ok());

    let mut ours = Line::new(&socket, true, Call::Ping(Ping {}));
    let mut theirs = Line::new(&echo_socket, false, Call::Ping(Ping {}));
    let (mut p50, mut p99, mut rate) = ([vec![], vec![]], [vec![], vec![]], [vec![], vec![]]);
    for round in 0..=ROUNDS {
        for (side, line) in [&mut ours, &mut theirs].into_iter().enumerate() {
            let [middle, late] = line.latency(CALLS);
            let a_second = line.throughput(PIPELINED);
            // The first round is not counted.
            if round > 0 {
                p50[side].push(middle * 1e6);
                p99[side].push(late * 1e6);
                rate[side].push(a_second / 1e3);
            }
        }
    }
    println!(
        "| a call, natively | fairshared | tokio echo | ratio | promised |\n| --- | --- | --- | --- | --- |"
    );
    let [ours, theirs] = p50;
    row("`ping`, p50", "µs", ours, theirs, "at most 1.5", |ratio| ratio <= P50_MAX);
    let [ours, theirs] = p99;
    row("`ping`, p99", "µs", ours, theirs, "at most 2.0", |ratio| ratio <= P99_MAX);
    let [ours, theirs] = rate;
    row("`ping`, pipelined", "k/s", ours, theirs, "at least 0.5", |ratio| ratio >= PIPELINED_MIN);

    let mut list = Line::new(&socket, true, Call::List(List {}));
    let rounds = (0..=ROUNDS).map(|_| {
        let began = Instant::now();
        for _ in 0..LISTS {
            list.call();
        }
        LISTS as f64 / began.elapsed().as_secs_f64()
    });
    let lists = median(rounds.skip(1).collect());
    let word = if lists >= LISTS_A_SECOND_MIN { "" } else { " **missed**" };
    println!("| `list`, {SHARES} shares | {lists:.0} /s | | {word} | at least 2000 /s |");
    daemon.stop();
}
