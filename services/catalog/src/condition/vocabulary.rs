//! The words that Cedar sees: its schema, and the entities behind them.

use std::collections::{HashMap, HashSet};
use std::sync::LazyLock;

use cedar_policy::{
    Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression, Schema, ValidationMode, Validator,
};
use cedar_policy::{Policy, PolicySet};
use lienthong_proto::lienthong::options::v1::{DatasetOptions, Purpose};
use prost_reflect::MessageDescriptor;

use super::shape::Shape;
use super::text::{About, Condition, ConditionError, Guardrail, Names};
use crate::{purpose, words};

/// The consumer of open data: every agency, and none in particular.
pub(crate) const ANY_AGENCY: &str = "*";

static AGENCY: LazyLock<Option<EntityTypeName>> = LazyLock::new(|| "Agency".parse().ok());
static DATASET: LazyLock<Option<EntityTypeName>> = LazyLock::new(|| "Dataset".parse().ok());
static ACTION: LazyLock<Option<EntityTypeName>> = LazyLock::new(|| "Action".parse().ok());

/// The entity of an agency code.
pub(crate) fn agency(code: &str) -> Option<EntityUid> {
    uid(&AGENCY, code)
}

/// The entity of a dataset id, or of a group of datasets.
pub(crate) fn dataset(id: &str) -> Option<EntityUid> {
    uid(&DATASET, id)
}

/// The action of a purpose.
pub(crate) fn action(purpose: Purpose) -> Option<EntityUid> {
    uid(&ACTION, purpose::word(purpose))
}

// INVARIANT: the three names are names of Cedar's; were one not, nothing could be asked and nothing allowed.
fn uid(of: &LazyLock<Option<EntityTypeName>>, id: &str) -> Option<EntityUid> {
    Some(EntityUid::from_type_name_and_id(of.as_ref()?.clone(), EntityId::new(id)))
}

/// An agency with those above it, on group borders (`H260` is not in `H26`).
pub(crate) fn agency_entities(code: &str) -> Option<Vec<Entity>> {
    chain(code, &|code| agency(code), |code| [("code".to_owned(), text(code))].into())
}

/// A dataset with the groups around it, which have no attributes.
pub(crate) fn dataset_entities(id: &str, provider: &str, class: &DatasetOptions) -> Option<Vec<Entity>> {
    let attributes = [
        ("provider", provider),
        ("sharing", words::of(words::SHARING, class.sharing())),
        ("importance", words::of(words::IMPORTANCE, class.importance())),
        ("personal", words::of(words::PERSONAL, class.personal())),
    ]
    .map(|(name, word)| (name.to_owned(), text(word)));
    let of = |name: &str| if name == id { attributes.clone().into() } else { HashMap::new() };
    chain(id, &|id| dataset(id), of)
}

/// An entity for a dotted name and for each group before a dot, each inside the one before.
fn chain(
    name: &str,
    uid: &dyn Fn(&str) -> Option<EntityUid>,
    attributes: impl Fn(&str) -> HashMap<String, RestrictedExpression>,
) -> Option<Vec<Entity>> {
    let ends = name.match_indices('.').map(|(end, _)| end).chain([name.len()]);
    let mut parent = HashSet::new();
    ends.map(|end| {
        let own = uid(&name[..end])?;
        let parents = std::mem::replace(&mut parent, HashSet::from([own.clone()]));
        Entity::new(own, attributes(&name[..end]), parents).ok()
    })
    .collect()
}

pub(crate) fn text(text: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(text.to_owned())
}

/// A set of texts.
pub(crate) fn texts<'a>(items: impl IntoIterator<Item = &'a str>) -> RestrictedExpression {
    RestrictedExpression::new_set(items.into_iter().map(text))
}

/// Judges a condition's types against the message that it is about.
pub(crate) fn check_condition(
    condition: &Condition,
    message: &MessageDescriptor,
) -> Result<(), ConditionError> {
    check(condition.policy(), condition.names(), message)
}

/// The same for a guardrail; without a message, where it looks at none.
pub(crate) fn check_guardrail(
    guardrail: &Guardrail,
    message: Option<&MessageDescriptor>,
) -> Result<(), ConditionError> {
    match message {
        Some(message) => check(guardrail.policy(), guardrail.names(), message),
        None => check_by(guardrail.policy(), ""),
    }
}

fn check(policy: &Policy, names: &Names, message: &MessageDescriptor) -> Result<(), ConditionError> {
    let data = match names.about {
        About::Right | About::Call => String::new(),
        About::Request => format!(", request: {}", Shape::of(message, &names.fields)?.cedar_type()),
        About::Record => format!(", record: {}", Shape::of(message, &names.fields)?.cedar_type()),
    };
    check_by(policy, &data)
}

fn check_by(policy: &Policy, data: &str) -> Result<(), ConditionError> {
    let types = |message: String| ConditionError::Types(message);
    let (schema, _) =
        Schema::from_cedarschema_str(&schema(data)).map_err(|error| types(error.to_string()))?;
    let set = PolicySet::from_policies([policy.clone()]).map_err(|error| types(error.to_string()))?;
    let judged = Validator::new(schema).validate(&set, ValidationMode::Strict);
    match judged.validation_errors().next() {
        None => Ok(()),
        Some(error) => Err(types(error.to_string())),
    }
}

fn schema(data: &str) -> String {
    let actions: Vec<String> = purpose::WORDS.iter().map(|(_, word)| format!("\"{word}\"")).collect();
    format!(
        "entity Agency in [Agency] {{code: String}};
         entity Dataset in [Dataset] {{provider: String, sharing: String, importance: String, personal: String}};
         action {} appliesTo {{
           principal: Agency, resource: Dataset,
           context: {{
             fields: Set<String>, masked_fields: Set<String>, methods: Set<String>, origin: String,
             system?: String, dossier?: String{data}
           }}
         }};",
        actions.join(", ")
    )
}
