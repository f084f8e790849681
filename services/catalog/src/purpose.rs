//! Purposes: the words that callers write, and what each needs beside it (domain data model, Purpose).

use lienthong_proto::lienthong::options::v1::Purpose;

/// Every purpose with a word, in the order of the proto. `COMMERCIAL` has one so that its refusal can name it
///
pub const WORDS: [(Purpose, &str); 9] = [
    (Purpose::AdminProcedure, "ADMIN_PROCEDURE"),
    (Purpose::PublicService, "PUBLIC_SERVICE"),
    (Purpose::StateManagement, "STATE_MANAGEMENT"),
    (Purpose::DirectionAndAdministration, "DIRECTION_AND_ADMINISTRATION"),
    (Purpose::NationalSync, "NATIONAL_SYNC"),
    (Purpose::Verification, "VERIFICATION"),
    (Purpose::Statistics, "STATISTICS"),
    (Purpose::DisputeAudit, "DISPUTE_AUDIT"),
    (Purpose::Commercial, "COMMERCIAL"),
];

/// The purpose that a caller's word names; exactly as written here, no other case or form.
pub fn from_word(word: &str) -> Option<Purpose> {
    WORDS.iter().find(|(_, known)| *known == word).map(|(purpose, _)| *purpose)
}

/// The word of a purpose; `ANY` for the unspecified one, which open data and default rights carry.
pub fn word(purpose: Purpose) -> &'static str {
    WORDS.iter().find(|(known, _)| *known == purpose).map_or("ANY", |(_, word)| word)
}

/// True where a call for this purpose must name the dossier that it serves.
pub fn needs_dossier(purpose: Purpose) -> bool {
    purpose == Purpose::AdminProcedure
}

/// True where a system may have this purpose as its default, for calls that state none: it needs no context and is
/// grantable at all.
pub fn may_be_default(purpose: Purpose) -> bool {
    !matches!(purpose, Purpose::Unspecified | Purpose::Commercial) && !needs_dossier(purpose)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_of_the_proto_has_its_word() {
        for number in 1..100 {
            if let Ok(purpose) = Purpose::try_from(number) {
                assert_eq!(purpose.as_str_name(), format!("PURPOSE_{}", word(purpose)));
                assert_eq!(from_word(word(purpose)), Some(purpose));
            }
        }
        for other in
            ["", "ANY", "admin_procedure", "PURPOSE_STATISTICS", "STATISTICS ", "ＳＴＡＴＩＳＴＩＣＳ"]
        {
            assert_eq!(from_word(other), None, "{other}");
        }
    }
}
