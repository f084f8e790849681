//! Questions to the population register, answered from memory: no I/O, no clock.

use lienthong_proto::vn::dancu::v1::{
    Citizen, ListCitizensRequest, ListCitizensResponse, ResidenceConfirmation, VerifyRecordRequest,
};
use prost_types::Timestamp;
use unicode_normalization::UnicodeNormalization as _;

use crate::page::{self, PageError, Question};

/// `Citizen.trang_thai` of a person who lives.
pub const LIVING: &str = "đang sống";

/// `Citizen.trang_thai` of a person who died; no claim about such a person is ever confirmed.
pub const DEAD: &str = "đã chết";

/// One person with the commune of permanent residence, which the contract only confirms and never gives out.
#[derive(Clone, Debug, PartialEq)]
pub struct Resident {
    /// What the contract gives out.
    pub citizen: Citizen,
    /// Code of the commune of permanent residence, 5 digits.
    pub ma_dvhc_thuong_tru: String,
}

/// All persons, by personal identification number.
#[derive(Clone, Debug)]
pub struct Register {
    by_number: Vec<Resident>,
    by_change: Vec<Citizen>,
}

impl Register {
    /// A register of `residents`. Of two with one number the first is kept, so that a key stays a key.
    pub fn new(mut residents: Vec<Resident>) -> Self {
        residents.sort_by(|a, b| number(a).cmp(number(b)));
        residents.dedup_by(|a, b| number(a) == number(b));
        let mut by_change: Vec<Citizen> = residents.iter().map(|resident| resident.citizen.clone()).collect();
        by_change.sort_by(|a, b| {
            moment(a.cap_nhat_luc.as_ref())
                .cmp(&moment(b.cap_nhat_luc.as_ref()))
                .then_with(|| a.so_dinh_danh.cmp(&b.so_dinh_danh))
        });
        Self { by_number: residents, by_change }
    }

    /// The person with this number.
    pub fn citizen(&self, so_dinh_danh: &str) -> Result<&Citizen, RegisterError> {
        self.resident(so_dinh_danh).map(|resident| &resident.citizen)
    }

    /// One page of the persons of a commune, ordered by number.
    pub fn list(&self, request: &ListCitizensRequest) -> Result<ListCitizensResponse, RegisterError> {
        let commune = &request.ma_dvhc;
        if !commune.is_empty() && !is_digits(commune, 5) {
            return Err(RegisterError::CommuneMalformed);
        }
        let residents = self
            .by_number
            .iter()
            .filter(|resident| commune.is_empty() || resident.ma_dvhc_thuong_tru == *commune);
        let question = Question::new("citizens", commune);
        let page = page::cut(residents, number, &question, request.page_size, &request.page_token)?;
        Ok(ListCitizensResponse {
            citizens: page.rows.into_iter().map(|resident| resident.citizen).collect(),
            next_page_token: page.next_page_token,
        })
    }

    /// The persons whose record changed after this moment (absent: all), oldest change first, so that a stream that
    /// breaks can be taken up again from the last `cap_nhat_luc` received.
    pub fn changed_after(&self, after: Option<&Timestamp>) -> Result<&[Citizen], RegisterError> {
        if after.is_some_and(|after| !(0..1_000_000_000).contains(&after.nanos)) {
            return Err(RegisterError::MomentMalformed);
        }
        let after = moment(after);
        let start = self
            .by_change
            .partition_point(|citizen| after.is_some() && moment(citizen.cap_nhat_luc.as_ref()) <= after);
        Ok(&self.by_change[start..])
    }

