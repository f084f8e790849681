//! The catalog of contestants d and e: one entry, one provider, and as many local agencies as rights are asked for. Pure. JSON
//! is YAML.

use serde_json::{Value, json};

use crate::exchange::{GRANTED, PURPOSE, STREAM_PURPOSE};
use crate::pki::holder_id;

/// Agencies in one file: the broker bounds the size of each.
const AGENCIES_PER_FILE_MAX: usize = 10_000;

/// Entries of the data dictionary that the provider's contract refers to.
const DICTIONARY: [&str; 15] = [
    "chung.cap_nhat_luc",
    "chung.ket_qua_khop",
    "chung.thoi_diem",
    "con_nguoi.dan_toc",
    "con_nguoi.gioi_tinh",
    "con_nguoi.ho_ten",
    "con_nguoi.ngay_sinh",
    "con_nguoi.que_quan",
    "con_nguoi.quoc_tich",
    "con_nguoi.so_dinh_danh",
    "con_nguoi.tinh_trang_hon_nhan",
    "con_nguoi.trang_thai",
    "dia_chi.ma_dvhc",
    "dia_chi.noi_o_hien_tai",
    "dia_chi.noi_thuong_tru",
];

/// The files of a catalog that compiles to `rights` rights at the provider: one for each local agency, of which only
/// H26.90 ever asks, with its system and `holders` more that only hold connections.
pub(super) fn files(rights: u32, holders: usize, gate: &str) -> Vec<Value> {
    let others: Vec<Value> = (1..rights)
        .map(|number| agency(&format!("H90.{number:07}"), "LOCAL", "COMMUNE", "CONSUMER", &[]))
        .collect();
    let others = others.chunks(AGENCIES_PER_FILE_MAX).map(|agencies| json!({ "agencies": agencies }));
    [core(holders, gate)].into_iter().chain(others).collect()
}

/// Everything but the agencies that never ask.
fn core(holders: usize, gate: &str) -> Value {
    let holders: Vec<String> = (0..holders).map(holder_id).collect();
    let systems: Vec<&str> = ["mot-cua"].into_iter().chain(holders.iter().map(String::as_str)).collect();
    let basis = json!([{"instrument": "278/2025/NĐ-CP", "article": "Điều 8", "note": "demo – verify"}]);
    json!({
        "agencies": [
            agency("G01", "GOVERNMENT", "CENTRAL", "PROVIDER", &["dancu"]),
            agency("H26.90", "LOCAL", "PROVINCE", "CONSUMER", &systems),
        ],
        // The one consumer is also the one that may synchronise, so that streams can be measured.
        "databases": [{
            "id": "tong_hop", "name_vi": "DEMO tổng hợp", "kind": "NATIONAL_GENERAL_DB", "owner_code": "H26.90",
            "legal_basis": basis, "datasets": [],
        }, {
            "id": "dan_cu", "name_vi": "DEMO dân cư", "kind": "NATIONAL_DB", "owner_code": "G01", "legal_basis": basis,
            "datasets": [{"id": "dancu.cong_dan", "master": true}, {"id": "dancu.xac_nhan_cu_tru"}],
        }],
        "dictionary": DICTIONARY.map(|id| json!({"id": id, "label_vi": format!("DEMO {id}")})),
        "entries": [{
            "id": "CE-0001", "version": 1, "dataset_id": "dancu.cong_dan", "provider_code": "G01", "legal_basis": basis,
            "mandatory_consumers": ["LOCAL.ALL"], "purposes": [PURPOSE, STREAM_PURPOSE],
            "fields_by_purpose": {PURPOSE: GRANTED, STREAM_PURPOSE: GRANTED},
            "classification": {"sharing": "SHARED", "importance": "OTHER", "secrecy": "NONE", "personal": "BASIC"},
            "methods": ["QUERY", "SYNC_TO_NATIONAL_DB"], "freshness": "REALTIME", "min_security_level": 3,
            "release_gate": gate, "fee_policy": {"state_bodies": "EXEMPT"}, "effective_from": "2025-11-01", "deadline": "2026-12-31",
            "approved_by": ["operator.catalog.01", "operator.legal.02"], "status": "ACTIVE",
        }],
    })
}

fn agency(code: &str, bloc: &str, level: &str, role: &str, systems: &[&str]) -> Value {
    let system = |id: &&str| json!({"id": id, "name_vi": format!("DEMO {id}"), "security_level": 3});
    json!({
        "code": code, "name_vi": format!("DEMO {code}"), "bloc": bloc, "level": level, "roles": [role],
        "security_level": 3, "systems": systems.iter().map(system).collect::<Vec<_>>(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_catalog_grows_by_local_agencies() {
        let local = |rights| {
            let files = files(rights, 0, "JOURNAL");
            let agencies = files.iter().flat_map(|file| file["agencies"].as_array().unwrap());
            agencies.filter(|agency| agency["bloc"] == "LOCAL").count()
        };
        assert_eq!(local(1), 1);
        assert_eq!(local(25_000), 25_000);
        assert_eq!(files(25_000, 0, "JOURNAL").len(), 4);
    }
}
