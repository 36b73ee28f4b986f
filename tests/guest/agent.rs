//! The QEMU guest agent: runs commands in the guest and brings back what they wrote.
//!
//! Protocol: QEMU's `docs/interop/qemu-ga-ref`. Measured under TCG on an idle host: 70 to 100 ms for
//! `bash -c true`, of which most is the guest starting bash; output comes at about 2 MB a second.

use std::time::{Duration, Instant};

use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::{Value, json};

use crate::channel::{Channel, Silence};

/// The agent answers each call at once, unless the guest is overwhelmed or gone.
const CALL_TIMEOUT: Duration = Duration::from_secs(120);

/// A connection to a guest's agent.
pub struct Agent {
    channel: Channel,
    /// An answer that came too late would be taken for that to the next question.
    out_of_step: bool,
}

/// How a command ended.
pub struct Exit {
    /// The exit code; 128 and the signal's number when a signal ended it, as a shell says it.
    pub code: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Agent {
    /// Brings both sides in step: whatever was said before is over.
    pub fn new(mut channel: Channel) -> Result<Agent, String> {
        let deadline = Instant::now() + CALL_TIMEOUT;
        let id = u64::from(std::process::id()) << 16 | u64::from(rand_tag());
        let hello = json!({"execute": "guest-sync", "arguments": {"id": id}});
        channel.send(&hello).map_err(|silence| format!("the guest agent: {silence:?}"))?;
        loop {
            match channel.receive(deadline) {
                Ok(answer) if answer["return"] == id => return Ok(Agent { channel, out_of_step: false }),
                Ok(_) => {}
                Err(silence) => return Err(format!("the guest agent does not answer: {silence:?}")),
            }
        }
    }

    /// Starts a program; the pid is the guest's.
    pub fn start(
        &mut self,
        program: &[&str],
        environment: &[String],
        stdin: Option<&[u8]>,
    ) -> Result<i64, String> {
        let mut arguments = json!({
            "path": program[0], "arg": program[1..], "env": environment, "capture-output": true,
        });
        if let Some(bytes) = stdin {
            arguments["input-data"] = BASE64_STANDARD.encode(bytes).into();
        }
        let answer = self.call("guest-exec", arguments)?;
        answer["pid"].as_i64().ok_or_else(|| format!("no pid in {answer}"))
    }

    /// How a started program ended; `None` while it runs. It can be asked once only after the end.
    pub fn poll(&mut self, pid: i64) -> Result<Option<Exit>, String> {
        let answer = self.call("guest-exec-status", json!({ "pid": pid }))?;
        if answer["exited"] != true {
            return Ok(None);
        }
        if answer["out-truncated"] == true || answer["err-truncated"] == true {
            return Err("the output was too long for the guest agent (16 MiB): write it to a file".into());
        }
        let bytes = |name: &str| match answer[name].as_str() {
            Some(text) => BASE64_STANDARD.decode(text).map_err(|error| format!("{name}: {error}")),
            None => Ok(Vec::new()),
        };
        let signal = answer["signal"].as_i64().map(|signal| 128 + signal);
        let code = answer["exitcode"].as_i64().or(signal).unwrap_or(-1);
        Ok(Some(Exit { code: code as i32, stdout: bytes("out-data")?, stderr: bytes("err-data")? }))
    }

    fn call(&mut self, command: &str, arguments: Value) -> Result<Value, String> {
        if self.out_of_step {
            return Err("the guest agent did not answer an earlier call in time".into());
        }
        let failed = |silence: Silence| format!("the guest agent's answer to {command}: {silence:?}");
        self.out_of_step = true;
        self.channel.send(&json!({"execute": command, "arguments": arguments})).map_err(failed)?;
        let mut answer = self.channel.receive(Instant::now() + CALL_TIMEOUT).map_err(failed)?;
        self.out_of_step = false;
        match answer.get("error") {
            None => Ok(answer["return"].take()),
            Some(error) => Err(format!("the guest agent refused {command}: {error}")),
        }
    }
}

/// Something that differs between two connections to the same guest.
fn rand_tag() -> u16 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| (since.subsec_micros() & 0xffff) as u16)
}
