//! What comes on a connection: frames, each with the descriptors that were sent with it.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::closing::{self, Received};
use crate::identity::Uid;
use crate::sys::at_mark;
use crate::wire::frame::{FrameBuffer, FrameError, PREFIX_BYTES, checked_length};

/// A frame as it came.
#[derive(Debug)]
pub struct Message {
    /// What is in it.
    pub payload: Vec<u8>,
    /// What came with it.
    pub descriptors: Descriptors,
}

/// Descriptors that came with a frame. Whatever nobody takes is closed with the value.
#[derive(Debug)]
pub struct Descriptors {
    /// The first of them.
    pub kept: Received,
    /// Whether there were more than may come with a frame; those are closed already.
    pub cut: bool,
}

/// What one read brought.
#[derive(Debug)]
pub enum Read {
    /// The last of a frame.
    Frame(Message),
    /// Something, and more is to come.
    Part,
    /// Nothing: descriptors come next, and too many of this user's wait to be closed.
    Untaken,
    /// The client has closed.
    Closed,
}

/// The most that is read ahead of the frame that is being read, in bytes, and held for a connection: 4 MiB for all that there can
/// be.
///
/// A request is some 50 bytes, so that the sixteen that can be unanswered are read at once.
pub const READ_AHEAD_BYTES: usize = 4096;

/// Bytes that were read and that no frame has taken.
#[derive(Debug)]
struct Ahead {
    bytes: Box<[u8; READ_AHEAD_BYTES]>,
    taken: usize,
    filled: usize,
}

/// What was read of a connection and is not handled yet.
#[derive(Debug)]
pub struct Incoming {
    uid: Uid,
    /// The most descriptors that come with a frame.
    descriptors_max: usize,
    buffer: FrameBuffer,
    /// Of the frame that is being read.
    descriptors: Descriptors,
    ahead: Ahead,
}

impl Incoming {
    /// Nothing yet, from this user, with so many descriptors in a frame at most.
    pub fn from(uid: Uid, descriptors_max: usize) -> Self {
        let ahead = Ahead { bytes: Box::new([0; READ_AHEAD_BYTES]), taken: 0, filled: 0 };
        let (buffer, descriptors) = (FrameBuffer::default(), Descriptors::from(uid));
        Self { uid, descriptors_max, buffer, descriptors, ahead }
    }

    /// The length of the frame that is being read, once it is known.
    ///
    /// # Errors
    /// It is one that no frame may have.
    pub fn length(&self) -> Result<Option<usize>, FrameError> {
        self.buffer.length()
    }

    /// Whether a frame has begun and not ended.
    pub fn partial(&self) -> bool {
        self.buffer.partial()
    }

    /// Whether everything that was read is handled.
    pub fn is_empty(&self) -> bool {
        !self.partial() && self.ahead.is_empty()
    }

    /// The next frame, where no other was begun and all of it was read ahead: no descriptors come with such a one.
    pub fn at_hand(&mut self) -> Option<Message> {
        let whole = if self.partial() { None } else { self.ahead.whole() };
        let payload = whole?.to_vec();
        self.ahead.taken = self.ahead.taken.saturating_add(PREFIX_BYTES).saturating_add(payload.len());
        Some(Message { payload, descriptors: Descriptors::from(self.uid) })
    }

    /// Brings the frame that is being read forward: by what was read ahead, or by one read; `WouldBlock` where nothing is there.
    ///
    /// # Errors
    /// Outside, a length that no frame may have; inside, what the socket said.
    pub fn read(&mut self, stream: &UnixStream) -> Result<io::Result<Read>, FrameError> {
        let space = self.buffer.space()?;
        let mut came = Descriptors::from(self.uid);
        if self.ahead.is_empty() {
            match receive(stream, self.uid, space, &mut self.ahead, &mut came) {
                Ok(Arrived::InSpace(count)) => return Ok(Ok(self.filled(count, came))),
                Ok(Arrived::Ahead) => {}
                Ok(Arrived::Untaken) => return Ok(Ok(Read::Untaken)),
                Ok(Arrived::End) => return Ok(Ok(Read::Closed)),
                Err(error) => return Ok(Err(error)),
            }
        }
        if let Some(message) = self.at_hand() {
            return Ok(Ok(Read::Frame(message)));
        }
        // Not into the next frame, which may be here as a whole.
        let missing = self.buffer.missing();
        let space = self.buffer.space()?;
        let room = space.len().min(missing);
        let count = self.ahead.take(space.get_mut(..room).unwrap_or_default());
        let read = self.filled(count, came);
        self.buffer.length()?;
        Ok(Ok(read))
    }

