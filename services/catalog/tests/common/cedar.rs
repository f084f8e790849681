//! The whole of the rights as Cedar policies: one `permit` a right, one `forbid` for each thing that no right outweighs.
//! Nothing is shared with the index but the bundle itself.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::time::Duration;

use cedar_policy::{
    Authorizer, Context, Decision, Entities, Entity, EntityUid, Policy, PolicyId, PolicySet, Request,
    RestrictedExpression as Value,
};
use lienthong_catalog::Question;
use lienthong_proto::lienthong::audit::v1::PurposeSource;
use lienthong_proto::lienthong::control::v1::{Right, RightsBundle};
use lienthong_proto::lienthong::options::v1::{DecisionMode, Purpose};

const PURPOSES: &str = r#"["ADMIN_PROCEDURE", "PUBLIC_SERVICE", "STATE_MANAGEMENT", "DIRECTION_AND_ADMINISTRATION",
    "NATIONAL_SYNC", "VERIFICATION", "STATISTICS", "DISPUTE_AUDIT"]"#;

/// What no right outweighs.
const PROHIBITIONS: &str = r#"
    forbid (principal in Party::"outside", action, resource);
    forbid (principal, action, resource) when { context.clock_behind };
    forbid (principal, action, resource) when { resource.online && context.age > 0 };
    forbid (principal, action, resource) when { context.age > resource.age_max };
    forbid (principal, action, resource) when { context.min_epoch > resource.epoch };
    forbid (principal, action, resource) when { context has system && context.system.agency != principal };
    forbid (principal, action, resource) when { context has dossier && !(context.dossier like "H26.90-261121-*") };
    forbid (principal, action, resource) when { context.purpose == "ADMIN_PROCEDURE" && !(context has dossier) };
    forbid (principal, action, resource) when { context has user && context.user == "123456789012" };
    forbid (principal, action, resource) when { context has fields && context.fields.isEmpty() };
"#;

/// A bundle in Cedar.
pub struct CedarRights {
    policies: PolicySet,
    entities: Entities,
    epoch: u64,
    systems: HashMap<String, (String, Purpose)>,
}

impl CedarRights {
    /// `granted` spells out the fields of a right; `takes_default` tells whether a dataset takes a default purpose,
    /// `min_level` what a dataset demands of both systems.
    pub fn new(
        bundle: &RightsBundle,
        granted: impl Fn(&Right) -> BTreeSet<String>,
        takes_default: impl Fn(&str) -> bool,
        min_level: impl Fn(&str, u32) -> u32,
    ) -> Self {
        let mut policies: PolicySet = PROHIBITIONS.parse().unwrap();
        for right in &bundle.rights {
            let text = permit(right, &granted(right));
            let policy = Policy::parse(Some(PolicyId::new(&right.id)), &text);
            policies.add(policy.unwrap_or_else(|error| panic!("{error:?}\n{text}"))).unwrap();
        }
        let mut entities = Vec::new();
        for party in &bundle.parties {
            let level = Value::new_long(party.security_level.into());
            let side = uid("Party", if party.outside { "outside" } else { "inside" });
            let parents = HashSet::from([side]);
            let code = Value::new_string(party.code.clone());
            let attributes = HashMap::from([("level".to_owned(), level), ("code".to_owned(), code)]);
            let above = party.code.match_indices('.').map(|(dot, _)| uid("Agency", &party.code[..dot]));
            let parents = parents.into_iter().chain(above).collect();
            entities.push(Entity::new(uid("Agency", &party.code), attributes, parents).unwrap());
        }
        for system in &bundle.systems {
            let attributes = HashMap::from([
                ("level".to_owned(), Value::new_long(system.security_level.into())),
                ("agency".to_owned(), Value::new_entity_uid(uid("Agency", &system.agency))),
            ]);
            entities.push(Entity::new(uid("System", &system.name), attributes, HashSet::new()).unwrap());
        }
        for dataset in &bundle.datasets {
            let provider = bundle.parties.iter().find(|party| party.code == dataset.provider).unwrap();
            let age_max = Duration::try_from(dataset.bundle_age_max.unwrap_or_default()).unwrap();
            let attributes = HashMap::from([
                ("online".to_owned(), Value::new_bool(dataset.decision_mode() == DecisionMode::Online)),
                ("age_max".to_owned(), Value::new_long(i64::try_from(age_max.as_secs()).unwrap())),
                ("epoch".to_owned(), Value::new_long(i64::try_from(bundle.epoch).unwrap())),
                ("takes_default".to_owned(), Value::new_bool(takes_default(&dataset.id))),
                (
                    "min_level".to_owned(),
                    Value::new_long(min_level(&dataset.id, dataset.min_security_level).into()),
                ),
                ("provider_level".to_owned(), Value::new_long(provider.security_level.into())),
            ]);
            entities.push(Entity::new(uid("Dataset", &dataset.id), attributes, HashSet::new()).unwrap());
        }
        let systems = bundle
            .systems
            .iter()
            .map(|system| (system.name.clone(), (system.agency.clone(), system.default_purpose())));
        Self {
            policies,
            entities: Entities::from_entities(entities, None).unwrap(),
            epoch: bundle.epoch,
            systems: systems.collect(),
        }
    }

