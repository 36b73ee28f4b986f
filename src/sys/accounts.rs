//! The user and group databases with buffers that grow to a bound of ours: a group may have hundreds of thousands of
//! members, and what the safe libraries offer ends at 1 MiB.

use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

use libc::c_char;

/// The first buffer of a look-up, in bytes: nearly every entry fits.
const ENTRY_BYTES_FIRST: usize = 4 << 10;

/// The largest entry of the user or group database that is read, in bytes: some half a million members with their names.
pub const ENTRY_BYTES_MAX: usize = 16 << 20;

/// A user as the database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The id.
    pub uid: u32,
    /// The primary group.
    pub gid: u32,
    /// The name; `None` where it is not UTF-8.
    pub name: Option<String>,
}

/// A group as the database has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group {
    /// The id.
    pub gid: u32,
    /// Whether its list of members has the name that was looked for.
    pub has_member: bool,
}

/// The user of this id (`getpwuid_r(3)`).
///
/// # Errors
/// What the database said; `ERANGE` for an entry of more than [`ENTRY_BYTES_MAX`].
pub fn user_by_id(uid: u32) -> io::Result<Option<User>> {
    // SAFETY: `entry` passes pointers to live buffers of the lengths that it names, as getpwuid_r(3) wants them.
    entry(|user, buffer, length, found| unsafe { libc::getpwuid_r(uid, user, buffer, length, found) }, user)
}

/// The user of this name (`getpwnam_r(3)`).
///
/// # Errors
/// As of [`user_by_id`].
pub fn user_by_name(name: &CStr) -> io::Result<Option<User>> {
    // SAFETY: as in `user_by_id`; the name is a C string that outlives the call.
    let ask =
        |user, buffer, length, found| unsafe { libc::getpwnam_r(name.as_ptr(), user, buffer, length, found) };
    entry(ask, user)
}

/// The group of this name (`getgrnam_r(3)`), and whether it lists `member`.
///
/// # Errors
/// As of [`user_by_id`].
pub fn group_by_name(name: &CStr, member: Option<&CStr>) -> io::Result<Option<Group>> {
    // SAFETY: as in `user_by_name`.
    let ask = |group, buffer, length, found| unsafe {
        libc::getgrnam_r(name.as_ptr(), group, buffer, length, found)
    };
    entry(ask, |group: &libc::group| Group {
        gid: group.gr_gid,
        // SAFETY: `entry` calls this while the buffer that the entry points into lives.
        has_member: member.is_some_and(|member| unsafe { lists(group.gr_mem, member) }),
    })
}

/// The names that the group of this name lists (`getgrnam_r(3)`); those that are not UTF-8 are left out.
///
/// # Errors
/// As of [`user_by_id`].
pub fn listed_in_group(name: &CStr) -> io::Result<Option<Vec<String>>> {
    // SAFETY: as in `user_by_name`.
    let ask = |group, buffer, length, found| unsafe {
        libc::getgrnam_r(name.as_ptr(), group, buffer, length, found)
    };
    entry(ask, |group: &libc::group| {
        let mut names = Vec::new();
        // SAFETY: `entry` calls this while the buffer that the entry points into lives.
        unsafe { each(group.gr_mem, |name| names.extend(name.to_str().map(str::to_owned))) };
        names
    })
}

fn user(found: &libc::passwd) -> User {
    // SAFETY: `entry` calls this while the buffer lives in which the name is a C string (passwd(5)).
    let name = (!found.pw_name.is_null()).then(|| unsafe { CStr::from_ptr(found.pw_name) }.to_owned());
    User { uid: found.pw_uid, gid: found.pw_gid, name: name.map(CString::into_string).and_then(Result::ok) }
}

/// Whether a list of C strings that ends with a null pointer has this one.
///
/// # Safety
/// The list is null, or such a list that lives.
unsafe fn lists(list: *const *mut c_char, wanted: &CStr) -> bool {
    let mut found = false;
    // SAFETY: the list is as `each` wants it.
    unsafe { each(list, |name| found |= name == wanted) };
    found
}

/// Shows each string of a list of C strings that ends with a null pointer.
///
/// # Safety
/// The list is null, or such a list that lives.
unsafe fn each(list: *const *mut c_char, mut show: impl FnMut(&CStr)) {
    let mut at = list;
    if at.is_null() {
        return;
    }
    loop {
        // SAFETY: the list goes on up to its null pointer, and `at` has not passed that.
        let name = unsafe { *at };
        if name.is_null() {
            return;
        }
        // SAFETY: every other pointer of the list is a C string.
        show(unsafe { CStr::from_ptr(name) });
        // SAFETY: the null pointer comes after this one.
        at = unsafe { at.add(1) };
    }
}

/// One entry, by a function of the family of `getpwnam_r(3)`, and what of it is wanted.
fn entry<E, T>(
    ask: impl Fn(*mut E, *mut c_char, usize, *mut *mut E) -> libc::c_int,
    take: impl Fn(&E) -> T,
) -> io::Result<Option<T>> {
    let mut length = ENTRY_BYTES_FIRST;
    loop {
        let mut buffer: Vec<MaybeUninit<c_char>> = vec![MaybeUninit::uninit(); length];
        let mut room = MaybeUninit::<E>::uninit();
        let mut found: *mut E = ptr::null_mut();
        match ask(room.as_mut_ptr(), buffer.as_mut_ptr().cast(), length, &raw mut found) {
            0 if found.is_null() => return Ok(None),
            // SAFETY: the function has said that it found an entry and where: in `room`, with its texts in `buffer`.
            0 => return Ok(Some(take(unsafe { &*found }))),
            libc::EINTR => {}
            libc::ERANGE if length < ENTRY_BYTES_MAX => {
                length = length.saturating_mul(4).min(ENTRY_BYTES_MAX)
            }
            errno => return Err(io::Error::from_raw_os_error(errno)),
        }
    }
}