    /// Takes note of bytes that are in the space of the frame that is being read by now, and of what came with them.
    fn filled(&mut self, count: usize, came: Descriptors) -> Read {
        // Descriptors are sent with the first byte of their frame: of the next one, where that began in this read.
        let Some(payload) = self.buffer.filled(count) else {
            self.descriptors.add(came, self.descriptors_max);
            return Read::Part;
        };
        let mut descriptors = std::mem::replace(&mut self.descriptors, Descriptors::from(self.uid));
        if self.buffer.partial() {
            self.descriptors = came;
        } else {
            descriptors.add(came, self.descriptors_max);
        }
        Read::Frame(Message { payload, descriptors })
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.taken >= self.filled
    }

    /// The payload of the frame that begins here, where all of it is here and frames may have such a length.
    fn whole(&self) -> Option<&[u8]> {
        let (prefix, rest) = self.bytes.get(self.taken..self.filled)?.split_first_chunk::<PREFIX_BYTES>()?;
        rest.get(..checked_length(*prefix).ok()?)
    }

    /// Moves as many bytes as there are and fit: how many.
    fn take(&mut self, space: &mut [u8]) -> usize {
        let from = self.bytes.get(self.taken..self.filled).unwrap_or_default();
        let count = from.len().min(space.len());
        for (to, from) in space.iter_mut().zip(from) {
            *to = *from;
        }
        self.taken = self.taken.saturating_add(count);
        count
    }
}

impl Descriptors {
    fn from(uid: Uid) -> Self {
        Self { kept: Received::from(uid), cut: false }
    }

    fn add(&mut self, other: Self, most: usize) {
        self.kept.append(other.kept);
        self.cut |= other.cut || self.kept.len() > most;
        self.kept.truncate(most);
    }
}

/// Where one read has put what it brought.
enum Arrived {
    /// So many bytes are in the space of the frame that is being read.
    InSpace(usize),
    /// The bytes were read ahead.
    Ahead,
    /// Nothing was read: descriptors come next, and too many of this user's wait to be closed.
    Untaken,
    /// The client has closed.
    End,
}

