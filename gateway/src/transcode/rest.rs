//! Paths that a contract declares with `google.api.http` (google/api/http.proto): which method stands behind a path, and
//! what message path, query string and body make together. Methods that stream have none.

use bytes::Bytes;
use http::Method;
use lienthong_proto::status::MeshError;
use percent_encoding::percent_decode_str;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, ReflectMessage as _,
    Value as Field,
};
use serde_json::{Map, Value};

use super::{limits::JSON_MESSAGE_BYTES_MAX, query, request::context, strict};

/// Number of the extension `google.api.http` of `google.protobuf.MethodOptions`.
const HTTP_RULE: u32 = 72_295_728;

/// Bindings that are read of one method; further ones are not served.
const BINDINGS_MAX: usize = 16;

/// Segments of a path.
const SEGMENTS_MAX: usize = 64;

/// All declared paths.
#[derive(Debug, Default)]
pub struct Routes(Vec<Route>);

#[derive(Debug, Clone)]
struct Route {
    provider: String,
    method: MethodDescriptor,
    rule: Rule,
}

/// One binding of a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The verb.
    pub verb: Method,
    /// The path as it is declared.
    pub path: String,
    template: Template,
    body: Part,
    answer: Option<String>,
}

/// What of a message a body is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Nothing,
    Whole,
    Field(String),
}

/// A body, as a rule declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The whole message, but for what the path says.
    Whole,
    /// One field.
    Field(FieldDescriptor),
}

/// A path that was found.
#[derive(Debug, Clone)]
pub struct Matched {
    route: Route,
    values: Vec<(String, String)>,
}

/// Several providers declare the path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ambiguous(pub Vec<String>);

impl Routes {
    /// The paths of these methods, each with the code of its provider. A rule that cannot be read declares nothing.
    pub fn of(methods: impl IntoIterator<Item = (String, MethodDescriptor)>) -> Self {
        let routes = methods.into_iter().flat_map(|(provider, method)| {
            let rules = rules(&method);
            rules.into_iter().map(move |rule| Route {
                provider: provider.clone(),
                method: method.clone(),
                rule,
            })
        });
        Self(routes.collect())
    }

    /// The method behind a path.
    pub fn matched(
        &self,
        verb: &Method,
        path: &str,
        provider: Option<&str>,
    ) -> Result<Option<Matched>, Ambiguous> {
        let mut found: Vec<Matched> = Vec::new();
        for route in &self.0 {
            if route.rule.verb != *verb || provider.is_some_and(|provider| provider != route.provider) {
                continue;
            }
            let Some(values) = route.rule.template.matched(path) else { continue };
            if found.iter().all(|other| other.route.provider != route.provider) {
                found.push(Matched { route: route.clone(), values });
            }
        }
        if found.len() > 1 {
            return Err(Ambiguous(found.into_iter().map(|matched| matched.route.provider).collect()));
        }
        Ok(found.pop())
    }
}

impl Matched {
    /// The method.
    pub fn method(&self) -> &MethodDescriptor {
        &self.route.method
    }

    /// Code of its provider.
    pub fn provider(&self) -> &str {
        &self.route.provider
    }

    /// The field that alone is the answer's body, where the rule names one.
    pub fn answers_with(&self) -> Option<&str> {
        self.route.rule.answers_with()
    }

