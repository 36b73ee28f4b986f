//! How long an error can get, whatever it quotes.

use ciborium::{Value, cbor};
use fairshare::contract::{Endpoint, decode_request};
use fairshare::wire::detail::{DETAIL_TEXT_BYTES_MAX, Detail};
use fairshare::wire::error::{Code, MESSAGE_BYTES_MAX, WireError};
use proptest::prelude::*;

use super::schema::SCHEMA;

/// Of a text of the sender's a message has at most so many characters.
const QUOTED_CHARS_MAX: usize = 64;

/// In no name and no sentence of ours: whoever finds it in a message finds it in what the sender said.
const OF_THE_SENDER: char = 'ж';

/// The keys that the schema has anywhere.
fn keys() -> Vec<&'static str> {
    let words = SCHEMA.split(|c: char| !(c.is_ascii_lowercase() || c == '_'));
    words.filter(|word| !word.is_empty()).collect()
}

/// Requests with a text in every place where one can be: as the endpoint, as each key and as the value of each key.
fn requests(text: &str) -> Vec<Value> {
    let head = |endpoint: &str, body: Value| cbor!({"v" => 2, "request_id" => 7, "endpoint" => endpoint, "body" => body});
    let mut requests = vec![
        head(text, cbor!({}).unwrap()),
        cbor!({"v" => 2, "request_id" => 7, "endpoint" => "ping", "body" => {}, text => text}),
        cbor!({"v" => text, "request_id" => 7, "endpoint" => "ping", "body" => {}}),
    ];
    for endpoint in Endpoint::ALL {
        requests.push(head(endpoint.name(), text.into()));
        requests.push(head(endpoint.name(), cbor!({text => text}).unwrap()));
        requests.push(head(endpoint.name(), cbor!({"env" => {text => 1}}).unwrap()));
        requests.push(head(endpoint.name(), cbor!({"env" => {text => "", text => ""}}).unwrap()));
        for key in keys() {
            requests.push(head(endpoint.name(), cbor!({key => text}).unwrap()));
            requests.push(head(endpoint.name(), cbor!({key => [text, {text => text}]}).unwrap()));
        }
    }
    requests.into_iter().map(Result::unwrap).collect()
}

/// What holds of every message: short, of one line, and nothing of the sender's longer than it may be.
fn is_a_short_sentence(message: &str) -> bool {
    let quoted = message.split(|c| c != OF_THE_SENDER).map(|run| run.chars().count()).max();
    message.len() <= MESSAGE_BYTES_MAX
        && !message.contains(char::is_control)
        && quoted <= Some(QUOTED_CHARS_MAX)
}

#[test]
fn no_request_gets_an_error_that_is_longer_than_one_sentence() {
    for length in [1, 64, 65, 300, 5000] {
        for text in
            [OF_THE_SENDER.to_string().repeat(length), format!("\u{1b}[2J\n{}", "\u{9b}".repeat(length))]
        {
            for request in requests(&text) {
                let mut payload = Vec::new();
                ciborium::into_writer(&request, &mut payload).unwrap();
                // Where a text is what the endpoint takes there, the request is right.
                let Err(bad) = decode_request(&payload) else { continue };
                let message = bad.answer().message;
                assert!(is_a_short_sentence(&message), "{message:?}");
            }
        }
    }
}

proptest! {
    #[test]
    fn no_error_is_over_its_bounds_whatever_it_is_made_of(
        code in (0..Code::ALL.len()).prop_map(|at| Code::ALL[at]),
        message in "\\PC{0,300}|.{0,300}|[\u{0}-\u{1f}\u{7f}-\u{9f}\u{202e}]{0,300}",
        text in "[ж\n]{0,5000}",
    ) {
        let error = WireError::new(code, message.clone()).detail(Detail::text(text.clone()));
        prop_assert!(error.message.len() <= MESSAGE_BYTES_MAX);
        let obeyed = |c: char| c.is_control() || c == '\u{202e}';
        prop_assert!(!error.message.contains(obeyed));
        let said = error.detail.unwrap().text.unwrap();
        prop_assert!(said.len() <= DETAIL_TEXT_BYTES_MAX);
        // What fits and does no harm is said as it is.
        if message.len() <= MESSAGE_BYTES_MAX && message.chars().all(|c| c.is_ascii_graphic() || c == ' ') {
            prop_assert_eq!(error.message, message);
        }
        if text.len() <= DETAIL_TEXT_BYTES_MAX {
            prop_assert_eq!(said, text);
        }
    }
}
