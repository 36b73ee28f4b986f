//! CBOR heads and texts from a slice: what is well-formed (RFC 8949), to the letter.
//!
//! Not ciborium-ll, whose decoder takes some of what RFC 8949 calls not well-formed: segments within segments
//! of an indefinite string, and `false` written in two bytes.

use std::borrow::Cow;

use super::fault::DecodeError;

/// How deep arrays, maps and tags may be nested. A message of the contract needs 7.
pub const DEPTH_MAX: usize = 16;

const NOT_UTF8: &str = "text that is not UTF-8";
const OTHER_SEGMENT: &str = "a segment of another kind than its string";

/// How the next segment of a string of indefinite length is taken; `None` at its break.
type Segment<'a> = fn(&mut Cursor<'a>) -> Result<Option<&'a [u8]>, DecodeError>;

/// The start of an item. Where there is a length, `None` is an indefinite one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::wire) enum Head {
    Uint(u64),
    Negative,
    Bytes(Option<u64>),
    Text(Option<u64>),
    Array(Option<u64>),
    Map(Option<u64>),
    Tag,
    Simple(u8),
    Float,
    Break,
}

pub(in crate::wire) const FALSE: Head = Head::Simple(20);
pub(in crate::wire) const TRUE: Head = Head::Simple(21);
pub(in crate::wire) const NULL: Head = Head::Simple(22);

impl Head {
    /// What a person would call it.
    pub(in crate::wire) fn describe(self) -> &'static str {
        match self {
            Self::Uint(_) => "an unsigned integer",
            Self::Negative => "a negative integer",
            Self::Bytes(_) => "a byte string",
            Self::Text(_) => "text",
            Self::Array(_) => "an array",
            Self::Map(_) => "a map",
            Self::Tag => "a tag",
            FALSE | TRUE => "a boolean",
            NULL => "null",
            Self::Simple(23) => "undefined",
            Self::Simple(_) => "a simple value",
            Self::Float => "a float",
            Self::Break => "a break",
        }
    }
}

