//! The law of the house, held by tests: where things live, who may know whom, how long a thing may be.
//!
//! Every rule reads the source as text. rustfmt's shape is relied on: `make check` formats first.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// A file fits a sitting.
const FILE_LINES_MAX: usize = 500;
/// A function fits a screen, from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// The floors of the house, from the roof down. A module may know those on lower floors only, none beside it.
const FLOORS: &[&[&str]] = &[
    &["bin"],
    &["cli", "daemon"],
    &["client"],
    &["systemd", "cgroup", "procfs", "host", "store", "simulate"],
    &["ledger"],
    &["policy", "wire"],
    &["sys"],
    &["quantity", "identity"],
];

/// What lies on a lower floor and is a stranger all the same: (module, what it must not know, why).
const STRANGERS: &[(&str, &[&str], &str)] = &[
    ("ledger", &["wire", "sys"], "the ledger is pure: calls become its commands in daemon/authorize.rs"),
    ("cli", &["systemd", "cgroup", "store", "ledger"], "the command asks the daemon, through client"),
];

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

/// A source file: its path from the top, its text, and its text with comments and literals blanked out.
struct Source {
    path: String,
    text: String,
    code: String,
}

impl Source {
    /// The room of the house it is in: the module directly under `src`, `bin` for the programs.
    fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// How many modules deep its own items are: 1 for `src/a.rs` and `src/a/mod.rs`, 2 for `src/a/b.rs`.
    fn depth(&self) -> usize {
        self.path.split('/').skip(1).filter(|part| *part != "mod.rs").count()
    }
}

fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file under `folder`, in the order of names; nothing where the folder is not there.
fn sources(folder: &str) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![top().join(folder)];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else { continue };
        for path in entries.map(|entry| entry.unwrap().path()) {
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(source(&path));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn source(path: &Path) -> Source {
    let text = fs::read_to_string(path).unwrap();
    let path = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
    let code = code_only(&text);
    Source { path, text, code }
}

/// The text with every comment, string and character literal blanked out, line for line.
fn code_only(text: &str) -> String {
    let mut rest = text;
    let mut code = String::with_capacity(text.len());
    while let Some(first) = rest.chars().next() {
        let skipped = match first {
            '/' if rest.starts_with("//") => rest.find('\n').unwrap_or(rest.len()),
            '/' if rest.starts_with("/*") => block_comment(rest),
            '"' => 1 + quoted(&rest[1..], '"'),
            'r' if !code.ends_with(is_word) => raw_string(rest, 1),
            'b' if !code.ends_with(is_word) && rest.starts_with("br") => raw_string(rest, 2),
            '\'' => character(rest),
            _ => 0,
        };
        if skipped == 0 {
            code.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            let (blanked, after) = rest.split_at(skipped);
            code.extend(blanked.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = after;
        }
    }
    code
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// How long the comment is that begins here; such comments nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0;
    for (at, _) in text.char_indices() {
        if text[at..].starts_with("/*") {
            depth += 1;
        } else if at > 0 && text[..at].ends_with("*/") {
            depth -= 1;
            if depth == 0 {
                return at;
            }
        }
    }
    text.len()
}

/// Up to and with the closing quote, which no backslash precedes.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return at + c.len_utf8();
        }
        escaped = c == '\\' && !escaped;
    }
    text.len()
}

/// How long the raw string is whose `r` or `br` begins here; 0 where it is no string but a word.
fn raw_string(text: &str, prefix: usize) -> usize {
    let after = &text[prefix..];
    let hashes = after.len() - after.trim_start_matches('#').len();
    let Some(body) = after[hashes..].strip_prefix('"') else { return 0 };
    let end = format!("\"{}", &after[..hashes]);
    let start = prefix + hashes + 1;
    body.find(&end).map_or(text.len(), |at| start + at + end.len())
}

/// How long the character literal is that begins here; 0 where it is a lifetime.
fn character(text: &str) -> usize {
    let mut chars = text.chars().skip(1);
    match (chars.next(), chars.next()) {
        (Some('\\'), _) => 1 + quoted(&text[1..], '\''),
        (Some(c), Some('\'')) => 2 + c.len_utf8(),
        _ => 0,
    }
}

