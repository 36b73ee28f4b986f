//! What `login.defs(5)` says of user ids.

use std::path::Path;

/// The file.
pub const LOGIN_DEFS: &str = "/etc/login.defs";

/// The first id of people's accounts where the file names none (`login.defs(5)`, UID_MIN).
pub const UID_MIN_DEFAULT: u32 = 1000;

/// The first id of people's accounts: those below are the system's. The default where the file does not say.
pub fn uid_min(file: &Path) -> u32 {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let named = text.lines().find_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("UID_MIN")).then(|| words.next()).flatten()?.parse().ok()
    });
    named.unwrap_or(UID_MIN_DEFAULT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_id_of_people_is_what_the_file_says_or_1000() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        for (text, uid) in [
            ("UID_MIN\t\t\t 500\nUID_MAX 60000\n", 500),
            ("#UID_MIN 500\nSYS_UID_MIN 100\nUID_MIN 2000 # people\n", 2000),
            ("UID_MIN many\n", 1000),
            ("", 1000),
        ] {
            std::fs::write(file.path(), text).expect("written");
            assert_eq!(uid_min(file.path()), uid, "{text:?}");
        }
        assert_eq!(uid_min(Path::new("/nowhere")), 1000);
    }
}
