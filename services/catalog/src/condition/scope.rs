//! Everything that binds one right's calls of one method, ready to be asked: for each request message, for each record.

use std::fmt;
use std::sync::Arc;

use cedar_policy::Policy;
use cedar_policy::{
    Authorizer, Context, Decision, Entities, EntityUid, PolicySet, Request, RestrictedExpression,
};
use lienthong_proto::lienthong::options::v1::{DatasetOptions, Purpose};
use prost_reflect::MessageDescriptor;

use super::shape::Shape;
use super::text::{About, Condition, ConditionError, Guardrail, Names};
use super::vocabulary;

/// What the rows of one call must meet. Cheap to clone.
#[derive(Clone)]
pub struct RowScope {
    stage: Arc<Stage>,
    /// The call's own words, where a policy asks for them.
    words: Arc<[(&'static str, String)]>,
    right: Arc<str>,
}

impl RowScope {
    /// Id of the right whose rows these are.
    pub fn right(&self) -> &str {
        &self.right
    }

    /// True where the message, or the record, is inside the scope. What is malformed is not, nor is anything about which
    /// a policy errs.
    pub fn admits(&self, message: &[u8]) -> bool {
        self.stage.admits(message, &self.words).unwrap_or(false)
    }
}

impl fmt::Debug for RowScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RowScope({} policies)", self.stage.policies.num_of_policies())
    }
}

/// What binds the calls of one right, for one purpose, of one method.
#[derive(Debug)]
pub(crate) struct Rules {
    request: Option<Arc<Stage>>,
    record: Option<Arc<Stage>>,
    wants_system: bool,
    wants_dossier: bool,
    right: Arc<str>,
}

/// From what [`Rules`] are made.
pub(crate) struct Terms<'a> {
    pub right: &'a str,
    pub consumer: &'a str,
    pub purpose: Purpose,
    pub dataset: &'a str,
    pub provider: &'a str,
    pub class: &'a DatasetOptions,
    pub fields: Vec<&'a str>,
    pub masked_fields: Vec<&'a str>,
    pub methods: Vec<&'a str>,
    pub origin: &'a str,
    pub condition: Option<&'a Condition>,
    pub guardrails: &'a [Arc<Guardrail>],
    pub request: &'a MessageDescriptor,
    pub record: &'a MessageDescriptor,
}

impl Rules {
    /// Puts together what binds such a call. An error means that nothing can be allowed.
    pub(crate) fn new(terms: &Terms<'_>) -> Result<Self, ConditionError> {
        let condition = terms.condition.map(|condition| (condition.policy(), condition.names()));
        let guardrails = || terms.guardrails.iter().map(|guardrail| (guardrail.policy(), guardrail.names()));
        let is_record = |names: &Names| names.about == About::Record;
        let stage = |record: bool, message: &MessageDescriptor| {
            let forbids: Vec<_> = guardrails().filter(|(_, names)| is_record(names) == record).collect();
            let permit = condition.filter(|(_, names)| is_record(names) == record);
            if permit.is_none() && forbids.is_empty() {
                return Ok(None);
            }
            Stage::new(terms, record, permit, &forbids, message).map(|stage| Some(Arc::new(stage)))
        };
        let (request, record) = (stage(false, terms.request)?, stage(true, terms.record)?);
        let wants = |word: &str| {
            condition.into_iter().chain(guardrails()).any(|(_, names)| names.words.contains(word))
        };
        Ok(Self {
            request,
            record,
            wants_system: wants("system"),
            wants_dossier: wants("dossier"),
            right: terms.right.into(),
        })
    }

    /// What each request message must meet, of a call that says this of itself.
    pub(crate) fn request(&self, system: Option<&str>, dossier: Option<&str>) -> Option<RowScope> {
        self.request.as_ref().map(|stage| self.scope(stage, system, dossier))
    }

    /// What each record must meet.
    pub(crate) fn record(&self, system: Option<&str>, dossier: Option<&str>) -> Option<RowScope> {
        self.record.as_ref().map(|stage| self.scope(stage, system, dossier))
    }

    fn scope(&self, stage: &Arc<Stage>, system: Option<&str>, dossier: Option<&str>) -> RowScope {
        let system = system.filter(|_| self.wants_system).map(|system| ("system", system.to_owned()));
        let dossier = dossier.filter(|_| self.wants_dossier).map(|dossier| ("dossier", dossier.to_owned()));
        RowScope {
            stage: Arc::clone(stage),
            words: system.into_iter().chain(dossier).collect(),
            right: Arc::clone(&self.right),
        }
    }
}