    /// The message as JSON, from path, query string and body. A field is said in one place.
    pub fn compose(&self, query: &str, body: &Bytes) -> Result<Bytes, MeshError> {
        let message = self.route.method.input();
        let mut all = Map::new();
        match &self.route.rule.body {
            Part::Nothing if body.is_empty() => {}
            Part::Nothing => return Err(context("this path takes no body".to_owned())),
            Part::Whole => {
                let value = parse(&message, body)?;
                let Value::Object(object) = value else {
                    return Err(context("the body must be a JSON object".to_owned()));
                };
                all = object;
            }
            Part::Field(name) => {
                let field = message.get_field_by_name(name);
                let value = match field.as_ref().map(FieldDescriptor::kind) {
                    Some(Kind::Message(inner)) => parse(&inner, body)?,
                    _ => parse_free(body)?,
                };
                put(&mut all, &message, name, value)?;
            }
        }
        for (path, value) in &self.values {
            put_text(&mut all, &message, path, value)?;
        }
        let pairs = query::pairs(query).map_err(|error| context(error.to_string()))?;
        if !pairs.is_empty() && self.route.rule.body == Part::Whole {
            return Err(context("the body is the whole message; the query string must be empty".to_owned()));
        }
        for (path, value) in pairs {
            let value = String::from_utf8(value).map_err(|_| context(format!("{path} is not UTF-8")))?;
            put_text(&mut all, &message, &path, &value)?;
        }
        Ok(Value::Object(all).to_string().into())
    }
}

/// The rules of one method.
pub fn rules(method: &MethodDescriptor) -> Vec<Rule> {
    if method.is_client_streaming() || method.is_server_streaming() {
        return Vec::new();
    }
    let options = method.options();
    let Some(extension) = options.descriptor().get_extension(HTTP_RULE) else { return Vec::new() };
    let value = options.get_extension(&extension).into_owned();
    let Field::Message(first) = value else { return Vec::new() };
    let more = match field(&first, "additional_bindings") {
        Some(Field::List(more)) => more,
        _ => Vec::new(),
    };
    let more = more.into_iter().filter_map(|binding| match binding {
        Field::Message(binding) => Some(binding),
        _ => None,
    });
    std::iter::once(first).chain(more).take(BINDINGS_MAX).filter_map(|rule| Rule::read(&rule)).collect()
}

impl Rule {
    /// The path as OpenAPI writes it: a variable is a name in braces.
    pub fn openapi_path(&self) -> String {
        let segment = |(place, segment): (usize, &Segment)| {
            let variable = self.template.variables.iter().find(|(_, range)| range.contains(&place));
            match (variable, segment) {
                (Some((name, range)), _) if range.start == place => Some(format!("/{{{name}}}")),
                (Some(_), _) => None,
                (None, Segment::Literal(literal)) => Some(format!("/{literal}")),
                (None, Segment::One | Segment::Rest) => Some("/*".to_owned()),
            }
        };
        let path: String = self.template.segments.iter().enumerate().filter_map(segment).collect();
        self.template.verb.as_ref().map_or(path.clone(), |verb| format!("{path}:{verb}"))
    }

    /// Names of its variables.
    pub fn variables(&self) -> impl Iterator<Item = &str> {
        self.template.variables.iter().map(|(name, _)| name.as_str())
    }

    /// What of its method's message a body is; `None`: no body goes with it.
    pub fn body(&self, input: &MessageDescriptor) -> Option<Body> {
        match &self.body {
            Part::Nothing => None,
            Part::Whole => Some(Body::Whole),
            Part::Field(name) => input.get_field_by_name(name).map(Body::Field),
        }
    }

    /// The field that alone is the answer's body, where the rule names one.
    pub fn answers_with(&self) -> Option<&str> {
        self.answer.as_deref()
    }

    fn read(rule: &DynamicMessage) -> Option<Self> {
        let verbs = [
            ("get", Method::GET),
            ("put", Method::PUT),
            ("post", Method::POST),
            ("delete", Method::DELETE),
            ("patch", Method::PATCH),
        ];
        let (verb, path) = verbs.into_iter().find_map(|(name, verb)| {
            let path = text(rule, name).filter(|path| !path.is_empty())?;
            Some((verb, path))
        })?;
        let body = match text(rule, "body").unwrap_or_default().as_str() {
            "" => Part::Nothing,
            "*" => Part::Whole,
            name => Part::Field(name.to_owned()),
        };
        let answer = text(rule, "response_body").filter(|name| !name.is_empty());
        Some(Self { verb, template: Template::parse(&path)?, path, body, answer })
    }
}

fn field(message: &DynamicMessage, name: &str) -> Option<Field> {
    message.get_field_by_name(name).map(std::borrow::Cow::into_owned)
}

