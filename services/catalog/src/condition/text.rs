//! Conditions and guardrails as written, and what they name.

use std::collections::BTreeSet;
use std::sync::Arc;

use cedar_policy::pst::{Clause, Expr, Policy as Syntax, SmolStr, Var};
use cedar_policy::{Effect, Policy, PolicyId, PrincipalConstraint, ResourceConstraint};

/// Bytes of one condition or guardrail.
pub const POLICY_BYTES_MAX: usize = 2_048;
/// Fields of the data that one condition or guardrail may name.
pub const FIELDS_NAMED_MAX: usize = 16;

/// Why a text is no condition or guardrail.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConditionError {
    /// Longer than [`POLICY_BYTES_MAX`].
    #[error("it has {0} bytes; at most {POLICY_BYTES_MAX} are read")]
    TooLong(usize),
    /// Not Cedar.
    #[error("it is not Cedar: {0}")]
    Syntax(String),
    /// Not one expression.
    #[error("a condition is one expression, as it stands between `when {{` and `}}`")]
    NotAnExpression,
    /// A policy that permits.
    #[error("a guardrail only forbids; rights are what permits")]
    NotForbid,
    /// Request and record in one.
    #[error("it names fields of the request and of the record; write one condition about one of them")]
    RequestAndRecord,
    /// A name that calls do not have.
    #[error("context.{0} is not there; there are {CONTEXT_WORDS}")]
    UnknownName(String),
    /// The context, the request or the record as a whole.
    #[error("it takes {0} as a whole; name a field of it")]
    Whole(&'static str),
    /// More than [`FIELDS_NAMED_MAX`] fields.
    #[error("it names more than {FIELDS_NAMED_MAX} fields")]
    TooManyFields,
    /// A construct that is not supported here.
    #[error("it uses a part of Cedar that is not supported here")]
    Unsupported,
    /// A field that the contract does not have, or not in a form that can be compared.
    #[error("{message} {fault}")]
    Field {
        /// Full name of the message.
        message: String,
        /// What is wrong.
        fault: String,
    },
    /// Cedar's types do not fit.
    #[error("its types do not fit: {0}")]
    Types(String),
}

const CONTEXT_WORDS: &str =
    "fields, masked_fields, methods, origin, system, dossier, request.<field>, record.<field>";

/// What a text looks at beside the consumer, the purpose and the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum About {
    /// Nothing but the right itself.
    Right,
    /// The call: its system, its dossier.
    Call,
    /// Fields of the request.
    Request,
    /// Fields of the record.
    Record,
}

/// What a text names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// What it looks at.
    pub about: About,
    /// Fields of the request or of the record, dotted.
    pub fields: BTreeSet<String>,
    /// Words of the context beside them.
    pub words: BTreeSet<String>,
    /// True where it looks at who asks.
    pub principal: bool,
}

/// A condition on rows.
#[derive(Debug, Clone)]
pub struct Condition {
    text: Arc<str>,
    policy: Policy,
    names: Names,
}

impl Condition {
    /// Reads an expression. Its types are not judged yet: that takes a contract.
    pub fn parse(text: &str) -> Result<Self, ConditionError> {
        check_length(text)?;
        // The line break ends a comment of the author's.
        let policy =
            policy("condition", &format!("permit (principal, action, resource) when {{\n{text}\n}};"))?;
        let clauses = clauses(&policy)?;
        let [Clause::When(expression)] = clauses.as_slice() else {
            return Err(ConditionError::NotAnExpression);
        };
        let names = names([expression.as_ref()])?;
        Ok(Self { text: text.into(), policy, names })
    }

    /// The expression as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

/// A central prohibition, or an invariant: a prohibition that must have nothing to forbid.
#[derive(Debug, Clone)]
pub struct Guardrail {
    id: Arc<str>,
    name_vi: Arc<str>,
    text: Arc<str>,
    policy: Policy,
    names: Names,
}

impl Guardrail {
    /// Reads a `forbid` policy.
    pub fn parse(id: &str, name_vi: &str, text: &str) -> Result<Self, ConditionError> {
        check_length(text)?;
        let policy = policy(id, text)?;
        if policy.effect() != Effect::Forbid {
            return Err(ConditionError::NotForbid);
        }
        let clauses = clauses(&policy)?;
        let expressions = clauses.iter().map(|clause| match clause {
            Clause::When(expression) | Clause::Unless(expression) => expression.as_ref(),
        });
        let mut names = names(expressions)?;
        names.principal |= !matches!(policy.principal_constraint(), PrincipalConstraint::Any);
        Ok(Self { id: id.into(), name_vi: name_vi.into(), text: text.into(), policy, names })
    }

