//! Frames: a length of four bytes, big-endian, then that many bytes of CBOR.
//!
//! Nothing here reads or writes: [`FrameBuffer`] says where the next bytes go and what they make, so that the
//! daemon's session and the blocking client cut a stream into frames by the same rules.

use serde::Serialize;

/// The largest payload of a frame, in bytes.
pub const FRAME_BYTES_MAX: usize = 1_048_576;

/// The length prefix, in bytes.
pub const PREFIX_BYTES: usize = 4;

/// The most that [`FrameBuffer::space`] offers at once, and so the most memory that is taken before bytes came for it.
pub const READ_CHUNK_BYTES: usize = 8192;

/// A length prefix that no frame may have. The connection cannot be used after it: where the next frame would
/// start is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The prefix says 0.
    #[error("a frame of no bytes")]
    Empty,
    /// The prefix says more than [`FRAME_BYTES_MAX`].
    #[error("a frame of {0} bytes, where {FRAME_BYTES_MAX} are allowed")]
    TooLong(u32),
}

/// A value that cannot be sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Its encoding is over [`FRAME_BYTES_MAX`].
    #[error("the message is over {FRAME_BYTES_MAX} bytes")]
    TooLong,
    /// It says of itself that it cannot be encoded.
    #[error("the message cannot be encoded: {0}")]
    Value(String),
}

/// Cuts a stream of bytes into the payloads of its frames.
///
/// It never offers room beyond the frame that is being read and the prefix of the next: a payload is neither read nor
/// allocated for before its length was found good, and a caller that stops asking leaves everything else in the socket.
/// It holds at most one frame, and only as much of it as came, rounded up by no more than its double or one chunk; a
/// finished frame takes its memory along.
#[derive(Debug, Default)]
pub struct FrameBuffer {
    prefix: [u8; PREFIX_BYTES],
    prefix_filled: usize,
    /// What came of the payload, then room that was offered and not filled.
    payload: Vec<u8>,
    payload_filled: usize,
}

impl FrameBuffer {
    /// A buffer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where the next bytes of the stream go. Never empty.
    ///
    /// A read that is given up half way loses nothing, as long as what it read is told to [`Self::filled`].
    ///
    /// # Errors
    /// When the prefix is whole and says 0 or more than [`FRAME_BYTES_MAX`]; then always.
    pub fn space(&mut self) -> Result<&mut [u8], FrameError> {
        let Some(length) = self.length()? else {
            return Ok(self.prefix.get_mut(self.prefix_filled..).unwrap_or_default());
        };
        // With the last of the payload the next frame's prefix is taken: a frame that follows at once costs one read.
        let whole = length.saturating_add(PREFIX_BYTES);
        let end = whole.min(self.payload_filled.saturating_add(READ_CHUNK_BYTES));
        if self.payload.capacity() < end {
            // Doubling keeps the copying linear; the cap keeps a full frame from taking twice its size.
            let capacity = self.payload.capacity().saturating_mul(2).clamp(end, whole);
            self.payload.reserve_exact(capacity.saturating_sub(self.payload.len()));
        }
        self.payload.resize(end, 0);
        Ok(self.payload.get_mut(self.payload_filled..).unwrap_or_default())
    }

    /// Takes note that `count` bytes were read into [`Self::space`], and gives the payload when that completes one.
    pub fn filled(&mut self, count: usize) -> Option<Vec<u8>> {
        let Ok(Some(length)) = self.length() else {
            self.prefix_filled = self.prefix_filled.saturating_add(count).min(PREFIX_BYTES);
            return None;
        };
        self.payload_filled = self.payload_filled.saturating_add(count).min(self.payload.len());
        let surplus = self.payload_filled.checked_sub(length)?;
        let mut whole = std::mem::take(self);
        let next = whole.payload.get(length..whole.payload_filled).unwrap_or_default();
        for (to, from) in self.prefix.iter_mut().zip(next) {
            *to = *from;
        }
        self.prefix_filled = surplus;
        whole.payload.truncate(length);
        Some(whole.payload)
    }

    /// The length of the frame that is being read, once its prefix came.
    ///
    /// # Errors
    /// It is one that no frame may have.
    pub fn length(&self) -> Result<Option<usize>, FrameError> {
        if self.prefix_filled < PREFIX_BYTES {
            return Ok(None);
        }
        checked_length(self.prefix).map(Some)
    }

    /// How many bytes are missing to the prefix, or once that is whole to the payload.
    pub(crate) fn missing(&self) -> usize {
        match self.length() {
            Ok(Some(length)) => length.saturating_sub(self.payload_filled),
            _ => PREFIX_BYTES.saturating_sub(self.prefix_filled),
        }
    }

    /// Whether the stream stands within a frame: its first byte came, its last did not.
    pub fn partial(&self) -> bool {
        self.prefix_filled > 0
    }
}

/// Appends the frame of `value` to `out`. On an error `out` is as it was.
///
/// # Errors
/// When the encoding is over [`FRAME_BYTES_MAX`], or the value cannot be encoded.
pub fn encode_frame<T: Serialize + ?Sized>(value: &T, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let start = out.len();
    out.extend_from_slice(&[0; PREFIX_BYTES]);
    let mut payload = Bounded { out, left: FRAME_BYTES_MAX };
    let written = ciborium::into_writer(value, &mut payload);
    let length = FRAME_BYTES_MAX.saturating_sub(payload.left);
    if let Err(error) = written {
        out.truncate(start);
        return Err(match error {
            ciborium::ser::Error::Io(TooLong) => EncodeError::TooLong,
            ciborium::ser::Error::Value(what) => EncodeError::Value(what),
        });
    }
    let prefix = u32::try_from(length).map_err(|_| EncodeError::TooLong)?.to_be_bytes();
    if let Some(place) = out.get_mut(start..start.saturating_add(PREFIX_BYTES)) {
        place.copy_from_slice(&prefix);
    }
    Ok(())
}

