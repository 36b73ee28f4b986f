//! `fairshare-protocol(7)` against the code: whoever writes a client from the page alone must get it right.

use fairshare::contract::{Endpoint, Repeat};
use fairshare::wire::error::Code;

use super::messages;
use super::schema::SCHEMA;

const PAGE: &str = include_str!("../../../debian/man/fairshare-protocol.7");

fn yes(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

#[test]
fn the_page_has_every_endpoint_and_code() {
    for endpoint in Endpoint::ALL {
        let repeat = yes(endpoint.repeat() == Repeat::Yes);
        let row = PAGE.lines().find(|line| line.starts_with(&format!("{}|", endpoint.name()))).unwrap();
        assert!(row.ends_with(&format!("|{repeat}|T{{")), "{row}");
    }
    for code in Code::ALL {
        let row = format!("\n{}|{}|{}|T{{\n", code.number(), code.name(), yes(code.retryable()));
        assert!(PAGE.contains(&row), "{row}");
    }
}

#[test]
fn the_page_has_every_key_of_the_schema() {
    let rules: String =
        SCHEMA.lines().map(|line| line.split(';').next().unwrap()).collect::<Vec<_>>().join(" ");
    let keys: Vec<&str> =
        rules.split(':').filter_map(|before| before.split([' ', '{', '(']).next_back()).collect();
    assert!(keys.len() > 100 && keys.contains(&"lagged"));
    for key in
        keys.iter().filter(|key| key.chars().all(|letter| letter.is_ascii_lowercase() || letter == '_'))
    {
        assert!(PAGE.contains(&format!("{key}: ")), "{key}");
    }
}

#[test]
fn the_bytes_of_the_example_are_those_that_are_sent() {
    for (introduction, name) in [("A ping, as it goes", "request-ping"), ("and its answer:", "ok-pong")] {
        let example = PAGE.split(introduction).nth(1).unwrap();
        let lines = example.split(".EX").nth(1).unwrap().split(".EE").next().unwrap().lines();
        let byte = |word: &str| if word.len() == 2 { u8::from_str_radix(word, 16).ok() } else { None };
        let bytes: Vec<u8> = lines
            // What the bytes mean stands at the end of the line, and may look like one.
            .flat_map(|line| line.split_whitespace().map_while(byte).collect::<Vec<_>>())
            .collect();
        let (_, message) = messages::all().into_iter().find(|(other, _)| other == name).unwrap();
        assert_eq!(bytes, message.frame(), "{introduction}");
    }
}
