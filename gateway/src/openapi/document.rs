//! The OpenAPI 3.1 document of one dataset, as one reader may call it.

use serde_json::{Map, Value, json};

use super::{Dataset, Listed, Reader, lines, paths, schema, word};
use crate::transcode::{answer::PROBLEM, codes, rest};

/// The version of the specification.
pub const OPENAPI: &str = "3.1.0";

/// The document.
pub fn document(reader: &Reader, dataset: &Dataset<'_>) -> Value {
    let messages =
        dataset.methods.iter().flat_map(|method| [method.declared.input(), method.declared.output()]);
    let mut schemas: Map<String, Value> = schema::schemas(messages).into_iter().collect();
    schemas.insert("Problem".to_owned(), problem());
    let mut paths = Map::new();
    for method in &dataset.methods {
        let operation = operation(reader, dataset, method);
        paths.entry(method.callable.path.clone()).or_insert_with(|| json!({}))["post"] = operation;
        for (number, rule) in (1..).zip(rest::rules(&method.declared)) {
            let verb = rule.verb.as_str().to_ascii_lowercase();
            let path = rule.openapi_path();
            paths.entry(path).or_insert_with(|| json!({}))[verb] =
                declared(reader, dataset, method, (number, &rule));
        }
    }
    json!({
        "openapi": OPENAPI,
        "info": {
            "title": title(dataset),
            "version": version(dataset),
            "description": format!(
                "Những gì hệ thống {} được gọi ở tập dữ liệu {}. What system {} may call of dataset {}. Mesh {}.",
                reader.system, dataset.id, reader.system, dataset.id, reader.mesh
            ),
        },
        "servers": [{ "url": reader.server }],
        "security": [{ "certificate": [] }],
        "tags": [{ "name": dataset.id, "description": title(dataset) }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "certificate": {
                    "type": "mutualTLS",
                    "description": "Chứng thư chuyên dùng của hệ thống. The system's official-use certificate.",
                },
            },
        },
    })
}

/// The name of a dataset, for people.
pub fn title(dataset: &Dataset<'_>) -> String {
    if dataset.options.name_vi.is_empty() { dataset.id.to_owned() } else { dataset.options.name_vi.clone() }
}

/// The contract's version: the beginning of its hash.
fn version(dataset: &Dataset<'_>) -> String {
    let hash = dataset.methods.first().map(|method| &method.callable.contract_hash[..]).unwrap_or_default();
    match hash.first_chunk::<4>() {
        Some(first) => format!("{:08x}", u32::from_be_bytes(*first)),
        None => "0".to_owned(),
    }
}

fn operation(reader: &Reader, dataset: &Dataset<'_>, method: &Listed<'_>) -> Value {
    let kind = if method.streams() { "application/connect+json" } else { "application/json" };
    let mut operation = common(reader, dataset, method, kind);
    operation["operationId"] = method.declared.full_name().into();
    operation["requestBody"] = json!({
        "required": true,
        "content": { kind: { "schema": schema::reference(&method.declared.input()) } },
    });
    operation
}

/// The same at a path that the contract declares; `number` tells it from the method's others.
fn declared(
    reader: &Reader,
    dataset: &Dataset<'_>,
    method: &Listed<'_>,
    (number, rule): (usize, &rest::Rule),
) -> Value {
    let input = method.declared.input();
    let mut operation = common(reader, dataset, method, "application/json");
    operation["operationId"] = format!("{}.path{number}", method.declared.full_name()).into();
    if let Some(parameters) = operation["parameters"].as_array_mut() {
        parameters.extend(paths::parameters(rule, &input));
    }
    if let Some(body) = paths::body(rule, &input) {
        operation["requestBody"] = body;
    }
    operation["responses"]["200"]["content"]["application/json"]["schema"] =
        paths::answer(rule, &method.declared.output());
    operation["x-codeSamples"] = samples([paths::line(reader, method, rule)]);
    operation
}

