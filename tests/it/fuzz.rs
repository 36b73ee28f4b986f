//! What the fuzz targets were given and what they found, once more on any toolchain: `tests/fuzz/corpus`.

#[path = "../fuzz/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;

#[test]
fn the_corpora_find_nothing_new() {
    for (name, target) in entries::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/corpus").join(name);
        let files: Vec<_> = fs::read_dir(&corpus).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{}", corpus.display());
        for file in files {
            eprintln!("{}", file.display());
            target(&fs::read(&file).unwrap());
        }
        target(b"");
    }
}
