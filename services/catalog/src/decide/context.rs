//! The context of a call: dossier, user and requested fields, as the purpose demands and the law allows.
//!
//! `mesh-user` is an opaque id. A citizen number must not slip in there: it would be kept in every record of the
//! log, where nobody can erase it. So twelve digits in a row are refused, in whatever script; a dossier code is
//! checked against its pattern instead.

use lienthong_proto::lienthong::options::v1::Purpose;

use super::{FIELDS_REQUESTED_MAX, Question};
use crate::{code, purpose};

/// Longest `mesh-user`, characters.
pub const USER_CHARS_MAX: usize = 64;
/// Digits in a row that look like a citizen number.
const CITIZEN_NUMBER_DIGITS: usize = 12;

/// Checks what came beside the purpose; the error says which key is wrong, never its value.
pub(super) fn check(purpose: Purpose, question: &Question<'_>) -> Result<(), &'static str> {
    check_dossier(purpose, question.dossier)?;
    question.user.map_or(Ok(()), check_user)?;
    question.requested_fields.as_deref().map_or(Ok(()), check_fields)
}

fn check_dossier(purpose: Purpose, dossier: Option<&str>) -> Result<(), &'static str> {
    match dossier {
        None if purpose::needs_dossier(purpose) => {
            Err("mesh-dossier is missing; this purpose needs a dossier code")
        }
        None => Ok(()),
        Some(code) if code::is_dossier_code(code) => Ok(()),
        Some(_) => Err("mesh-dossier is not <agency_code>-YYMMDD-NNNN"),
    }
}

/// True for a text that may stand on record as the id of an end user.
pub fn is_user(user: &str) -> bool {
    check_user(user).is_ok()
}

fn check_user(user: &str) -> Result<(), &'static str> {
    if user.is_empty() || user.chars().count() > USER_CHARS_MAX || user.chars().any(char::is_control) {
        return Err("mesh-user is not 1 to 64 printable characters");
    }
    let mut digits = 0;
    for character in user.chars() {
        digits = if character.is_numeric() { digits + 1 } else { 0 };
        if digits >= CITIZEN_NUMBER_DIGITS {
            return Err("mesh-user holds 12 digits in a row; send an opaque id, never a citizen number");
        }
    }
    Ok(())
}

fn check_fields(fields: &[&str]) -> Result<(), &'static str> {
    match fields.len() {
        0 => Err("mesh-fields names no field; leave it out to get what is granted"),
        1..=FIELDS_REQUESTED_MAX => Ok(()),
        _ => Err("mesh-fields names more than 256 fields"),
    }
}