    /// The rights that permit a question and one record of its answer, which has these fields; none where it is denied.
    pub fn permitting(&self, q: &Question<'_>, record: &[(&str, &str)]) -> Vec<String> {
        assert!(self.epoch > 0);
        let text = |text: &str| Value::new_string(text.to_owned());
        let registered = q.system.and_then(|name| self.systems.get(name));
        let registered =
            registered.filter(|(agency, purpose)| agency == q.consumer && *purpose != Purpose::Unspecified);
        let default = registered.map(|(_, purpose)| purpose.as_str_name().trim_start_matches("PURPOSE_"));
        // Which purpose is meant is no matter of policy; whether it may be meant is.
        let purpose = q.purpose.or(default).unwrap_or_default();
        let mut pairs = vec![
            ("purpose".to_owned(), text(purpose)),
            (
                "by_default".to_owned(),
                Value::new_bool(q.purpose.is_none() || q.purpose_source == PurposeSource::Default),
            ),
            ("clock_behind".to_owned(), Value::new_bool(q.clock_behind)),
            ("age".to_owned(), Value::new_long(i64::try_from(q.rights_age.as_secs()).unwrap())),
            ("min_epoch".to_owned(), Value::new_long(i64::try_from(q.min_epoch).unwrap())),
            ("now".to_owned(), Value::new_long(q.now.unix_timestamp())),
            ("method".to_owned(), Value::new_long(i64::from(i32::from(q.method.kind())))),
            (
                "record".to_owned(),
                Value::new_record(record.iter().map(|(field, value)| ((*field).to_owned(), text(value))))
                    .unwrap(),
            ),
        ];
        let mut given =
            |name: &str, value: Option<Value>| pairs.extend(value.map(|value| (name.to_owned(), value)));
        given("registered", default.map(text));
        given("system", q.system.map(|name| Value::new_entity_uid(uid("System", name))));
        given("dossier", q.dossier.map(text));
        given("user", q.user.map(text));
        let fields = q.requested_fields.as_ref();
        given("fields", fields.map(|fields| Value::new_set(fields.iter().map(|field| text(field)))));
        let request = Request::new(
            uid("Agency", q.consumer),
            uid("Action", "call"),
            uid("Dataset", q.method.dataset_id()),
            Context::from_pairs(pairs).unwrap(),
            None,
        );
        let response = Authorizer::new().is_authorized(&request.unwrap(), &self.policies, &self.entities);
        match response.decision() {
            Decision::Allow => response.diagnostics().reason().map(ToString::to_string).collect(),
            Decision::Deny => Vec::new(),
        }
    }
}

/// One right.
fn permit(right: &Right, granted: &BTreeSet<String>) -> String {
    let principal = match right.consumer.as_str() {
        "" => r#"principal in Party::"inside""#.to_owned(),
        code => format!("principal == Agency::\"{code}\""),
    };
    let purpose = match right.purpose() {
        Purpose::Unspecified => format!("{PURPOSES}.contains(context.purpose)"),
        one => format!("context.purpose == \"{}\"", one.as_str_name().trim_start_matches("PURPOSE_")),
    };
    let system = match right.system.as_str() {
        "" => "true".to_owned(),
        name => format!("context has system && context.system == System::\"{name}\""),
    };
    let end = right.valid_to.map_or("true".to_owned(), |end| format!("context.now < {}", end.seconds));
    let methods: Vec<String> = right.methods.iter().map(ToString::to_string).collect();
    let mut fields: Vec<String> = granted.iter().map(|id| format!("\"{id}\"")).collect();
    if granted.contains("noi_sinh") {
        fields.extend(["\"noi_sinh.tinh\"".to_owned(), "\"noi_sinh.xa\"".to_owned()]);
    }
    format!(
        "permit ({principal}, action, resource == Dataset::\"{}\") when {{
            {purpose} && ({system})
            && (!context.by_default
                || (resource.takes_default && context has registered && context.registered == context.purpose))
            && {} <= context.now && {end} && {}
            && [{}].contains(context.method)
            && (if context has system then context.system.level else principal.level) >= resource.min_level
            && resource.provider_level >= resource.min_level
            && (!(context has fields) || [{}].containsAll(context.fields))
            && ({})
        }};",
        right.dataset,
        right.valid_from.unwrap().seconds,
        !right.suspended,
        methods.join(", "),
        fields.join(", "),
        if right.condition.is_empty() { "true" } else { &right.condition },
    )
}

fn uid(kind: &str, id: &str) -> EntityUid {
    format!("{kind}::\"{id}\"").parse().unwrap()
}