fn common(reader: &Reader, dataset: &Dataset<'_>, method: &Listed<'_>, kind: &str) -> Value {
    let mut failures = Map::new();
    for status in [400, 403, 404, 429, 501, 503, 504] {
        let named = codes::TABLE.iter().filter(|row| row.http == status).map(|row| row.connect);
        let named: Vec<&str> = named.collect();
        let content = json!({ "application/json": problem_reference(), PROBLEM: problem_reference() });
        failures.insert(status.to_string(), json!({ "description": named.join(", "), "content": content }));
    }
    let mut responses = json!({
        "200": {
            "description": "Đã chia sẻ. Delivered; mesh-exchange-id names the exchange on record.",
            "headers": { "mesh-exchange-id": { "schema": { "type": "string", "format": "uuid" } } },
            "content": { kind: { "schema": schema::reference(&method.declared.output()) } },
        },
    });
    // In a stream an error is its last message.
    if let (Some(responses), false) = (responses.as_object_mut(), method.streams()) {
        responses.extend(failures);
    }
    let purposes: Vec<Value> = method
        .callable
        .purposes
        .iter()
        .map(|of| json!({ "purpose": word(of.purpose()), "fields": of.fields, "maskedFields": of.masked_fields }))
        .collect();
    json!({
        "summary": format!("{} ({})", method.declared.name(), method.callable.provider),
        "tags": [dataset.id],
        "parameters": parameters(method),
        "responses": responses,
        "x-provider": method.callable.provider,
        "x-granted": purposes,
        "x-codeSamples": samples(lines::lines(reader, method)),
    })
}

fn samples(lines: impl IntoIterator<Item = lines::Line>) -> Value {
    let sample = |line: lines::Line| json!({ "lang": "Shell", "label": line.tool, "source": line.command });
    lines.into_iter().map(sample).collect()
}

fn parameters(method: &Listed<'_>) -> Value {
    let header = |name: &str, required: bool, text: &str, schema: Value| json!({ "name": name, "in": "header", "required": required, "description": text, "schema": schema });
    json!([
        header(
            "mesh-purpose",
            true,
            "Mục đích. Why the data is asked for.",
            json!({ "enum": method.purposes() })
        ),
        header(
            "mesh-dossier",
            false,
            "Mã hồ sơ. The dossier that the call serves.",
            json!({ "type": "string" })
        ),
        header(
            "mesh-user",
            false,
            "Mã người dùng. Opaque id of the user.",
            json!({ "type": "string", "maxLength": 64 })
        ),
        header(
            "mesh-provider",
            false,
            "Mã cơ quan cung cấp. Code of the provider.",
            json!({ "type": "string" })
        ),
        header("mesh-fields", false, "Chỉ các trường này. These fields only.", json!({ "type": "string" })),
        header(
            "connect-timeout-ms",
            false,
            "How long the caller waits.",
            json!({ "type": "integer", "minimum": 0 })
        ),
    ])
}

fn problem_reference() -> Value {
    json!({ "schema": { "$ref": "#/components/schemas/Problem" } })
}

/// An error, as [`crate::transcode::failure`] writes it.
fn problem() -> Value {
    let text = || json!({ "type": "string" });
    json!({
        "type": "object",
        "required": ["code", "message", "status", "type", "title"],
        "properties": {
            "code": { "enum": codes::TABLE.iter().skip(1).map(|row| row.connect).collect::<Vec<_>>() },
            "message": text(), "status": { "type": "integer" }, "type": text(), "title": text(), "title_vi": text(),
            "reason": text(), "rule": text(), "detail": text(), "remedy": text(), "remedy_vi": text(),
            "exchange_id": text(), "retry_after_ms": { "type": "integer" },
            "details": {
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": { "type": text(), "value": { "type": "string", "contentEncoding": "base64" }, "debug": {} },
                },
            },
        },
    })
}
