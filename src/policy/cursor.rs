//! A value of a policy file on the way down from its top: what it is, where it stands, what is wrong with it.

use std::fmt::Display;
use std::str::FromStr;

use super::yaml::{Content, Entry, Fault, KeyPath, Node, Position};

/// What is wrong, and in which of the files.
#[derive(Debug)]
pub(super) struct Wrong {
    /// Index of the file in the order of reading.
    pub file: usize,
    pub fault: Fault,
}

/// A figure, and where it was written.
#[derive(Debug, Clone)]
pub(super) struct At<T> {
    pub value: T,
    pub file: usize,
    pub position: Position,
    pub key: KeyPath,
}

/// A value on the way down from the top of a file.
pub(super) struct Cursor<'a> {
    file: usize,
    key: KeyPath,
    key_position: Position,
    node: &'a Node,
}

impl<'a> Cursor<'a> {
    /// The top of the file of this index.
    pub fn top(file: usize, top: &'a Node) -> Self {
        Self { file, key: KeyPath::default(), key_position: top.position, node: top }
    }

    /// The keys of a map with their values. A value that is left out is a map without keys, so that all
    /// below a key can be commented out; `~` and `null` were written and are not.
    pub fn entries(&self, example: &str) -> Result<Vec<(&'a str, Cursor<'a>)>, Wrong> {
        let entries = match &self.node.content {
            Content::Map(entries) => entries.as_slice(),
            Content::Text { text, plain: true } if text.is_empty() => &[],
            Content::Text { .. } | Content::List(_) => {
                return Err(self.fault(format!("must be a map: write it like {example}")));
            }
        };
        let below = |entry: &'a Entry| {
            let key = self.key.below(&entry.key);
            (
                entry.key.as_str(),
                Cursor { file: self.file, key, key_position: entry.position, node: &entry.value },
            )
        };
        Ok(entries.iter().map(below).collect())
    }

    /// The values of a list. What is left out is no list: a key that names nothing takes nothing away.
    pub fn items(&self, example: &str) -> Result<Vec<Cursor<'a>>, Wrong> {
        let Content::List(items) = &self.node.content else {
            return Err(self.fault(format!("must be a list: write it like {example}")));
        };
        let item =
            |node| Cursor { file: self.file, key: self.key.clone(), key_position: self.key_position, node };
        Ok(items.iter().map(item).collect())
    }

    pub fn text(&self) -> Result<(&'a str, bool), Wrong> {
        match &self.node.content {
            Content::Text { text, plain: true } if text.is_empty() => {
                Err(self.key_fault("has no value: write one or remove the key".to_owned()))
            }
            Content::Text { text, plain } => Ok((text, *plain)),
            Content::Map(_) => Err(self.fault("must be a single value, and a map is not".to_owned())),
            Content::List(_) => Err(self.fault("must be a single value, and a list is not".to_owned())),
        }
    }

    pub fn figure<T>(&self) -> Result<At<T>, Wrong>
    where
        T: FromStr<Err: Display>,
    {
        let (text, _) = self.text()?;
        let value = text.parse().map_err(|error: T::Err| self.fault(error.to_string()))?;
        Ok(self.at(value))
    }

    pub fn word<T: Copy>(&self, problem: &str, words: &[(&str, T)]) -> Result<At<T>, Wrong> {
        let (text, _) = self.text()?;
        let found = words.iter().find(|(word, _)| *word == text);
        found
            .map(|(_, value)| self.at(*value))
            .ok_or_else(|| self.fault(format!("{problem}, and {text:?} is not")))
    }

    pub fn plain_word<T: Copy>(&self, problem: &str, words: &[(&str, T)]) -> Result<At<T>, Wrong> {
        let (text, plain) = self.text()?;
        if !plain {
            return Err(self.fault(format!("{problem}, and {text:?} in quotes is not")));
        }
        self.word(problem, words)
    }

    fn at<T>(&self, value: T) -> At<T> {
        At { value, file: self.file, position: self.node.position, key: self.key.clone() }
    }

    pub fn key_at(&self) -> At<()> {
        At { value: (), file: self.file, position: self.key_position, key: self.key.clone() }
    }

    pub fn unknown(&self, keys: &str) -> Wrong {
        self.key_fault(format!("unknown key: the keys here are {keys}"))
    }

    pub fn key_fault(&self, problem: String) -> Wrong {
        self.key_at().wrong(problem)
    }

    pub fn fault(&self, problem: String) -> Wrong {
        self.at(()).wrong(problem)
    }
}

impl<T> At<T> {
    /// What is wrong with this figure.
    pub fn wrong(&self, problem: String) -> Wrong {
        Wrong { file: self.file, fault: Fault { position: self.position, key: self.key.clone(), problem } }
    }
}

pub(super) fn yes_or_no(at: &Cursor<'_>) -> Result<At<bool>, Wrong> {
    at.plain_word("must be true or false, without quotes", &[("false", false), ("true", true)])
}
