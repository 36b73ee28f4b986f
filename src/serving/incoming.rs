//! What comes on a connection: frames, each with the descriptors that were sent with it.

use std::io;

use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::closing::{self, Received};
use crate::identity::Uid;
use crate::sys::at_mark;
use crate::wire::frame::{FrameBuffer, FrameError};

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

/// What was read of a connection and is not handled yet.
#[derive(Debug)]
pub struct Incoming {
    uid: Uid,
    /// The most descriptors that come with a frame.
    descriptors_max: usize,
    buffer: FrameBuffer,
    /// Of the frame that is being read.
    descriptors: Descriptors,
}

impl Incoming {
    /// Nothing yet, from this user, with so many descriptors in a frame at most.
    pub fn from(uid: Uid, descriptors_max: usize) -> Self {
        Self { uid, descriptors_max, buffer: FrameBuffer::default(), descriptors: Descriptors::from(uid) }
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

    /// Reads what is there, as far as it belongs to the frame that is being read; `WouldBlock` where nothing is.
    ///
    /// # Errors
    /// Outside, a length that no frame may have; inside, what the socket said.
    pub fn read(&mut self, stream: &UnixStream) -> Result<io::Result<Read>, FrameError> {
        let space = self.buffer.space()?;
        let mut came = Descriptors::from(self.uid);
        let count = match receive(stream, self.uid, space, &mut came) {
            Ok(Some(count)) => count,
            Ok(None) => return Ok(Ok(Read::Untaken)),
            Err(error) => return Ok(Err(error)),
        };
        if count == 0 {
            return Ok(Ok(Read::Closed));
        }
        let frame = self.buffer.filled(count);
        // Descriptors are sent with the first byte of their frame: of the next one, where that began in this read.
        let Some(payload) = frame else {
            self.descriptors.add(came, self.descriptors_max);
            return Ok(Ok(Read::Part));
        };
        let mut descriptors = std::mem::replace(&mut self.descriptors, Descriptors::from(self.uid));
        if self.buffer.partial() {
            self.descriptors = came;
        } else {
            descriptors.add(came, self.descriptors_max);
        }
        Ok(Ok(Read::Frame(Message { payload, descriptors })))
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

/// One read. `None` where descriptors come next, and too many of this user's wait to be closed: they are left where they are.
fn receive(
    stream: &UnixStream,
    uid: Uid,
    space: &mut [u8],
    came: &mut Descriptors,
) -> io::Result<Option<usize>> {
    let mut all_there_was = None;
    let read = stream.try_io(Interest::READABLE, || {
        let mut space = space;
        if !closing::has_room(uid) {
            let (count, with_descriptors) = closing::look_ahead(stream, space)?;
            if with_descriptors {
                return Ok(None);
            }
            // No more than was looked at: who sends more meanwhile may send a descriptor with it.
            space = space.get_mut(..count).unwrap_or_default();
        }
        let received = closing::receive(stream, space, &mut came.kept)?;
        came.cut = received.cut;
        // Less than there was room for is all there was, unless descriptors or a byte out of band stopped the kernel there:
        // saying so saves the read that would find nothing.
        let short = received.bytes > 0 && received.bytes < space.len() && came.kept.is_empty() && !came.cut;
        if short && !at_mark(stream).unwrap_or(false) {
            all_there_was = Some(received.bytes);
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Some(received.bytes))
    });
    all_there_was.map_or(read, |count| Ok(Some(count)))
}

/// Whether there is something to be read, as `read(2)` would say it, with it left where it is.
///
/// # Errors
/// What the socket said; `WouldBlock` where there is nothing.
pub fn peek(stream: &UnixStream) -> io::Result<usize> {
    stream.try_io(Interest::READABLE, || Ok(recv(stream, &mut [0; 1], RecvFlags::PEEK)?.1))
}