/// How many bytes the encoding of a value takes; `None` where it cannot be encoded.
pub(crate) fn encoded_bytes<T: Serialize + ?Sized>(value: &T) -> Option<usize> {
    let mut counted = Counted(0);
    ciborium::into_writer(value, &mut counted).ok()?;
    Some(counted.0)
}

/// The length that a prefix says.
///
/// # Errors
/// It is one that no frame may have.
pub(crate) fn checked_length(prefix: [u8; PREFIX_BYTES]) -> Result<usize, FrameError> {
    let claimed = u32::from_be_bytes(prefix);
    match usize::try_from(claimed) {
        Ok(0) => Err(FrameError::Empty),
        Ok(length) if length <= FRAME_BYTES_MAX => Ok(length),
        _ => Err(FrameError::TooLong(claimed)),
    }
}

/// A writer that stops at a bound, so that a message of any size costs no more than the largest that may be sent.
struct Bounded<'a> {
    out: &'a mut Vec<u8>,
    left: usize,
}

/// A writer that counts bytes.
struct Counted(usize);

impl ciborium_io::Write for &mut Counted {
    type Error = std::convert::Infallible;

    fn write_all(&mut self, data: &[u8]) -> Result<(), Self::Error> {
        self.0 = self.0.saturating_add(data.len());
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Self::Error> {
        Ok(())
    }
}

#[derive(Debug)]
struct TooLong;

impl ciborium_io::Write for &mut Bounded<'_> {
    type Error = TooLong;

    fn write_all(&mut self, data: &[u8]) -> Result<(), TooLong> {
        self.left = self.left.checked_sub(data.len()).ok_or(TooLong)?;
        self.out.extend_from_slice(data);
        Ok(())
    }

    fn flush(&mut self) -> Result<(), TooLong> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds `bytes` in pieces of at most `piece`.
    fn feed(buffer: &mut FrameBuffer, mut bytes: &[u8], piece: usize) -> Result<Vec<Vec<u8>>, FrameError> {
        let mut frames = Vec::new();
        while !bytes.is_empty() {
            let space = buffer.space()?;
            let count = space.len().min(piece).min(bytes.len());
            space[..count].copy_from_slice(&bytes[..count]);
            bytes = &bytes[count..];
            frames.extend(buffer.filled(count));
        }
        // A prefix that came last is judged before anything is read for it.
        buffer.space().map(|_| frames)
    }

    fn frame(payload: &[u8]) -> Vec<u8> {
        [&u32::try_from(payload.len()).unwrap().to_be_bytes(), payload].concat()
    }

    #[test]
    fn any_split_gives_the_same_frames() {
        let payloads = vec![vec![1], vec![2; 300], vec![3; 20_000], vec![4]];
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| frame(payload)).collect();
        for piece in [1, 2, 3, 4, 5, 7, 4096, 8192, usize::MAX] {
            let mut buffer = FrameBuffer::new();
            assert_eq!(feed(&mut buffer, &stream, piece).unwrap(), payloads, "pieces of {piece}");
            assert!(!buffer.partial());
        }
    }

    #[test]
    fn the_length_is_judged_before_any_room_is_made() {
        for (prefix, error) in [
            ([0, 0, 0, 0], FrameError::Empty),
            ([0, 0x10, 0, 1], FrameError::TooLong(1_048_577)),
            ([0xff; 4], FrameError::TooLong(u32::MAX)),
        ] {
            let mut buffer = FrameBuffer::new();
            assert_eq!(feed(&mut buffer, &prefix, 1), Err(error));
            assert_eq!(buffer.payload.capacity(), 0);
        }
    }

    #[test]
    fn memory_follows_what_came_and_goes_with_the_frame() {
        let mut buffer = FrameBuffer::new();
        feed(&mut buffer, &[0, 0x10, 0, 0, 7], usize::MAX).unwrap();
        assert!(buffer.partial());
        assert_eq!(buffer.length(), Ok(Some(FRAME_BYTES_MAX)));
        assert!(buffer.payload.capacity() <= 2 * READ_CHUNK_BYTES);
        let frames = feed(&mut buffer, &vec![7; FRAME_BYTES_MAX - 1], 1000).unwrap();
        assert_eq!(frames, vec![vec![7; FRAME_BYTES_MAX]]);
        assert!(frames[0].capacity() <= FRAME_BYTES_MAX + PREFIX_BYTES);
        assert_eq!(buffer.payload.capacity(), 0);
        assert!(!buffer.partial());
    }

    #[test]
    fn a_message_at_the_bound_is_sent_and_one_over_it_is_not() {
        let mut out = vec![9];
        // A text of this length has a head of five bytes.
        encode_frame(&"x".repeat(FRAME_BYTES_MAX - 5), &mut out).unwrap();
        assert_eq!(out.len(), 1 + PREFIX_BYTES + FRAME_BYTES_MAX);
        assert_eq!(out[1..5], [0, 0x10, 0, 0]);
        out.truncate(1);
        assert_eq!(encode_frame(&"x".repeat(FRAME_BYTES_MAX - 4), &mut out), Err(EncodeError::TooLong));
        assert_eq!(out, [9]);
    }
}
