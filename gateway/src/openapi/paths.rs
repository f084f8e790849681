//! Paths that a contract declares, in the document and as commands: what goes into the path, the query string and the body.

use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Value, json};

use super::{Listed, Reader, lines, schema};
use crate::transcode::rest::{Body, Rule};

/// Fields inside of fields that a query string is told to take; deeper ones it takes without being told.
const QUERY_DEPTH_MAX: usize = 3;

/// What OpenAPI says of the parts of a path and of a query string.
pub fn parameters(rule: &Rule, input: &MessageDescriptor) -> Vec<Value> {
    let in_path = rule
        .variables()
        .map(|name| json!({ "name": name, "in": "path", "required": true, "schema": { "type": "string" } }));
    let in_query = questions(rule, input).into_iter().map(|(name, field)| {
        json!({ "name": name, "in": "query", "required": false, "schema": schema::of_field(&field) })
    });
    in_path.chain(in_query).collect()
}

/// What OpenAPI says of the body, where there is one.
pub fn body(rule: &Rule, input: &MessageDescriptor) -> Option<Value> {
    let schema = match rule.body(input)? {
        Body::Whole => schema::reference(input),
        Body::Field(field) => schema::of_field(&field),
    };
    Some(json!({ "required": true, "content": { "application/json": { "schema": schema } } }))
}

/// What OpenAPI says of the answer.
pub fn answer(rule: &Rule, output: &MessageDescriptor) -> Value {
    let field = rule.answers_with().and_then(|name| output.get_field_by_name(name));
    field.map_or_else(|| schema::reference(output), |field| schema::of_field(&field))
}

/// The command that makes the call with curl.
pub fn line(reader: &Reader, method: &Listed<'_>, rule: &Rule) -> lines::Line {
    let input = method.declared.input();
    let path =
        rule.variables().fold(rule.openapi_path(), |path, name| path.replace(&format!("{{{name}}}"), "…"));
    let sent = rule.body(&input).map(|body| match body {
        Body::Whole => schema::example(&input),
        Body::Field(field) => schema::example_of(&field),
    });
    let sent = sent.map(|sent| {
        let sent = lines::quoted(&sent.to_string());
        format!(" -X {} -H 'content-type: application/json' -d {sent}", rule.verb)
    });
    let verb = if sent.is_none() && rule.verb != http::Method::GET {
        format!(" -X {}", rule.verb)
    } else {
        String::new()
    };
    let (files, stated) = (lines::FILES, lines::stated(reader, method));
    let url = lines::quoted(&format!("{}{path}", reader.server));
    lines::Line {
        tool: "curl",
        command: format!("curl {files}{stated}{verb}{} {url}", sent.unwrap_or_default()),
    }
}

/// The fields that a query string may say, by name as it says them: those that stand nowhere else.
fn questions(rule: &Rule, input: &MessageDescriptor) -> Vec<(String, FieldDescriptor)> {
    let said = match rule.body(input) {
        Some(Body::Whole) => return Vec::new(),
        Some(Body::Field(field)) => Some(field.name().to_owned()),
        None => None,
    };
    let mut found = Vec::new();
    collect(input, "", 0, &mut found);
    found.retain(|(name, _)| {
        rule.variables().all(|variable| variable != name)
            && said.as_ref().is_none_or(|said| name.split('.').next() != Some(said))
    });
    found
}

fn collect(
    message: &MessageDescriptor,
    above: &str,
    depth: usize,
    found: &mut Vec<(String, FieldDescriptor)>,
) {
    for field in message.fields().filter(|field| !field.is_map()) {
        let name = format!("{above}{}", field.name());
        match field.kind() {
            Kind::Message(inner) if !schema::is_well_known(&inner) => {
                if !field.is_list() && depth < QUERY_DEPTH_MAX {
                    collect(&inner, &format!("{name}."), depth + 1, found);
                }
            }
            _ => found.push((name, field)),
        }
    }
}
