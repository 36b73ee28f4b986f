//! The code against the schema, both ways: every frame is valid by the schema, and every key, type, literal and
//! absence that the schema allows is in some frame. So neither can gain or lose a field alone.

use std::collections::{BTreeMap, BTreeSet};

use cddl_cat::context::BasicContext;
use cddl_cat::flatten::flatten_from_str;
use cddl_cat::ivt::{Control, Literal, Node, PreludeType};
use ciborium::{Value, cbor};

use super::messages;

pub const SCHEMA: &str = include_str!("../../../src/contract/protocol.cddl");

/// What can be seen at one path: `body.wait: bool`, `body.wait: absent`, `share.state: "active"`, `body.argv: empty`.
type Points = BTreeSet<String>;

#[test]
fn every_frame_is_valid() {
    for (name, message) in messages::all() {
        let frame = message.frame();
        cddl_cat::validate_cbor_bytes(message.rule(), SCHEMA, &frame[4..])
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn the_validator_sees_a_missing_and_an_unknown_key() {
    for request in [
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "renew", "body" => {}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "ping", "body" => {"x" => 1}}),
        cbor!({"v" => 2, "request_id" => 1, "endpoint" => "status", "body" => {"for_uid" => null}}),
    ] {
        let mut payload = Vec::new();
        ciborium::into_writer(&request.unwrap(), &mut payload).unwrap();
        assert!(cddl_cat::validate_cbor_bytes("client-frame", SCHEMA, &payload).is_err());
        assert!(fairshare::contract::decode_request(&payload).is_err());
    }
}

#[test]
fn everything_in_the_schema_is_in_a_frame() {
    let context = BasicContext::new(flatten_from_str(SCHEMA).unwrap());
    for rule in ["client-frame", "daemon-frame"] {
        let mut allowed = Points::new();
        Schema { context: &context, points: &mut allowed }.node(&context.rules[rule].node, "");
        let mut seen = Seen::default();
        for (_, message) in messages::all().into_iter().filter(|(_, message)| message.rule() == rule) {
            seen.value(&ciborium::from_reader(&message.frame()[4..]).unwrap(), "");
        }
        let unseen: Vec<_> = allowed.iter().filter(|point| !seen.has(point)).collect();
        assert!(unseen.is_empty(), "{rule}: {unseen:#?}");
        assert!(allowed.len() > 90, "{rule}: the schema was not read: {allowed:#?}");
    }
}

/// Collects what a schema allows.
struct Schema<'a> {
    context: &'a BasicContext,
    points: &'a mut Points,
}

impl Schema<'_> {
    fn node(&mut self, node: &Node, path: &str) {
        match node {
            Node::Literal(Literal::Text(text)) => self.point(path, &format!("{text:?}")),
            Node::PreludeType(kind) => self.point(path, kind_of(*kind)),
            Node::Rule(rule) => self.node(&self.context.rules[&rule.name].node, path),
            Node::Choice(choice) => choice.options.iter().for_each(|option| self.node(option, path)),
            Node::Control(Control::Size(size)) => self.node(&size.target, path),
            Node::Map(map) => {
                let path = &format!("{}{}", rule_of(path), self.endpoint(&map.members));
                map.members.iter().for_each(|member| self.member(member, path));
            }
            Node::Array(array) => array.members.iter().for_each(|member| self.item(member, path)),
            _ => panic!("{path}: the schema has something that this test does not know: {node:?}"),
        }
    }

    fn member(&mut self, member: &Node, path: &str) {
        match member {
            Node::Rule(rule) => self.member(&self.context.rules[&rule.name].node, path),
            Node::Group(group) => group.members.iter().for_each(|member| self.member(member, path)),
            Node::KeyValue(pair) => match &*pair.key {
                Node::Literal(Literal::Text(key)) => self.node(&pair.value, &format!("{path}.{key}")),
                key => {
                    self.node(key, &format!("{path}.* (key)"));
                    self.node(&pair.value, &format!("{path}.*"));
                }
            },
            Node::Occur(occur) => {
                self.member(&occur.node, path);
                match &*occur.node {
                    Node::KeyValue(pair) => match &*pair.key {
                        Node::Literal(Literal::Text(key)) => self.point(&format!("{path}.{key}"), "absent"),
                        _ => self.point(path, "empty"),
                    },
                    other => panic!("{path}: an occurrence of {other:?}"),
                }
            }
            other => panic!("{path}: a member {other:?}"),
        }
    }

    fn item(&mut self, item: &Node, path: &str) {
        let Node::Occur(occur) = item else { panic!("{path}: an item {item:?}") };
        if occur.limits().0 == 0 {
            self.point(path, "empty");
        }
        self.node(&occur.node, &format!("{path}[]"));
    }

    /// The endpoint that a map is the request of: each request is a path of its own.
    fn endpoint(&self, members: &[Node]) -> String {
        let endpoint = members.iter().find_map(|member| match member {
            Node::KeyValue(pair) if *pair.key == cddl_cat::ivt::literal_text("endpoint") => {
                match &*pair.value {
                    Node::Literal(Literal::Text(endpoint)) => Some(endpoint),
                    _ => None,
                }
            }
            _ => None,
        });
        endpoint.cloned().unwrap_or_default()
    }

    fn point(&mut self, path: &str, what: &str) {
        self.points.insert(format!("{path}: {what}"));
    }
}

