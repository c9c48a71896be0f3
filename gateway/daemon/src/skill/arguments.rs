//! The JSON schema of a tool's arguments. The library that judges by it takes three MiB when it is first used, its own
//! schema of schemas among them; a gateway whose tools are not called, as most of the time, does without. So a schema
//! of the common keywords is known to be good by its shape and compiled at the tool's first call.

use std::{collections::BTreeMap, sync::OnceLock};

use jsonschema::Validator;
use serde::Deserialize;
use serde_json::{Number, Value};

/// What the arguments of one tool are held against.
#[derive(Debug, Default)]
pub struct Arguments(OnceLock<Validator>);

/// A schema of the keywords that most tools need. What deserializes is a schema that every provider takes; an invalid
/// `pattern` alone is seen by `openclaw skills check` and at the first call.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only the shape is looked at")]
struct Plain {
    r#type: Kind,
    title: Option<String>,
    description: Option<String>,
    default: Option<Value>,
    properties: Option<BTreeMap<String, Plain>>,
    required: Option<Vec<String>>,
    #[serde(rename = "additionalProperties")]
    additional: Option<bool>,
    items: Option<Box<Plain>>,
    #[serde(rename = "minItems")]
    min_items: Option<u32>,
    #[serde(rename = "maxItems")]
    max_items: Option<u32>,
    r#enum: Option<Vec<String>>,
    pattern: Option<String>,
    #[serde(rename = "minLength")]
    min_length: Option<u32>,
    #[serde(rename = "maxLength")]
    max_length: Option<u32>,
    minimum: Option<Number>,
    maximum: Option<Number>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Object,
    Array,
    String,
    Integer,
    Number,
    Boolean,
}

impl Arguments {
    /// Takes a schema that is one, and compiles it now if that can't be told from its shape.
    pub fn new(schema: &Value) -> Result<Self, String> {
        let this = Self::default();
        if Plain::deserialize(schema).is_err() {
            this.validator(schema)?;
        }
        Ok(this)
    }

    /// Whether the arguments fit `schema`, always the one given to [`Arguments::new`]. The error is for the model and bounded.
    pub fn validate(&self, schema: &Value, arguments: &Value) -> Result<(), String> {
        self.validator(schema)?.validate(arguments).map_err(|error| {
            let text = format!(
                "the arguments do not fit the tool's schema: {error} (at {:?})",
                error.instance_path().as_str()
            );
            text.chars().take(500).collect()
        })
    }

    fn validator(&self, schema: &Value) -> Result<&Validator, String> {
        if let Some(validator) = self.0.get() {
            return Ok(validator);
        }
        let validator = jsonschema::validator_for(schema).map_err(|error| {
            let error: String = error.to_string().chars().take(200).collect();
            format!("arguments are no JSON schema: {error}")
        })?;
        Ok(self.0.get_or_init(|| validator))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Arguments;

    fn compiled(schema: serde_json::Value) -> Option<bool> {
        Arguments::new(&schema).ok().map(|arguments| arguments.0.get().is_some())
    }

    #[test]
    fn common_schemas_wait_for_their_first_call_and_others_are_judged_at_once() {
        let common = json!({ "type": "object", "required": ["n"], "additionalProperties": false, "properties": {
            "n": { "type": "integer", "minimum": 1, "description": "d" },
            "all": { "type": "array", "items": { "type": "string", "enum": ["a", "b"], "maxLength": 3 } },
        } });
        assert_eq!(compiled(common.clone()), Some(false));
        let arguments = Arguments::new(&common).expect("a schema");
        assert_eq!(arguments.validate(&common, &json!({ "n": 1, "all": ["a"] })), Ok(()));
        for bad in [json!({}), json!({ "n": 0 }), json!({ "n": 1, "all": ["c"] }), json!({ "n": 1, "x": 1 })]
        {
            assert!(arguments.validate(&common, &bad).is_err(), "{bad}");
        }
        assert_eq!(compiled(json!({ "type": "object", "minProperties": 1 })), Some(true));
        for bad in [
            json!({ "type": "objet" }),
            json!({ "type": "object", "required": "n" }),
            json!({ "type": "object", "properties": { "n": { "type": "integer", "minimum": "1" } } }),
            json!({ "type": "object", "properties": { "n": { "type": "string", "enum": 1 } } }),
        ] {
            assert_eq!(compiled(bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_pattern_is_told_at_the_first_call() {
        let schema = json!({ "type": "object", "properties": { "n": { "type": "string", "pattern": "(" } } });
        let arguments = Arguments::new(&schema).expect("by its shape");
        let error = arguments.validate(&schema, &json!({ "n": "x" })).expect_err("no schema");
        assert!(error.contains("no JSON schema"), "{error}");
    }
}
