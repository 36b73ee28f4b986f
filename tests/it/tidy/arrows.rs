//! Which file knows which: what its paths name, and the circles that follow from it.

use std::collections::{BTreeMap, BTreeSet};

use super::source::Source;

/// A path in a file: its words from the crate's root, and the line that it is on.
pub type Named = (Vec<String>, usize);

/// Every path in the file that can lead to another file of the crate: `crate::x::y`, `fairshare::x` from the programs,
/// `super::x`, `self::x`, and `x::y` where `x` is a module that this file declares. Of a group, each of its paths.
pub fn paths(source: &Source) -> Vec<Named> {
    let own: Vec<String> = source.module_path().into_iter().map(str::to_owned).collect();
    let children = children(source);
    let mut found = Vec::new();
    // The modules inside the file that are open here: where each closes, and its name.
    let mut inside: Vec<(usize, String)> = Vec::new();
    for (at, token) in source.tokens.iter().enumerate() {
        inside.retain(|(closes, _)| *closes > at);
        if token.text == "mod" && source.word(at + 2) == "{" {
            inside.push((source.closing(at + 2), source.word(at + 1).to_owned()));
        }
        let before = at.checked_sub(1).map_or("", |before| source.word(before));
        if ["::", "$", "mod"].contains(&before) || source.word(at + 1) != "::" {
            continue;
        }
        let here =
            || own.iter().cloned().chain(inside.iter().map(|(_, name)| name.clone())).collect::<Vec<_>>();
        let base = match token.text.as_str() {
            "crate" => Vec::new(),
            "fairshare" if source.module() == "bin" => Vec::new(),
            "self" => here(),
            "super" => {
                let mut base = here();
                base.pop();
                base
            }
            child if inside.is_empty() && children.contains(child) => {
                let mut base = here();
                base.push(child.to_owned());
                base
            }
            _ => continue,
        };
        follow(source, at + 2, base, &mut found);
    }
    found
}

/// The modules with a file of their own that the file declares.
fn children(source: &Source) -> BTreeSet<&str> {
    let declared =
        (0..source.tokens.len()).filter(|at| source.word(*at) == "mod" && source.word(at + 2) == ";");
    declared.map(|at| source.word(at + 1)).collect()
}

/// Reads what comes after `base::`, up to the end of the path.
fn follow(source: &Source, mut at: usize, mut base: Vec<String>, found: &mut Vec<Named>) {
    loop {
        match source.word(at) {
            "{" => {
                let end = source.closing(at);
                let mut from = at + 1;
                while from < end {
                    follow(source, from, base.clone(), found);
                    from = source
                        .next_outside(from, &[","])
                        .filter(|next| *next < end)
                        .map_or(end, |next| next + 1);
                }
                return;
            }
            "super" => {
                base.pop();
            }
            "self" => {}
            word if word.starts_with(|first: char| first.is_alphabetic() || first == '_') => {
                base.push(word.to_owned())
            }
            _ => break,
        }
        if source.word(at + 1) != "::" {
            break;
        }
        at += 2;
    }
    found.push((base, source.tokens[at].line));
}

/// The modules of the crate that the file names, each with a line, its own left out.
pub fn known_modules(source: &Source, modules: &BTreeSet<&str>) -> Vec<(String, usize)> {
    let named = paths(source).into_iter().filter_map(|(path, line)| Some((path.into_iter().next()?, line)));
    named.filter(|(name, _)| modules.contains(name.as_str()) && name != source.module()).collect()
}

/// Of each file, which others it names, and on which line first. A path leads to the file of the longest module in it.
pub fn files(sources: &[Source]) -> BTreeMap<&str, BTreeMap<&str, usize>> {
    let at: BTreeMap<Vec<&str>, &str> =
        sources.iter().map(|source| (source.module_path(), &*source.path)).collect();
    let mut arrows = BTreeMap::new();
    for source in sources {
        let known: &mut BTreeMap<&str, usize> = arrows.entry(&*source.path).or_default();
        for (path, line) in paths(source) {
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            let file = (0..=path.len()).rev().find_map(|length| at.get(&path[..length]));
            if let Some(file) = file.filter(|file| **file != source.path) {
                known.entry(file).or_insert(line);
            }
        }
    }
    arrows
}

