//! Documentation that says something: a comment names its noun and stands alone, and the map has every module.

use std::fs;

use super::none;
use super::source::{SRC, Source, top};

/// What stands for a noun that the reader is left to find: `Who.`, `Whose.`, `By whom.`, `Since when.`
const NO_NOUN: &[&str] = &[
    "how", "it", "its", "that", "these", "this", "those", "what", "when", "where", "which", "who", "whom",
    "whose", "why",
];

/// The most words of such a comment: with a third it may name something.
const WORDS_MAX: usize = 2;

#[test]
fn comments_name_their_noun() {
    let breaches: Vec<String> = SRC.iter().flat_map(nounless).collect();
    none(&breaches, "a comment names its noun and stands alone: \"Who.\" and \"By whom.\" are no comments");
}

fn nounless(source: &Source) -> Vec<String> {
    let hollow = |text: &str| {
        let words: Vec<String> = text
            .split_whitespace()
            .map(|word| word.trim_end_matches(['.', ',', ';']).to_lowercase())
            .collect();
        words.len() <= WORDS_MAX && words.iter().any(|word| NO_NOUN.contains(&word.as_str()))
    };
    let found = source.docs.iter().filter(|(_, text)| hollow(text));
    found.map(|(line, _)| format!("{}:{line}", source.path)).collect()
}

#[test]
fn the_map_has_every_module() {
    let library = fs::read_to_string(top().join("src/lib.rs")).unwrap();
    let library = Source::new("src/lib.rs", library);
    let (_, map) = &library.docs[0];
    let declared =
        (0..library.tokens.len()).filter(|at| library.word(*at) == "mod" && library.word(at + 2) == ";");
    let missing: Vec<String> = declared
        .map(|at| library.word(at + 1).to_owned())
        .filter(|module| !map.contains(&format!("| [`{module}`] | ")))
        .collect();
    none(&missing, "the map in src/lib.rs has a row for each module");
}

#[test]
fn what_says_nothing_is_found() {
    let text = "/// Who.\nstruct A;\n/// By whom.\nstruct B;\n/// Whose share it is.\nstruct C;\n/// The socket.\nstruct D;";
    let found = nounless(&Source::new("src/a.rs", text.into()));
    assert_eq!(found, ["src/a.rs:1", "src/a.rs:3"]);
}