/// True where a guardrail that looks at no call forbids what a right grants; true as well where it errs.
pub(crate) fn forbids(terms: &Terms<'_>, guardrail: &Guardrail) -> bool {
    let forbid = [(guardrail.policy(), guardrail.names())];
    let stage = Stage::new(terms, false, None, &forbid, terms.request);
    !stage.ok().and_then(|stage| stage.admits(&[], &[])).unwrap_or(false)
}

/// The policies about requests, or those about records.
struct Stage {
    policies: PolicySet,
    authorizer: Authorizer,
    entities: Entities,
    principal: EntityUid,
    action: EntityUid,
    resource: EntityUid,
    /// What of the context is the same for every call.
    fixed: Vec<(String, RestrictedExpression)>,
    /// `request` or `record`.
    attribute: &'static str,
    /// `None` where no policy names a field.
    shape: Option<Shape>,
}

impl Stage {
    fn new(
        terms: &Terms<'_>,
        record: bool,
        permit: Option<(&Policy, &Names)>,
        forbids: &[(&Policy, &Names)],
        message: &MessageDescriptor,
    ) -> Result<Self, ConditionError> {
        let broken = |error: &dyn fmt::Display| ConditionError::Types(error.to_string());
        let unusable = || broken(&"the names of the call are none of Cedar's");
        let mut policies = PolicySet::from_policies(forbids.iter().map(|(policy, _)| (*policy).clone()))
            .map_err(|error| broken(&error))?;
        let everything;
        let permitting = if let Some((policy, _)) = permit {
            policy
        } else {
            everything = Policy::parse(None, "permit (principal, action, resource);")
                .map_err(|error| broken(&error))?;
            &everything
        };
        policies.add(permitting.clone()).map_err(|error| broken(&error))?;
        let named = || permit.iter().chain(forbids).map(|(_, names)| *names);
        let fields: Vec<&String> = named().flat_map(|names| &names.fields).collect();
        let shape = if fields.is_empty() { None } else { Some(Shape::of(message, dedup(fields))?) };
        let entities = vocabulary::agency_entities(terms.consumer)
            .into_iter()
            .chain(vocabulary::dataset_entities(terms.dataset, terms.provider, terms.class))
            .flatten();
        let fixed = [
            ("fields", vocabulary::texts(terms.fields.iter().copied())),
            ("masked_fields", vocabulary::texts(terms.masked_fields.iter().copied())),
            ("methods", vocabulary::texts(terms.methods.iter().copied())),
            ("origin", vocabulary::text(terms.origin)),
        ];
        let fixed = fixed.into_iter().filter(|(word, _)| named().any(|names| names.words.contains(*word)));
        Ok(Self {
            policies,
            authorizer: Authorizer::new(),
            entities: Entities::from_entities(entities, None).map_err(|error| broken(&error))?,
            principal: vocabulary::agency(terms.consumer).ok_or_else(unusable)?,
            action: vocabulary::action(terms.purpose).ok_or_else(unusable)?,
            resource: vocabulary::dataset(terms.dataset).ok_or_else(unusable)?,
            fixed: fixed.map(|(word, value)| (word.to_owned(), value)).collect(),
            attribute: if record { "record" } else { "request" },
            shape,
        })
    }

    fn admits(&self, message: &[u8], words: &[(&'static str, String)]) -> Option<bool> {
        let data = match &self.shape {
            Some(shape) => Some((self.attribute.to_owned(), shape.read(message)?)),
            None => None,
        };
        let words = words.iter().map(|(word, value)| ((*word).to_owned(), vocabulary::text(value)));
        let pairs = self.fixed.iter().cloned().chain(words).chain(data);
        let context = Context::from_pairs(pairs).ok()?;
        let (principal, action) = (self.principal.clone(), self.action.clone());
        let request = Request::new(principal, action, self.resource.clone(), context, None).ok()?;
        let response = self.authorizer.is_authorized(&request, &self.policies, &self.entities);
        // Cedar passes over a policy that errs; a prohibition that errs must not be passed over.
        let clean = response.diagnostics().errors().next().is_none();
        Some(clean && response.decision() == Decision::Allow)
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Stage({}, {} policies)", self.attribute, self.policies.num_of_policies())
    }
}

fn dedup(mut fields: Vec<&String>) -> Vec<&String> {
    fields.sort();
    fields.dedup();
    fields
}
