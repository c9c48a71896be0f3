//! The Bot API as a third party wrote it down for machines (aiogram's `schema.json`). Every exchange of the stand-in is
//! checked against it, in both directions. Never guesses: a field or method that it does not name is an error.

use std::{collections::HashMap, sync::OnceLock};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::{Map, Value};

use crate::peers;

/// What the methods that the stand-in carries out return. The schema has it in prose only; [`Schema::load`] checks that
/// the prose names the same type.
const RESULTS: [(&str, &str); 17] = [
    ("getMe", "User"),
    ("getUpdates", "Array of Update"),
    ("setWebhook", "True"),
    ("deleteWebhook", "True"),
    ("getWebhookInfo", "WebhookInfo"),
    ("sendMessage", "Message"),
    ("sendPhoto", "Message"),
    ("sendDocument", "Message"),
    ("sendVoice", "Message"),
    ("editMessageText", "Message"),
    ("editMessageReplyMarkup", "Message"),
    ("sendMessageDraft", "True"),
    ("sendChatAction", "True"),
    ("answerCallbackQuery", "True"),
    ("deleteMessage", "True"),
    ("getFile", "File"),
    ("setMyCommands", "True"),
];

/// A type of the Bot API.
#[derive(Debug, Clone, PartialEq)]
enum Type {
    Integer,
    Float,
    Text,
    Boolean,
    True,
    Named(String),
    Array(Box<Type>),
    OneOf(Vec<Type>),
}

impl Type {
    fn parse(text: &str) -> Self {
        if let Some(inner) = text.strip_prefix("Array of ") {
            return Self::Array(Box::new(Self::parse(inner)));
        }
        let flat = text.replace(" and ", ", ").replace(" or ", ", ");
        let parts: Vec<Type> = flat.split(", ").map(Self::simple).collect();
        match <[Type; 1]>::try_from(parts) {
            Ok([one]) => one,
            Err(many) => Self::OneOf(many),
        }
    }

    fn simple(text: &str) -> Self {
        match text {
            "Integer" => Self::Integer,
            "Float" => Self::Float,
            "String" => Self::Text,
            "Boolean" => Self::Boolean,
            "True" => Self::True,
            name => Self::Named(name.into()),
        }
    }
}

struct Field {
    kind: Type,
    required: bool,
}

#[derive(Default)]
struct Entry {
    name: String,
    fields: HashMap<String, Field>,
    variants: Vec<String>,
    returns: Option<Type>,
}

/// The whole Bot API.
pub struct Schema {
    types: HashMap<String, Entry>,
    methods: HashMap<String, Entry>,
}

impl Schema {
    /// The schema of the installed peer, read once.
    pub fn get() -> &'static Self {
        static SCHEMA: OnceLock<Schema> = OnceLock::new();
        SCHEMA.get_or_init(|| Self::load().expect("the Bot API schema is readable"))
    }

    fn load() -> Result<Self> {
        let path = peers::path("aiogram-schema/schema.json");
        let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
        let document: Value = serde_json::from_slice(&text).context("schema.json")?;
        let (mut types, mut methods) = (HashMap::new(), HashMap::new());
        let groups = document["items"].as_array().context("schema.json has no items")?;
        for child in groups.iter().flat_map(|group| group["children"].as_array().into_iter().flatten()) {
            let mut entry = entry(child)?;
            match child["category"].as_str() {
                Some("methods") => {
                    let returns = RESULTS.iter().find(|(method, _)| *method == entry.name);
                    if let Some((method, kind)) = returns {
                        let noun = kind.rsplit(' ').next().unwrap_or(kind);
                        if !child["description"].as_str().unwrap_or_default().contains(noun) {
                            bail!("the schema's prose of {method} does not name {noun}");
                        }
                        entry.returns = Some(Type::parse(kind));
                    }
                    methods.insert(entry.name.to_lowercase(), entry);
                }
                _ => {
                    types.insert(entry.name.clone(), entry);
                }
            }
        }
        Ok(Self { types, methods })
    }

    /// The method's name as the documentation spells it; methods are case-insensitive.
    pub fn method(&self, name: &str) -> Option<&str> {
        self.methods.get(&name.to_lowercase()).map(|entry| entry.name.as_str())
    }

    /// Checks a request's parameters.
    pub fn check_call(&self, method: &str, parameters: &Map<String, Value>) -> Result<()> {
        let entry = self.methods.get(&method.to_lowercase()).ok_or_else(|| anyhow!("no method {method}"))?;
        self.check_fields(parameters, entry, &entry.name)
    }

    /// Checks the `result` of a method.
    pub fn check_result(&self, method: &str, result: &Value) -> Result<()> {
        let entry = self.methods.get(&method.to_lowercase()).ok_or_else(|| anyhow!("no method {method}"))?;
        let kind = entry.returns.as_ref().ok_or_else(|| anyhow!("{method}: unknown result type"))?;
        self.check(result, kind, &format!("{method} result"))
    }

    /// Checks an object against a named type.
    pub fn check_type(&self, name: &str, value: &Value) -> Result<()> {
        self.check(value, &Type::Named(name.into()), name)
    }

    /// Parameters that came as text (query or form) get the JSON type that the schema asks for.
    pub fn type_parameter(&self, method: &str, name: &str, text: &str) -> Value {
        let text_value = || Value::String(text.to_owned());
        let field = self.methods.get(&method.to_lowercase()).and_then(|entry| entry.fields.get(name));
        match field.map(|field| &field.kind) {
            None | Some(Type::Text) => text_value(),
            Some(Type::Boolean | Type::True) => Value::Bool(matches!(text, "true" | "True" | "1")),
            Some(_) => serde_json::from_str(text).unwrap_or_else(|_| text_value()),
        }
    }

    fn check(&self, value: &Value, kind: &Type, at: &str) -> Result<()> {
        let good = match kind {
            Type::Integer => value.is_i64() || value.is_u64(),
            Type::Float => value.is_number(),
            Type::Text => value.is_string(),
            Type::Boolean => value.is_boolean(),
            Type::True => value == &Value::Bool(true),
            Type::Array(inner) => {
                let items = value.as_array().ok_or_else(|| anyhow!("{at}: expected an array"))?;
                for (index, item) in items.iter().enumerate() {
                    self.check(item, inner, &format!("{at}[{index}]"))?;
                }
                true
            }
            Type::OneOf(kinds) => kinds.iter().any(|kind| self.check(value, kind, at).is_ok()),
            Type::Named(name) if name == "InputFile" => value.is_string(),
            Type::Named(name) => return self.check_named(value, name, at),
        };
        if good { Ok(()) } else { bail!("{at}: expected {kind:?}, got {}", short(value)) }
    }

    fn check_named(&self, value: &Value, name: &str, at: &str) -> Result<()> {
        let entry = self.types.get(name).ok_or_else(|| anyhow!("{at}: unknown type {name}"))?;
        if !entry.variants.is_empty() {
            let errors: Vec<String> = entry
                .variants
                .iter()
                .map_while(|variant| self.check_named(value, variant, at).err())
                .map(|e| e.to_string())
                .collect();
            return match errors.len() == entry.variants.len() {
                true => bail!("{at}: no variant of {name} fits: {}", errors.join("; ")),
                false => Ok(()),
            };
        }
        let object = value.as_object().ok_or_else(|| anyhow!("{at}: expected {name}"))?;
        if name == "Update" && object.len() != 2 {
            bail!("{at}: an update carries exactly one kind, got {:?}", object.keys().collect::<Vec<_>>());
        }
        self.check_fields(object, entry, at)
    }

    fn check_fields(&self, object: &Map<String, Value>, entry: &Entry, at: &str) -> Result<()> {
        for (name, value) in object {
            let field = entry
                .fields
                .get(name)
                .ok_or_else(|| anyhow!("{at}: {} has no field {name:?}", entry.name))?;
            self.check(value, &field.kind, &format!("{at}.{name}"))?;
        }
        let missing = entry.fields.iter().find(|(name, field)| field.required && !object.contains_key(*name));
        match missing {
            Some((name, _)) => bail!("{at}: {name} is required and missing"),
            None => Ok(()),
        }
    }
}

