//! A guest's own disk: an empty qcow2 file over read-only layers.
//!
//! `qemu-img` would write it, but its package is not always installable beside QEMU's; the format is
//! QEMU's `docs/interop/qcow2.txt`.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// The size of every guest's root disk, as `image/build.sh` makes it.
const DISK_BYTES: u64 = 1 << 30;
const CLUSTER_BITS: u32 = 16;
const CLUSTER_BYTES: u64 = 1 << CLUSTER_BITS;
/// One entry of the first-level table covers a cluster full of 8-byte entries, each of one cluster.
const L1_ENTRIES: u32 = (DISK_BYTES / (CLUSTER_BYTES / 8 * CLUSTER_BYTES)) as u32;

/// Writes an overlay that holds nothing yet. Its backing layer is named on QEMU's command line.
pub fn create_overlay(path: &Path) {
    let mut header = Vec::new();
    header.extend(b"QFI\xfb");
    header.extend(3_u32.to_be_bytes()); // version
    header.extend(0_u64.to_be_bytes()); // backing file's offset: none in the file
    header.extend(0_u32.to_be_bytes()); // backing file's name length
    header.extend(CLUSTER_BITS.to_be_bytes());
    header.extend(DISK_BYTES.to_be_bytes());
    header.extend(0_u32.to_be_bytes()); // no encryption
    header.extend(L1_ENTRIES.to_be_bytes());
    header.extend((3 * CLUSTER_BYTES).to_be_bytes()); // first-level table: cluster 3, all zero
    header.extend(CLUSTER_BYTES.to_be_bytes()); // refcount table: cluster 1
    header.extend(1_u32.to_be_bytes()); // its clusters
    header.extend(0_u32.to_be_bytes()); // no snapshots
    header.extend(0_u64.to_be_bytes());
    header.extend([0; 24]); // no feature bits
    header.extend(4_u32.to_be_bytes()); // refcounts of 16 bits
    header.extend(104_u32.to_be_bytes()); // this header's length
    let refcount_block = (2 * CLUSTER_BYTES).to_be_bytes();
    let refcounts: Vec<u8> = [1_u16; 4].iter().flat_map(|count| count.to_be_bytes()).collect();

    let write = || -> std::io::Result<()> {
        let file = File::create_new(path)?;
        file.set_len(4 * CLUSTER_BYTES)?;
        file.write_all_at(&header, 0)?;
        file.write_all_at(&refcount_block, CLUSTER_BYTES)?;
        file.write_all_at(&refcounts, 2 * CLUSTER_BYTES)
    };
    write().unwrap_or_else(|error| panic!("cannot write the disk {}: {error}", path.display()));
}
