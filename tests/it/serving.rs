//! A second daemon on `fairshare::testing::serving`, with endpoints of the test's own: it has what every daemon of this house has.

use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::net::UnixStream as Blocking;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use fairshare::testing::serving::account::{FRAME_SMALL_BYTES_MAX, User};
use fairshare::testing::serving::incoming::{Descriptors, Incoming, Read};
use fairshare::testing::serving::listener::Listener;
use fairshare::testing::serving::peer::Peer;
use fairshare::testing::serving::service::{Answered, Due, Handed, Service, Standing, Stream, Went};
use fairshare::wire::envelope::{Body, Calls, Request, Response, decode_response};
use fairshare::wire::error::{Code, WireError};
use fairshare::wire::frame::encode_frame;
use fairshare::wire::hello::{Hello, HelloReply, PROTOCOL_VERSION, Role, decode_hello_reply};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use tempfile::TempDir;
use tokio::io::AsyncWriteExt as _;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::watch;

/// The endpoints of the other daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Echo,
    Count,
    File,
}

/// A call of the other daemon's.
struct Say {
    verb: Verb,
    body: Text,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Text {
    text: String,
}

impl Calls for Say {
    type Endpoint = Verb;

    fn endpoint_named(name: &str) -> Option<Verb> {
        [Verb::Echo, Verb::Count, Verb::File].into_iter().find(|verb| named(*verb) == name)
    }

    fn decode<'de, D: Deserializer<'de>>(verb: Verb, body: D) -> Result<Self, D::Error> {
        Ok(Self { verb, body: Text::deserialize(body)? })
    }

    fn endpoint_name(&self) -> &'static str {
        named(self.verb)
    }

    fn encode<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.body.serialize(serializer)
    }
}

fn named(verb: Verb) -> &'static str {
    match verb {
        Verb::Echo => "echo",
        Verb::Count => "count",
        Verb::File => "file",
    }
}

/// The other daemon: it answers what was said, counts to what was said, or hands it over in a file.
#[derive(Clone)]
struct Echo {
    /// Hears what is said while it is judged.
    listening: Arc<dyn Fn(&str) + Send + Sync>,
    everybody: Anybody,
}

/// Everybody is served, until somebody says that they leave.
#[derive(Clone, Default)]
struct Anybody {
    left: Arc<AtomicBool>,
}

/// Counts down, and then the follower may follow no more.
struct Countdown(u64);

impl Standing for Anybody {
    fn holds(&self) -> Result<(), WireError> {
        match self.left.load(Ordering::Relaxed) {
            true => Err(WireError::new(Code::Forbidden, "Gone")),
            false => Ok(()),
        }
    }

    async fn lost(&mut self) -> WireError {
        std::future::pending().await
    }
}

impl Stream for Countdown {
    type Event = u64;

    async fn next(&mut self) -> Option<u64> {
        self.0 = self.0.checked_sub(1)?;
        Some(self.0)
    }
}

impl Handed for Paper {
    type Kept = ();

    fn descriptors(&self) -> Vec<BorrowedFd<'_>> {
        vec![self.0.as_fd()]
    }

    fn given(self) {}

    fn read((): ()) {}
}

/// A file that goes with an answer.
struct Paper(File);

impl Service for Echo {
    type Call = Say;
    type Asked = Say;
    type Answer = String;
    type Event = u64;
    type Standing = Anybody;
    type Stream = Countdown;
    type Handed = Paper;

    const DESCRIPTORS_MAX: usize = 0;
    const REFRESH_PERIOD: Duration = Duration::from_secs(1);

    async fn admit(&self, _: &Peer) -> Result<Anybody, WireError> {
        Ok(self.everybody.clone())
    }

    fn refresh(&self) {}

    fn role(&self, _: &Peer) -> Role {
        Role::ReadOnly
    }

    fn judge(&self, _: &Arc<Peer>, call: Say, _: Descriptors, _: &User) -> Result<Say, WireError> {
        (self.listening)(&call.body.text);
        self.everybody.left.fetch_or(call.body.text == "leave", Ordering::Relaxed);
        match call.body.text.as_str() {
            "" => Err(WireError::new(Code::Forbidden, "Nothing was said")),
            _ => Ok(call),
        }
    }

    fn due(asked: &Say) -> Due {
        if asked.verb == Verb::Echo { Due::InTheSameBreath } else { Due::AtOnce }
    }

    fn is_question(_: &Say) -> bool {
        true
    }

    fn is_start(_: &Say) -> bool {
        false
    }