    /// Identifier, for example `GR-0001`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What it is for, in Vietnamese.
    pub fn name_vi(&self) -> &str {
        &self.name_vi
    }

    /// The policy as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it names.
    pub fn names(&self) -> &Names {
        &self.names
    }

    /// Type and id of each entity that it names.
    pub fn entities(&self) -> Vec<(String, String)> {
        let literals = self.policy.entity_literals();
        literals.iter().map(|uid| (uid.type_name().to_string(), uid.id().unescaped().to_owned())).collect()
    }

    /// False where its head names other datasets than this one: a quick look before the real one.
    pub(crate) fn may_concern(&self, dataset: &str) -> bool {
        match self.policy.resource_constraint() {
            ResourceConstraint::Any | ResourceConstraint::Is(_) => true,
            ResourceConstraint::Eq(uid) => uid.id().unescaped() == dataset,
            ResourceConstraint::In(uid) | ResourceConstraint::IsIn(_, uid) => dataset
                .strip_prefix(uid.id().unescaped())
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('.')),
        }
    }

    pub(crate) fn policy(&self) -> &Policy {
        &self.policy
    }
}

fn check_length(text: &str) -> Result<(), ConditionError> {
    if text.len() > POLICY_BYTES_MAX { Err(ConditionError::TooLong(text.len())) } else { Ok(()) }
}

fn policy(id: &str, text: &str) -> Result<Policy, ConditionError> {
    Policy::parse(Some(PolicyId::new(id)), text).map_err(|errors| {
        let first = errors.iter().next().map(ToString::to_string);
        ConditionError::Syntax(first.unwrap_or_else(|| errors.to_string()))
    })
}

fn clauses(policy: &Policy) -> Result<Vec<Clause>, ConditionError> {
    match policy.to_pst() {
        Ok(Syntax::Static(policy)) => Ok(policy.body().clauses().clone()),
        Ok(_) | Err(_) => Err(ConditionError::Unsupported),
    }
}

fn names<'a>(expressions: impl IntoIterator<Item = &'a Expr>) -> Result<Names, ConditionError> {
    let mut work =
        Names { about: About::Right, fields: BTreeSet::new(), words: BTreeSet::new(), principal: false };
    let mut waiting: Vec<&Expr> = expressions.into_iter().collect();
    while let Some(expression) = waiting.pop() {
        work.visit(expression, &mut waiting)?;
    }
    Ok(work)
}

impl Names {
    /// Takes note of one expression; what is inside it waits.
    fn visit<'a>(&mut self, expression: &'a Expr, waiting: &mut Vec<&'a Expr>) -> Result<(), ConditionError> {
        match expression {
            Expr::Literal(_) | Expr::Var(Var::Action | Var::Resource) => {}
            Expr::Var(Var::Principal) => self.principal = true,
            Expr::Var(Var::Context) => return Err(ConditionError::Whole("the context")),
            Expr::GetAttr { .. } => match path(expression) {
                Ok(path) => self.note(&path)?,
                Err(inner) => waiting.push(inner),
            },
            Expr::HasAttr { expr, attrs } => match path(expr) {
                Ok(mut path) => {
                    path.extend(attrs.iter().map(SmolStr::as_str));
                    self.note(&path)?;
                }
                Err(inner) => waiting.push(inner),
            },
            Expr::UnaryOp { expr, .. } | Expr::Like { expr, .. } => waiting.push(expr),
            Expr::BinaryOp { left, right, .. } => waiting.extend([left.as_ref(), right.as_ref()]),
            Expr::Is { expr, in_expr, .. } => {
                waiting.push(expr);
                waiting.extend(in_expr.as_deref());
            }
            Expr::IfThenElse { cond, then_expr, else_expr } => {
                waiting.extend([cond.as_ref(), then_expr.as_ref(), else_expr.as_ref()]);
            }
            Expr::Set(items) => waiting.extend(items.iter().map(AsRef::as_ref)),
            Expr::Record(entries) => waiting.extend(entries.values().map(AsRef::as_ref)),
            _ => return Err(ConditionError::Unsupported),
        }
        Ok(())
    }

    /// Takes note of one path below the context.
    fn note(&mut self, path: &[&str]) -> Result<(), ConditionError> {
        let about = match path {
            ["request"] => return Err(ConditionError::Whole("the request")),
            ["record"] => return Err(ConditionError::Whole("the record")),
            ["request", ..] => About::Request,
            ["record", ..] => About::Record,
            ["system" | "dossier"] => About::Call,
            ["fields" | "masked_fields" | "methods" | "origin"] => About::Right,
            other => return Err(ConditionError::UnknownName(other.join("."))),
        };
        if matches!((self.about, about), (About::Request, About::Record) | (About::Record, About::Request)) {
            return Err(ConditionError::RequestAndRecord);
        }
        if let About::Request | About::Record = about {
            self.fields.insert(path[1..].join("."));
            if self.fields.len() > FIELDS_NAMED_MAX {
                return Err(ConditionError::TooManyFields);
            }
        } else {
            self.words.insert(path[0].to_owned());
        }
        self.about = self.about.max(about);
        Ok(())
    }
}

