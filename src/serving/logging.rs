//! Where messages go: to journald with fields under systemd, to the terminal otherwise.

use std::io::IsTerminal as _;

use tracing::error;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, reload};

use crate::wire::error::WireError;

/// Sets up logging of this daemon, once. `RUST_LOG` filters; `info` where it is not set.
///
/// Under systemd standard error is the journal's stream (`JOURNAL_STREAM`, `systemd.exec(5)`): then the messages go
/// to journald's own socket, which takes fields. Anywhere else they go to standard error.
pub fn start(daemon: &str) -> Logging {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let logging = Logging { filter: handle };
    let registry = tracing_subscriber::registry().with(filter);
    if std::env::var_os("JOURNAL_STREAM").is_some() {
        match tracing_journald::layer() {
            Ok(layer) => {
                let layer = layer.with_field_prefix(None).with_syslog_identifier(daemon.to_owned());
                registry.with(layer).init();
                return logging;
            }
            Err(error) => {
                eprintln!("{daemon}: journald cannot be reached, logging to standard error: {error}")
            }
        }
    }
    let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let colored = wanted && std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_target(false);
    registry.with(layer.with_ansi(colored)).init();
    logging
}

/// What is logged, and the way to change it while the daemon runs.
#[derive(Clone)]
pub struct Logging {
    filter: reload::Handle<EnvFilter, Registry>,
}

impl Logging {
    /// Has messages logged as `filter` says, in the words of `RUST_LOG`; whether that is another filter than before.
    pub fn set(&self, filter: &str) -> bool {
        let before = self.filter.with_current(ToString::to_string);
        let set = EnvFilter::try_new(filter).map(|filter| (filter.to_string(), self.filter.reload(filter)));
        match (before, set) {
            (Ok(before), Ok((now, Ok(())))) => before != now,
            (before, set) => {
                error!("what is logged stays as it was: {:?} {:?}", before.err(), set.map(|(_, set)| set));
                false
            }
        }
    }
}

/// An error with all that caused it, in one line.
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some errors print their source themselves.
        if !line.ends_with(&cause_text) {
            line.push_str(": ");
            line.push_str(&cause_text);
        }
        source = cause.source();
    }
    line
}

/// An answer that is an error, with its detail, in one line.
pub fn in_full(error: &WireError) -> String {
    match error.more() {
        Some(more) => format!("{error}: {more}"),
        None => error.to_string(),
    }
}
