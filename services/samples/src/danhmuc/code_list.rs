//! Questions to the code list, answered from memory: no I/O, no clock.

use lienthong_proto::vn::danhmuc::v1::{
    AdministrativeUnit, ListAdministrativeUnitsRequest, ListAdministrativeUnitsResponse,
};

use crate::page::{self, PageError, Question};

/// `AdministrativeUnit.cap` of a province or centrally run city: a code of 2 digits, nothing above.
pub const PROVINCE: &str = "TINH";

/// `AdministrativeUnit.cap` of a commune, ward or special zone: a code of 5 digits, a province above.
pub const COMMUNE: &str = "XA";

/// All units, by code.
#[derive(Clone, Debug)]
pub struct CodeList {
    by_code: Vec<AdministrativeUnit>,
}

impl CodeList {
    /// A list of `units`. Of two with one code the first is kept, so that a key stays a key.
    pub fn new(mut units: Vec<AdministrativeUnit>) -> Self {
        units.sort_by(|a, b| a.ma_dvhc.cmp(&b.ma_dvhc));
        units.dedup_by(|a, b| a.ma_dvhc == b.ma_dvhc);
        Self { by_code: units }
    }

    /// How many units there are.
    pub fn len(&self) -> usize {
        self.by_code.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.by_code.is_empty()
    }

    /// The unit with this code.
    pub fn unit(&self, code: &str) -> Result<&AdministrativeUnit, CodeListError> {
        if !is_province_code(code) && !is_commune_code(code) {
            return Err(CodeListError::CodeMalformed);
        }
        let found = self.by_code.binary_search_by(|unit| unit.ma_dvhc.as_str().cmp(code));
        found.map(|index| &self.by_code[index]).map_err(|_| CodeListError::Unknown)
    }

    /// One page of the units below another one (empty: of all), ordered by code as text.
    pub fn list(
        &self,
        request: &ListAdministrativeUnitsRequest,
    ) -> Result<ListAdministrativeUnitsResponse, CodeListError> {
        let above = &request.ma_cap_tren;
        if !above.is_empty() {
            self.unit(above)?;
        }
        let units = || self.by_code.iter().filter(|unit| above.is_empty() || unit.ma_cap_tren == *above);
        let question = Question::new("administrative_units", above);
        let page =
            page::cut(units(), |unit| &unit.ma_dvhc, &question, request.page_size, &request.page_token)?;
        Ok(ListAdministrativeUnitsResponse {
            units: page.rows,
            next_page_token: page.next_page_token,
            total_size: i32::try_from(units().count()).unwrap_or(i32::MAX),
        })
    }
}

/// Why the code list does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CodeListError {
    /// Neither 2 nor 5 digits.
    #[error("the code of an administrative unit is 2 digits for a province, 5 for a commune")]
    CodeMalformed,
    /// No unit has this code.
    #[error("no administrative unit with this code")]
    Unknown,
    /// No such page.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl From<CodeListError> for tonic::Status {
    fn from(error: CodeListError) -> Self {
        match error {
            CodeListError::Unknown => Self::not_found(error.to_string()),
            CodeListError::Page(error) => error.into(),
            CodeListError::CodeMalformed => Self::invalid_argument(error.to_string()),
        }
    }
}

/// Whether `code` is shaped like a province's: 2 digits.
pub(super) fn is_province_code(code: &str) -> bool {
    code.len() == 2 && code.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether `code` is shaped like a commune's: 5 digits.
pub(super) fn is_commune_code(code: &str) -> bool {
    code.len() == 5 && code.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::danhmuc::sample;

    fn list(above: &str, page_size: i32, page_token: &str) -> ListAdministrativeUnitsResponse {
        let request = ListAdministrativeUnitsRequest {
            ma_cap_tren: above.into(),
            page_size,
            page_token: page_token.into(),
        };
        CodeList::new(sample::units()).list(&request).unwrap()
    }

    #[test]
    fn a_province_lists_its_communes_only() {
        let hanoi = list("01", 0, "");
        assert!(hanoi.units.iter().all(|unit| unit.cap == COMMUNE && unit.ma_cap_tren == "01"));
        assert_eq!(usize::try_from(hanoi.total_size), Ok(hanoi.units.len()));
        assert!(hanoi.total_size > 1);
        assert_eq!(list("00004", 0, "").units, []);
    }

    #[test]
    fn the_total_counts_every_page() {
        let first = list("", 3, "");
        let second = list("", 3, &first.next_page_token);
        assert_eq!(usize::try_from(first.total_size), Ok(sample::units().len()));
        assert_eq!(second.total_size, first.total_size);
        assert_ne!(first.units, second.units);
    }

    #[test]
    fn strangers_and_rubbish_are_told_apart() {
        let list = CodeList::new(sample::units());
        assert_eq!(list.unit("00004").unwrap().ma_cap_tren, "01");
        assert_eq!(list.unit("99"), Err(CodeListError::Unknown));
        for rubbish in ["", "1", "001", "0000a", "000004"] {
            assert_eq!(list.unit(rubbish), Err(CodeListError::CodeMalformed), "{rubbish}");
        }
        let unknown = ListAdministrativeUnitsRequest { ma_cap_tren: "99".into(), ..Default::default() };
        assert_eq!(list.list(&unknown), Err(CodeListError::Unknown));
    }
}
