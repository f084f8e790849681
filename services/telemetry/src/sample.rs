//! A commented sample of a configuration, made from the struct that reads it.
//!
//! The comments are the doc comments of the struct's fields, the values are those of an example value. What the
//! operator may leave out stands commented out (`#key = …`), so that the sample, read back, is the example value again:
//! documentation that cannot go stale.

use std::fmt::Write as _;

use schemars::{JsonSchema, schema_for};
use serde::Serialize;
use serde_json::{Map, Value};

/// Writes `example` as TOML with the doc comments of its type.
///
/// The text parses back to `example`, as long as every absent `Option` and every empty list of tables in it is also what
/// the struct's `#[serde(default)]` says. A value that TOML cannot hold (a number beyond 64 bits signed, a path that is
/// not UTF-8) is left out and a comment says so.
pub fn sample_toml<T: JsonSchema + Serialize>(example: &T) -> String {
    let schema = schema_for!(T).to_value();
    let value = serde_json::to_value(example);
    let mut sample = Sample { root: &schema, text: String::new() };
    sample.comment(description(&schema).unwrap_or_default());
    match &value {
        Ok(value) => sample.table("", &schema, Some(value)),
        Err(error) => sample.comment(&format!("no sample: the example cannot be written: {error}")),
    }
    sample.text
}

/// What is written so far, and where `$ref`s lead.
struct Sample<'a> {
    root: &'a Value,
    text: String,
}

/// One key of a table.
struct Field<'a> {
    key: String,
    schema: &'a Value,
    /// `None`: absent, to be shown commented out.
    value: Option<&'a Value>,
    required: bool,
}

impl<'a> Sample<'a> {
    /// Writes the keys of the table at `path`: plain ones first, as TOML wants it, then the tables. Without a value,
    /// everything is commented out.
    fn table(&mut self, path: &str, schema: &'a Value, value: Option<&'a Value>) {
        let fields = self.fields(schema, value);
        let (tables, plain): (Vec<_>, Vec<_>) =
            fields.into_iter().partition(|field| self.is_written_as_table(field));
        for field in plain {
            self.plain(&field, value.is_none());
        }
        for field in tables {
            let path = join(path, &field.key);
            self.sub_table(&path, &field);
        }
    }

    fn plain(&mut self, field: &Field<'a>, commented_out: bool) {
        self.blank_line();
        self.comment(&self.explanation(field.schema));
        let key = quoted(&field.key);
        let written = match field.value {
            Some(value) => inline(value).map(|value| (commented_out, value)),
            None => inline(&self.placeholder(field.schema)).map(|value| (true, value)),
        };
        match written {
            Ok((true, value)) => _ = writeln!(self.text, "#{key} = {value}"),
            Ok((false, value)) => _ = writeln!(self.text, "{key} = {value}"),
            Err(problem) => self.comment(&format!("{key}: no sample: {problem}")),
        }
    }

    fn sub_table(&mut self, path: &str, field: &Field<'a>) {
        let schema = self.resolve(field.schema);
        let (opening, closing, item_schema) = match self.items(schema) {
            Some(items) => ("[[", "]]", items),
            None => ("[", "]", schema),
        };
        let items: Vec<Option<&Value>> = match field.value {
            Some(Value::Array(items)) if !items.is_empty() => items.iter().map(Some).collect(),
            Some(Value::Array(_)) | None => vec![None],
            table => vec![table],
        };
        for (index, item) in items.into_iter().enumerate() {
            self.blank_line();
            if index == 0 {
                self.comment(&self.explanation(field.schema));
            }
            let out = if item.is_none() { "#" } else { "" };
            _ = writeln!(self.text, "{out}{opening}{path}{closing}");
            self.table(path, item_schema, item);
        }
    }

