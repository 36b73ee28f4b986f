//! The sources of the house as the law reads them: text, and the tokens that a lexer of Rust finds in it.
//!
//! Comments and the inside of literals are no tokens, so that they hide nothing and pretend nothing. A documentation
//! comment is `#[doc = "…"]` to the lexer, and is kept apart.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use proc_macro2::{Delimiter, Spacing, TokenStream, TokenTree};

/// Every `.rs` file under `src`, in the order of their paths.
pub static SRC: LazyLock<Vec<Source>> = LazyLock::new(|| sources("src"));
/// Every `.rs` file under `tests`, in the order of their paths.
pub static TESTS: LazyLock<Vec<Source>> = LazyLock::new(|| sources("tests"));

/// A source file: its path from the top, its text, and what a lexer finds in it.
pub struct Source {
    pub path: String,
    pub text: String,
    /// Every token in order, a group as its brackets and what is between them.
    pub tokens: Vec<Token>,
    /// Each documentation comment, its lines joined, with the line on which it begins.
    pub docs: Vec<(usize, String)>,
}

/// A word, a literal, a bracket or a sign. `::` and `=>` are one token each; every other sign is a token of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    pub text: String,
    /// The line on which it begins, from 1.
    pub line: usize,
    /// The line on which it ends: of a bracket and of a sign the same.
    pub last: usize,
}

impl Source {
    /// Reads `text` as the file at `path`.
    pub fn new(path: &str, text: String) -> Self {
        let stream: TokenStream = text.parse().unwrap_or_else(|error| panic!("{path}: {error}"));
        let mut source = Self { path: path.to_owned(), text, tokens: Vec::new(), docs: Vec::new() };
        source.flatten(stream);
        source
    }

    /// The room of the house it is in: the module directly under `src`, `bin` for the programs.
    pub fn module(&self) -> &str {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path);
        inside.split('/').next().unwrap().trim_end_matches(".rs")
    }

    /// The path of the module that the file is, from the crate's root: `["a", "b"]` for `src/a/b.rs` and
    /// `src/a/b/mod.rs`, nothing for `src/lib.rs`.
    pub fn module_path(&self) -> Vec<&str> {
        let inside = self.path.strip_prefix("src/").unwrap_or(&self.path).trim_end_matches(".rs");
        inside.split('/').filter(|part| !["lib", "mod"].contains(part)).collect()
    }

    /// Whether the tokens from `at` on are these.
    pub fn has(&self, at: usize, texts: &[&str]) -> bool {
        let here = self.tokens.get(at..at + texts.len());
        here.is_some_and(|here| here.iter().zip(texts).all(|(token, text)| token.text == *text))
    }

    /// The text of the token at `at`; empty past the end.
    pub fn word(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| &token.text)
    }

    /// On which lines a word, or words with `::` between them, stand.
    pub fn lines_with(&self, path: &str) -> Vec<usize> {
        let texts: Vec<&str> = path.split("::").flat_map(|word| ["::", word]).skip(1).collect();
        let places = (0..self.tokens.len()).filter(|at| self.has(*at, &texts));
        places.map(|at| self.tokens[at].line).collect()
    }

    /// Where the bracket closes that opens at `at`.
    pub fn closing(&self, at: usize) -> usize {
        let mut depth = 0;
        for (index, token) in self.tokens.iter().enumerate().skip(at) {
            depth += depth_change(&token.text);
            if depth == 0 {
                return index;
            }
        }
        panic!("{}:{}: a bracket that never closes", self.path, self.tokens[at].line)
    }

    /// The first of `texts` after `at` that is in no bracket which opens after `at`; nothing where one closes first.
    pub fn next_outside(&self, at: usize, texts: &[&str]) -> Option<usize> {
        let mut depth = 0;
        for (index, token) in self.tokens.iter().enumerate().skip(at) {
            if depth == 0 && texts.contains(&token.text.as_str()) {
                return Some(index);
            }
            depth += depth_change(&token.text);
            if depth < 0 {
                return None;
            }
        }
        None
    }

    fn flatten(&mut self, stream: TokenStream) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut documented = None;
        let mut at = 0;
        while let Some(tree) = trees.get(at) {
            if let Some((line, text, length)) = documentation(&trees[at..]) {
                match self.docs.last_mut() {
                    Some((_, known)) if documented == Some((at, length)) => {
                        known.push_str(&format!("\n{text}"));
                    }
                    _ => self.docs.push((line, text)),
                }
                at += length;
                // What is about the file has a `!` more than what is about the item after it.
                documented = Some((at, length));
                continue;
            }
            at += self.push(tree, trees.get(at + 1));
        }
    }

    /// Takes one token, or two where they are one sign. Returns how many.
    fn push(&mut self, tree: &TokenTree, next: Option<&TokenTree>) -> usize {
        match tree {
            TokenTree::Group(group) => {
                let (open, close) = match group.delimiter() {
                    Delimiter::Parenthesis => ("(", ")"),
                    Delimiter::Brace => ("{", "}"),
                    Delimiter::Bracket => ("[", "]"),
                    Delimiter::None => unreachable!("no lexer makes such a group"),
                };
                self.token(open, group.span_open());
                self.flatten(group.stream());
                self.token(close, group.span_close());
            }
            TokenTree::Ident(word) => self.token(&word.to_string(), word.span()),
            TokenTree::Literal(literal) => self.token(&literal.to_string(), literal.span()),
            TokenTree::Punct(sign) => {
                if let (Spacing::Joint, Some(TokenTree::Punct(second))) = (sign.spacing(), next)
                    && [(':', ':'), ('=', '>')].contains(&(sign.as_char(), second.as_char()))
                {
                    self.token(&format!("{}{}", sign.as_char(), second.as_char()), sign.span());
                    return 2;
                }
                self.token(&sign.as_char().to_string(), sign.span());
            }
        }
        1
    }

    fn token(&mut self, text: &str, span: proc_macro2::Span) {
        self.tokens.push(Token { text: text.to_owned(), line: span.start().line, last: span.end().line });
    }
}

