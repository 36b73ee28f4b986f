//! What somebody who is no member sends to the daemon over the bus: it holds up nobody.

use std::fs;
use std::os::fd::AsFd;

use fairshare::contract::{Call, Ping};
use tokio::runtime::Runtime;
use zbus::connection::Builder;
use zbus::{Connection, Fd, Message};

use super::closing::{lingering, others_are_answered, without_lingering_in};
use super::harness::Daemon;
use super::raw::request;

/// Somebody on the bus, and what the daemon is called there.
pub struct Stranger {
    runtime: Runtime,
    connection: Connection,
    daemon: String,
}

impl Stranger {
    pub fn of(address: &str, daemon: &Daemon) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (connection, daemon) = runtime.block_on(async {
            let connection = Builder::address(address).build().await.unwrap();
            let names = ask(&connection, "ListNames", &()).await.unwrap();
            for name in names.body().deserialize::<Vec<String>>().unwrap() {
                // It may have left the bus meanwhile.
                let Ok(pid) = ask(&connection, "GetConnectionUnixProcessID", &(&name,)).await else {
                    continue;
                };
                if pid.body().deserialize::<u32>().unwrap() == daemon.pid() {
                    return (connection, name);
                }
            }
            panic!("the daemon is not on the bus")
        });
        Self { runtime, connection, daemon }
    }

    fn signal<B: serde::Serialize + zbus::wire::DynamicType>(&self, body: &B) {
        self.say(["/", "org.example.Stranger", "Take"], body);
    }

    /// Sends the daemon a signal of an object, an interface and a member.
    pub fn say<B: serde::Serialize + zbus::wire::DynamicType>(&self, what: [&str; 3], body: &B) {
        let (to, [object, interface, member]) = (Some(self.daemon.as_str()), what);
        let sent = self.connection.emit_signal(to, object, interface, member, body);
        self.runtime.block_on(sent).unwrap();
    }

    /// Waits until the bus has handled all that was sent before.
    pub fn round_trip(&self) {
        self.runtime.block_on(ask(&self.connection, "GetId", &())).unwrap();
    }
}

/// Asks the bus itself.
async fn ask<B>(connection: &Connection, method: &str, body: &B) -> zbus::Result<Message>
where
    B: serde::Serialize + zbus::wire::Type,
{
    let bus = "org.freedesktop.DBus";
    connection.call_method(Some(bus), "/org/freedesktop/DBus", Some(bus), method, body).await
}

#[test]
fn a_socket_that_lingers_and_came_over_the_bus_holds_up_nobody() {
    without_lingering_in(|world, daemon| {
        let stranger = Stranger::of(world.bus_address(), daemon);
        let (socket, _unread) = lingering();
        daemon.hold(|| {
            stranger.signal(&(Fd::from(socket.as_fd()),));
            drop(socket);
            // The bus has its own descriptor of it until the message is on its way.
            stranger.round_trip();
            stranger.round_trip();
        });
        others_are_answered(daemon);
        daemon.client().ask(&request()).unwrap();
    });
}

#[test]
fn signals_that_are_too_long_take_none_of_the_daemons_memory() {
    without_lingering_in(|world, daemon| {
        let stranger = Stranger::of(world.bus_address(), daemon);
        let before = peak_bytes(daemon);
        let long = "x".repeat(16 << 20);
        for _ in 0..8 {
            stranger.signal(&(&long,));
            daemon.client().ask(&Call::Ping(Ping {})).unwrap();
        }
        stranger.round_trip();
        // What is asked of systemd comes over the same connection, after all of them.
        daemon.client().ask(&request()).unwrap();
        let grown = peak_bytes(daemon) - before;
        assert!(grown < long.len() as u64 / 2, "{grown} bytes more");
    });
}

/// The most memory that it had at a time (`VmHWM`, `proc_pid_status(5)`).
fn peak_bytes(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}
