//! Questions to the business register, answered from memory: no I/O, no clock.

use lienthong_proto::vn::dkdn::v1::{Enterprise, ListEnterprisesRequest, ListEnterprisesResponse};

use crate::page::{self, PageError, Question};

/// All enterprises, by enterprise code.
#[derive(Clone, Debug)]
pub struct Register {
    by_code: Vec<Enterprise>,
}

impl Register {
    /// A register of `enterprises`. Of two with one code the first is kept, so that a key stays a key.
    pub fn new(mut enterprises: Vec<Enterprise>) -> Self {
        enterprises.sort_by(|a, b| a.ma_so_doanh_nghiep.cmp(&b.ma_so_doanh_nghiep));
        enterprises.dedup_by(|a, b| a.ma_so_doanh_nghiep == b.ma_so_doanh_nghiep);
        Self { by_code: enterprises }
    }

    /// The enterprise with this code.
    pub fn enterprise(&self, code: &str) -> Result<&Enterprise, RegisterError> {
        if !is_enterprise_code(code) {
            return Err(RegisterError::CodeMalformed);
        }
        let found =
            self.by_code.binary_search_by(|enterprise| enterprise.ma_so_doanh_nghiep.as_str().cmp(code));
        found.map(|index| &self.by_code[index]).map_err(|_| RegisterError::Unknown)
    }

    /// One page of all enterprises, ordered by code.
    pub fn list(&self, request: &ListEnterprisesRequest) -> Result<ListEnterprisesResponse, RegisterError> {
        let page = page::cut(
            self.by_code.iter(),
            |enterprise| &enterprise.ma_so_doanh_nghiep,
            &Question::new("enterprises", ""),
            request.page_size,
            &request.page_token,
        )?;
        Ok(ListEnterprisesResponse { enterprises: page.rows, next_page_token: page.next_page_token })
    }
}

/// Why the register does not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Not 10 digits, with a dash and 3 more for a branch.
    #[error("ma_so_doanh_nghiep must be 10 digits, for a branch followed by a dash and 3 digits")]
    CodeMalformed,
    /// No enterprise has this code.
    #[error("no enterprise with this ma_so_doanh_nghiep is registered")]
    Unknown,
    /// No such page.
    #[error(transparent)]
    Page(#[from] PageError),
}

impl From<RegisterError> for tonic::Status {
    fn from(error: RegisterError) -> Self {
        match error {
            RegisterError::Unknown => Self::not_found(error.to_string()),
            RegisterError::Page(error) => error.into(),
            RegisterError::CodeMalformed => Self::invalid_argument(error.to_string()),
        }
    }
}

fn is_enterprise_code(code: &str) -> bool {
    let (head, branch) = code.split_once('-').map_or((code, None), |(head, branch)| (head, Some(branch)));
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    digits(head, 10) && branch.is_none_or(|branch| digits(branch, 3))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dkdn::rows;

    #[test]
    fn the_enterprises_of_the_story_are_found() {
        let register = Register::new(rows::enterprises());
        let trial = register.enterprise("9900000017").unwrap();
        assert_eq!(trial.ten_doanh_nghiep, "Công ty TNHH Thử Nghiệm");
        let branch = register.enterprise("9900000025-001").unwrap();
        assert!(branch.ten_doanh_nghiep.starts_with("Chi nhánh"));
    }

    #[test]
    fn strangers_and_rubbish_are_told_apart() {
        let register = Register::new(rows::enterprises());
        assert_eq!(register.enterprise("9900000000"), Err(RegisterError::Unknown));
        assert_eq!(register.enterprise("9900000025-999"), Err(RegisterError::Unknown));
        for rubbish in ["", "990000001", "99000000170", "9900000017-", "9900000017-0001", "99000000-17"] {
            assert_eq!(register.enterprise(rubbish), Err(RegisterError::CodeMalformed), "{rubbish}");
        }
    }

    #[test]
    fn paging_gives_every_enterprise_once() {
        let register = Register::new(rows::enterprises());
        let mut request = ListEnterprisesRequest { page_size: 5, ..Default::default() };
        let mut codes = Vec::new();
        loop {
            let page = register.list(&request).unwrap();
            codes.extend(page.enterprises.into_iter().map(|enterprise| enterprise.ma_so_doanh_nghiep));
            if page.next_page_token.is_empty() {
                break;
            }
            request.page_token = page.next_page_token;
        }
        assert_eq!(codes.len(), rows::enterprises().len());
        assert!(codes.is_sorted_by(|a, b| a < b));
    }
}
