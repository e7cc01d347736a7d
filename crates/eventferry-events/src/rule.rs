//! JSON Schemas, and which rule of one a payload breaks. Nothing here shows a payload's value.

use jsonschema::error::{TypeKind, ValidationErrorKind};
use jsonschema::{ValidationError, Validator};
use serde_json::Value;

use crate::shown::cut;

/// A JSON Schema, ready for use.
pub(crate) struct Compiled(Validator);

/// Where a payload breaks a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken {
    /// A JSON pointer (RFC 6901); empty: the payload as a whole.
    pub(crate) pointer: String,
    /// The rule, and what it asks for.
    pub(crate) rule: String,
}

/// How often a pattern that looks around may step back over one text; beyond, the text does not match.
const BACKTRACKS_MAX: usize = 10_000;

impl Compiled {
    /// Compiles a schema; references lead to places inside it, for nothing is fetched.
    ///
    /// # Errors
    /// It is no schema; the words of the compiler.
    pub(crate) fn of(schema: &Value) -> Result<Self, String> {
        // Patterns that look around go back and forth, and an event may hold a hundred thousand texts.
        let patterns = jsonschema::PatternOptions::fancy_regex().backtrack_limit(BACKTRACKS_MAX);
        jsonschema::options()
            .offline()
            .with_pattern_options(patterns)
            .build(schema)
            .map(Self)
            .map_err(|error| error.to_string())
    }

    /// Holds a payload against it.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub(crate) fn check(&self, payload: &Value) -> Result<(), Broken> {
        self.0.validate(payload).map_err(|error| broken(&error))
    }
}

fn broken(error: &ValidationError<'_>) -> Broken {
    let mut pointer = error.instance_path().as_str().to_owned();
    let keyword = error.kind().keyword();
    let asks = match error.kind() {
        ValidationErrorKind::Required { property } => {
            step_into(&mut pointer, property.as_str().unwrap_or_default());
            "it is missing".into()
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            unexpected.iter().take(1).for_each(|name| step_into(&mut pointer, name));
            "it is not in the schema".into()
        }
        kind => asked(kind),
    };
    let rule = if asks.is_empty() { keyword.to_owned() } else { format!("{keyword}: {asks}") };
    Broken { pointer: cut(pointer), rule: cut(rule) }
}

/// What a rule asks for, in the schema's own words.
fn asked(kind: &ValidationErrorKind) -> String {
    use ValidationErrorKind as Kind;
    match kind {
        Kind::Type { kind: TypeKind::Single(one) } => one.to_string(),
        Kind::Type { kind: TypeKind::Multiple(several) } => {
            several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or ")
        }
        Kind::Maximum { limit }
        | Kind::Minimum { limit }
        | Kind::ExclusiveMaximum { limit }
        | Kind::ExclusiveMinimum { limit } => limit.to_string(),
        Kind::MaxLength { limit }
        | Kind::MinLength { limit }
        | Kind::MaxItems { limit }
        | Kind::MinItems { limit }
        | Kind::MaxProperties { limit }
        | Kind::MinProperties { limit } => limit.to_string(),
        Kind::MultipleOf { multiple_of } => multiple_of.to_string(),
        Kind::Constant { expected_value } => expected_value.to_string(),
        Kind::Enum { options } => options.to_string(),
        Kind::Format { format } => format.clone(),
        Kind::Pattern { pattern } => pattern.clone(),
        _ => String::new(),
    }
}

/// Adds a name to a pointer.
pub(crate) fn step_into(pointer: &mut String, name: &str) {
    pointer.push('/');
    pointer.push_str(&name.replace('~', "~0").replace('/', "~1"));
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn order() -> Compiled {
        let schema = json!({
            "type": "object",
            "properties": {
                "total": {"type": ["integer", "null"], "maximum": 10},
                "lines": {"type": "array", "items": {"$ref": "#/$defs/line"}, "maxItems": 3},
                "state": {"enum": ["new", "paid"]},
                "code": {"type": "string", "pattern": "^[A-Z]+$", "maxLength": 4},
                "either": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
            },
            "required": ["total"],
            "additionalProperties": false,
            "$defs": {"line": {"type": "object", "required": ["a/b"]}},
        });
        Compiled::of(&schema).unwrap()
    }

    #[test]
    fn a_pattern_that_steps_back_for_ever_is_a_rule_that_is_broken() {
        let schema = Compiled::of(&json!({"items": {"pattern": "^(?!x)(a+)+$"}})).unwrap();
        assert!(schema.check(&json!(["aaa"])).is_ok());
        let texts = vec![format!("{}b", "a".repeat(60)); 100];
        assert_eq!(schema.check(&json!(texts)).unwrap_err().pointer, "/0");
    }

    #[test]
    fn a_broken_rule_is_named_with_its_place_and_without_the_value() {
        for (payload, pointer, rule) in [
            (json!({"total": "sesame"}), "/total", "type: null or integer"),
            (json!({"total": 4711}), "/total", "maximum: 10"),
            (json!({}), "/total", "required: it is missing"),
            (json!({"total": 1, "lines": [{"a/b": 1}, {}]}), "/lines/1/a~1b", "required: it is missing"),
            (json!({"total": 1, "lines": [1]}), "/lines/0", "type: object"),
            (
                json!({"total": 1, "odd~": "sesame"}),
                "/odd~0",
                "additionalProperties: it is not in the schema",
            ),
            (json!({"total": 1, "state": "sesame"}), "/state", "enum: [\"new\",\"paid\"]"),
            (json!({"total": 1, "code": "sesame"}), "/code", "maxLength: 4"),
            (json!({"total": 1, "code": "abc"}), "/code", "pattern: ^[A-Z]+$"),
            (json!({"total": 1, "either": ["sesame"]}), "/either", "anyOf"),
            (json!(["sesame"]), "", "type: object"),
        ] {
            let broken = order().check(&payload).unwrap_err();
            assert_eq!((broken.pointer.as_str(), broken.rule.as_str()), (pointer, rule), "{payload}");
        }
        assert_eq!(order().check(&json!({"total": null, "lines": [{"a/b": 0}]})), Ok(()));
    }

    #[test]
    fn a_long_name_in_a_payload_makes_no_long_message() {
        let name = "é".repeat(5000);
        let broken = order().check(&json!({"total": 1, name: 1})).unwrap_err();
        assert_eq!(broken.pointer.chars().count(), crate::shown::PART_CHARS_MAX + 1);
    }

    #[test]
    fn no_reference_is_fetched() {
        for schema in [json!({"$ref": "https://127.0.0.1:1/a.json"}), json!({"$ref": "file:///etc/hostname"})]
        {
            assert!(Compiled::of(&schema).is_err(), "{schema}");
        }
    }
}