fn text(message: &DynamicMessage, name: &str) -> Option<String> {
    match field(message, name) {
        Some(Field::String(text)) => Some(text),
        _ => None,
    }
}

/// A path with variables (google/api/http.proto, "Path template syntax").
#[derive(Debug, Clone, PartialEq, Eq)]
struct Template {
    segments: Vec<Segment>,
    /// Field paths, and which segments are their values.
    variables: Vec<(String, std::ops::Range<usize>)>,
    /// What follows the last colon.
    verb: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    /// `*`
    One,
    /// `**`, at the end only.
    Rest,
}

impl Template {
    fn parse(text: &str) -> Option<Self> {
        let mut rest = text.strip_prefix('/')?;
        let mut verb = None;
        if let Some((before, after)) = rest.rsplit_once(':')
            && !after.contains(['/', '}'])
        {
            (rest, verb) = (before, Some(after.to_owned()));
        }
        let mut template = Self { segments: Vec::new(), variables: Vec::new(), verb };
        loop {
            if let Some(inside) = rest.strip_prefix('{') {
                let (variable, after) = inside.split_once('}')?;
                let (name, pattern) = variable.split_once('=').unwrap_or((variable, "*"));
                let from = template.segments.len();
                for segment in pattern.split('/') {
                    template.push(segment)?;
                }
                template.variables.push((name.to_owned(), from..template.segments.len()));
                rest = after;
            } else {
                let end = rest.find('/').unwrap_or(rest.len());
                template.push(&rest[..end])?;
                rest = &rest[end..];
            }
            match rest.strip_prefix('/') {
                Some(more) => rest = more,
                None if rest.is_empty() => return Some(template),
                None => return None,
            }
        }
    }

    fn push(&mut self, segment: &str) -> Option<()> {
        let is_last_possible =
            self.segments.last() != Some(&Segment::Rest) && self.segments.len() < SEGMENTS_MAX;
        let segment = match segment {
            "" => return None,
            "*" => Segment::One,
            "**" => Segment::Rest,
            literal if literal.contains(['{', '}', '*']) => return None,
            literal => Segment::Literal(literal.to_owned()),
        };
        is_last_possible.then(|| self.segments.push(segment))
    }

    /// The values of the variables.
    fn matched(&self, path: &str) -> Option<Vec<(String, String)>> {
        let mut path = path.strip_prefix('/')?;
        if let Some(verb) = &self.verb {
            path = path.strip_suffix(verb.as_str())?.strip_suffix(':')?;
        }
        let given: Vec<&str> = path.split('/').take(SEGMENTS_MAX + 1).collect();
        let open_end = self.segments.last() == Some(&Segment::Rest);
        let fixed = self.segments.len() - usize::from(open_end);
        if given.len() > SEGMENTS_MAX || given.len() < fixed || (!open_end && given.len() > fixed) {
            return None;
        }
        let decoded: Option<Vec<String>> = given
            .iter()
            .map(|segment| percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned))
            .collect();
        let decoded = decoded?;
        for (segment, given) in self.segments.iter().zip(&decoded) {
            match segment {
                Segment::Literal(literal) if literal != given => return None,
                Segment::One if given.is_empty() => return None,
                _ => {}
            }
        }
        let value = |range: &std::ops::Range<usize>| {
            let end = if open_end && range.end == self.segments.len() { decoded.len() } else { range.end };
            decoded[range.start..end].join("/")
        };
        Some(self.variables.iter().map(|(name, range)| (name.clone(), value(range))).collect())
    }
}

fn parse(message: &MessageDescriptor, body: &Bytes) -> Result<Value, MeshError> {
    if body.len() > JSON_MESSAGE_BYTES_MAX {
        return Err(context(format!("the body is larger than {JSON_MESSAGE_BYTES_MAX} bytes")));
    }
    let wrong =
        |error: serde_json::Error| context(format!("the body at line {} is no JSON of it", error.line()));
    strict::check(message, body).map_err(wrong)?;
    serde_json::from_slice(body).map_err(wrong)
}

