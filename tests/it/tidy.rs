//! The law of the house, held by tests: where things live, who may know whom, how long a thing may be.
//!
//! Every rule reads the tokens that a lexer of Rust finds ([`source`]), never the text: a comment hides nothing.

mod arrows;
mod comments;
mod silence;
mod source;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use arrows::known_modules;
use source::{SRC, Source, TESTS, top};

/// A file fits a sitting.
const FILE_LINES_MAX: usize = 500;
/// A function fits a screen, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// The floors of the house, from the roof down. A module may know those on lower floors only, none beside it.
const FLOORS: &[&[&str]] = &[
    &["bin", "testing"],
    &["cli", "daemon"],
    &["client"],
    &["systemd", "cgroup", "host", "state", "history", "simulate"],
    &["ledger"],
    &["policy"],
    &["contract"],
    &["serving"],
    &["wire"],
    &["sys"],
    &["enforced"],
    &["quantity", "identity", "time"],
];

/// What lies on a lower floor and is a stranger all the same: (module, what it must not know, why).
const STRANGERS: &[(&str, &[&str], &str)] = &[
    (
        "ledger",
        &["wire", "contract", "sys"],
        "the ledger is pure: daemon/asking/authorize.rs makes it commands",
    ),
    (
        "serving",
        &["quantity", "enforced"],
        "a second daemon is served by it: it knows bytes, people and deadlines, no share",
    ),
    ("cli", &["systemd", "cgroup", "state", "ledger"], "the command asks the daemon, through client"),
];

/// The floors inside a module, as [`FLOORS`] has them for the house; a file that is in none of these rooms is not held
/// to them.
const FLOORS_WITHIN: &[(&str, &[&[&str]])] = &[(
    "daemon",
    &[&["owner"], &["mending", "baseline"], &["doing"], &["asking", "following"], &["telling"]],
)];

/// The one module that may hold `unsafe`, each use with its reason; and the allocator that counts what tests allocate,
/// which the language lets nobody write without.
const UNSAFE_MODULES: &[&str] = &["src/sys/", "tests/alloc/"];
/// The one place in the native tests that may wait: it asks again and again, up to a deadline.
const POLL_HELPER: &str = "tests/it/poll.rs";
/// The stand-in of systemd is slow where a test tells it to be.
const SLOW_ON_DEMAND: &str = "tests/it/stand_in/";

/// What may stand beside `src`: the plan's own, then what tools insist on, then what is never committed.
const TOP_LEVEL: &[&str] = &[
    "Cargo.toml",
    "src",
    "systemd",
    "debian",
    "policy.d",
    "tests",
    "README.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Makefile",
    ".ci",
    "LICENSE",
    "clippy.toml",
    "rustfmt.toml",
    "deny.toml",
    ".gitignore",
    ".git",
    "target",
];

fn modules() -> BTreeSet<&'static str> {
    FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect()
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The functions of a file: name, first line, and how many lines to the closing brace.
fn functions(source: &Source) -> Vec<(&str, usize, usize)> {
    let mut found = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        let name = source.word(at + 1);
        if token.text != "fn" || !name.starts_with(|first: char| first.is_alphabetic() || first == '_') {
            continue;
        }
        let Some(end) = source.next_outside(at, &["{", ";"]) else { continue };
        let end = if source.word(end) == "{" { source.closing(end) } else { end };
        found.push((name, token.line, source.tokens[end].line - token.line + 1));
    }
    found
}

/// Fails with every breach, and with what to do about them.
fn none(breaches: &[String], what_to_do: &str) {
    let mut list = String::new();
    for breach in breaches {
        write!(list, "\n  {breach}").unwrap();
    }
    assert!(breaches.is_empty(), "{what_to_do}:{list}");
}