    /// The keys of a table in the order of the struct, then those that only the value has (maps).
    fn fields(&self, schema: &'a Value, value: Option<&'a Value>) -> Vec<Field<'a>> {
        let object = value.and_then(Value::as_object);
        let mut properties = Vec::new();
        self.collect_properties(schema, object, &mut properties);
        let required: Vec<&Value> =
            self.resolve(schema).get("required").and_then(Value::as_array).into_iter().flatten().collect();
        let mut fields: Vec<Field<'a>> = properties
            .iter()
            .map(|(key, schema)| Field {
                key: (*key).clone(),
                schema,
                value: object.and_then(|object| object.get(*key)).filter(|value| !value.is_null()),
                required: required.iter().any(|name| *name == *key),
            })
            .collect();
        let of_map = self.resolve(schema).get("additionalProperties").unwrap_or(&Value::Bool(true));
        let more = object
            .into_iter()
            .flatten()
            .filter(|(key, value)| !value.is_null() && !properties.iter().any(|(known, _)| *known == *key));
        fields.extend(more.map(|(key, value)| Field {
            key: key.clone(),
            schema: of_map,
            value: Some(value),
            required: true,
        }));
        fields
    }

    /// The named properties of `schema`, of everything it is composed of, and of the variant that `object` is.
    fn collect_properties(
        &self,
        schema: &'a Value,
        object: Option<&Map<String, Value>>,
        properties: &mut Vec<(&'a String, &'a Value)>,
    ) {
        let schema = self.resolve(schema);
        let own = schema.get("properties").and_then(Value::as_object);
        properties.extend(own.into_iter().flatten());
        for part in list(schema, "allOf") {
            self.collect_properties(part, object, properties);
        }
        let variants = list(schema, "oneOf").chain(list(schema, "anyOf"));
        let mut fitting = variants.filter(|variant| self.fits(variant, object));
        if let Some(variant) = fitting.next() {
            self.collect_properties(variant, object, properties);
        }
    }

    /// Whether `object` can be the variant: it has every key that the variant requires, and its constants.
    fn fits(&self, variant: &'a Value, object: Option<&Map<String, Value>>) -> bool {
        let variant = self.resolve(variant);
        let Some(object) = object else {
            return variant.get("properties").is_some();
        };
        let constants = variant.get("properties").and_then(Value::as_object).into_iter().flatten();
        let mut constants = constants.filter_map(|(key, schema)| Some((key, schema.get("const")?)));
        variant.get("properties").is_some()
            && list(variant, "required").all(|key| key.as_str().is_some_and(|key| object.contains_key(key)))
            && constants.all(|(key, constant)| object.get(key) == Some(constant))
    }

    fn is_written_as_table(&self, field: &Field<'a>) -> bool {
        match field.value {
            Some(Value::Object(_)) => !self.is_bare(field.schema),
            Some(Value::Array(items)) if items.is_empty() => {
                // A list that must be there is written as `[]`; one that may be absent shows what an item looks like.
                !field.required
                    && self
                        .items(field.schema)
                        .is_some_and(|items| self.has_properties(items) && !self.is_bare(items))
            }
            Some(Value::Array(items)) => {
                items.iter().all(Value::is_object)
                    && self.items(field.schema).is_some_and(|items| !self.is_bare(items))
            }
            Some(_) => false,
            None => {
                let shape = self.items(field.schema).unwrap_or(field.schema);
                self.has_properties(shape) && !self.is_bare(shape)
            }
        }
    }

    /// Whether a table has nothing to explain (a `Duration`, say) and is best written on one line.
    fn is_bare(&self, schema: &'a Value) -> bool {
        let mut properties = Vec::new();
        self.collect_properties(schema, None, &mut properties);
        !properties.is_empty() && properties.iter().all(|(_, schema)| self.explanation(schema).is_empty())
    }

    fn has_properties(&self, schema: &'a Value) -> bool {
        let mut properties = Vec::new();
        self.collect_properties(schema, None, &mut properties);
        !properties.is_empty()
    }

    fn items(&self, schema: &'a Value) -> Option<&'a Value> {
        self.resolve(schema).get("items")
    }

    /// Follows `$ref`, and `Option`'s "this or null".
    fn resolve(&self, schema: &'a Value) -> &'a Value {
        let referred = schema
            .get("$ref")
            .and_then(Value::as_str)
            .and_then(|reference| self.root.pointer(reference.strip_prefix('#')?));
        if let Some(referred) = referred {
            return self.resolve(referred);
        }
        let mut variants = list(schema, "anyOf").filter(|variant| !is_null_type(variant));
        match (variants.next(), variants.next()) {
            (Some(only), None) => self.resolve(only),
            _ => schema,
        }
    }

    /// The doc comment of a field or else of its type, and its choices if it has some.
    fn explanation(&self, schema: &'a Value) -> String {
        let resolved = self.resolve(schema);
        let mut text = description(schema).or_else(|| description(resolved)).unwrap_or_default().to_owned();
        for choice in choices(resolved) {
            text.push_str(if text.is_empty() { "" } else { "\n" });
            text.push_str(&choice);
        }
        text
    }

    /// What stands behind a key that is absent.
    fn placeholder(&self, schema: &'a Value) -> Value {
        let resolved = self.resolve(schema);
        let said = [schema, resolved].into_iter().find_map(|schema| {
            list(schema, "examples").next().or_else(|| schema.get("default").filter(|value| !value.is_null()))
        });
        let chosen = || {
            list(resolved, "enum")
                .next()
                .or_else(|| resolved.get("const"))
                .or_else(|| list(resolved, "oneOf").find_map(|choice| choice.get("const")))
        };
        if let Some(value) = said.or_else(chosen) {
            return value.clone();
        }
        match type_of(resolved) {
            Some("integer") => resolved.get("minimum").cloned().unwrap_or_else(|| Value::from(0)),
            Some("number") => Value::from(0.0),
            Some("boolean") => Value::from(false),
            Some("array") => Value::Array(Vec::new()),
            Some("object") => Value::Object(Map::new()),
            _ => Value::from(""),
        }
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let line = line.trim_end();
            _ = writeln!(self.text, "#{}{line}", if line.is_empty() { "" } else { " " });
        }
    }

    fn blank_line(&mut self) {
        if !self.text.is_empty() && !self.text.ends_with("\n\n") {
            self.text.push('\n');
        }
    }
}