fn entry(child: &Value) -> Result<Entry> {
    let name = child["name"].as_str().context("an item without a name")?.to_owned();
    let mut fields = HashMap::new();
    for field in child["annotations"].as_array().into_iter().flatten() {
        let key = field["name"].as_str().context("a field without a name")?.to_owned();
        let kind = Type::parse(field["type"].as_str().context("a field without a type")?);
        fields.insert(key, Field { kind, required: field["required"].as_bool().unwrap_or(false) });
    }
    let prose = child["description"].as_str().unwrap_or_default();
    let variants = match fields.is_empty() {
        true => prose.lines().filter_map(|line| line.strip_prefix(" - ")).map(str::to_owned).collect(),
        false => Vec::new(),
    };
    Ok(Entry { name, fields, variants, returns: None })
}

fn short(value: &Value) -> String {
    value.to_string().chars().take(120).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::Schema;

    fn call(method: &str, parameters: Value) -> Result<(), String> {
        let map = parameters.as_object().expect("an object");
        Schema::get().check_call(method, map).map_err(|e| e.to_string())
    }

    #[test]
    fn good_exchanges_pass_and_each_kind_of_mistake_is_named() {
        call(
            "SENDMESSAGE",
            json!({"chat_id": 1, "text": "a", "link_preview_options": {"is_disabled": true}}),
        )
        .expect("good");
        for (parameters, part) in [
            (json!({"chat_id": 1}), "text is required"),
            (json!({"chat_id": 1, "text": 2}), "expected Text"),
            (json!({"chat_id": 1.5, "text": "a"}), "expected OneOf"),
            (json!({"chat_id": 1, "text": "a", "disable_web_page_preview": true}), "has no field"),
            (json!({"chat_id": 1, "text": "a", "reply_parameters": {"message": 1}}), "has no field"),
            (json!({"chat_id": 1, "text": "a", "entities": [{"type": "bold"}]}), "is required"),
        ] {
            let error = call("sendMessage", parameters).expect_err(part);
            assert!(error.contains(part), "{error}");
        }
        assert!(call("sendNothing", json!({})).is_err());
        let update = json!({"update_id": 1, "message": {"message_id": 1, "date": 1, "chat": {"id": 1, "type": "private"}}});
        Schema::get().check_type("Update", &update).expect("good");
        let member = json!({"status": "member", "user": {"id": 1, "is_bot": false, "first_name": "a"}});
        Schema::get().check_type("ChatMember", &member).expect("one of the variants");
        let both = json!({"update_id": 1, "message": {}, "edited_message": {}});
        assert!(Schema::get().check_type("Update", &both).is_err());
    }
}
