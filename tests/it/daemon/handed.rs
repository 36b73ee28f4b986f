//! What is handed to a command: to its process only, and no longer the daemon's than it takes.

use std::fs::File;
use std::io::{IoSliceMut, Read as _, Seek as _};
use std::mem::MaybeUninit;
use std::net::Shutdown;
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Command;

use fairshare::client::{Client, Deadlines};
use fairshare::wire::call::Amounts;
use fairshare::wire::handover::{HANDED_MAX, Handover};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};

use super::harness::{Home, PATIENCE};
use super::raw::{request, submission};
use super::submit::descriptors;
use super::works::{runs, service, submitted};
use crate::poll::until;
use crate::stand_in::World;

/// They are files of the member's, which may take as long as they like to be closed: the bus and systemd close what they are
/// sent while everybody waits.
#[test]
fn what_a_command_reads_and_writes_goes_to_its_process_and_not_over_the_bus() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let mut client = Client::connect(daemon.socket(), "test", "1", Deadlines::default()).unwrap();
    let files = [(); 3].map(|()| tempfile::tempfile().unwrap());
    let id = client.submit(submission(), &[files[0].as_fd(), files[1].as_fd(), files[2].as_fd()]).unwrap();
    let socket = UnixStream::from(until("the process", PATIENCE, || world.input(&service(id))));
    let inode = |file: &File| file.metadata().unwrap().ino();
    let handed: Vec<u64> = handed(&socket).iter().map(inode).collect();
    assert_eq!(handed[1..], files.each_ref().map(inode));
    let unit = world.unit(&service(id)).unwrap();
    assert_eq!((unit.text("StandardOutput"), unit.text("StandardError")), (Some("null"), Some("null")));
}

/// What comes with the first byte.
fn handed(socket: &UnixStream) -> Vec<File> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(HANDED_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut control, RecvFlags::empty()).unwrap();
    let Some(RecvAncillaryMessage::ScmRights(files)) = control.drain().next() else { panic!("nothing") };
    files.map(File::from).collect()
}

/// As `at(1)` does: a member whose files are nobody else's has them so in the background too.
#[test]
fn a_command_creates_files_as_who_submitted_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let folder = tempfile::tempdir().unwrap();
    for umask in [0o077, 0o002] {
        let submit = format!("umask {umask:o}; exec \"$@\"");
        let ran = Command::new("sh")
            .args(["-c", &submit, "sh", env!("CARGO_BIN_EXE_fairshare"), "submit", "--socket"])
            .args([daemon.socket(), Path::new("true")])
            .current_dir(&folder)
            .output()
            .unwrap();
        let id = String::from_utf8(ran.stdout).unwrap().trim().parse().unwrap();
        let socket = UnixStream::from(until("the process", PATIENCE, || world.input(&service(id))));
        let mut file = handed(&socket).remove(0);
        file.rewind().unwrap();
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).unwrap();
        assert_eq!(Handover::decode(&bytes).unwrap().umask, umask);
    }
}

#[test]
fn what_a_command_came_with_is_given_back_as_soon_as_systemd_has_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    daemon.client().granted(&request());
    let mut client = Client::connect(daemon.socket(), "test", "1", Deadlines::default()).unwrap();
    let null = File::options().read(true).write(true).open("/dev/null").unwrap();
    let before = descriptors(&daemon);
    let ids: Vec<u64> = (0..20).map(|_| client.submit(submission(), &[null.as_fd(); 3]).unwrap()).collect();
    ids.iter().for_each(|id| until("all to run", PATIENCE, || runs(&world, *id).then_some(())));
    // None has taken anything: what is handed over stays of each, one end of a socket, and what one client needs.
    until("descriptors to be closed", PATIENCE, || {
        (descriptors(&daemon) <= before + 2 * ids.len() + 2).then_some(())
    });
    // They have: systemd keeps the other ends for as long as they run.
    for id in &ids {
        UnixStream::from(world.input(&service(*id)).unwrap()).shutdown(Shutdown::Both).unwrap();
    }
    until("the sockets to be closed", PATIENCE, || (descriptors(&daemon) <= before + 2).then_some(()));
}

/// The process is its member's own: what it was handed it may hold for as long as it likes.
#[test]
fn what_was_taken_over_is_no_memory_of_the_daemons_whoever_still_holds_it() {
    let world = World::start();
    let mut home = Home::new(&world);
    let daemon = home.activate();
    let mut raw = daemon.client();
    raw.granted(&request());
    let id = submitted(&world, &mut raw, Amounts::default());
    let socket = UnixStream::from(world.input(&service(id)).unwrap());
    let file = handed(&socket).remove(0);
    let bytes = || file.metadata().unwrap().len();
    assert!(bytes() > 0, "gone before it was taken over");
    socket.shutdown(Shutdown::Both).unwrap();
    until("the bytes to go", PATIENCE, || (bytes() == 0).then_some(()));
    file.set_len(1).expect_err("it can be filled again");
}
