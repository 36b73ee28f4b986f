//! The connection to the bus. What comes over it is looked at before zbus has it.
//!
//! The bus lets anybody on this machine send a signal to one receiver directly, with descriptors and with up to 128 MiB in
//! it. zbus would keep all of that, and close the descriptors wherever the message ends. Nothing that systemd says to us has
//! a descriptor in it, and its signals are short: a message that has one, or is too long, is taken off the socket and is
//! nobody's. Its descriptors are closed where that holds up nobody, see [`closing`].

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, Shutdown, sendmsg, shutdown};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::time::timeout;
use zbus::Address;
use zbus::address::transport::{Transport, UnixSocket};
use zbus::connection::Builder;
use zbus::connection::socket::{ReadHalf, Socket, Split, WriteHalf};
use zbus::export::async_trait::async_trait;

use crate::serving::closing::{self, Connection, Origin, Received, look_ahead, receive};

/// The longest signal or call that is read, in bytes, the header included. systemd's have some hundred bytes.
const SIGNAL_BYTES_MAX: u64 = 64 << 10;

/// The longest answer to a call of ours that is read, in bytes: a list of some forty thousand units.
const ANSWER_BYTES_MAX: u64 = 16 << 20;

/// How long what strangers sent may take to be closed before the connection is given up for a new one.
const CLOSING_TIMEOUT: Duration = Duration::from_secs(1);

/// The most descriptors that a message of ours has.
const DESCRIPTORS_SENT_MAX: usize = 253;

/// The fixed part of each message's header (D-Bus specification, "Message Format").
const HEADER_BYTES: usize = 16;

/// METHOD_RETURN and ERROR of the header's message type: the bus passes on those only that answer a call of the receiver.
const ANSWERS: [u8; 2] = [2, 3];

/// Where the bus is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum BusAddress {
    /// The system bus, or what `DBUS_SYSTEM_BUS_ADDRESS` names.
    #[default]
    System,
    /// A bus at an address in D-Bus's notation, like `unix:path=/run/test/bus`.
    At(String),
}

/// A connection of zbus's to the bus at this address, over a socket of ours.
///
/// # Errors
/// The address is none, or of no Unix socket; nobody listens there.
pub(super) async fn connect(address: &BusAddress) -> zbus::Result<Builder<'static>> {
    let address = match address {
        BusAddress::System => Address::system()?,
        BusAddress::At(address) => Address::try_from(address.as_str())?,
    };
    let Transport::Unix(unix) = address.transport() else { return Err(zbus::Error::Unsupported) };
    let connected = match unix.path() {
        UnixSocket::File(path) => UnixStream::connect(path).await,
        UnixSocket::Abstract(name) => SocketAddr::from_abstract_name(name.as_bytes())
            .and_then(|name| std::os::unix::net::UnixStream::connect_addr(&name))
            .and_then(|stream| stream.set_nonblocking(true).map(|()| stream))
            .and_then(UnixStream::from_std),
        _ => return Err(zbus::Error::Unsupported),
    };
    let stream =
        connected.map_err(|error| zbus::Error::Connection(Arc::new(error), Box::new(address.clone())))?;
    Ok(Builder::socket(BusSocket(Connection::new(stream, Origin::Stranger))))
}

/// A connection that is not split yet.
struct BusSocket(Connection);

impl Socket for BusSocket {
    type ReadHalf = Reading;
    type WriteHalf = Writing;

    fn split(self) -> Split<Reading, Writing> {
        let connection = Arc::new(self.0);
        let reading =
            Reading { connection: Arc::clone(&connection), at: At::LineStart, message: Vec::new(), taken: 0 };
        Split::new(reading, Writing(connection))
    }
}

/// Where in the stream the next byte is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// The first byte of a line of the handshake, or of the first message, which begins with its byte order.
    LineStart,
    /// Within a line of the handshake.
    Line,
    /// The first byte of a message.
    Message,
}

/// What comes from the bus: the lines of the handshake byte for byte, then whole messages.
#[derive(Debug)]
struct Reading {
    connection: Arc<Connection>,
    at: At,
    /// What zbus may have, of which it has had the first `taken` bytes.
    message: Vec<u8>,
    taken: usize,
}

