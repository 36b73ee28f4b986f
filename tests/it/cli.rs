//! The command, run as a member runs it, against a daemon that says what the test has it say.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, its helpers too")]

mod arrays;
mod ask;
mod history;
mod jobs;
mod json;
mod line;
mod output;
mod refuse;
mod run;
mod show;
mod simulate;
mod submit;

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use fairshare::contract::{
    AllocationInfo, AllocationKind, AllocationState, AmountInfo, Answer, Body, Call, CapacityInfo, EventInfo,
    HeldShare, InUnit, JobInfo, JobKind, JobState, PolicyInfo, Response, ShareInfo, StatusAnswer, Subscribed,
    Usage, decode_request,
};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::frame::{PREFIX_BYTES, encode_frame};
use fairshare::wire::hello::{Authz, HelloAck, Role, decode_hello};

use crate::wire::messages::job_min;

const GIB: u64 = 1 << 30;

/// What the daemon does with the next frame.
enum Next {
    /// Answers, whatever was asked; to a hello only a refusal.
    Says(Box<Result<Answer, WireError>>),
    /// Sends these bytes.
    Sends(&'static [u8]),
    /// Closes.
    Closes,
    /// Says yes to a subscription and sends these events; then closes, or leaves it open.
    Streams(Vec<EventInfo>, Then),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Closes,
    Waits,
}

impl From<Answer> for Next {
    fn from(answer: Answer) -> Self {
        Self::Says(Box::new(Ok(answer)))
    }
}

impl From<WireError> for Next {
    fn from(error: WireError) -> Self {
        Self::Says(Box::new(Err(error)))
    }
}

impl From<Code> for Next {
    fn from(code: Code) -> Self {
        WireError::new(code, "no").into()
    }
}

/// A daemon on a socket of its own. It answers calls with what stands next in its script, whichever connection
/// they come on.
struct Daemon {
    dir: tempfile::TempDir,
    heard: Arc<Mutex<Vec<Heard>>>,
}

#[expect(clippy::large_enum_variant, reason = "a test hears a handful of them")]
#[derive(Debug, Clone, PartialEq, Eq)]
enum Heard {
    Connected,
    Asked(Call),
}

impl Daemon {
    /// Welcomes everyone, then follows the script.
    fn saying(script: impl IntoIterator<Item = Next>) -> Self {
        Self::of_version("0.1.0", script)
    }

    /// The same, as a daemon of this version.
    fn of_version(version: &str, script: impl IntoIterator<Item = Next>) -> Self {
        Self::start(Ok(version.to_owned()), script.into_iter().collect())
    }

    /// Does this in place of the answer to every hello.
    fn refusing(refusal: Next) -> Self {
        Self::start(Err(refusal), Vec::new())
    }

    fn start(hello: Result<String, Next>, script: Vec<Next>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(dir.path().join("socket")).unwrap();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let log = Arc::clone(&heard);
        let script = Arc::new(Mutex::new(script.into_iter()));
        let hello = Arc::new(hello);
        // The threads end with the test process: they wait for connections and calls until then.
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (log, script, hello) = (Arc::clone(&log), Arc::clone(&script), Arc::clone(&hello));
                log.lock().unwrap().push(Heard::Connected);
                thread::spawn(move || serve(stream.unwrap(), hello.as_ref().as_ref(), &script, &log));
            }
        });
        Self { dir, heard }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("socket")
    }

    /// The command with this command line, told of this daemon.
    fn command(&self, line: &str) -> Command {
        let mut command = fairshare(line);
        command.env("FAIRSHARE_SOCKET", self.socket());
        command
    }

    fn run(&self, line: &str) -> Output {
        self.command(line).output().unwrap()
    }

    fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    fn calls(&self) -> Vec<Call> {
        let asked = |heard| match heard {
            Heard::Asked(call) => Some(call),
            Heard::Connected => None,
        };
        self.heard().into_iter().filter_map(asked).collect()
    }
}

/// The command with these words, in an environment that changes nothing of what it says.
fn fairshare(line: &str) -> Command {
    // As a terminal starts it: what runs the tests in the background may ignore ^C, and so would the command.
    let mut command = Command::new("env");
    command.args(["--default-signal=INT", env!("CARGO_BIN_EXE_fairshare")]);
    command.args(line.split_whitespace()).stdin(Stdio::null());
    command.env_remove("FAIRSHARE_SOCKET").env_remove("NO_COLOR").env("LC_ALL", "C.UTF-8");
    command
}

fn serve(
    mut stream: UnixStream,
    hello: Result<&String, &Next>,
    script: &Mutex<std::vec::IntoIter<Next>>,
    log: &Mutex<Vec<Heard>>,
) {
    let Some(first) = frame(&mut stream) else { return };
    decode_hello(&first).unwrap();
    match hello {
        Ok(version) => {
            let authz = Authz { uid: 1000, gid: 1000, role: Role::Operator };
            let (version, features) = (version.clone(), Vec::new());
            send(
                &mut stream,
                &HelloAck {
                    protocol_version: 2,
                    daemon_version: version,
                    features,
                    max_frame: 1 << 20,
                    authz,
                },
            );
        }
        Err(next) => return follow(&mut stream, next, 0),
    }
    while let Some(payload) = frame(&mut stream) {
        let request = decode_request(&payload).unwrap();
        log.lock().unwrap().push(Heard::Asked(request.call));
        let next = script.lock().unwrap().next();
        match next {
            Some(Next::Closes) | None => return,
            Some(ref next) => follow(&mut stream, next, request.request_id),
        }
        if matches!(next, Some(Next::Streams(_, Then::Closes))) {
            return;
        }
    }
}

