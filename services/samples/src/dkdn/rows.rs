//! The enterprises of the sample register. None exists: every code starts with 99.

use lienthong_proto::vn::dkdn::v1::Enterprise;
use prost_types::Timestamp;

/// Enterprises made up by rule beside those of the story, so that lists have several pages.
pub const GENERATED_COUNT: u32 = 20;

/// `tinh_trang_phap_ly` of an enterprise in business.
pub const ACTIVE: &str = "Đang hoạt động";

/// Moment of the oldest record: 2026-10-01 00:00 UTC. Each further record changed a minute later.
const FIRST_CHANGE_UNIX_SECONDS: i64 = 1_790_812_800;

const LIMITED: &str = "Công ty trách nhiệm hữu hạn một thành viên";
const JOINT_STOCK: &str = "Công ty cổ phần";
const BRANCH: &str = "Chi nhánh";

const BUSINESS_LINES: [&str; 4] = [
    "4791 - Bán lẻ theo yêu cầu đặt hàng qua bưu điện hoặc internet",
    "6201 - Lập trình máy vi tính",
    "0118 - Trồng rau, đậu các loại và trồng hoa",
    "4933 - Vận tải hàng hóa bằng đường bộ",
];

/// Everything registered: the enterprises of the story first, then the generated ones.
pub fn enterprises() -> Vec<Enterprise> {
    let all = story().into_iter().chain((1..=GENERATED_COUNT).map(generated));
    (0..)
        .zip(all)
        .map(|(index, enterprise)| Enterprise {
            ngay_thay_doi: Some(Timestamp { seconds: FIRST_CHANGE_UNIX_SECONDS + index * 60, nanos: 0 }),
            ..enterprise
        })
        .collect()
}

/// The enterprises that the demo and the scenarios name.
fn story() -> [Enterprise; 3] {
    [
        Enterprise {
            ma_so_doanh_nghiep: "9900000017".into(),
            ten_doanh_nghiep: "Công ty TNHH Thử Nghiệm".into(),
            loai_hinh: LIMITED.into(),
            dia_chi_tru_so: "Số 17 phố Thử Nghiệm, Phường Ba Đình, Thành phố Hà Nội".into(),
            von_dieu_le: 2_000_000_000,
            nguoi_dai_dien: "Nguyễn Văn Mẫu".into(),
            so_dinh_danh_ndd: "999190000001".into(),
            nganh_nghe_chinh: BUSINESS_LINES[0].into(),
            tinh_trang_phap_ly: ACTIVE.into(),
            ngay_dang_ky: "2019-04-01".into(),
            ngay_thay_doi: None,
        },
        Enterprise {
            ma_so_doanh_nghiep: "9900000025".into(),
            ten_doanh_nghiep: "Công ty CP Mẫu Số".into(),
            loai_hinh: JOINT_STOCK.into(),
            dia_chi_tru_so: "Số 25 phố Thử Nghiệm, Phường Ngọc Hà, Thành phố Hà Nội".into(),
            von_dieu_le: 10_000_000_000,
            nguoi_dai_dien: "Trần Thị Thử".into(),
            so_dinh_danh_ndd: "999295000002".into(),
            nganh_nghe_chinh: BUSINESS_LINES[1].into(),
            tinh_trang_phap_ly: ACTIVE.into(),
            ngay_dang_ky: "2021-09-15".into(),
            ngay_thay_doi: None,
        },
        Enterprise {
            ma_so_doanh_nghiep: "9900000025-001".into(),
            ten_doanh_nghiep: "Chi nhánh Công ty CP Mẫu Số tại Huế".into(),
            loai_hinh: BRANCH.into(),
            dia_chi_tru_so: "Số 1 phố Thử Nghiệm, Phường Phú Xuân, Thành phố Huế".into(),
            von_dieu_le: 0,
            nguoi_dai_dien: "Trần Thị Thử".into(),
            so_dinh_danh_ndd: "999295000002".into(),
            nganh_nghe_chinh: BUSINESS_LINES[1].into(),
            tinh_trang_phap_ly: ACTIVE.into(),
            ngay_dang_ky: "2023-02-10".into(),
            ngay_thay_doi: None,
        },
    ]
}

/// The `index`-th enterprise made by rule.
fn generated(index: u32) -> Enterprise {
    Enterprise {
        ma_so_doanh_nghiep: format!("990000{:04}", 1_000 + index),
        ten_doanh_nghiep: format!("Công ty TNHH Ví Dụ Số {index}"),
        loai_hinh: LIMITED.into(),
        dia_chi_tru_so: format!("Số {index} phố Ví Dụ, Phường Liên Chiểu, Thành phố Đà Nẵng"),
        von_dieu_le: i64::from(index) * 100_000_000,
        nguoi_dai_dien: "Nguyễn Văn Mẫu".into(),
        so_dinh_danh_ndd: "999190000001".into(),
        nganh_nghe_chinh: BUSINESS_LINES[index as usize % BUSINESS_LINES.len()].into(),
        tinh_trang_phap_ly: ACTIVE.into(),
        ngay_dang_ky: format!("20{:02}-{:02}-01", 10 + index % 15, index % 12 + 1),
        ngay_thay_doi: None,
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use unicode_normalization::is_nfc;

    use super::*;

    #[test]
    fn every_enterprise_is_visibly_fake_in_nfc_and_has_a_code_of_its_own() {
        let enterprises = enterprises();
        let codes: BTreeSet<_> =
            enterprises.iter().map(|enterprise| &enterprise.ma_so_doanh_nghiep).collect();
        assert_eq!(codes.len(), enterprises.len());
        for enterprise in &enterprises {
            assert!(enterprise.ma_so_doanh_nghiep.starts_with("99"), "{enterprise:?}");
            assert!(enterprise.so_dinh_danh_ndd.starts_with("999"), "{enterprise:?}");
            for text in
                [&enterprise.ten_doanh_nghiep, &enterprise.dia_chi_tru_so, &enterprise.nganh_nghe_chinh]
            {
                assert!(!text.is_empty() && is_nfc(text), "{enterprise:?}");
            }
        }
    }
}
