//! The deadlines, under a clock that stands still until it is moved.

use crate::wire::frame::FrameBuffer;
use std::os::unix::net::UnixStream as Blocking;

use super::*;
use crate::identity::{Gid, Uid};
use crate::policy::Role;
use crate::wire::decode::{HelloReply, decode_hello_reply, decode_response};
use crate::wire::message::Hello;

/// A session under way, and its client's end. The clock runs ahead whenever nothing else is to be done.
fn session() -> (tokio::task::JoinHandle<End>, UnixStream, watch::Sender<bool>) {
    let (ours, theirs) = Blocking::pair().unwrap();
    let stream = |socket: Blocking| {
        socket.set_nonblocking(true).unwrap();
        UnixStream::from_std(socket).unwrap()
    };
    let peer = Peer { uid: Uid::ROOT, gid: Gid::ROOT, pid: 1, groups: vec![Gid::ROOT], role: Role::Admin };
    let (stop, stopping) = watch::channel(false);
    let (events, _) = mpsc::channel(1);
    let session = Session::new(stream(ours), Arc::new(peer), Arc::default(), events, stopping, Feed::new());
    (tokio::spawn(session.serve()), stream(theirs), stop)
}

fn hello() -> Vec<u8> {
    let name = "test".to_owned();
    let (client_name, client_version) = (name.clone(), name);
    let hello = Hello { protocol_version: 1, client_name, client_version, supports: Vec::new() };
    let mut frame = Vec::new();
    encode_frame(&hello, &mut frame).unwrap();
    frame
}

/// All that was said to the client, frame by frame.
async fn said(stream: &UnixStream) -> Vec<Vec<u8>> {
    let (mut buffer, mut frames) = (FrameBuffer::new(), Vec::new());
    loop {
        stream.readable().await.unwrap();
        match stream.try_read(buffer.space().unwrap()) {
            Ok(0) => return frames,
            Ok(count) => frames.extend(buffer.filled(count)),
            Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
        }
    }
}

fn timed_out(frame: &[u8]) {
    let Response { request_id: 0, body: Body::Err(error), .. } = decode_response(frame).unwrap() else {
        panic!("not about the connection")
    };
    assert!(error.is(Code::Timeout), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn a_connection_on_which_nothing_is_said_is_closed_after_the_idle_time() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    client.write_all(&hello()).await.unwrap();
    assert!(matches!(session.await.unwrap(), End::TimedOut("Nothing was asked for too long")));
    assert_eq!(began.elapsed().as_secs(), IDLE_TIMEOUT.as_secs());
    let frames = said(&client).await;
    assert!(matches!(decode_hello_reply(&frames[0]), Ok(HelloReply::Ack(_))));
    timed_out(&frames[1]);
}

#[tokio::test(start_paused = true)]
async fn a_frame_that_began_has_its_own_deadline() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    client.write_all(&hello()).await.unwrap();
    client.write_all(&[0, 0]).await.unwrap();
    assert!(matches!(session.await.unwrap(), End::TimedOut(_)));
    assert_eq!(began.elapsed().as_secs(), FRAME_TIMEOUT.as_secs());
    timed_out(&said(&client).await[1]);
}

#[tokio::test(start_paused = true)]
async fn a_hello_that_drips_is_late_all_the_same() {
    let (session, mut client, _stop) = session();
    let began = Instant::now();
    for byte in hello().into_iter().take(4) {
        client.write_all(&[byte]).await.unwrap();
        tokio::time::advance(HELLO_TIMEOUT / 5).await;
    }
    assert!(matches!(session.await.unwrap(), End::TimedOut("No hello in time")));
    assert_eq!(began.elapsed().as_secs(), HELLO_TIMEOUT.as_secs());
    timed_out(&said(&client).await[0]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_when_the_daemon_stops() {
    let (session, mut client, stop) = session();
    client.write_all(&hello()).await.unwrap();
    client.readable().await.unwrap();
    stop.send_replace(true);
    assert!(matches!(session.await.unwrap(), End::Closed));
    assert_eq!(said(&client).await.len(), 1);
}
