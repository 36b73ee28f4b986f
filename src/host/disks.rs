//! Which disks the kernel shares out by weights.

use std::path::Path;

/// Where the kernel lists block devices.
pub const BLOCK: &str = "/sys/block";

/// The disks whose scheduler has no weights: all but those of BFQ (the kernel's `block/bfq-iosched.rst`). What is no device,
/// as loops and RAM disks are, is left out.
pub fn without_weights(block: &Path) -> impl Iterator<Item = String> {
    let entries = std::fs::read_dir(block).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let path = entry.path();
        let schedulers = std::fs::read_to_string(path.join("queue/scheduler")).ok()?;
        let weighs = schedulers.split_whitespace().any(|scheduler| scheduler == "[bfq]");
        let name = entry.file_name().into_string().ok()?;
        (!weighs && path.join("device").exists()).then_some(name)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn disks_of_another_scheduler_are_named() {
        let block = tempfile::tempdir().unwrap();
        for (name, scheduler, device) in [
            ("sda", "none mq-deadline [bfq]\n", true),
            ("vda", "[none] mq-deadline bfq\n", true),
            ("loop0", "[none] mq-deadline\n", false),
        ] {
            let queue = block.path().join(name).join("queue");
            std::fs::create_dir_all(&queue).unwrap();
            std::fs::write(queue.join("scheduler"), scheduler).unwrap();
            if device {
                std::fs::create_dir(block.path().join(name).join("device")).unwrap();
            }
        }
        assert_eq!(without_weights(block.path()).collect::<Vec<_>>(), ["vda"]);
        assert_eq!(without_weights(&block.path().join("none")).count(), 0);
    }
}
