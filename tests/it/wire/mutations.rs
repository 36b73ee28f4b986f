//! Every frame with one thing changed: what the schema refuses is refused, and what it allows is taken.

use ciborium::Value;

use super::messages;
use super::schema::SCHEMA;

#[test]
fn the_decoder_and_the_schema_agree_on_every_mutant() {
    let (mut taken, mut refused) = (0, 0);
    let rules = Rules::new();
    for (name, message) in messages::all().into_iter().filter(|(name, _)| !name.starts_with("err-0")) {
        let original: Value = ciborium::from_reader(&message.frame()[4..]).unwrap();
        for mutant in mutants(&original) {
            let mut payload = Vec::new();
            ciborium::into_writer(&mutant, &mut payload).unwrap();
            let valid = rules.allow(message.rule(), &mutant);
            let decoded = message.decode(&payload);
            assert_eq!(decoded.is_ok(), valid, "{name}: {}: {decoded:?}", minicbor::display(&payload));
            if valid { taken += 1 } else { refused += 1 }
        }
    }
    assert!(taken > 500 && refused > 5000, "{taken} taken, {refused} refused");
}

struct Rules(cddl_cat::context::BasicContext);

impl Rules {
    fn new() -> Self {
        Self(cddl_cat::context::BasicContext::new(cddl_cat::flatten::flatten_from_str(SCHEMA).unwrap()))
    }

    fn allow(&self, rule: &str, value: &Value) -> bool {
        cddl_cat::cbor::validate_cbor(&self.0.rules[rule], value, &self.0).is_ok()
    }
}

/// `value` with each part of it replaced, left out, or added to.
fn mutants(value: &Value) -> Vec<Value> {
    let mut all: Vec<Value> = replacements().into_iter().filter(|other| other != value).collect();
    match value {
        Value::Map(pairs) => {
            for (at, (_, inner)) in pairs.iter().enumerate() {
                let mut without = pairs.clone();
                without.remove(at);
                all.push(Value::Map(without));
                for mutant in mutants(inner) {
                    let mut changed = pairs.clone();
                    changed[at].1 = mutant;
                    all.push(Value::Map(changed));
                }
            }
            let mut reversed = pairs.clone();
            reversed.reverse();
            all.push(Value::Map(reversed.clone()));
            reversed.push((Value::from("zz"), Value::from(1)));
            all.push(Value::Map(reversed));
        }
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate().take(2) {
                let mut without = items.clone();
                without.remove(at);
                all.push(Value::Array(without));
                for mutant in mutants(item) {
                    let mut changed = items.clone();
                    changed[at] = mutant;
                    all.push(Value::Array(changed));
                }
            }
            let mut longer = items.clone();
            longer.extend(items.first().cloned());
            all.push(Value::Array(longer));
        }
        _ => {}
    }
    all
}

fn replacements() -> Vec<Value> {
    vec![
        Value::Null,
        Value::from(true),
        Value::from(0),
        Value::from(u64::MAX),
        Value::from(-1),
        Value::from(1.0),
        Value::from(""),
        Value::from("x".repeat(64)),
        Value::from("x".repeat(65)),
        Value::from(&b"bytes"[..]),
        Value::Array(vec![]),
        Value::Map(vec![]),
    ]
}
