//! Endpoints that are classified by silence: a match on calls with an arm for all others, or a `matches!` of some.
//! Whoever adds an endpoint would not be asked about it there.

use super::none;
use super::source::{SRC, Source};

/// What has a variant for each endpoint.
const OF_ENDPOINTS: &[&str] = &["Call", "Act", "Endpoint"];

#[test]
fn no_endpoint_is_classified_by_silence() {
    let mut breaches = Vec::new();
    for source in SRC.iter() {
        breaches.extend(by_silence(source).into_iter().map(|line| format!("{}:{line}", source.path)));
    }
    none(&breaches, "a match on Call, Act or Endpoint names every variant: whoever adds one is to be asked");
}

/// On which lines a `match` on one of [`OF_ENDPOINTS`] has an arm for whatever else there is, or `matches!` takes some.
fn by_silence(source: &Source) -> Vec<usize> {
    let mut lines = Vec::new();
    // Where the `impl` of such a type is, in which `Self` is one.
    let mut selves = 0..0;
    for (at, token) in source.tokens.iter().enumerate() {
        match token.text.as_str() {
            "impl" => {
                let Some(body) = source.next_outside(at, &["{", ";"]) else { continue };
                if source.word(body) == "{" && OF_ENDPOINTS.contains(&source.word(body - 1)) {
                    selves = body..source.closing(body);
                }
            }
            "match" => {
                let Some(body) = source.next_outside(at, &["{"]) else { continue };
                let patterns = patterns(source, body);
                let names =
                    patterns.iter().any(|pattern| names_one(source, pattern.clone(), selves.contains(&at)));
                let silent = patterns.iter().any(|pattern| takes_all(source, pattern.clone()));
                if names && silent {
                    lines.push(token.line);
                }
            }
            "matches" if source.has(at + 1, &["!", "("]) => {
                let end = source.closing(at + 2);
                let pattern = source.next_outside(at + 3, &[","]).map_or(end, |comma| comma + 1);
                if names_one(source, pattern..end, selves.contains(&at)) {
                    lines.push(token.line);
                }
            }
            _ => {}
        }
    }
    lines
}

/// The patterns of the arms of the match whose body opens at `body`, guards with them.
fn patterns(source: &Source, body: usize) -> Vec<std::ops::Range<usize>> {
    let end = source.closing(body);
    let mut patterns = Vec::new();
    let mut from = body + 1;
    while let Some(arrow) = source.next_outside(from, &["=>"]) {
        patterns.push(from..arrow);
        from = match source.word(arrow + 1) {
            "{" => source.closing(arrow + 1) + 1,
            _ => source.next_outside(arrow + 1, &[","]).unwrap_or(end),
        };
        if source.word(from) == "," {
            from += 1;
        }
    }
    patterns
}

fn names_one(source: &Source, mut tokens: std::ops::Range<usize>, self_is_one: bool) -> bool {
    tokens.any(|at| {
        let word = source.word(at);
        source.word(at + 1) == "::" && (OF_ENDPOINTS.contains(&word) || word == "Self" && self_is_one)
    })
}

/// Whether the pattern is `_`, a name, or a tuple of such, with or without a guard.
fn takes_all(source: &Source, tokens: std::ops::Range<usize>) -> bool {
    let texts: Vec<&str> = tokens.map(|at| source.word(at)).take_while(|text| *text != "if").collect();
    let binds = |text: &&str| {
        ["(", ")", ","].contains(text) || text.starts_with(|first: char| first.is_lowercase() || first == '_')
    };
    !texts.is_empty() && texts.iter().all(binds)
}

#[test]
fn silence_is_heard() {
    let text = "
        fn a() { match act { Act::Ping => 1, _ => 2 } }
        fn b() { match act { Act::Ping => { 1 } other => 2 } }
        fn c() { matches!(act, Act::Ping | Act::List) }
        fn d() { match act { Act::Ping => 1, Act::List => 2 } }
        fn e() { match x { Effect::Enter => fail(Endpoint::Run), _ => 2 } }
        impl Call { fn f(&self) { match self { Self::Ping(_) => 1, _ => 2 } } }
        impl Other { fn f(&self) { match self { Self::Ping => 1, _ => 2 } } }
        fn g() { match (act, 1) { (Act::Ping, 1) => 1, (_, _) => 2 } }
        fn h() { matches!(effect, Effect::Enter { .. }) }";
    assert_eq!(by_silence(&Source::new("src/a.rs", text.into())), [2, 3, 4, 7, 9]);
}