/// One read, which is ahead of the frame that is being read where no descriptors come with it.
///
/// The kernel tells which bytes descriptors came with only by where a read ends (`unix(7)`): with them a read goes no further than
/// the frame. Where more of the frame is to come than can be read ahead it is read straight into its space.
fn receive(
    stream: &UnixStream,
    uid: Uid,
    space: &mut [u8],
    ahead: &mut Ahead,
    came: &mut Descriptors,
) -> io::Result<Arrived> {
    let mut all_there_was = None;
    let read = stream.try_io(Interest::READABLE, || {
        let mut into_space = space.len() >= READ_AHEAD_BYTES;
        let mut seen = None;
        if !into_space || !closing::has_room(uid) {
            let (count, with_descriptors) = closing::look_ahead(stream, &mut *ahead.bytes)?;
            if count == 0 {
                return Ok(Arrived::End);
            }
            if with_descriptors && !closing::has_room(uid) {
                return Ok(Arrived::Untaken);
            }
            into_space |= with_descriptors;
            // No more than was looked at: who sends more meanwhile may send a descriptor with it.
            seen = (!with_descriptors).then_some(count);
        }
        let target = if into_space { space } else { &mut ahead.bytes[..] };
        let room = target.len();
        let target = target.get_mut(..seen.unwrap_or(room).min(room)).unwrap_or_default();
        let received = closing::receive(stream, target, &mut came.kept)?;
        came.cut = received.cut;
        let arrived = match received.bytes {
            0 => Arrived::End,
            count if into_space => Arrived::InSpace(count),
            count => {
                (ahead.taken, ahead.filled) = (0, count);
                Arrived::Ahead
            }
        };
        // Less than there was room for is all there was, unless descriptors or a byte out of band stopped the kernel there:
        // saying so saves the read that would find nothing.
        let short = is_short(received.bytes, room, seen) && came.kept.is_empty() && !came.cut;
        if short && !at_mark(stream).unwrap_or(false) {
            all_there_was = Some(arrived);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(arrived)
    });
    all_there_was.map_or(read, Ok)
}

/// Whether a read brought less than there was room for. It had no more room than the look before it, where there was one: what
/// that did not see may still be there.
fn is_short(received: usize, room: usize, seen: Option<usize>) -> bool {
    let room = seen.map_or(room, |_| room.min(READ_AHEAD_BYTES));
    received > 0 && received < room
}

/// Whether there is something to be read, as `read(2)` would say it, with it left where it is.
///
/// # Errors
/// What the socket said; `WouldBlock` where there is nothing.
pub fn peek(stream: &UnixStream) -> io::Result<usize> {
    stream.try_io(Interest::READABLE, || Ok(recv(stream, &mut [0; 1], RecvFlags::PEEK)?.1))
}

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::mem::MaybeUninit;
    use std::os::fd::AsFd as _;

    use rustix::io::ioctl_fionread;
    use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    #[test]
    fn a_read_that_a_look_has_bounded_is_not_all_there_was() {
        let (all, large) = (READ_AHEAD_BYTES, 2 * READ_AHEAD_BYTES);
        assert!(is_short(100, all, None) && is_short(100, large, Some(100)) && is_short(all, large, None));
        assert!(!is_short(0, all, None) && !is_short(all, all, None) && !is_short(all, large, Some(all)));
    }

    /// Payloads of frames that are sent in one message, and how many descriptors go with it.
    type Sent<'a> = (&'a [&'a [u8]], usize);

    /// A connection, the client's end first.
    fn connection() -> (UnixStream, UnixStream) {
        UnixStream::pair().unwrap()
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    /// Sends these bytes in one message, with so many descriptors at the first of them.
    fn send(client: &UnixStream, bytes: &[u8], descriptors: usize) {
        let descriptors = vec![client.as_fd(); descriptors];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(descriptors.is_empty() || control.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let sent = sendmsg(client, &[IoSlice::new(bytes)], &mut control, SendFlags::empty()).unwrap();
        assert_eq!(sent, bytes.len());
    }

    /// The next frame and how many descriptors came with it; none where the client has closed.
    async fn next(incoming: &mut Incoming, stream: &UnixStream) -> Option<(Vec<u8>, usize)> {
        loop {
            match incoming.read(stream).unwrap() {
                Ok(Read::Frame(Message { payload, descriptors })) => {
                    return Some((payload, descriptors.kept.len()));
                }
                Ok(Read::Closed) => return None,
                Ok(Read::Part | Read::Untaken) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.readable().await.unwrap(),
                Err(error) => panic!("{error}"),
            }
        }
    }

    #[tokio::test]
    async fn descriptors_come_with_the_frame_they_were_sent_with_whatever_is_around_it() {
        let all: &[&[Sent<'_>]] = &[
            &[(&[b"a"], 2), (&[b"b"], 0), (&[b"c"], 1)],
            &[(&[b"a", b"b"], 0), (&[b"c"], 3), (&[b"d"], 0)],
            &[(&[b"a"], 0), (&[b"b", b"c", b"d"], 1), (&[b"e"], 0)],
            &[(&[b"a"], 1), (&[b"b"], 2), (&[b"c", b"d"], 3)],
            &[(&[&[7; 3 * READ_AHEAD_BYTES], b"b"], 1), (&[b"c", &[7; 9000]], 0), (&[b"d"], 2)],
        ];
        for messages in all {
            let (client, stream) = connection();
            let mut incoming = Incoming::from(Uid::ROOT, 3);
            for (payloads, descriptors) in *messages {
                send(
                    &client,
                    &payloads.iter().flat_map(|payload| frame(payload)).collect::<Vec<u8>>(),
                    *descriptors,
                );
            }
            for (payloads, descriptors) in *messages {
                for (at, payload) in payloads.iter().enumerate() {
                    let with = if at == 0 { *descriptors } else { 0 };
                    let (came, kept) = next(&mut incoming, &stream).await.unwrap();
                    assert_eq!((came.len(), came.first(), kept), (payload.len(), payload.first(), with));
                }
            }
            drop(client);
            assert!(next(&mut incoming, &stream).await.is_none() && incoming.is_empty());
        }
    }

    #[tokio::test]
    async fn what_is_there_is_read_at_once_and_no_more_of_it_than_there_is_room_for() {
        let (client, stream) = connection();
        let mut incoming = Incoming::from(Uid::ROOT, 0);
        let request = frame(&[7; 60]);
        send(&client, &request.repeat(16), 0);
        next(&mut incoming, &stream).await.unwrap();
        assert_eq!(ioctl_fionread(&stream).unwrap(), 0, "left in the socket");
        for _ in 1..16 {
            assert!(!incoming.is_empty());
            next(&mut incoming, &stream).await.unwrap();
        }
        assert!(incoming.is_empty());
        let many = request.repeat(1000);
        send(&client, &many, 0);
        next(&mut incoming, &stream).await.unwrap();
        assert_eq!(ioctl_fionread(&stream).unwrap(), u64::try_from(many.len() - READ_AHEAD_BYTES).unwrap());
    }

    #[tokio::test]
    async fn any_pieces_make_the_same_frames() {
        let sizes =
            [1, 300, READ_AHEAD_BYTES - 4, READ_AHEAD_BYTES, 1, 20_000, 2 * READ_AHEAD_BYTES + 5, 2, 7];
        let payloads: Vec<Vec<u8>> = (1..).zip(sizes).map(|(byte, size)| vec![byte; size]).collect();
        let bytes: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for piece in [1, 3, 5, 4095, 4096, 4097, 9000, bytes.len()] {
            let (mut client, stream) = connection();
            let mut incoming = Incoming::from(Uid::ROOT, 0);
            let sending = async {
                for piece in bytes.chunks(piece) {
                    client.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            };
            let reading = async {
                for payload in &payloads {
                    let (came, _) = next(&mut incoming, &stream).await.unwrap();
                    assert!(came == *payload, "pieces of {piece}: {} bytes", came.len());
                }
            };
            tokio::join!(sending, reading);
        }
    }

    /// Frames that came together are there together, whatever one is that came in two pieces.
    #[tokio::test]
    async fn what_was_read_ahead_is_at_hand() {
        let (client, stream) = connection();
        let mut incoming = Incoming::from(Uid::ROOT, 0);
        let payload = [7; 50];
        let frames = frame(&payload).repeat(150);
        assert!(READ_AHEAD_BYTES < frames.len() && frames.len() < 2 * READ_AHEAD_BYTES);
        send(&client, &frames, 0);
        let mut reads = Vec::new();
        while reads.iter().sum::<usize>() < 150 {
            assert_eq!(next(&mut incoming, &stream).await, Some((payload.to_vec(), 0)));
            let mut came = 1;
            while let Some(message) = incoming.at_hand() {
                assert_eq!((message.payload, message.descriptors.kept.len()), (payload.to_vec(), 0));
                came += 1;
            }
            reads.push(came);
        }
        assert_eq!(reads, [READ_AHEAD_BYTES / 54, 150 - READ_AHEAD_BYTES / 54]);
        assert!(incoming.is_empty());
    }

    #[tokio::test]
    async fn a_length_that_no_frame_may_have_is_found_in_what_was_read_ahead() {
        let (client, stream) = connection();
        let mut incoming = Incoming::from(Uid::ROOT, 0);
        send(&client, &[frame(b"a"), vec![0, 0x10, 0, 1, 0]].concat(), 0);
        assert_eq!(next(&mut incoming, &stream).await, Some((b"a".to_vec(), 0)));
        assert_eq!(incoming.read(&stream).map(drop), Err(FrameError::TooLong(1_048_577)));
    }
}