#[test]
fn files_fit_a_sitting() {
    let all = SRC.iter().chain(TESTS.iter());
    let breaches: Vec<String> = all
        .map(|source| (source.text.lines().count(), &source.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none(
        &breaches,
        &format!("a file has at most {FILE_LINES_MAX} lines; give a part of it a file of its own"),
    );
}

/// What other programs use, and what the tests reach of the rest.
const SHOWN: &[&str] = &["client", "contract", "testing", "wire"];

#[test]
fn only_what_others_use_is_shown() {
    let root = SRC.iter().find(|source| source.path == "src/lib.rs").expect("src/lib.rs");
    let shown: Vec<&str> = (2..root.tokens.len())
        .filter(|at| root.word(at - 2) == "pub" && root.word(at - 1) == "mod")
        .map(|at| root.word(at))
        .collect();
    assert_eq!(shown, SHOWN, "everything else is the crate's own: the compiler then finds what nobody uses");
}

#[test]
fn functions_fit_a_screen() {
    let mut breaches = Vec::new();
    for source in SRC.iter().chain(TESTS.iter()) {
        for (name, line, lines) in functions(source) {
            if lines > FUNCTION_LINES_MAX {
                breaches.push(format!("{}:{line}: {name} has {lines} lines", source.path));
            }
        }
    }
    none(&breaches, &format!("a function has at most {FUNCTION_LINES_MAX} lines; name its steps"));
}

#[test]
fn every_module_has_a_floor() {
    let breaches: Vec<String> = SRC
        .iter()
        .filter(|source| source.path != "src/lib.rs" && floor(source.module()).is_none())
        .map(|source| source.path.clone())
        .collect();
    none(&breaches, "give the module a place in FLOORS of tests/it/tidy.rs, and say in the commit why there");
}

#[test]
fn arrows_go_down() {
    let mut breaches = Vec::new();
    for source in SRC.iter() {
        let Some(own) = floor(source.module()) else { continue };
        for (known, line) in known_modules(source, &modules()) {
            if floor(&known).is_some_and(|other| other <= own) {
                breaches.push(format!("{}:{line}: {} knows {known}", source.path, source.module()));
            }
        }
    }
    none(&breaches, "a module knows only lower floors (FLOORS); hand the value in, or move the code down");
}

#[test]
fn rooms_inside_a_module_have_floors_too() {
    let mut breaches = Vec::new();
    for source in SRC.iter() {
        let own = source.module_path();
        for (parent, floors) in FLOORS_WITHIN {
            let place = |path: &[&str]| match path {
                [module, room, ..] if module == parent => {
                    floors.iter().position(|floor| floor.contains(room))
                }
                _ => None,
            };
            let Some(floor) = place(&own) else { continue };
            for (path, line) in arrows::paths(source) {
                let path: Vec<&str> = path.iter().map(String::as_str).collect();
                if path.get(1) != own.get(1) && place(&path).is_some_and(|other| other <= floor) {
                    breaches.push(format!("{}:{line}: knows {}", source.path, path.join("::")));
                }
            }
        }
    }
    none(&breaches, "a room knows only the lower floors of its module (FLOORS_WITHIN)");
}

#[test]
fn files_know_each_other_in_one_direction() {
    let arrows = arrows::files(&SRC);
    let mut breaches = Vec::new();
    for circle in arrows::circles(&arrows) {
        breaches.push(format!("a circle: {circle:?}"));
        for file in &circle {
            let inside = arrows[file].iter().filter(|(other, _)| circle.contains(*other));
            breaches.extend(inside.map(|(other, line)| format!("  {file}:{line}: knows {other}")));
        }
    }
    none(&breaches, "no circle of files: move what both need to a file below, or hand the value in");
}

#[test]
fn strangers_stay_strangers() {
    let mut breaches = Vec::new();
    for source in SRC.iter() {
        for (module, strangers, why) in STRANGERS.iter().filter(|(module, ..)| *module == source.module()) {
            for (known, line) in known_modules(source, &modules()) {
                if strangers.contains(&known.as_str()) {
                    breaches.push(format!("{}:{line}: {module} knows {known}; {why}", source.path));
                }
            }
        }
    }
    none(&breaches, "these modules must not know each other (STRANGERS)");
}

#[test]
fn the_ledger_is_pure() {
    const IMPURE: &[&str] = &[
        "tokio",
        "async",
        "await",
        "zbus",
        "serde",
        "tracing",
        "SystemTime",
        "Instant",
        "HashMap",
        "HashSet",
        "rand",
        "std::fs",
        "std::io",
        "std::net",
        "std::os",
        "std::env",
        "std::process",
        "std::thread",
        // Of std::sync, what shares change: an `Arc` of what does not change is a value.
        "atomic",
        "mpsc",
        "Condvar",
        "LazyLock",
        "Mutex",
        "OnceLock",
        "RwLock",
        "println",
        "eprintln",
        "dbg",
    ];
    let mut breaches = Vec::new();
    for source in SRC.iter().filter(|source| source.module() == "ledger") {
        for word in IMPURE {
            for line in source.lines_with(word) {
                breaches.push(format!("{}:{line}: {word}", source.path));
            }
        }
    }
    none(
        &breaches,
        "the ledger knows no clock, no I/O, no async, no serde, no order by chance: hand the value in",
    );
}

#[test]
fn unsafe_has_one_room() {
    let mut breaches = Vec::new();
    for source in SRC.iter().chain(TESTS.iter()) {
        if !UNSAFE_MODULES.iter().any(|module| source.path.starts_with(module)) {
            let lines = source.lines_with("unsafe");
            breaches.extend(lines.iter().map(|line| format!("{}:{line}", source.path)));
        }
    }
    none(&breaches, "`unsafe` only in src/sys, behind a safe function, with its reason");
}

/// On which lines `ignore` stands in an attribute.
fn ignored(source: &Source) -> Vec<usize> {
    let attributes = (0..source.tokens.len()).filter(|at| source.has(*at, &["#", "["]));
    let words = attributes.flat_map(|at| at..source.closing(at + 1));
    words.filter(|at| source.word(*at) == "ignore").map(|at| source.tokens[at].line).collect()
}

#[test]
fn no_test_is_skipped() {
    let mut breaches = Vec::new();
    for source in SRC.iter().chain(TESTS.iter()) {
        for line in ignored(source) {
            breaches.push(format!("{}:{line}", source.path));
        }
    }
    none(&breaches, "no #[ignore]: mend the test or delete it");
}

#[test]
fn native_tests_do_not_sleep() {
    let mut breaches = Vec::new();
    let native = TESTS.iter().filter(|source| source.path.starts_with("tests/it/"));
    for source in
        native.filter(|source| source.path != POLL_HELPER && !source.path.starts_with(SLOW_ON_DEMAND))
    {
        for word in ["thread::sleep", "time::sleep", "sleep_until", "sleep_ms"] {
            let lines = source.lines_with(word);
            breaches.extend(lines.iter().map(|line| format!("{}:{line}: {word}", source.path)));
        }
    }
    none(
        &breaches,
        &format!("wait for the thing itself, or poll for it up to a deadline with {POLL_HELPER}"),
    );
}

#[test]
fn the_top_level_is_the_plan() {
    let mut breaches = Vec::new();
    for entry in fs::read_dir(top()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !TOP_LEVEL.contains(&name.as_str()) {
            breaches.push(name);
        }
    }
    breaches.sort();
    none(&breaches, "not in the plan of the house (TOP_LEVEL): move it to where it belongs, or delete it");
}

#[test]
fn the_package_has_the_crates_version() {
    let changelog = fs::read_to_string(top().join("debian/changelog")).unwrap();
    let expected = format!("fairshare ({}) ", env!("CARGO_PKG_VERSION"));
    assert!(
        changelog.starts_with(&expected),
        "Cargo.toml says {}: begin debian/changelog with it, or set it back",
        env!("CARGO_PKG_VERSION")
    );
}

#[test]
fn the_reader_measures_functions() {
    let text = "impl A {\n    pub(crate) async fn one(&self) -> u8 {\n        1\n    }\n\n    fn two() {}\n}\nfn three(\n    a: u8,\n) -> u8\nwhere\n    u8: Copy,\n{\n    a\n}\n";
    let source = Source::new("src/a.rs", text.into());
    let found: Vec<_> = functions(&source).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    assert_eq!(found, [("one", 3), ("two", 1), ("three", 8)]);
}