fn depth_change(text: &str) -> i32 {
    match text {
        "(" | "[" | "{" => 1,
        ")" | "]" | "}" => -1,
        _ => 0,
    }
}

/// The line, the text and the number of tokens of the documentation that begins here.
fn documentation(trees: &[TokenTree]) -> Option<(usize, String, usize)> {
    let TokenTree::Punct(sign) = trees.first()? else { return None };
    let inner = matches!(trees.get(1), Some(TokenTree::Punct(second)) if second.as_char() == '!');
    let TokenTree::Group(group) = trees.get(1 + usize::from(inner))? else { return None };
    let inside: Vec<TokenTree> = group.stream().into_iter().collect();
    match inside.as_slice() {
        [TokenTree::Ident(word), TokenTree::Punct(_), TokenTree::Literal(text)]
            if sign.as_char() == '#' && word == "doc" =>
        {
            let text = text.to_string().trim_matches(['r', '#']).trim_matches('"').trim().to_owned();
            Some((sign.span().start().line, text, 2 + usize::from(inner)))
        }
        _ => None,
    }
}

/// The top of the house.
pub fn top() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// Every `.rs` file under `folder`, in the order of names.
fn sources(folder: &str) -> Vec<Source> {
    let mut paths = BTreeMap::new();
    collect(&top().join(folder), &mut paths);
    paths.into_iter().map(|(path, text)| Source::new(&path, text)).collect()
}

/// Fails where the folder is not there: a rule that reads nothing would pass.
fn collect(folder: &Path, found: &mut BTreeMap<String, String>) {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    for path in entries.map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(top()).unwrap().to_str().unwrap().to_owned();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn the_lexer_sees_code_only() {
    let text =
        "a! /* unsafe /* x */ y */ b // unsafe\n\"unsafe \\\" unsafe\" r#\"unsafe \" \"# '\"' 'x 'c' '\\''z";
    let source = Source::new("src/a.rs", text.into());
    assert!(source.lines_with("unsafe").is_empty());
    let unsafes = Source::new("src/a.rs", "let unsafely = 1;\nunsafe {} a::b /** c */ b::c".into());
    assert_eq!(unsafes.lines_with("unsafe"), [2]);
    assert_eq!(unsafes.lines_with("a::b").len(), 1);
    assert!(unsafes.lines_with("b::b").is_empty());
}

#[test]
fn the_lexer_keeps_documentation_apart() {
    let source =
        Source::new("src/a.rs", "//! One\n//! two.\n\n/// Three.\nstruct A;\n/// Four.\nstruct B;".into());
    assert_eq!(source.docs, [(1, "One\ntwo.".into()), (4, "Three.".into()), (6, "Four.".into())]);
    assert!(source.lines_with("doc").is_empty());
}

#[test]
#[should_panic(expected = "nowhere")]
fn a_folder_that_is_missing_is_no_folder_without_breaches() {
    sources("nowhere");
}