/// The path that an expression names below the context; else what it begins with.
fn path(expression: &Expr) -> Result<Vec<&str>, &Expr> {
    let mut path = Vec::new();
    let mut at = expression;
    while let Expr::GetAttr { expr, attr } = at {
        path.push(attr.as_str());
        at = expr;
    }
    path.reverse();
    if *at == Expr::Var(Var::Context) { Ok(path) } else { Err(at) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn about(text: &str) -> Result<About, ConditionError> {
        Condition::parse(text).map(|condition| condition.names().about)
    }

    #[test]
    fn a_condition_says_what_it_looks_at() {
        assert_eq!(about("context.record.ma_co_quan == principal.code"), Ok(About::Record));
        assert_eq!(about("context.request.ma_dvhc like \"01*\" && context has dossier"), Ok(About::Request));
        assert_eq!(about("context.system == \"a\""), Ok(About::Call));
        assert_eq!(about("principal in Agency::\"H26\""), Ok(About::Right));
        let nested =
            Condition::parse("context.record has dia_chi.tinh && context.record.dia_chi.tinh == \"01\"");
        assert_eq!(nested.unwrap().names().fields.iter().collect::<Vec<_>>(), ["dia_chi.tinh"]);
    }

    #[test]
    fn what_is_no_condition_is_told_why() {
        for (text, part) in [
            ("", "not Cedar"),
            ("context.record.a ==", "not Cedar"),
            ("true }; permit (principal, action, resource) when { true", "not Cedar"),
            ("true } unless { false", "one expression"),
            ("context.record.a == context.request.a", "request and of the record"),
            ("context.now == 1", "context.now is not there"),
            ("context == {}", "the context as a whole"),
            ("context.record == {\"a\": 1}", "the record as a whole"),
            ("context has record", "the record as a whole"),
        ] {
            let error = about(text).expect_err(text);
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
        let long = format!("context.system == \"{}\"", "a".repeat(POLICY_BYTES_MAX));
        assert!(matches!(about(&long), Err(ConditionError::TooLong(_))));
        let many: Vec<String> = (0..=FIELDS_NAMED_MAX).map(|n| format!("context.record.f{n} == 1")).collect();
        assert_eq!(about(&many.join(" && ")), Err(ConditionError::TooManyFields));
    }

    #[test]
    fn a_comment_cannot_swallow_the_end() {
        assert_eq!(about("true // all of them"), Ok(About::Right));
        assert!(about("true /* }").is_err());
    }

    #[test]
    fn a_guardrail_only_forbids() {
        let permit = Guardrail::parse("GR-1", "x", "permit (principal, action, resource);");
        assert_eq!(permit.unwrap_err(), ConditionError::NotForbid);
        let two = "forbid (principal, action, resource); forbid (principal, action, resource);";
        assert!(Guardrail::parse("GR-1", "x", two).is_err());
        let template = Guardrail::parse("GR-1", "x", "forbid (principal == ?principal, action, resource);");
        assert!(template.is_err());
        let named = Guardrail::parse("GR-1", "x", "forbid (principal in Agency::\"H26\", action, resource);");
        assert!(named.unwrap().names().principal);
    }
}