/// Where `word` stands in the code as a word or a path of its own: line numbers from 1.
fn lines_with(code: &str, word: &str) -> Vec<usize> {
    let begins = |at: usize| !word.starts_with(is_word) || !code[..at].ends_with(is_word);
    let ends = |at: usize| !word.ends_with(is_word) || !code[at..].starts_with(is_word);
    let places = code.match_indices(word).filter(|(at, _)| begins(*at) && ends(at + word.len()));
    places.map(|(at, _)| line_of(code, at)).collect()
}

fn line_of(code: &str, at: usize) -> usize {
    code[..at].matches('\n').count() + 1
}

/// The modules of this crate that the file names, each with a line: `crate::x`, `crate::{x, y::z}`,
/// `fairshare::x` from the programs, and `super::x` where that many steps up reach the crate's root.
fn known_modules(source: &Source) -> Vec<(String, usize)> {
    let mut roots = vec!["crate::".to_owned()];
    if source.module() == "bin" {
        roots.push("fairshare::".to_owned());
    } else {
        roots.push("super::".repeat(source.depth()));
    }
    let mut known = Vec::new();
    for root in roots {
        for (at, _) in source.code.match_indices(&root) {
            let before = &source.code[..at];
            if before.ends_with(is_word) || before.ends_with("::") || before.ends_with('$') {
                continue;
            }
            let line = line_of(&source.code, at);
            let after = &source.code[at + root.len()..];
            known.extend(first_names(after).into_iter().map(|name| (name, line)));
        }
    }
    let modules: BTreeSet<&str> = FLOORS.iter().flat_map(|floor| floor.iter().copied()).collect();
    known.retain(|(name, _)| modules.contains(name.as_str()) && name != source.module());
    known
}

/// `x` of `x::y`; `x` and `z` of `{x::{a, b}, z}`.
fn first_names(text: &str) -> Vec<String> {
    let word = |text: &str| text.trim_start().chars().take_while(|c| is_word(*c)).collect::<String>();
    let Some(group) = text.strip_prefix('{') else { return vec![word(text)] };
    let mut names = vec![word(group)];
    let mut depth = 1;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 1 => names.push(word(&group[at + 1..])),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// The functions of a file: name, first line, and how many lines to the closing brace.
fn functions(code: &str) -> Vec<(String, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (index, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else { continue };
        let indent = line.len() - line.trim_start().len();
        let closes = |line: &&str| {
            let text = line.trim_end();
            let here = text.len() - text.trim_start().len() == indent;
            here && (text.trim_start() == "}" || text.trim_start().starts_with(')') && text.ends_with(';'))
        };
        let one_line = line.trim_end().ends_with('}') || line.trim_end().ends_with(';');
        let more = if one_line { 0 } else { lines[index + 1..].iter().position(closes).map_or(0, |n| n + 1) };
        found.push((name, index + 1, more + 1));
    }
    found
}

/// The name, where the line begins a function: qualifiers, `fn`, name.
fn function_name(line: &str) -> Option<String> {
    let (before, after) = line.trim_start().split_once("fn ")?;
    let qualifiers = ["pub", "const", "async", "unsafe", "extern", "default"];
    let only_qualifiers = before.split_whitespace().all(|word| {
        qualifiers.iter().any(|qualifier| word == *qualifier || word.starts_with("pub("))
            || before.contains("pub(in ") && word.ends_with(')')
    });
    let name: String = after.chars().take_while(|c| is_word(*c)).collect();
    (only_qualifiers && !name.is_empty()).then_some(name)
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
    let all = sources("src").into_iter().chain(sources("tests"));
    let breaches: Vec<String> = all
        .map(|source| (source.text.lines().count(), source.path))
        .filter(|(lines, _)| *lines > FILE_LINES_MAX)
        .map(|(lines, path)| format!("{path}: {lines} lines"))
        .collect();
    none(
        &breaches,
        &format!("a file has at most {FILE_LINES_MAX} lines; give a part of it a file of its own"),
    );
}

#[test]
fn functions_fit_a_screen() {
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (name, line, lines) in functions(&source.code) {
            if lines > FUNCTION_LINES_MAX {
                breaches.push(format!("{}:{line}: {name} has {lines} lines", source.path));
            }
        }
    }
    none(&breaches, &format!("a function has at most {FUNCTION_LINES_MAX} lines; name its steps"));
}