    async fn answer(&self, _: &Arc<Peer>, _: &Anybody, asked: Say) -> Result<Answered<Self>, WireError> {
        let text = asked.body.text;
        Ok(match asked.verb {
            Verb::Echo => Answered::Plain(text),
            Verb::Count => {
                let from = text.parse().map_err(|_| WireError::new(Code::BadRequest, "No number"))?;
                Answered::Followed(text, Countdown(from))
            }
            Verb::File => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(text.as_bytes()).unwrap();
                Answered::Handed(text, Paper(file))
            }
        })
    }

    async fn answer_together(
        &self,
        _: &Arc<Peer>,
        _: &Anybody,
        asked: Vec<Say>,
    ) -> Vec<Result<String, WireError>> {
        asked.into_iter().map(|asked| Ok(asked.body.text)).collect()
    }

    fn log(&self, _: &Went<'_, String>) {}

    fn revoked(&self, _: &Peer) -> WireError {
        WireError::new(Code::Draining, "Counted")
    }
}

/// A request as it is sent.
fn said(request_id: u64, verb: Verb, text: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    let call = Say { verb, body: Text { text: text.to_owned() } };
    encode_frame(&Request { v: PROTOCOL_VERSION, request_id, call }, &mut frame).unwrap();
    frame
}

/// The other daemon at work. It ends with the value.
struct Daemon {
    dir: TempDir,
    _stop: watch::Sender<bool>,
}

impl Daemon {
    fn start() -> Self {
        Self::listening(|_| {})
    }

    /// A daemon whose judging is listened to.
    fn listening(listening: impl Fn(&str) + Send + Sync + 'static) -> Self {
        let dir = TempDir::new().unwrap();
        let socket = UnixListener::bind(dir.path().join("socket")).unwrap();
        let (stop, stopping) = watch::channel(false);
        let echo = Echo { listening: Arc::new(listening), everybody: Anybody::default() };
        tokio::spawn(Listener::new(socket, echo, stopping).serve());
        Self { dir, _stop: stop }
    }

    async fn client(&self) -> Client {
        Client::connect(&self.dir.path().join("socket")).await
    }
}

/// A client of the other daemon, that has been greeted.
struct Client {
    stream: UnixStream,
    incoming: Incoming,
}

impl Client {
    async fn connect(path: &Path) -> Self {
        let stream = UnixStream::connect(path).await.unwrap();
        let mut client =
            Self { stream, incoming: Incoming::from(fairshare::testing::identity::Uid::ROOT, 1) };
        let (client_name, client_version) = ("test".to_owned(), "1".to_owned());
        let hello =
            Hello { protocol_version: PROTOCOL_VERSION, client_name, client_version, supports: Vec::new() };
        client.send(&hello).await;
        let (greeting, _) = client.frame().await.unwrap();
        let HelloReply::Ack(ack) = decode_hello_reply(&greeting).unwrap() else { panic!("not greeted") };
        assert_eq!((ack.protocol_version, ack.authz.role), (PROTOCOL_VERSION, Role::ReadOnly));
        client
    }

    async fn send(&mut self, value: &impl Serialize) {
        let mut frame = Vec::new();
        encode_frame(value, &mut frame).unwrap();
        self.stream.write_all(&frame).await.unwrap();
    }

    async fn say(&mut self, request_id: u64, verb: Verb, text: &str) {
        self.stream.write_all(&said(request_id, verb, text)).await.unwrap();
    }

    /// The next frame with its descriptors; none where the daemon has closed.
    async fn frame(&mut self) -> Option<(Vec<u8>, Descriptors)> {
        loop {
            match self.incoming.read(&self.stream).unwrap() {
                Ok(Read::Frame(message)) => return Some((message.payload, message.descriptors)),
                Ok(Read::Closed) => return None,
                Ok(Read::Part | Read::Untaken) => {}
                Err(_) => self.stream.readable().await.unwrap(),
            }
        }
    }

    async fn hears(&mut self) -> (u64, Body<String, u64>) {
        let (payload, _) = self.frame().await.expect("nothing was said");
        let Response { request_id, body, .. } = decode_response(&payload).unwrap();
        (request_id, body)
    }
}

#[tokio::test]
async fn another_daemon_answers_what_is_asked_in_order() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    for (id, text) in [(1, "a"), (2, ""), (3, "b")] {
        client.say(id, Verb::Echo, text).await;
    }
    assert_eq!(client.hears().await, (1, Body::Ok("a".to_owned())));
    let (id, refused) = client.hears().await;
    assert!(matches!(refused, Body::Err(error) if id == 2 && error.is(Code::Forbidden)));
    assert_eq!(client.hears().await, (3, Body::Ok("b".to_owned())));
}

