//! Commands in a guest, and what came of them.
#![allow(dead_code, reason = "the tests' vocabulary: not every word of it is in use at any time")]

use std::time::{Duration, Instant};

use crate::agent::Exit;
use crate::guest::Guest;

/// How long a command, or what is awaited, may take unless it says otherwise. What takes seconds on a machine at rest takes
/// minutes in a guest that is emulated on a busy one: this is for what hangs, and a test that passes never waits for it.
pub const PATIENCE: Duration = Duration::from_secs(600);
/// Between two of the daemon's own looks at everything: what comes sooner has been told.
pub const SWEEP: Duration = Duration::from_secs(60);
/// The agent has no "tell me when it ends": asking costs the guest about 3 ms each time.
const POLL_FIRST: Duration = Duration::from_millis(5);
const POLL_MAX: Duration = Duration::from_millis(50);
const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A shell command to be run in a guest.
pub struct Command {
    guest: Guest,
    text: String,
    user: Option<String>,
    login: bool,
    stdin: Option<Vec<u8>>,
    environment: Vec<String>,
    timeout: Duration,
}

impl Command {
    pub(crate) fn new(guest: Guest, text: &str) -> Command {
        let (user, stdin) = (None, None);
        let text = text.to_owned();
        Command { guest, text, user, login: false, stdin, environment: Vec::new(), timeout: PATIENCE }
    }

    /// As this user, in the user's home.
    pub fn user(mut self, user: &str) -> Command {
        self.user = Some(user.to_owned());
        self
    }

    /// In a login session, with logind, `user@.service` and `XDG_RUNTIME_DIR`: about a second more.
    pub fn login(mut self) -> Command {
        self.login = true;
        self
    }

    /// With these bytes as its input.
    pub fn stdin(mut self, bytes: impl AsRef<[u8]>) -> Command {
        self.stdin = Some(bytes.as_ref().to_vec());
        self
    }

    /// With this variable in its environment (not in a login session, which makes its own).
    pub fn env(mut self, name: &str, value: &str) -> Command {
        self.environment.push(format!("{name}={value}"));
        self
    }

    /// With another deadline than [`PATIENCE`].
    pub fn within(mut self, timeout: Duration) -> Command {
        self.timeout = timeout;
        self
    }

    /// Runs it to its end. A command that does not end in time fails the test.
    #[track_caller]
    pub fn run(self) -> Ran {
        match self.try_run() {
            Ok(exit) => self.ran(exit),
            Err(error) => panic!("{}", self.guest.report(&format!("{}: {error}", self.describe()))),
        }
    }

    /// Runs it again and again, in the guest, until it succeeds; what the last run wrote is the answer.
    #[track_caller]
    pub fn until_ok(mut self, timeout: Duration) -> Ran {
        let text = std::mem::take(&mut self.text);
        self.text = format!(
            "end=$((SECONDS + {})); until out=$( {{ {text}\n}} 2>&1 ); do
                if ((SECONDS >= end)); then echo \"$out\"; exit 124; fi; sleep 0.05
             done; echo \"$out\"",
            timeout.as_secs()
        );
        let guest = self.guest.clone();
        let ran = self.within(timeout + PATIENCE).run();
        if ran.code == 124 {
            let last = ran.text();
            panic!("{}", guest.report(&format!("not within {timeout:?}: {text}\n--- it said last\n{last}")));
        }
        Ran { command: text, ..ran }.expect_ok()
    }

    /// Starts it and lets it run.
    #[track_caller]
    pub fn spawn(self) -> Background {
        match self.start(true) {
            Ok(pid) => {
                self.await_identity(pid);
                Background { command: self, pid }
            }
            Err(error) => panic!("{}", self.guest.report(&format!("{}: {error}", self.describe()))),
        }
    }

    /// Waits until a started process is the user's own: until then it is the agent, setpriv or env.
    #[track_caller]
    fn await_identity(&self, pid: i64) {
        let ours = format!(
            "read -r name < /proc/{pid}/comm || exit 0; [[ ! $name =~ ^(qemu-ga|gmain|setpriv|env)$ ]]"
        );
        self.guest.root(&format!("until ( {ours} ) 2> /dev/null; do sleep 0.01; done")).expect_ok();
    }

    /// As `run`, for the harness itself: a fault is a value.
    pub(crate) fn try_run(&self) -> Result<Exit, String> {
        let pid = self.start(false)?;
        self.finish(pid, self.timeout)
    }

    fn start(&self, exact_pid: bool) -> Result<i64, String> {
        let user = self.user.as_deref().unwrap_or("root");
        let home = if user == "root" { "/root".to_owned() } else { format!("/home/{user}") };
        let mut environment = vec![PATH.to_owned(), "LANG=C.UTF-8".to_owned(), "SHELL=/bin/bash".to_owned()];
        environment.push(format!("HOME={home}"));
        environment.extend(["USER", "LOGNAME"].map(|name| format!("{name}={user}")));
        environment.extend(self.environment.iter().cloned());
        let program = self.program(user, &home, exact_pid);
        let program: Vec<&str> = program.iter().map(String::as_str).collect();
        self.guest.with_agent(|agent| agent.start(&program, &environment, self.stdin.as_deref()))
    }