    /// Compares the claimed values with the registered ones, at the moment `now`. Discloses no registered value.
    pub fn verify(
        &self,
        claim: &VerifyRecordRequest,
        now: Timestamp,
    ) -> Result<ResidenceConfirmation, RegisterError> {
        let commune = &claim.ma_dvhc_thuong_tru;
        if !commune.is_empty() && !is_digits(commune, 5) {
            return Err(RegisterError::CommuneMalformed);
        }
        let resident = self.resident(&claim.so_dinh_danh)?;
        let citizen = &resident.citizen;
        let name_matches = claim.ho_ten.nfc().eq(citizen.ho_ten.nfc());
        let commune_matches = *commune == resident.ma_dvhc_thuong_tru;
        let every_claim_matches =
            (claim.ho_ten.is_empty() || name_matches) && (commune.is_empty() || commune_matches);
        Ok(ResidenceConfirmation {
            so_dinh_danh: citizen.so_dinh_danh.clone(),
            ho_ten: name_matches,
            ma_dvhc_thuong_tru: commune_matches,
            ket_qua_khop: every_claim_matches && citizen.trang_thai == LIVING,
            thoi_diem_xac_nhan: Some(now),
        })
    }

    fn resident(&self, so_dinh_danh: &str) -> Result<&Resident, RegisterError> {
        if !is_digits(so_dinh_danh, 12) {
            return Err(RegisterError::NumberMalformed);
        }
        let found = self.by_number.binary_search_by(|resident| number(resident).cmp(so_dinh_danh));
        found.map(|index| &self.by_number[index]).map_err(|_| RegisterError::Unknown)
    }
}

/// Why the register does not answer. The number asked for is never repeated: errors end up in logs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// Not 12 digits.
    #[error("so_dinh_danh must be 12 digits")]
    NumberMalformed,
    /// Not 5 digits.
    #[error("the code of a commune must be 5 digits")]
    CommuneMalformed,
    /// A timestamp outside its definition.
    #[error("changed_after is no valid timestamp: nanos must be from 0 to 999,999,999")]
    MomentMalformed,
    /// Nobody has this number.
    #[error("no person with this so_dinh_danh is registered")]
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
            RegisterError::NumberMalformed
            | RegisterError::CommuneMalformed
            | RegisterError::MomentMalformed => Self::invalid_argument(error.to_string()),
        }
    }
}

fn number(resident: &Resident) -> &str {
    &resident.citizen.so_dinh_danh
}

fn moment(timestamp: Option<&Timestamp>) -> Option<(i64, i32)> {
    timestamp.map(|timestamp| (timestamp.seconds, timestamp.nanos))
}

