//! The most I/O of a share: what the kernel is to hold of it on disks, what it holds, and how the two differ. Pure.
//!
//! Source: the kernel's `Documentation/admin-guide/cgroup-v2.rst`, `io.max`.

use std::fmt;

use crate::quantity::Bytes;

/// The most I/O on one disk, a second. `None`: no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IoMost {
    /// Bytes read: `rbps`.
    pub read: Option<Bytes>,
    /// Bytes written: `wbps`.
    pub write: Option<Bytes>,
    /// Reads: `riops`.
    pub read_ops: Option<u64>,
    /// Writes: `wiops`.
    pub write_ops: Option<u64>,
}

impl IoMost {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl fmt::Display for IoMost {
    /// As the kernel writes it, without the disk: `rbps=8388608 wbps=max riops=max wiops=max`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { read, write, read_ops, write_ops } = *self;
        let figures = [read.map(|bytes| bytes.0), write.map(|bytes| bytes.0), read_ops, write_ops];
        for (at, (key, figure)) in ["rbps", "wbps", "riops", "wiops"].into_iter().zip(figures).enumerate() {
            let space = if at == 0 { "" } else { " " };
            match figure {
                Some(figure) => write!(f, "{space}{key}={figure}")?,
                None => write!(f, "{space}{key}=max")?,
            }
        }
        Ok(())
    }
}

/// The most I/O of one share, and on which disks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct IoCaps {
    /// On each of the disks.
    pub most: IoMost,
    /// Paths on these disks. Several may be on one.
    pub on: Vec<String>,
}

impl IoCaps {
    /// Whether the kernel holds just that: `io.max` has a line for each disk with a bound, and which disk a path is on only PID 1
    /// knows, through partitions, encryption and volumes. So each line must have these figures, and there must be one at least and
    /// no more than there are paths.
    ///
    /// # Errors
    /// In words, how it differs.
    pub fn hold(&self, lines: &[IoMost]) -> Result<(), String> {
        let wanted = if self.most.is_empty() { 0 } else { self.on.len() };
        if wanted == 0 {
            return match lines {
                [] => Ok(()),
                [first, ..] => Err(format!("io.max has {first}, and should bound nothing")),
            };
        }
        if lines.is_empty() {
            return Err(format!(
                "io.max bounds no disk, and should have {} on {}",
                self.most,
                self.on.join(" ")
            ));
        }
        if let Some(other) = lines.iter().find(|line| **line != self.most) {
            return Err(format!("io.max has {other}, not {}", self.most));
        }
        if lines.len() > wanted {
            return Err(format!("io.max bounds {} disks, more than {} has", lines.len(), self.on.join(" ")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_disk_with_a_bound_has_the_figures_and_there_is_one_for_some_path() {
        let most = IoMost { read: Some(Bytes(8 << 20)), write_ops: Some(50), ..IoMost::default() };
        let caps = IoCaps { most, on: vec!["/home".to_owned(), "/scratch".to_owned()] };
        assert_eq!(most.to_string(), "rbps=8388608 wbps=max riops=max wiops=50");
        assert_eq!((caps.hold(&[most]), caps.hold(&[most, most])), (Ok(()), Ok(())), "they may share a disk");
        let says = |lines: &[IoMost]| caps.hold(lines).unwrap_err();
        assert_eq!(says(&[]), format!("io.max bounds no disk, and should have {most} on /home /scratch"));
        let less = IoMost { read: Some(Bytes(4096)), ..most };
        assert_eq!(says(&[most, less]), format!("io.max has {less}, not {most}"));
        assert!(says(&[most, most, most]).contains("3 disks"));
        let nothing = IoCaps::default();
        assert_eq!(nothing.hold(&[]), Ok(()));
        assert_eq!(nothing.hold(&[less]), Err(format!("io.max has {less}, and should bound nothing")));
        let nowhere = IoCaps { most, on: Vec::new() };
        assert_eq!((nowhere.hold(&[]), nowhere.hold(&[most]).is_err()), (Ok(()), true));
    }
}