#[test]
fn every_module_has_a_floor() {
    let breaches: Vec<String> = sources("src")
        .iter()
        .filter(|source| source.path != "src/lib.rs" && floor(source.module()).is_none())
        .map(|source| source.path.clone())
        .collect();
    none(&breaches, "give the module a place in FLOORS of tests/it/tidy.rs, and say in the commit why there");
}

#[test]
fn arrows_go_down() {
    let mut breaches = Vec::new();
    for source in sources("src") {
        let Some(own) = floor(source.module()) else { continue };
        for (known, line) in known_modules(&source) {
            if floor(&known).is_some_and(|other| other <= own) {
                breaches.push(format!("{}:{line}: {} knows {known}", source.path, source.module()));
            }
        }
    }
    none(&breaches, "a module knows only lower floors (FLOORS); hand the value in, or move the code down");
}

#[test]
fn strangers_stay_strangers() {
    let mut breaches = Vec::new();
    for source in sources("src") {
        for (module, strangers, why) in STRANGERS.iter().filter(|(module, ..)| *module == source.module()) {
            for (known, line) in known_modules(&source) {
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
    for source in sources("src").iter().filter(|source| source.module() == "ledger") {
        for word in IMPURE {
            for line in lines_with(&source.code, word) {
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
    for source in sources("src").into_iter().chain(sources("tests")) {
        if !UNSAFE_MODULES.iter().any(|module| source.path.starts_with(module)) {
            let lines = lines_with(&source.code, "unsafe");
            breaches.extend(lines.iter().map(|line| format!("{}:{line}", source.path)));
        }
    }
    none(&breaches, "`unsafe` only in src/sys, behind a safe function, with its reason");
}

#[test]
fn no_test_is_skipped() {
    let mut breaches = Vec::new();
    for source in sources("src").into_iter().chain(sources("tests")) {
        for (index, line) in source.code.lines().enumerate() {
            if line.trim_start().starts_with("#[ignore")
                || line.contains("cfg_attr") && line.contains("ignore")
            {
                breaches.push(format!("{}:{}", source.path, index + 1));
            }
        }
    }
    none(&breaches, "no #[ignore]: mend the test or delete it");
}

#[test]
fn native_tests_do_not_sleep() {
    let mut breaches = Vec::new();
    for source in sources("tests/it")
        .iter()
        .filter(|source| source.path != POLL_HELPER && !source.path.starts_with(SLOW_ON_DEMAND))
    {
        for word in ["thread::sleep", "time::sleep", "sleep_until", "sleep_ms"] {
            let lines = lines_with(&source.code, word);
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

/// The rules above are only as good as the reading: comments and literals hide nothing and pretend nothing.
#[test]
fn the_reader_sees_code_only() {
    let code = code_only(
        "a /* unsafe /* x */ y */ b // unsafe\n\"unsafe \\\" unsafe\" r#\"unsafe \" \"# '\"' 'x 'c' '\\''z",
    );
    assert!(lines_with(&code, "unsafe").is_empty(), "{code}");
    assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "b", "'x", "z"]);
    assert_eq!(lines_with("let unsafely = 1;\nunsafe {}", "unsafe"), [2]);
}

#[test]
fn the_reader_sees_every_arrow() {
    let text = "use crate::{policy::Policy, wire::{frame, error}};\nfn f() { super::super::store::open(crate::client::x) }";
    let source = Source { path: "src/ledger/share.rs".into(), text: String::new(), code: text.into() };
    let known: Vec<String> = known_modules(&source).into_iter().map(|(name, _)| name).collect();
    assert_eq!(known, ["policy", "wire", "client", "store"]);
}

#[test]
fn the_reader_measures_functions() {
    let text = "impl A {\n    pub(crate) async fn one(&self) -> u8 {\n        1\n    }\n\n    fn two() {}\n}\nfn three(\n    a: u8,\n) -> u8\nwhere\n    u8: Copy,\n{\n    a\n}\n";
    let found: Vec<_> = functions(text).into_iter().map(|(name, _, lines)| (name, lines)).collect();
    assert_eq!(found, [("one".into(), 3), ("two".into(), 1), ("three".into(), 8)]);
}