fn follow(stream: &mut UnixStream, next: &Next, request_id: u64) {
    match next {
        Next::Says(said) => {
            let body = match said.as_ref().clone() {
                Ok(answer) => Body::Ok(answer),
                Err(error) => Body::Err(error),
            };
            send(stream, &Response { v: 2, request_id, body });
        }
        Next::Sends(bytes) => stream.write_all(bytes).unwrap(),
        Next::Streams(events, _) => {
            let body = Body::Ok(Answer::Subscribed(Subscribed { subscribed: true }));
            send(stream, &Response { v: 2, request_id, body });
            for event in events {
                send(stream, &Response { v: 2, request_id, body: Body::Event(Box::new(event.clone())) });
            }
        }
        Next::Closes => {}
    }
}

fn send(stream: &mut UnixStream, message: &impl serde::Serialize) {
    let mut frame = Vec::new();
    encode_frame(message, &mut frame).unwrap();
    // Whoever is gone does not hear it.
    let _ = stream.write_all(&frame);
}

/// The next payload; `None` where the other side has closed. Nothing is read of what follows.
fn frame(stream: &mut UnixStream) -> Option<Vec<u8>> {
    let mut prefix = [0; PREFIX_BYTES];
    let mut read = |bytes: &mut [u8]| match stream.read_exact(bytes) {
        Ok(()) => Some(()),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
        Err(error) => panic!("{error}"),
    };
    read(&mut prefix)?;
    let mut payload = vec![0; u32::from_be_bytes(prefix) as usize];
    read(&mut payload)?;
    Some(payload)
}

fn share() -> ShareInfo {
    ShareInfo {
        uid: 1000,
        user: Some("alice".into()),
        cpu_milli: 2000,
        mem_bytes: 8 * GIB,
        tasks_max: 4096,
        slice: "fairshare-1000.slice".into(),
        burst_cpu_milli: None,
        usage: Some(Usage { cpu_usec: 37 * 60_000_000, mem_bytes: 3 * GIB, tasks: 37, ..Usage::default() }),
        allocations: Some(vec![standing()]),
    }
}

fn standing() -> AllocationInfo {
    AllocationInfo {
        kind: AllocationKind::Standing,
        job_id: None,
        cpu_milli: 2000,
        mem_bytes: 8 * GIB,
        tasks_max: 4096,
        state: AllocationState::Active,
        granted_ms: 1,
        lease_ends_ms: None,
        unit: "fairshare-1000-own.slice".into(),
        usage: None,
        paused: None,
    }
}

fn capacity() -> CapacityInfo {
    CapacityInfo {
        cpu_milli: 15_000,
        mem_bytes: 62 * GIB,
        free_cpu_milli: 9000,
        free_mem_bytes: 42 * GIB,
        shares: 3,
        waiting: 0,
        left_behind_bytes: None,
    }
}

fn status() -> Next {
    Answer::Status(StatusAnswer { share: Some(share()), capacity: capacity() }).into()
}

fn unit() -> Next {
    let unit = "fairshare-1000-own-run1.scope".into();
    Answer::Unit(InUnit { unit, cpu_milli: 1500, mem_bytes: 8 * GIB, job_id: None }).into()
}

/// In the room of its own that job 7 has.
fn own_unit() -> Next {
    let (unit, job_id) = ("fairshare-1000-run7-run1.scope".into(), Some(7));
    Answer::Unit(InUnit { unit, cpu_milli: 1000, mem_bytes: GIB, job_id }).into()
}

fn granted() -> Next {
    Answer::Share(HeldShare { share: share() }).into()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// Standard output of a command that succeeds and says nothing else.
#[track_caller]
fn shown(output: &Output) -> String {
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(0), ""));
    text(&output.stdout)
}

/// Standard error of a command that fails with this status and shows nothing.
#[track_caller]
fn complaint(output: &Output, exit: i32) -> String {
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), text(&output.stdout).as_str()), (Some(exit), ""), "{stderr}");
    assert!(stderr.starts_with("fairshare: "), "{stderr}");
    stderr
}

/// What a terminal is sent. A terminal has one stream, and lines end in CR LF there.
fn on_terminal(daemon: &Daemon, line: &str, environment: &[(&str, &str)]) -> String {
    let mut script = Command::new("script");
    script.args(["-qec", &format!("{} {line}", env!("CARGO_BIN_EXE_fairshare")), "/dev/null"]);
    script.env("FAIRSHARE_SOCKET", daemon.socket()).env("TERM", "xterm").env_remove("NO_COLOR");
    script.envs(environment.iter().copied()).stdin(Stdio::null());
    text(&script.output().unwrap().stdout)
}

fn policy() -> PolicyInfo {
    PolicyInfo {
        defaults: AmountInfo { cpu_milli: 2000, mem_bytes: 8 * GIB, tasks_max: 4096 },
        max: AmountInfo { cpu_milli: 8000, mem_bytes: 32 * GIB, tasks_max: 32_768 },
        lease_default_ms: Some(8 * 3_600_000),
        lease_max_ms: Some(7 * 86_400_000),
        idle_ms: Some(30 * 60_000),
        burst_cpu_milli: None,
        role: Role::Operator,
        from_sandboxes: false,
        io: None,
        key: None,
    }
}

fn job(state: JobState) -> JobInfo {
    JobInfo { job_id: 7, uid: 1000, created_ms: 1, ..job_min(JobKind::Release, state) }
}

fn event(kind: &str) -> EventInfo {
    EventInfo {
        at_ms: 1_000,
        kind: kind.into(),
        uid: None,
        job_id: None,
        job: None,
        share: None,
        allocation: None,
        message: None,
        lagged: None,
    }
}

fn interrupt(pid: u32) {
    let pid = nix::unistd::Pid::from_raw(pid.try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGINT).unwrap();
}
