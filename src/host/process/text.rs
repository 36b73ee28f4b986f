//! The form of what the kernel writes in `/proc`.

/// What follows this in the one line that begins with it; `None` where there is none, or more than one.
pub(super) fn only_line<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a str> {
    let mut lines = text.split(|byte| *byte == b'\n').filter_map(|line| line.strip_prefix(prefix));
    let line = lines.next()?;
    if lines.next().is_some() {
        return None;
    }
    std::str::from_utf8(line).ok()
}

/// A number in decimal digits alone.
pub(super) fn number(digits: &str) -> Option<u32> {
    digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok()).flatten()
}