#[async_trait]
impl ReadHalf for Reading {
    async fn recvmsg(&mut self, space: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        while self.taken == self.message.len() {
            (self.message, self.taken) = (self.next().await?.unwrap_or_default(), 0);
        }
        let mut ready = self.message.get(self.taken..).unwrap_or_default();
        let count = io::Read::read(&mut ready, space)?;
        self.taken += count;
        Ok((count, Vec::new()))
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}

impl Reading {
    /// The next bytes that zbus may have; `None` after a message that is nobody's.
    async fn next(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut came = Received::from(Origin::Stranger);
        let mut header = [0; HEADER_BYTES];
        let mut filled = 0;
        if self.at != At::Message {
            let mut first = [0];
            self.fill(&mut first, &mut came).await?;
            let [byte] = first;
            if let Some(to) = header.first_mut() {
                *to = byte;
            }
            self.at = match (self.at, byte) {
                (At::LineStart, b'l' | b'B') => At::Message,
                (_, b'\n') => At::LineStart,
                _ => At::Line,
            };
            if self.at != At::Message {
                return Ok(Some(vec![byte]));
            }
            filled = 1;
        }
        self.fill(header.get_mut(filled..).unwrap_or_default(), &mut came).await?;
        let length = length(&header);
        let most = if header.get(1).is_some_and(|kind| ANSWERS.contains(kind)) {
            ANSWER_BYTES_MAX
        } else {
            SIGNAL_BYTES_MAX
        };
        let rest = length.saturating_sub(HEADER_BYTES as u64);
        match usize::try_from(rest) {
            // Descriptors come with the first byte of their message.
            Ok(rest) if length <= most && came.is_empty() => {
                let mut message = header.to_vec();
                message.resize(HEADER_BYTES + rest, 0);
                self.fill(message.get_mut(HEADER_BYTES..).unwrap_or_default(), &mut came).await?;
                Ok(came.is_empty().then_some(message))
            }
            _ => self.skip(rest, &mut came).await.map(|()| None),
        }
    }

    async fn skip(&mut self, mut left: u64, came: &mut Received) -> io::Result<()> {
        let mut scratch = [0; 8 << 10];
        while left > 0 {
            let space = scratch.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = self.receive(scratch.get_mut(..space).unwrap_or_default(), came).await?;
            left = left.saturating_sub(count as u64);
        }
        Ok(())
    }

    async fn fill(&mut self, mut space: &mut [u8], came: &mut Received) -> io::Result<()> {
        while !space.is_empty() {
            let count = self.receive(space, came).await?;
            space = space.get_mut(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// One read. Where too much of strangers' waits to be closed it takes no descriptors, and at last fails.
    async fn receive(&mut self, space: &mut [u8], came: &mut Received) -> io::Result<usize> {
        let connection = Arc::clone(&self.connection);
        let count = loop {
            connection.readable().await?;
            let read = connection.try_io(Interest::READABLE, || {
                let mut most = space.len();
                if !closing::has_room(Origin::Stranger) {
                    let (count, with_descriptors) = look_ahead(&connection, space)?;
                    if with_descriptors {
                        return Ok(None);
                    }
                    most = count;
                }
                receive(&connection, space.get_mut(..most).unwrap_or_default(), came)
                    .map(|came| Some(came.bytes))
            });
            match read {
                Ok(Some(count)) => break count,
                Ok(None) => {
                    let why = "what strangers sent over the bus could not be closed";
                    timeout(CLOSING_TIMEOUT, closing::room(Origin::Stranger))
                        .await
                        .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, why))?;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        };
        if count == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(count) }
    }
}

/// How long a message is, by the fixed part of its header: that, the fields padded to 8 bytes, and the body.
fn length(header: &[u8; HEADER_BYTES]) -> u64 {
    let word = |at: usize| {
        let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok()).unwrap_or_default();
        u64::from(if header.first() == Some(&b'B') {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    HEADER_BYTES as u64 + word(12).next_multiple_of(8) + word(4)
}

/// What goes to the bus, with the descriptors that are ours to send.
#[derive(Debug)]
struct Writing(Arc<Connection>);

#[async_trait]
impl WriteHalf for Writing {
    async fn sendmsg(&mut self, bytes: &[u8], descriptors: &[BorrowedFd<'_>]) -> io::Result<usize> {
        let send = || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS_SENT_MAX))];
            let mut control = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() && !control.push(SendAncillaryMessage::ScmRights(descriptors)) {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidInput,
                    "too many descriptors for one message",
                ));
            }
            Ok(sendmsg(&self.0, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL)?)
        };
        self.0.async_io(Interest::WRITABLE, send).await
    }

    async fn close(&mut self) -> io::Result<()> {
        // The other end may have closed before.
        let _ = shutdown(&self.0, Shutdown::Both);
        Ok(())
    }

    fn can_pass_unix_fd(&self) -> bool {
        true
    }
}