fn description(schema: &Value) -> Option<&str> {
    schema.get("description").and_then(Value::as_str)
}

/// One line for each value that an enum may have.
fn choices(schema: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    for choice in list(schema, "oneOf") {
        match (choice.get("const"), description(choice)) {
            (Some(value), Some(meaning)) => lines.push(format!("- {value}: {}", meaning.replace('\n', " "))),
            (Some(value), None) => lines.push(format!("- {value}")),
            (None, _) => lines.extend(list(choice, "enum").map(|value| format!("- {value}"))),
        }
    }
    lines.extend(list(schema, "enum").map(|value| format!("- {value}")));
    lines
}

fn list<'a>(schema: &'a Value, key: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

/// The type of a schema; of `Option`'s two, the one that is not null.
fn type_of(schema: &Value) -> Option<&str> {
    match schema.get("type")? {
        Value::String(name) => Some(name),
        Value::Array(names) => names.iter().filter_map(Value::as_str).find(|name| *name != "null"),
        _ => None,
    }
}

fn is_null_type(schema: &Value) -> bool {
    schema.get("type").and_then(Value::as_str) == Some("null")
}

fn join(path: &str, key: &str) -> String {
    let key = quoted(key);
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn quoted(key: &str) -> String {
    let bare =
        !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte));
    if bare { key.to_owned() } else { toml::Value::from(key).to_string() }
}

/// The value as TOML writes it behind a key.
fn inline(value: &Value) -> Result<String, toml::ser::Error> {
    toml::Value::try_from(without_nulls(value)).map(|value| value.to_string())
}