/// A place in a slice of CBOR.
#[derive(Debug, Clone)]
pub(in crate::wire) struct Cursor<'a> {
    bytes: &'a [u8],
    offset: usize,
    depth: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of `bytes`.
    pub(in crate::wire) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, offset: 0, depth: 0 }
    }

    /// At byte `offset` of `bytes`, within one map.
    pub(in crate::wire) fn within_map(bytes: &'a [u8], offset: usize) -> Self {
        Self { bytes, offset, depth: 1 }
    }

    /// The bytes from `start` to where it stands.
    pub(in crate::wire) fn since(&self, start: usize) -> &'a [u8] {
        self.bytes.get(start..self.offset).unwrap_or_default()
    }

    /// How many bytes were read.
    pub(in crate::wire) fn offset(&self) -> usize {
        self.offset
    }

    /// Refuses bytes after the item.
    pub(in crate::wire) fn finish(&self) -> Result<(), DecodeError> {
        match self.bytes.len().checked_sub(self.offset) {
            Some(0) => Ok(()),
            Some(count) => Err(self.fault(format!("{count} bytes after the item"))),
            None => Err(self.truncated()),
        }
    }

    /// The next head, left where it is.
    pub(in crate::wire) fn peek(&self) -> Result<Head, DecodeError> {
        self.clone().head()
    }

    /// The next head.
    pub(in crate::wire) fn head(&mut self) -> Result<Head, DecodeError> {
        let start = self.offset;
        let [initial] = self.array::<1>()?;
        let argument = match initial & 0x1f {
            short @ 0..=23 => Some(u64::from(short)),
            24 => Some(u64::from(u8::from_be_bytes(self.array()?))),
            25 => Some(u64::from(u16::from_be_bytes(self.array()?))),
            26 => Some(u64::from(u32::from_be_bytes(self.array()?))),
            27 => Some(u64::from_be_bytes(self.array()?)),
            31 => None,
            _ => return Err(DecodeError::at(start, "a reserved head")),
        };
        match (initial >> 5, argument) {
            (0, Some(value)) => Ok(Head::Uint(value)),
            (1, Some(_)) => Ok(Head::Negative),
            (2, length) => Ok(Head::Bytes(length)),
            (3, length) => Ok(Head::Text(length)),
            (4, length) => Ok(Head::Array(length)),
            (5, length) => Ok(Head::Map(length)),
            (6, Some(_)) => Ok(Head::Tag),
            (7, None) => Ok(Head::Break),
            (7, Some(value)) => {
                simple(initial, value).ok_or_else(|| DecodeError::at(start, "a reserved head"))
            }
            _ => Err(DecodeError::at(start, "a reserved head")),
        }
    }

    /// A head that must be there, or what was found instead of `expected`.
    pub(in crate::wire) fn expect<T>(
        &mut self,
        expected: &str,
        pick: impl FnOnce(Head) -> Option<T>,
    ) -> Result<T, DecodeError> {
        let start = self.offset;
        let head = self.head()?;
        pick(head).ok_or_else(|| DecodeError::unexpected(start, expected, head.describe()))
    }

    /// An unsigned integer.
    pub(in crate::wire) fn uint(&mut self) -> Result<u64, DecodeError> {
        self.expect("an unsigned integer", |head| match head {
            Head::Uint(value) => Some(value),
            _ => None,
        })
    }

    /// A text, copied only where it came in segments.
    pub(in crate::wire) fn text(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        let start = self.offset;
        match self.expect("text", text_length)? {
            Some(length) => self.utf8(length).map(Cow::Borrowed),
            None => String::from_utf8(self.segments(Self::text_segment)?)
                .map(Cow::Owned)
                .map_err(|_| DecodeError::at(start, NOT_UTF8)),
        }
    }

    /// The bytes of a text or of a byte string, copied only where they came in segments.
    pub(in crate::wire) fn text_or_bytes(&mut self) -> Result<Cow<'a, [u8]>, DecodeError> {
        match self.peek()? {
            Head::Bytes(Some(length)) => {
                self.head()?;
                self.take(length).map(Cow::Borrowed)
            }
            Head::Bytes(None) => {
                self.head()?;
                self.segments(Self::byte_segment).map(Cow::Owned)
            }
            Head::Text(_) => Ok(match self.text()? {
                Cow::Borrowed(text) => Cow::Borrowed(text.as_bytes()),
                Cow::Owned(text) => Cow::Owned(text.into_bytes()),
            }),
            head => Err(DecodeError::unexpected(self.offset, "text or a byte string", head.describe())),
        }
    }

    /// What the segments of a string of indefinite length are together.
    fn segments(&mut self, next: Segment<'a>) -> Result<Vec<u8>, DecodeError> {
        // Measured first: what is allocated is then what came.
        let mut ahead = self.clone();
        let mut length = 0_usize;
        while let Some(segment) = next(&mut ahead)? {
            length = length.saturating_add(segment.len());
        }
        let mut whole = Vec::with_capacity(length);
        while let Some(segment) = next(self)? {
            whole.extend_from_slice(segment);
        }
        Ok(whole)
    }

    /// One level down.
    pub(in crate::wire) fn enter(&mut self) -> Result<(), DecodeError> {
        if self.depth >= DEPTH_MAX {
            return Err(self.fault(format!("nested deeper than {DEPTH_MAX}")));
        }
        self.depth = self.depth.saturating_add(1);
        Ok(())
    }

    /// One level up.
    pub(in crate::wire) fn leave(&mut self) {
        self.depth = self.depth.saturating_sub(1);
    }

    /// Whether another item follows in an array or map of which `left` are still to come; takes the break of an
    /// indefinite one.
    pub(in crate::wire) fn more(&mut self, left: &mut Option<u64>) -> Result<bool, DecodeError> {
        if let Some(count) = left {
            return match count.checked_sub(1) {
                Some(rest) => {
                    *count = rest;
                    Ok(true)
                }
                None => Ok(false),
            };
        }
        if self.peek()? != Head::Break {
            return Ok(true);
        }
        self.head()?;
        Ok(false)
    }

    /// Passes over one item of any well-formed kind, no deeper than [`DEPTH_MAX`].
    pub(in crate::wire) fn skip(&mut self) -> Result<(), DecodeError> {
        let start = self.offset;
        match self.head()? {
            Head::Uint(_) | Head::Negative | Head::Simple(_) | Head::Float => Ok(()),
            Head::Break => Err(DecodeError::at(start, "a break where an item belongs")),
            Head::Bytes(Some(length)) | Head::Text(Some(length)) => self.take(length).map(drop),
            head @ (Head::Bytes(None) | Head::Text(None)) => self.skip_segments(head),
            Head::Tag => {
                self.enter()?;
                self.skip()?;
                self.leave();
                Ok(())
            }
            Head::Array(left) => self.skip_items(left, Self::skip),
            Head::Map(left) => self.skip_items(left, |cursor| {
                cursor.skip()?;
                cursor.skip()
            }),
        }
    }

    fn skip_items(
        &mut self,
        mut left: Option<u64>,
        skip: fn(&mut Self) -> Result<(), DecodeError>,
    ) -> Result<(), DecodeError> {
        self.enter()?;
        while self.more(&mut left)? {
            skip(self)?;
        }
        self.leave();
        Ok(())
    }

    fn skip_segments(&mut self, whole: Head) -> Result<(), DecodeError> {
        loop {
            let start = self.offset;
            match (self.head()?, whole) {
                (Head::Break, _) => return Ok(()),
                (Head::Bytes(Some(length)), Head::Bytes(_)) | (Head::Text(Some(length)), Head::Text(_)) => {
                    self.take(length)?;
                }
                _ => return Err(DecodeError::at(start, OTHER_SEGMENT)),
            }
        }
    }

    /// The next segment of a text of indefinite length; each is UTF-8 by itself (RFC 8949, 3.2.3).
    fn text_segment(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.offset;
        match self.head()? {
            Head::Break => Ok(None),
            Head::Text(Some(length)) => self.utf8(length).map(|text| Some(text.as_bytes())),
            _ => Err(DecodeError::at(start, OTHER_SEGMENT)),
        }
    }

    /// The next segment of a byte string of indefinite length.
    fn byte_segment(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let start = self.offset;
        match self.head()? {
            Head::Break => Ok(None),
            Head::Bytes(Some(length)) => self.take(length).map(Some),
            _ => Err(DecodeError::at(start, OTHER_SEGMENT)),
        }
    }

    fn utf8(&mut self, length: u64) -> Result<&'a str, DecodeError> {
        let start = self.offset;
        std::str::from_utf8(self.take(length)?).map_err(|_| DecodeError::at(start, NOT_UTF8))
    }

    fn take(&mut self, length: u64) -> Result<&'a [u8], DecodeError> {
        let end = usize::try_from(length).ok().and_then(|length| self.offset.checked_add(length));
        let taken = end.and_then(|end| self.bytes.get(self.offset..end)).ok_or_else(|| self.truncated())?;
        self.offset = self.offset.saturating_add(taken.len());
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let rest = self.bytes.get(self.offset..).unwrap_or_default();
        let taken = rest.first_chunk::<N>().copied().ok_or_else(|| self.truncated())?;
        self.offset = self.offset.saturating_add(N);
        Ok(taken)
    }

    fn truncated(&self) -> DecodeError {
        DecodeError::at(self.bytes.len(), "the data ends within an item")
    }

    fn fault(&self, what: String) -> DecodeError {
        DecodeError::at(self.offset, what)
    }
}

