//! `guardrails` and `invariants`: what holds whatever a right says, and what no right may ever come to say.
//!
//! ```yaml
//! guardrails:
//!   - id: GR-0001
//!     name_vi: Không dùng dữ liệu cá nhân nhạy cảm cho thống kê
//!     policy: |
//!       forbid (principal, action == Action::"STATISTICS", resource)
//!       when { resource.personal == "SENSITIVE" };
//! invariants:
//!   - id: IV-0001
//!     name_vi: Ngoài Bộ Y tế và cơ quan BHXH, không cơ quan nào đọc dữ liệu y tế
//!     policy: |
//!       forbid (principal, action, resource in Dataset::"yte")
//!       unless { principal in Agency::"G18" || principal in Agency::"G24" };
//! ```

use super::object::Reader;
use super::tree::Located;
use crate::condition::Guardrail;
use crate::condition::text::About;
use crate::condition::vocabulary::check_guardrail;

/// Digits of an id, at least.
const DIGITS_MIN: usize = 4;

pub(super) fn guardrail(reader: &mut Reader<'_>, node: &Located) -> Option<Guardrail> {
    read(reader, node, "the guardrail", "GR-", "GR- and at least 4 digits")
}

/// An invariant is judged before there is any call.
pub(super) fn invariant(reader: &mut Reader<'_>, node: &Located) -> Option<Guardrail> {
    let invariant = read(reader, node, "the invariant", "IV-", "IV- and at least 4 digits")?;
    if invariant.names().about == About::Right {
        return Some(invariant);
    }
    let place = node.get("policy").unwrap_or(node).place;
    let message = format!("{} looks at calls or data, which a catalog does not hold", invariant.id());
    reader.note(
        place,
        "R-24",
        message,
        "name only the consumer, the purpose, the dataset and what rights grant",
    );
    None
}

fn read(
    reader: &mut Reader<'_>,
    node: &Located,
    what: &'static str,
    prefix: &str,
    wanted: &str,
) -> Option<Guardrail> {
    let mut object = reader.object(node, what)?;
    let is_id = |text: &str| {
        text.strip_prefix(prefix).is_some_and(|digits| {
            digits.len() >= DIGITS_MIN && digits.bytes().all(|byte| byte.is_ascii_digit())
        })
    };
    let id = object.formatted("id", is_id, wanted);
    let (name_vi, policy) = (object.text("name_vi"), object.text("policy"));
    object.finish().then_some(())?;
    let read = Guardrail::parse(&id, &name_vi, &policy);
    let typed = read.and_then(|guardrail| match guardrail.names().about {
        // Data has types once there is a contract.
        About::Request | About::Record => Ok(guardrail),
        About::Right | About::Call => check_guardrail(&guardrail, None).map(|()| guardrail),
    });
    match typed {
        Ok(guardrail) => Some(guardrail),
        Err(error) => {
            let place = node.get("policy").unwrap_or(node).place;
            reader.note(
                place,
                "R-24",
                format!("{id}: {error}"),
                "write one Cedar policy: forbid (…) when { … };",
            );
            None
        }
    }
}
