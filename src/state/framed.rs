//! A file that is whole or damaged, and of a version: 8 bytes of magic, then big-endian `u32` version, `u32` length of the
//! payload, `u32` CRC-32 of all of that and the payload, then the payload.

/// How long the header is, in bytes.
pub const HEADER_BYTES: usize = 20;
const VERSION_AT: usize = 8;
const LENGTH_AT: usize = 12;
const CHECKSUM_AT: usize = 16;

const SHORT: &str = "shorter than its header";
const CUT: &str = "cut short, or longer than it says";

/// What is in front of the payload says what kind of file it is.
pub type Magic = [u8; 8];

/// The bytes of a file.
///
/// # Errors
/// The payload is larger than a file can say.
pub fn framed(magic: &Magic, version: u32, payload: &[u8]) -> Result<Vec<u8>, String> {
    let length = u32::try_from(payload.len()).map_err(|_| "over 4 GiB".to_owned())?;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + payload.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&version.to_be_bytes());
    bytes.extend_from_slice(&length.to_be_bytes());
    let checksum = checksum(&bytes, payload);
    bytes.extend_from_slice(&checksum.to_be_bytes());
    bytes.extend_from_slice(payload);
    Ok(bytes)
}

/// The version and the payload of what begins here, and what is after that.
///
/// # Errors
/// What is damaged about it.
pub fn first<'a>(magic: &Magic, bytes: &'a [u8]) -> Result<(u32, &'a [u8], &'a [u8]), &'static str> {
    let header = bytes.get(..HEADER_BYTES).ok_or(SHORT)?;
    let length =
        usize::try_from(word(header, LENGTH_AT)).ok().and_then(|length| HEADER_BYTES.checked_add(length));
    let (whole, rest) = length.and_then(|length| bytes.split_at_checked(length)).ok_or(CUT)?;
    unframed(magic, whole).map(|(version, payload)| (version, payload, rest))
}

/// The checksum that a whole file says it has.
pub fn checksum_of(bytes: &[u8]) -> u32 {
    word(bytes, CHECKSUM_AT)
}

/// The version and the payload of a whole file.
///
/// # Errors
/// What is damaged about it.
pub fn unframed<'a>(magic: &Magic, bytes: &'a [u8]) -> Result<(u32, &'a [u8]), &'static str> {
    let (header, payload) = bytes.split_at_checked(HEADER_BYTES).ok_or(SHORT)?;
    let (head, check) = header.split_at(CHECKSUM_AT);
    if !head.starts_with(magic) {
        return Err("of another kind, or not fairshare's");
    }
    if usize::try_from(word(header, LENGTH_AT)) != Ok(payload.len()) {
        return Err(CUT);
    }
    if checksum(head, payload).to_be_bytes() != check {
        return Err("its checksum is wrong");
    }
    Ok((word(header, VERSION_AT), payload))
}

/// The number at this place; 0 where there is none.
fn word(header: &[u8], at: usize) -> u32 {
    let bytes = header.get(at..at + 4).and_then(|bytes| bytes.try_into().ok());
    u32::from_be_bytes(bytes.unwrap_or_default())
}

fn checksum(head: &[u8], payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(head);
    hasher.update(payload);
    hasher.finalize()
}