fn text_length(head: Head) -> Option<Option<u64>> {
    match head {
        Head::Text(length) => Some(length),
        _ => None,
    }
}

/// Major type 7: values under 32 must not be written in two bytes (RFC 8949, 3.3).
fn simple(initial: u8, value: u64) -> Option<Head> {
    match initial & 0x1f {
        25..=27 => Some(Head::Float),
        24 if value < 32 => None,
        _ => u8::try_from(value).ok().map(Head::Simple),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn skips(bytes: &[u8]) -> bool {
        let mut cursor = Cursor::new(bytes);
        cursor.skip().and_then(|()| cursor.finish()).is_ok()
    }

    /// RFC 8949, appendix F: examples of what is not well-formed.
    const BAD: &str = "
        18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000
        41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203 81
        818181818181818181 8200 a1 a20102 a100 a2000000 c0 5f4100 7f6100 9f 9f0102 bf bf01020102
        819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff 1c 1d 1e 3c 5c 7c 9c bc dc fc f800 f801
        f818 f81f 5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff 5f5f4100ffff
        7f7f6100ffff ff 81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff 9f829f819f9fffffffff bf00ff
        bf000000ff 1f 3f df
    ";

    const GOOD: &str = "00 1b0000000000000000 20 40 5f4100ff 7f6161ff 9fff bfff c000 f4 f7 f820 f90000";

    #[test]
    fn well_formed_is_what_rfc_8949_says() {
        assert!(!skips(b""));
        for bad in BAD.split_whitespace() {
            assert!(!skips(&hex(bad)), "{bad}");
        }
        for good in GOOD.split_whitespace() {
            assert!(skips(&hex(good)), "{good}");
        }
    }

    #[test]
    fn depth_is_counted_in_arrays_maps_and_tags() {
        for open in [&[0x81_u8][..], &[0x9f], &[0xa1, 0x00], &[0xc0]] {
            for (depth, good) in [(DEPTH_MAX, true), (DEPTH_MAX + 1, false), (100_000, false)] {
                let mut bytes = open.repeat(depth);
                bytes.push(0);
                if open == [0x9f] {
                    bytes.extend(vec![0xff; depth]);
                }
                assert_eq!(skips(&bytes), good, "{depth} of {open:x?}");
            }
        }
    }

    fn hex(digits: &str) -> Vec<u8> {
        let pairs = digits.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }
}