/// A map that is the same rule wherever it stands has one path for all its places.
fn rule_of(path: &str) -> &str {
    match path.rsplit('.').next().unwrap() {
        // Those of a dump are something else.
        "allocations[]" if path == "share.allocations[]" => "allocation",
        "allocation" => "allocation",
        "job" | "jobs[]" => "job",
        "share" | "shares[]" => "share",
        "error" | "err" => "error",
        _ => path,
    }
}

fn kind_of(kind: PreludeType) -> &'static str {
    match kind {
        PreludeType::Uint => "uint",
        PreludeType::Tstr => "text",
        PreludeType::Bstr => "bytes",
        PreludeType::Bool => "bool",
        PreludeType::Nil => "null",
        other => panic!("the schema has {other}, which no message has"),
    }
}

/// Collects what the frames have.
#[derive(Default)]
struct Seen {
    points: Points,
    /// The sets of keys that the maps at a path had.
    maps: BTreeMap<String, Vec<BTreeSet<String>>>,
}

impl Seen {
    fn value(&mut self, value: &Value, path: &str) {
        match value {
            Value::Integer(_) => self.point(path, "uint"),
            Value::Bool(_) => self.point(path, "bool"),
            Value::Null => self.point(path, "null"),
            Value::Bytes(_) => self.point(path, "bytes"),
            Value::Text(text) => {
                self.point(path, "text");
                self.point(path, &format!("{text:?}"));
            }
            Value::Array(items) if items.is_empty() => self.point(path, "empty"),
            Value::Array(items) => items.iter().for_each(|item| self.value(item, &format!("{path}[]"))),
            Value::Map(pairs) => self.map(pairs, path),
            other => panic!("{path}: {other:?}"),
        }
    }

    fn map(&mut self, pairs: &[(Value, Value)], path: &str) {
        if pairs.is_empty() {
            self.point(path, "empty");
        }
        let endpoint = pairs.iter().find(|(key, _)| key.as_text() == Some("endpoint"));
        let path =
            format!("{}{}", rule_of(path), endpoint.map_or("", |(_, endpoint)| endpoint.as_text().unwrap()));
        // The one map whose keys are the sender's.
        if path.ends_with(".env") {
            for (key, value) in pairs {
                self.value(key, &format!("{path}.* (key)"));
                self.value(value, &format!("{path}.*"));
            }
            return;
        }
        let keys = pairs.iter().map(|(key, _)| key.as_text().unwrap().to_owned()).collect();
        self.maps.entry(path.clone()).or_default().push(keys);
        for (key, value) in pairs {
            self.value(value, &format!("{path}.{}", key.as_text().unwrap()));
        }
    }

    fn point(&mut self, path: &str, what: &str) {
        self.points.insert(format!("{path}: {what}"));
    }

    fn has(&self, point: &str) -> bool {
        let Some(path) = point.strip_suffix(": absent") else { return self.points.contains(point) };
        let (map, key) = path.rsplit_once('.').unwrap();
        self.maps.get(map).is_some_and(|maps| maps.iter().any(|keys| !keys.contains(key)))
    }
}
