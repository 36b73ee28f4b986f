//! The YAML of a policy file as a tree in which every node knows its position.
//!
//! Made from the parser's own events and not through serde: a figure is then the very text that was written
//! (`0.1` never was a float, `1e3` never was a number), and what a policy has no use for (anchors, tags, a second
//! document) is refused where it stands instead of being expanded.

use serde_yaml::granit_parser::{Event, Marker, Options, Parser, ScalarStyle, ScanError, Span, StrInput};
use std::collections::BTreeMap;
use std::fmt;

/// The most maps within maps: a policy has four (`users: {alice: {max: {cpu: 1}}}`).
pub const DEPTH_MAX: usize = 8;

/// The longest key or figure, in bytes: a user name has at most 256 (`LOGIN_NAME_MAX`, `limits.h(0P)`).
pub const TEXT_BYTES_MAX: usize = 256;

/// Where something stands in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line, from 1.
    pub line: usize,
    /// The character in the line, from 1.
    pub column: usize,
}

impl Position {
    /// The first character of a file.
    pub const START: Self = Self { line: 1, column: 1 };
}

/// What is wrong with a file's YAML, and where.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fault {
    pub position: Position,
    /// The key that it belongs to, from the top; empty where it belongs to none.
    pub key: KeyPath,
    pub problem: String,
}

/// The keys from the top of a file down to a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct KeyPath(Vec<String>);

/// A value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Node {
    pub position: Position,
    pub content: Content,
}

/// What a value is made of.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Content {
    Map(Vec<Entry>),
    List(Vec<Node>),
    Text { text: String, plain: bool },
}

/// A key and its value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub key: String,
    pub position: Position,
    pub value: Node,
}

impl KeyPath {
    /// The path of `key` below this one.
    pub fn below(&self, key: &str) -> Self {
        let mut path = self.0.clone();
        path.push(key.to_owned());
        Self(path)
    }
}

impl fmt::Display for KeyPath {
    /// `users.alice.max`; a key that could be misread, or could write to a terminal, in quotes.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |c: char| c.is_alphanumeric() || "_-@$".contains(c);
        for (index, key) in self.0.iter().enumerate() {
            let dot = if index == 0 { "" } else { "." };
            if !key.is_empty() && key.chars().all(plain) {
                write!(f, "{dot}{key}")?;
            } else {
                write!(f, "{dot}{key:?}")?;
            }
        }
        Ok(())
    }
}

/// The one document of `text`; `None` where it holds nothing but comments.
///
/// # Errors
/// No YAML, or YAML with what a policy has no use for: anchors, tags, directives, a second document,
/// keys that are not text or are repeated, nesting over [`DEPTH_MAX`], texts over [`TEXT_BYTES_MAX`].
pub(super) fn parse(text: &str) -> Result<Option<Node>, Fault> {
    let mut options = Options::default();
    options.emit_comments = false;
    options.disallow_directives = true;
    // Lists count too, so that what is refused for being a list is not refused for its depth first.
    options.flow_nesting_limit = 2 * DEPTH_MAX;
    options.block_nesting_limit = 2 * DEPTH_MAX;
    let mut loader = Loader { parser: Parser::new_from_str_with_options(text, options) };
    let mut document = None;
    loop {
        let (event, span) = loader.next(&KeyPath::default())?;
        match event {
            Event::StreamEnd => return Ok(document),
            Event::DocumentStart(..) if document.is_some() => {
                let problem = "a second document: write one document in a file";
                return Err(fault(&span.start, &KeyPath::default(), problem));
            }
            Event::StreamStart | Event::DocumentStart(..) | Event::DocumentEnd => {}
            event => {
                let node = loader.node(event, span, &KeyPath::default(), 0)?;
                // A file of comments only is, to YAML, a document that is null.
                let nothing = matches!(&node.content, Content::Text { text, plain: true } if text.is_empty());
                document = (!nothing).then_some(node).or(document);
            }
        }
    }
}

struct Loader<'text> {
    parser: Parser<'text, StrInput<'text>>,
}

impl<'text> Loader<'text> {
    fn next(&mut self, key: &KeyPath) -> Result<(Event<'text>, Span), Fault> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => Err(not_yaml(&error, key)),
            None => Err(Fault {
                position: Position::START,
                key: key.clone(),
                problem: "the file ends too early".into(),
            }),
        }
    }

    fn node(&mut self, event: Event<'text>, span: Span, key: &KeyPath, depth: usize) -> Result<Node, Fault> {
        let start = span.start;
        if depth > DEPTH_MAX {
            return Err(fault(&start, key, "maps within maps too deep: no key of a policy is this deep"));
        }
        refuse_properties(&event, &start, key)?;
        let content = match event {
            // The parser says `~` for a value that is left out.
            Event::Scalar(_, ScalarStyle::Plain, ..) if span.start.index() == span.end.index() => {
                Content::Text { text: String::new(), plain: true }
            }
            Event::Scalar(text, style, ..) => {
                Content::Text { text: bounded(&text, &start, key)?, plain: style == ScalarStyle::Plain }
            }
            Event::MappingStart(..) => Content::Map(self.entries(key, depth)?),
            Event::SequenceStart(..) => self.list(key, depth)?,
            _ => return Err(fault(&start, key, "not a value")),
        };
        Ok(Node { position: position(&start), content })
    }

    fn entries(&mut self, path: &KeyPath, depth: usize) -> Result<Vec<Entry>, Fault> {
        let mut entries = Vec::new();
        let mut seen: BTreeMap<String, Position> = BTreeMap::new();
        loop {
            let (event, span) = self.next(path)?;
            if event == Event::MappingEnd {
                return Ok(entries);
            }
            refuse_properties(&event, &span.start, path)?;
            let Event::Scalar(key, ..) = event else {
                return Err(fault(&span.start, path, "a key that is a map or a list: write keys as text"));
            };
            let key = bounded(&key, &span.start, path)?;
            let (position, path) = (position(&span.start), path.below(&key));
            if let Some(first) = seen.insert(key.clone(), position) {
                let problem = format!("repeated: it is in line {} already, keep one", first.line);
                return Err(Fault { position, key: path, problem });
            }
            let (event, span) = self.next(&path)?;
            let value = self.node(event, span, &path, depth + 1)?;
            entries.push(Entry { key, position, value });
        }
    }

    fn list(&mut self, key: &KeyPath, depth: usize) -> Result<Content, Fault> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next(key)?;
            if event == Event::SequenceEnd {
                return Ok(Content::List(items));
            }
            items.push(self.node(event, span, key, depth + 1)?);
        }
    }
}