fn parse_free(body: &Bytes) -> Result<Value, MeshError> {
    serde_json::from_slice(body)
        .map_err(|error| context(format!("the body at line {} is no JSON", error.line())))
}

/// Puts a text from a path or a query string where `path` says, as JSON writes a field of that kind.
fn put_text(
    all: &mut Map<String, Value>,
    message: &MessageDescriptor,
    path: &str,
    text: &str,
) -> Result<(), MeshError> {
    let (outer, inner) = path.split_once('.').map_or((path, None), |(outer, inner)| (outer, Some(inner)));
    let field = field_named(message, outer)?;
    if let Some(inner) = inner {
        let Kind::Message(of) = field.kind() else {
            return Err(context(format!("{outer} has no fields of its own")));
        };
        let place = all.entry(field.json_name()).or_insert_with(|| Value::Object(Map::new()));
        let Value::Object(place) = place else { return Err(twice(outer)) };
        return put_text(place, &of, inner, text);
    }
    let value = match field.kind() {
        Kind::Bool => match text {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            _ => return Err(context(format!("{outer} must be true or false"))),
        },
        // JSON takes numbers, names of enums, bytes and times as texts.
        _ => Value::String(text.to_owned()),
    };
    if field.is_list() {
        let place = all.entry(field.json_name()).or_insert_with(|| Value::Array(Vec::new()));
        let Value::Array(list) = place else { return Err(twice(outer)) };
        list.push(value);
        return Ok(());
    }
    put(all, message, outer, value)
}

fn put(
    all: &mut Map<String, Value>,
    message: &MessageDescriptor,
    name: &str,
    value: Value,
) -> Result<(), MeshError> {
    let field = field_named(message, name)?;
    if all.contains_key(field.name()) || all.insert(field.json_name().to_owned(), value).is_some() {
        return Err(twice(name));
    }
    Ok(())
}

fn field_named(message: &MessageDescriptor, name: &str) -> Result<FieldDescriptor, MeshError> {
    let field = message.get_field_by_name(name).or_else(|| message.get_field_by_json_name(name));
    let short: String = name.chars().take(40).collect();
    field.ok_or_else(|| context(format!("{} has no field {short:?}", message.full_name())))
}

fn twice(name: &str) -> MeshError {
    context(format!("{name} is said twice"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(template: &str, path: &str) -> Option<Vec<(String, String)>> {
        Template::parse(template).unwrap().matched(path)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn templates_match_as_google_says() {
        assert_eq!(values("/v1/units/{code}", "/v1/units/H26"), Some(vec![pair("code", "H26")]));
        assert_eq!(values("/v1/units/{code}", "/v1/units/"), None);
        assert_eq!(values("/v1/units/{code}", "/v1/units/a/b"), None);
        assert_eq!(values("/v1/units/{code}", "/v1/units/a%2Fb"), Some(vec![pair("code", "a/b")]));
        assert_eq!(
            values("/v1/{name=units/*}:close", "/v1/units/7:close"),
            Some(vec![pair("name", "units/7")])
        );
        assert_eq!(values("/v1/{name=units/*}:close", "/v1/units/7"), None);
        assert_eq!(values("/files/{path=**}", "/files/a/b/c"), Some(vec![pair("path", "a/b/c")]));
        assert_eq!(values("/files/{path=**}", "/files"), Some(vec![pair("path", "")]));
        assert_eq!(values("/a/*/b", "/a/x/b"), Some(Vec::new()));
        for wrong in ["", "a", "/", "/a//b", "/{a", "/a}", "/**/a", "/{a=**}/b", "/x*"] {
            assert_eq!(Template::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_path_and_no_template_panics(template in "/[a-z{}=*/:.]{0,20}", path in "/[a-z%0-9/:]{0,30}") {
            if let Some(template) = Template::parse(&template) {
                let _ = template.matched(&path);
            }
        }
    }
}