/// What was asked together is answered before the last word on the connection.
#[tokio::test]
async fn who_is_served_no_more_is_answered_what_was_asked_before() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    let asked = [(1, "a"), (2, "leave"), (3, "b"), (4, "c")].map(|(id, text)| said(id, Verb::Echo, text));
    client.stream.write_all(&asked.concat()).await.unwrap();
    assert_eq!(client.hears().await, (1, Body::Ok("a".to_owned())));
    assert_eq!(client.hears().await, (2, Body::Ok("leave".to_owned())));
    let (id, refused) = client.hears().await;
    assert!(matches!(refused, Body::Err(error) if id == 3 && error.is(Code::Forbidden)));
    assert!(client.frame().await.is_none(), "and nothing after it");
}

#[tokio::test]
async fn another_daemon_closes_the_connection_of_who_breaks_its_contract_too_often() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    for id in 1..=5 {
        client
            .send(&serde_json::json!({"v": PROTOCOL_VERSION, "request_id": id, "endpoint": "x", "body": {}}))
            .await;
        let (answered, refused) = client.hears().await;
        assert!(matches!(refused, Body::Err(error) if answered == id && error.is(Code::BadRequest)));
    }
    let (id, last) = client.hears().await;
    assert!(matches!(last, Body::Err(error) if id == 0 && error.is(Code::RateLimited)));
    assert!(client.frame().await.is_none(), "and nothing after it");
}

#[tokio::test]
async fn who_follows_another_daemon_hears_its_events_and_why_they_end() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    client.say(7, Verb::Count, "3").await;
    assert_eq!(client.hears().await, (7, Body::Ok("3".to_owned())));
    for event in [2, 1, 0] {
        assert_eq!(client.hears().await, (7, Body::Event(Box::new(event))));
    }
    let (id, last) = client.hears().await;
    assert!(matches!(last, Body::Err(error) if id == 0 && error.is(Code::Draining)));
    assert!(client.frame().await.is_none(), "and nothing after it");
}

#[tokio::test]
async fn who_follows_another_daemon_and_asks_for_more_in_the_same_breath_is_closed() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    client.stream.write_all(&[said(1, Verb::Count, "3"), said(2, Verb::Echo, "a")].concat()).await.unwrap();
    assert_eq!(client.hears().await, (1, Body::Ok("3".to_owned())));
    assert!(client.frame().await.is_none(), "events, or an answer");
}

/// The loop is of one thread: whoever has many large requests decoded in a row would keep everybody waiting for all of them.
#[tokio::test]
async fn between_two_large_requests_others_are_answered() {
    const LARGE: usize = 4;
    let (asks, heard) = (Arc::new(OnceLock::<Blocking>::new()), Arc::new(Mutex::new(Vec::new())));
    let daemon = Daemon::listening({
        let (asks, heard, small) = (Arc::clone(&asks), Arc::clone(&heard), said(1, Verb::Echo, "small"));
        move |text: &str| {
            heard.lock().unwrap().push(text.len());
            // Somebody asks while a large request is at work.
            if let Some(mut asks) = asks.get().filter(|_| text.len() > FRAME_SMALL_BYTES_MAX) {
                asks.write_all(&small).unwrap();
            }
        }
    });
    let mut other = daemon.client().await;
    asks.set(other.stream.as_fd().try_clone_to_owned().unwrap().into()).unwrap();
    let mut clients = Vec::new();
    for _ in 0..LARGE {
        clients.push(daemon.client().await);
    }
    let large = "x".repeat(2 * FRAME_SMALL_BYTES_MAX);
    for client in &mut clients {
        client.say(2, Verb::Echo, &large).await;
    }
    for client in &mut clients {
        assert_eq!(client.hears().await.0, 2);
        assert_eq!(other.hears().await.0, 1);
    }
    assert_eq!(*heard.lock().unwrap(), [large.len(), "small".len()].repeat(LARGE));
}

#[tokio::test]
async fn another_daemon_hands_descriptors_over_with_an_answer() {
    let daemon = Daemon::start();
    let mut client = daemon.client().await;
    client.say(9, Verb::File, "written down").await;
    let (payload, descriptors) = client.frame().await.unwrap();
    let Response { request_id, body, .. } = decode_response::<String, u64>(&payload).unwrap();
    assert_eq!((request_id, body), (9, Body::Ok("written down".to_owned())));
    let mut file = File::from(descriptors.kept[0].try_clone().unwrap());
    let mut text = String::new();
    file.rewind().unwrap();
    file.read_to_string(&mut text).unwrap();
    assert_eq!(text, "written down");
}