/// Anchors make small files large, tags make text something else: a policy needs neither.
/// An alias never comes this far, since the anchor that it needs was refused.
fn refuse_properties(event: &Event<'_>, start: &Marker, key: &KeyPath) -> Result<(), Fault> {
    if event.anchor_id().is_some() {
        return Err(fault(
            start,
            key,
            "anchors and aliases (&, *) have no place in a policy: write the value out",
        ));
    }
    if event.tag().is_some() {
        return Err(fault(start, key, "tags (!) have no place in a policy: write the value without one"));
    }
    Ok(())
}

fn bounded(text: &str, start: &Marker, key: &KeyPath) -> Result<String, Fault> {
    if text.len() > TEXT_BYTES_MAX {
        let problem = format!("a text of {} bytes: nothing in a policy is over {TEXT_BYTES_MAX}", text.len());
        return Err(fault(start, key, &problem));
    }
    Ok(text.to_owned())
}

fn not_yaml(error: &ScanError, key: &KeyPath) -> Fault {
    fault(error.marker(), key, &format!("not YAML: {}", error.info()))
}

fn fault(at: &Marker, key: &KeyPath, problem: &str) -> Fault {
    Fault { position: position(at), key: key.clone(), problem: problem.to_owned() }
}

/// The parser counts lines from 1 and columns from 0.
fn position(at: &Marker) -> Position {
    Position { line: at.line().max(1), column: at.col().saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(text: &str) -> String {
        let fault = parse(text).unwrap_err();
        format!("{}:{}: {}: {}", fault.position.line, fault.position.column, fault.key, fault.problem)
    }

    #[test]
    fn every_node_knows_its_place() {
        let top = parse("# first\nmax:\n  cpu: 1_0\nswap: '0'\n").unwrap().unwrap();
        let Content::Map(top) = top.content else { panic!() };
        assert_eq!((top[0].key.as_str(), top[0].position), ("max", Position { line: 2, column: 1 }));
        let Content::Map(max) = &top[0].value.content else { panic!() };
        assert_eq!(max[0].value.position, Position { line: 3, column: 8 });
        assert_eq!(max[0].value.content, Content::Text { text: "1_0".into(), plain: true });
        assert_eq!(top[1].value.content, Content::Text { text: "0".into(), plain: false });
    }

    #[test]
    fn a_value_left_out_is_not_a_null_written() {
        for (yaml, text) in [
            ("a:\nb: 1\n", ""),
            ("a:\n", ""),
            ("{a: , b: 1}", ""),
            ("{a}", ""),
            ("a: ~\n", "~"),
            ("a: null\n", "null"),
        ] {
            let Content::Map(top) = parse(yaml).unwrap().unwrap().content else { panic!() };
            assert_eq!(top[0].value.content, Content::Text { text: text.into(), plain: true }, "{yaml}");
        }
    }

    #[test]
    fn nothing_but_comments_is_nothing() {
        for text in ["", "\n", "# only this\n", "---\n", "\u{feff}# a mark before it\n", "---\n...\n"] {
            assert_eq!(parse(text), Ok(None), "{text:?}");
        }
    }

    #[test]
    fn a_key_that_could_write_to_a_terminal_is_quoted() {
        let path = KeyPath::default().below("users").below("a\u{1b}[2J.b").below("max");
        assert_eq!(path.to_string(), "users.\"a\\u{1b}[2J.b\".max");
    }

    #[test]
    fn what_a_policy_has_no_use_for_is_refused_where_it_stands() {
        assert!(
            problem("a: &x 1\nb: *x\n").starts_with("1:7: a: anchors"),
            "{}",
            problem("a: &x 1\nb: *x\n")
        );
        assert!(problem("a: !!str 1\n").contains("a: tags"));
        assert!(problem("a: 1\n---\nb: 2\n").starts_with("2:1: : a second document"));
        assert!(problem("a: {b: 1, b: 2}\n").starts_with("1:11: a.b: repeated: it is in line 1"));
        assert!(problem("? {a: 1}\n: 2\n").contains("a key that is a map"));
        assert!(problem(&format!("a: {}\n", "x".repeat(257))).contains("257 bytes"));
        assert!(problem(&format!("a: {}{}\n", "[".repeat(9), "]".repeat(9))).contains("too deep"));
        assert!(problem(&"[".repeat(100_000)).contains("not YAML"));
        assert!(problem("a: [\n").contains("not YAML"));
    }
}