/// TOML has no null: an absent key says the same.
fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(object) => object
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key.clone(), without_nulls(value)))
            .collect(),
        Value::Array(items) => items.iter().map(without_nulls).collect(),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::net::SocketAddr;
    use std::path::PathBuf;
    use std::time::Duration;

    use proptest::prelude::*;
    use serde::Deserialize;

    use super::*;
    use crate::TelemetryConfig;

    /// The node of one agency.
    ///
    /// Every key is explained.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Role {
        /// The mesh that it belongs to.
        mesh: String,
        /// What it says about itself.
        telemetry: TelemetryConfig,
        /// How long to wait, in milliseconds.
        timeout_ms: u64,
        /// How long to wait, otherwise said.
        patience: Duration,
        /// Share of calls, 0 to 1.
        ratio: f64,
        /// Where the data lives.
        data_dir: PathBuf,
        /// A file with a secret in it.
        #[serde(default)]
        #[schemars(example = "/etc/lienthong/node.key")]
        key: Option<PathBuf>,
        /// Certificate and key.
        #[serde(default)]
        tls: Option<Tls>,
        /// Names under which it is known.
        names: Vec<String>,
        /// The nodes that it calls.
        #[serde(default)]
        peers: Vec<Peer>,
        /// Limits by class of data.
        #[serde(default)]
        limits: BTreeMap<String, Tls>,
        /// What local callers use.
        listen: Listen,
        /// What answers.
        backend: Backend,
    }

    /// Certificate and key.
    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Tls {
        /// Chain, PEM.
        certificate: PathBuf,
        /// Key, PEM, mode 0600.
        #[serde(default)]
        key: Option<PathBuf>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Peer {
        /// Where it listens.
        address: SocketAddr,
        /// How it proves itself.
        #[serde(default)]
        tls: Option<Tls>,
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Listen {
        /// A TCP address.
        Tcp(SocketAddr),
        /// A Unix socket.
        Unix(PathBuf),
    }

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "kind", rename_all = "snake_case")]
    enum Backend {
        /// A gRPC server.
        Grpc {
            /// Its address.
            address: String,
        },
        /// An answer made up here.
        Synthetic {
            /// Bytes of the answer.
            answer_bytes: u32,
        },
    }

    fn role() -> Role {
        Role {
            mesh: "thử-nghiệm".into(),
            telemetry: TelemetryConfig::default(),
            timeout_ms: 5_000,
            patience: Duration::from_millis(1_500),
            ratio: 0.5,
            data_dir: "/var/lib/lienthong".into(),
            key: None,
            tls: None,
            names: vec!["g01".into(), "with \"quotes\"".into()],
            peers: Vec::new(),
            limits: BTreeMap::new(),
            listen: Listen::Unix("/run/node.sock".into()),
            backend: Backend::Synthetic { answer_bytes: 512 },
        }
    }

    fn full_role() -> Role {
        let tls = Tls { certificate: "a.crt".into(), key: Some("a.key".into()) };
        Role {
            key: Some("node.key".into()),
            tls: Some(tls.clone()),
            peers: vec![
                Peer { address: "127.0.0.1:1".parse().unwrap(), tls: None },
                Peer { address: "[::1]:2".parse().unwrap(), tls: Some(tls.clone()) },
            ],
            limits: BTreeMap::from([("mở".into(), tls.clone()), ("shared".into(), tls)]),
            listen: Listen::Tcp("127.0.0.1:3".parse().unwrap()),
            backend: Backend::Grpc { address: "127.0.0.1:4".into() },
            ..role()
        }
    }

    fn assert_reads_back(role: &Role) -> String {
        let text = sample_toml(role);
        let back: Role = toml::from_str(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        assert_eq!(&back, role, "{text}");
        text
    }

    #[test]
    fn a_sample_reads_back_as_the_example() {
        let text = assert_reads_back(&role());
        for expected in [
            "# The node of one agency.\n#\n# Every key is explained.\n",
            "\n# The mesh that it belongs to.\nmesh = \"thử-nghiệm\"\n",
            "\n# A file with a secret in it.\n#key = \"/etc/lienthong/node.key\"\n",
            "\n# Certificate and key.\n#[tls]\n\n# Chain, PEM.\n#certificate = \"\"\n",
            "\n# The nodes that it calls.\n#[[peers]]\n\n# Where it listens.\n#address = ",
            "\npatience = { nanos = 500000000, secs = 1 }\n",
            "# - \"auto\": Text on a terminal, JSON otherwise.\n",
            "\n# Bytes of the answer.\nanswer_bytes = 512\n",
        ] {
            assert!(text.contains(expected), "missing:\n{expected}\nin:\n{text}");
        }
        let order: Vec<_> =
            ["\nmesh", "\ntimeout_ms", "\nratio", "\nnames"].map(|key| text.find(key).unwrap()).into();
        assert!(order.is_sorted(), "keys stand in the order of the struct:\n{text}");
    }

    #[test]
    fn a_sample_with_everything_in_it_reads_back() {
        let text = assert_reads_back(&full_role());
        assert!(text.contains("[[peers]]\n\n# Where it listens.\naddress = \"127.0.0.1:1\""), "{text}");
        assert!(text.contains("[peers.tls]"), "{text}");
        assert!(text.contains("[limits.\"mở\"]"), "{text}");
    }

    #[test]
    fn our_own_section_reads_back_with_every_key_uncommented() {
        let config = TelemetryConfig {
            otlp_endpoint: Some("http://127.0.0.1:4317".into()),
            admin_listen: Some("127.0.0.1:9464".parse().unwrap()),
            ..TelemetryConfig::default()
        };
        for config in [config, TelemetryConfig::default()] {
            let back: TelemetryConfig = toml::from_str(&sample_toml(&config)).unwrap();
            assert_eq!(back, config);
        }
    }

    proptest! {
        #[test]
        fn any_text_reads_back(mesh in any::<String>(), names in prop::collection::vec(any::<String>(), 0..4), timeout_ms in 0..=i64::MAX as u64) {
            assert_reads_back(&Role { mesh, timeout_ms, names, ..role() });
        }
    }

    #[test]
    fn an_empty_list_of_plain_values_is_written_as_one() {
        #[derive(Serialize, JsonSchema)]
        struct Trust {
            /// Authorities.
            #[serde(default)]
            party: Vec<PathBuf>,
        }
        let text = sample_toml(&Trust { party: Vec::new() });
        assert!(text.contains("# Authorities.\nparty = []\n"), "{text}");
    }
}
