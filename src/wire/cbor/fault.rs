//! What is wrong with a payload, and where in it.

use std::fmt;

/// The most characters of a sender's own text that a message about it shows.
pub(in crate::wire) const SHOWN_CHARS_MAX: usize = 64;

/// Why a payload is not a message, and where in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError {
    /// The keys that lead there, as in `body.pids[3]`; empty for the message itself.
    path: String,
    offset: Option<usize>,
    what: String,
}

impl DecodeError {
    /// A fault at this byte of the payload.
    pub(in crate::wire) fn at(offset: usize, what: impl Into<String>) -> Self {
        Self { path: String::new(), offset: Some(offset), what: what.into() }
    }

    /// A fault that whoever knows the place will give one, by [`Self::or_at`].
    pub(in crate::wire) fn somewhere(what: String) -> Self {
        Self { path: String::new(), offset: None, what }
    }

    /// Something well-formed of the wrong kind.
    pub(in crate::wire) fn unexpected(offset: usize, expected: &str, found: &str) -> Self {
        Self::at(offset, format!("expected {expected}, found {}", found))
    }

    /// The same, at this byte when no place was known.
    pub(in crate::wire) fn or_at(mut self, offset: usize) -> Self {
        self.offset.get_or_insert(offset);
        self
    }

    /// The same, within the value of a key.
    pub(in crate::wire) fn in_key(mut self, key: &str) -> Self {
        let dot = if self.path.is_empty() || self.path.starts_with('[') { "" } else { "." };
        self.path = format!("{key}{dot}{}", self.path);
        self
    }

    /// The same, within an item of an array.
    pub(in crate::wire) fn in_item(self, index: usize) -> Self {
        self.in_key(&format!("[{index}]"))
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.what)?;
        self.offset.map_or(Ok(()), |offset| write!(f, " (byte {offset})"))
    }
}

impl std::error::Error for DecodeError {}

/// A sender's text as it may stand in a message or a journal: one line, short, nothing that a terminal would obey.
pub fn shown(text: &str) -> String {
    shown_bytes(text.as_bytes())
}

/// The same of what may be no text: a byte that is none is shown as `\xe9`.
pub(in crate::wire) fn shown_bytes(bytes: &[u8]) -> String {
    let escaped = || {
        bytes.utf8_chunks().flat_map(|chunk| {
            let text = chunk.valid().chars().flat_map(char::escape_debug);
            text.chain(chunk.invalid().escape_ascii().map(char::from))
        })
    };
    let mut shown: String = escaped().take(SHOWN_CHARS_MAX).collect();
    if escaped().nth(SHOWN_CHARS_MAX).is_some() {
        shown.pop();
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_senders_text_is_shown_clipped_and_harmless() {
        assert_eq!(shown("plain-name_1"), "plain-name_1");
        assert_eq!(shown("\u{1b}[31m\u{202e}"), r"\u{1b}[31m\u{202e}");
        let long = shown(&"é".repeat(1_000_000));
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN_CHARS_MAX, true));
        assert_eq!(shown(&"x".repeat(SHOWN_CHARS_MAX)), "x".repeat(SHOWN_CHARS_MAX));
        assert_eq!(shown_bytes(b"caf\xe9 \xc3\xa9\n\xff"), r"caf\xe9 é\n\xff");
        let long = shown_bytes(&[0x9b; 1_000_000]);
        assert_eq!((long.chars().count(), long.ends_with('…')), (SHOWN_CHARS_MAX, true));
    }
}
