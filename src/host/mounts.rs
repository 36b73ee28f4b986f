//! Which file systems are mounted where, as the kernel lists it: nothing of a file system itself is asked, so that one that does
//! not answer holds nobody up.
//!
//! Source: `proc_pid_mountinfo(5)`.

/// What is mounted, as this process sees it.
pub const MOUNTINFO: &str = "/proc/self/mountinfo";

/// A line of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The number of the mount.
    pub id: u64,
    /// The number of the kind of device that the file system is on; 0 for none.
    pub major: u64,
    /// Where the file system is mounted.
    pub point: String,
    /// The kind of file system.
    pub kind: String,
}

impl Mount {
    /// Whether the file system is on a disk of this machine that PID 1 finds by a path on it, and without waiting for anybody:
    /// one on btrfs has no device of its own there, and one that a program serves may not answer.
    pub fn has_disk(&self) -> bool {
        (self.major != 0 || self.kind == "btrfs") && !self.kind.starts_with("fuse")
    }
}

/// All lines that are understood.
pub fn parse(mountinfo: &str) -> Vec<Mount> {
    mountinfo.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Mount> {
    // What comes before the lone dash is of any number of words.
    let (first, second) = line.split_once(" - ")?;
    let mut words = first.split(' ');
    let id = words.next()?.parse().ok()?;
    let (major, _) = words.nth(1)?.split_once(':')?;
    let point = unescaped(words.nth(1)?);
    let kind = second.split(' ').next()?.to_owned();
    Some(Mount { id, major: major.parse().ok()?, point, kind })
}

/// A path as it is: the kernel writes space, tab, newline and backslash as three octal digits.
fn unescaped(word: &str) -> String {
    let replaced = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n")];
    let text = replaced.iter().fold(word.to_owned(), |text, (escape, plain)| text.replace(escape, plain));
    text.replace("\\134", "\\")
}

/// The mount that an absolute path is on, as far as its words say: links on the way are not followed.
pub fn of_path<'a>(mounts: &'a [Mount], path: &str) -> Option<&'a Mount> {
    let above = |mount: &&Mount| match path.strip_prefix(mount.point.trim_end_matches('/')) {
        Some(rest) => rest.is_empty() || rest.starts_with('/'),
        None => false,
    };
    // Of several at one point the last covers the others.
    mounts.iter().filter(above).max_by_key(|mount| mount.point.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIST: &str = "\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
23 22 0:21 / /proc rw,nosuid - proc proc rw
24 22 0:40 / /home rw shared:9 master:3 - nfs4 server:/home rw,vers=4.2
25 22 0:50 /root /srv rw - btrfs /dev/vdb rw
26 22 0:51 / /media/my\\040disk rw - fuse.sshfs server:/x rw
27 22 254:16 / /mnt rw - fuseblk /dev/vdc rw
28 22 0:60 / /scratch rw - tmpfs tmpfs rw
29 22 250:0 / /scratch rw - xfs /dev/mapper/a rw
a line that is not understood
";

    #[test]
    fn a_path_is_on_the_longest_mount_above_it_and_the_last_at_its_point() {
        let mounts = parse(LIST);
        assert_eq!(mounts.len(), 8);
        let on = |path| of_path(&mounts, path).map(|mount| (mount.id, mount.has_disk()));
        for (path, id, has_disk) in [
            ("/", 22, true),
            ("/homes", 22, true),
            ("/home", 24, false),
            ("/home/alice", 24, false),
            ("/proc/1", 23, false),
            ("/srv/x", 25, true),
            ("/media/my disk", 26, false),
            ("/mnt", 27, false),
            ("/scratch", 29, true),
        ] {
            assert_eq!(on(path), Some((id, has_disk)), "{path}");
        }
        assert_eq!(of_path(&[], "/"), None);
    }
}
