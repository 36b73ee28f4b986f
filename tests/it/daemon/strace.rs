//! strace as the hand that makes system calls fail, or kills the daemon at them.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use super::harness::{Daemon, Home, PATIENCE};
use crate::poll::until;

/// A tracer of a running daemon. The faults end with the value.
pub struct Tracer {
    strace: Child,
    trace: PathBuf,
}

impl Tracer {
    /// Attaches, and waits until all threads are traced. `calls` as `-e trace=` takes them, `inject` as `-e inject=`.
    pub fn attach(
        daemon: &Daemon,
        home: &Home,
        calls: &str,
        inject: Option<&str>,
        paths: &[PathBuf],
    ) -> Self {
        let trace = home.state_dir().with_file_name(format!("trace-{}", daemon.pid()));
        let said = trace.with_extension("said");
        let mut command = Command::new("strace");
        command.args(["-f", "-p", &daemon.pid().to_string(), "-e", &format!("trace={calls}"), "-o"]);
        command.arg(&trace);
        for path in paths {
            command.arg("-P").arg(path);
        }
        if let Some(inject) = inject {
            command.args(["-e", &format!("inject={inject}")]);
        }
        let strace = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(&said).unwrap())
            .spawn()
            .expect("strace is needed: apt install strace");
        until("strace to attach", PATIENCE, || {
            let said = fs::read_to_string(&said).unwrap();
            assert!(!said.contains("not permitted"), "{said}");
            said.contains(" attached").then_some(())
        });
        Self { strace, trace }
    }

    /// Detaches. What was traced.
    ///
    /// By SIGKILL, with which the kernel lets go of whom it traced: asked to end, strace waits for those that died.
    pub fn detach(mut self) -> String {
        self.strace.kill().unwrap();
        self.strace.wait().unwrap();
        fs::read_to_string(&self.trace).unwrap()
    }
}

impl Drop for Tracer {
    fn drop(&mut self) {
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}