fn is_digits(text: &str, count: usize) -> bool {
    text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dancu::rows;

    const NOW: Timestamp = Timestamp { seconds: 1_795_000_000, nanos: 0 };

    fn register() -> Register {
        Register::new(rows::residents())
    }

    fn claim(so_dinh_danh: &str, ho_ten: &str, commune: &str) -> VerifyRecordRequest {
        VerifyRecordRequest {
            so_dinh_danh: so_dinh_danh.to_owned(),
            ho_ten: ho_ten.to_owned(),
            ma_dvhc_thuong_tru: commune.to_owned(),
        }
    }

    #[test]
    fn a_true_claim_is_confirmed_without_disclosing_anything() {
        let confirmed = register().verify(&claim("999190000001", "Nguyễn Văn Mẫu", "00004"), NOW).unwrap();
        assert_eq!(
            confirmed,
            ResidenceConfirmation {
                so_dinh_danh: "999190000001".into(),
                ho_ten: true,
                ma_dvhc_thuong_tru: true,
                ket_qua_khop: true,
                thoi_diem_xac_nhan: Some(NOW),
            }
        );
    }

    #[test]
    fn each_false_claim_is_told_apart() {
        let register = register();
        let other_name = register.verify(&claim("999190000001", "Nguyễn Văn Mầu", "00004"), NOW).unwrap();
        assert!(!other_name.ho_ten && other_name.ma_dvhc_thuong_tru && !other_name.ket_qua_khop);
        let other_commune = register.verify(&claim("999190000001", "Nguyễn Văn Mẫu", "00008"), NOW).unwrap();
        assert!(other_commune.ho_ten && !other_commune.ma_dvhc_thuong_tru && !other_commune.ket_qua_khop);
    }

    #[test]
    fn an_unclaimed_value_neither_confirms_nor_spoils() {
        let confirmed = register().verify(&claim("999190000001", "", "00004"), NOW).unwrap();
        assert!(!confirmed.ho_ten && confirmed.ma_dvhc_thuong_tru && confirmed.ket_qua_khop);
    }

    #[test]
    fn a_name_in_decomposed_form_is_the_same_name() {
        let decomposed: String = "Nguyễn Văn Mẫu".nfd().collect();
        assert_ne!(decomposed, "Nguyễn Văn Mẫu");
        let confirmed = register().verify(&claim("999190000001", &decomposed, ""), NOW).unwrap();
        assert!(confirmed.ho_ten && confirmed.ket_qua_khop);
    }

    #[test]
    fn a_dead_person_never_matches() {
        let register = register();
        let dead = register.citizen("999188000003").unwrap();
        assert_eq!(dead.trang_thai, DEAD);
        for claim in [
            claim("999188000003", "", ""),
            claim("999188000003", "Lê Thí Điểm", ""),
            claim("999188000003", "Lê Thí Điểm", "00004"),
        ] {
            assert!(!register.verify(&claim, NOW).unwrap().ket_qua_khop, "{claim:?}");
        }
    }

    #[test]
    fn strangers_and_rubbish_are_told_apart_and_never_repeated() {
        let register = register();
        assert_eq!(register.citizen("999000000000"), Err(RegisterError::Unknown));
        for rubbish in ["", "99919000000", "9991900000011", "99919000000a", "９９９１９"] {
            assert_eq!(register.citizen(rubbish), Err(RegisterError::NumberMalformed), "{rubbish}");
        }
        let unknown = register.verify(&claim("999000000000", "", ""), NOW).unwrap_err();
        assert!(!unknown.to_string().contains("999000000000"));
        assert_eq!(
            register.verify(&claim("999190000001", "", "4"), NOW),
            Err(RegisterError::CommuneMalformed)
        );
    }

    #[test]
    fn a_commune_lists_only_its_own_residents() {
        let register = register();
        let request = |commune: &str| ListCitizensRequest { ma_dvhc: commune.into(), ..Default::default() };
        let ward = register.list(&request(rows::DEMO_WARD)).unwrap();
        assert!(ward.citizens.iter().any(|citizen| citizen.so_dinh_danh == "999190000001"));
        assert!(ward.citizens.iter().all(|citizen| citizen.noi_thuong_tru.contains("Phường Ba Đình")));
        assert_eq!(register.list(&request("00000")).unwrap().citizens, []);
        assert_eq!(register.list(&request("01")), Err(RegisterError::CommuneMalformed));
    }

    #[test]
    fn a_broken_stream_can_be_taken_up_again() {
        let register = register();
        let all = register.changed_after(None).unwrap();
        assert_eq!(all.len(), rows::residents().len());
        for (index, citizen) in all.iter().enumerate() {
            let rest = register.changed_after(citizen.cap_nhat_luc.as_ref()).unwrap();
            assert_eq!(rest, &all[index + 1..], "each change has a moment of its own");
        }
        let rubbish = Timestamp { seconds: 0, nanos: -1 };
        assert_eq!(register.changed_after(Some(&rubbish)), Err(RegisterError::MomentMalformed));
    }

    #[test]
    fn of_two_rows_with_one_number_the_first_is_kept() {
        let first = rows::residents().swap_remove(0);
        let mut second = first.clone();
        second.citizen.ho_ten = "Hoàng Giả Lập".into();
        let register = Register::new(vec![first.clone(), second]);
        assert_eq!(register.citizen(&first.citizen.so_dinh_danh), Ok(&first.citizen));
    }
}