/// The files that can be reached from one another, as sets of more than one (Tarjan, 1972).
pub fn circles<'a>(arrows: &BTreeMap<&'a str, BTreeMap<&'a str, usize>>) -> Vec<BTreeSet<&'a str>> {
    let mut search = Search {
        arrows,
        number: BTreeMap::new(),
        low: BTreeMap::new(),
        stack: Vec::new(),
        found: Vec::new(),
    };
    for file in arrows.keys() {
        if !search.number.contains_key(file) {
            search.visit(file);
        }
    }
    search.found.sort();
    search.found
}

/// Tarjan's search: `number` is the order of the first visit, `low` the lowest number that a file reaches.
struct Search<'a, 'b> {
    arrows: &'b BTreeMap<&'a str, BTreeMap<&'a str, usize>>,
    number: BTreeMap<&'a str, usize>,
    low: BTreeMap<&'a str, usize>,
    stack: Vec<&'a str>,
    found: Vec<BTreeSet<&'a str>>,
}

impl<'a> Search<'a, '_> {
    fn visit(&mut self, file: &'a str) {
        let number = self.number.len();
        self.number.insert(file, number);
        self.low.insert(file, number);
        self.stack.push(file);
        for known in self.arrows.get(file).into_iter().flat_map(BTreeMap::keys) {
            if !self.number.contains_key(known) {
                self.visit(known);
                self.low.insert(file, self.low[file].min(self.low[known]));
            } else if self.stack.contains(known) {
                self.low.insert(file, self.low[file].min(self.number[known]));
            }
        }
        if self.low[file] == number {
            let first = self.stack.iter().position(|on| *on == file).unwrap();
            let circle: BTreeSet<&str> = self.stack.split_off(first).into_iter().collect();
            if circle.len() > 1 {
                self.found.push(circle);
            }
        }
    }
}

#[test]
fn every_arrow_is_seen() {
    let text = "use crate::{policy::Policy, wire::{self, frame, error::{A, B}}};
        mod child; mod tests { use super::super::queue::X; fn f() { self::g() } }
        fn f() { super::super::state::open(crate::client::x); child::g(); other::h() } // crate::cli";
    let source = Source::new("src/ledger/share.rs", text.into());
    let found: Vec<String> = paths(&source).into_iter().map(|(path, _)| path.join("::")).collect();
    let expected = [
        "policy::Policy",
        "wire",
        "wire::frame",
        "wire::error::A",
        "wire::error::B",
        "ledger::queue::X",
        "ledger::share::tests::g",
        "state::open",
        "client::x",
        "ledger::share::child::g",
    ];
    assert_eq!(found, expected);
    let known = known_modules(&source, &["policy", "wire", "client", "state", "ledger"].into());
    let known: BTreeSet<String> = known.into_iter().map(|(name, _)| name).collect();
    assert_eq!(known.iter().collect::<Vec<_>>(), ["client", "policy", "state", "wire"]);
}

#[test]
fn every_circle_is_found() {
    let file = |path: &str, text: &str| Source::new(path, text.into());
    let sources = [
        file("src/lib.rs", "mod a; mod b; mod e;"),
        file("src/a/mod.rs", "mod c; mod d; use self::c::C;"),
        file("src/a/c.rs", "fn f() { super::d::g() }"),
        file("src/a/d.rs", "use crate::{b::{self, B}};"),
        file("src/b.rs", "mod tests { use super::super::a::c::C; }"),
        file("src/e.rs", "use crate::a::d; mod tests { use super::*; }"),
    ];
    let found = circles(&files(&sources));
    assert_eq!(found, [BTreeSet::from(["src/a/c.rs", "src/a/d.rs", "src/b.rs"])]);
}