    /// The words of the program. `exact_pid`: no program in it may stay in between, so that the pid that
    /// the agent tells is that of bash.
    fn program(&self, user: &str, home: &str, exact_pid: bool) -> Vec<String> {
        let (user_is_root, text) = (user == "root", self.text.as_str());
        let words: Vec<&str> = if self.login {
            vec!["/usr/sbin/runuser", "-l", user, "-c", text]
        } else if user_is_root {
            vec!["/usr/bin/env", "-C", home, "bash", "-c", text]
        } else if exact_pid {
            // runuser forks, for PAM; setpriv becomes the command.
            let identity = ["--reuid", user, "--regid", user, "--init-groups"];
            let command = ["env", "-C", home, "bash", "-c", text];
            [&["/usr/bin/setpriv"], &identity[..], &["--"], &command[..]].concat()
        } else {
            vec!["/usr/sbin/runuser", "-u", user, "--", "env", "-C", home, "bash", "-c", text]
        };
        words.into_iter().map(str::to_owned).collect()
    }

    fn finish(&self, pid: i64, timeout: Duration) -> Result<Exit, String> {
        let deadline = Instant::now() + timeout;
        let mut pause = POLL_FIRST;
        loop {
            if let Some(exit) = self.guest.with_agent(|agent| agent.poll(pid))? {
                return Ok(exit);
            }
            if Instant::now() > deadline {
                return Err(format!("still running after {timeout:?}"));
            }
            std::thread::sleep(pause);
            pause = (pause * 3 / 2).min(POLL_MAX);
        }
    }

    fn describe(&self) -> String {
        format!("{}$ {}", self.user.as_deref().unwrap_or("root"), self.text)
    }

    fn ran(&self, exit: Exit) -> Ran {
        let Exit { code, stdout, stderr } = exit;
        Ran { guest: self.guest.clone(), command: self.describe(), code, stdout, stderr }
    }
}

/// A command that runs while the test goes on.
pub struct Background {
    command: Command,
    /// Its process in the guest: the command itself where it is a single one, else the shell around it.
    pub pid: i64,
}

impl Background {
    /// Waits for its end, at most as long as the command may take.
    #[track_caller]
    pub fn wait(self) -> Ran {
        let (command, timeout) = (&self.command, self.command.timeout);
        match command.finish(self.pid, timeout) {
            Ok(exit) => command.ran(exit),
            Err(error) => panic!("{}", command.guest.report(&format!("{}: {error}", command.describe()))),
        }
    }

    /// Whether it has not ended yet.
    #[track_caller]
    pub fn is_running(&self) -> bool {
        // Not the agent's status, which can be had only once.
        self.command.guest.root(&format!("grep -q '^State:.[^Z]' /proc/{}/status", self.pid)).code == 0
    }

    /// Sends a signal, by its name: `kill("TERM")`.
    #[track_caller]
    pub fn kill(&self, signal: &str) {
        self.command.guest.root(&format!("kill -{signal} {}", self.pid)).expect_ok();
    }
}

/// A command that ended.
pub struct Ran {
    guest: Guest,
    /// Whose prompt, and what was typed.
    pub command: String,
    /// The exit code; 128 and the signal's number after a signal.
    pub code: i32,
    /// What it wrote.
    pub stdout: Vec<u8>,
    /// What it complained of.
    pub stderr: Vec<u8>,
}

impl Ran {
    /// Fails the test unless the command succeeded.
    #[track_caller]
    pub fn expect_ok(self) -> Ran {
        self.expect_code(0)
    }

    /// Fails the test unless the command ended with this code.
    #[track_caller]
    pub fn expect_code(self, code: i32) -> Ran {
        let holds = self.code == code;
        self.check(holds, &format!("expected exit code {code}"))
    }

    /// Fails the test unless the output has this in it.
    #[track_caller]
    pub fn stdout_has(self, text: &str) -> Ran {
        let holds = self.stdout().contains(text);
        self.check(holds, &format!("expected in stdout: {text:?}"))
    }

    /// Fails the test if the output has this in it.
    #[track_caller]
    pub fn stdout_lacks(self, text: &str) -> Ran {
        let holds = !self.stdout().contains(text);
        self.check(holds, &format!("not expected in stdout: {text:?}"))
    }

    /// Fails the test unless the complaints have this in them.
    #[track_caller]
    pub fn stderr_has(self, text: &str) -> Ran {
        let holds = self.stderr().contains(text);
        self.check(holds, &format!("expected in stderr: {text:?}"))
    }

    /// Whether it succeeded.
    pub fn ok(&self) -> bool {
        self.code == 0
    }

    /// The output as text.
    pub fn stdout(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The complaints as text.
    pub fn stderr(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The output without the space around it.
    pub fn text(&self) -> String {
        self.stdout().trim().to_owned()
    }

    /// The output as one JSON value.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        match serde_json::from_slice(&self.stdout) {
            Ok(value) => value,
            Err(error) => panic!("{}", self.failure(&format!("expected JSON in stdout: {error}"))),
        }
    }

    #[track_caller]
    fn check(self, holds: bool, expectation: &str) -> Ran {
        assert!(holds, "{}", self.failure(expectation));
        self
    }

    fn failure(&self, expectation: &str) -> String {
        self.guest.report(&format!(
            "{expectation}\n{}\n--- exit code {}\n--- stdout\n{}\n--- stderr\n{}",
            self.command,
            self.code,
            self.stdout(),
            self.stderr()
        ))
    }
}
