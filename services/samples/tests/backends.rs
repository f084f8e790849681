//! Every method of every sample backend, asked over a real socket by generated clients.

#![allow(clippy::unwrap_used)] // a panic is how a test fails

mod common;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use common::{Running, client};
use lienthong_certs::{DevPki, Judge, Profile};
use lienthong_proto::vn::dancu::v1::citizen_service_client::CitizenServiceClient;
use lienthong_proto::vn::dancu::v1::{
    GetCitizenRequest, ListCitizensRequest, SyncCitizensRequest, VerifyRecordRequest,
};
use lienthong_proto::vn::danhmuc::v1::administrative_unit_service_client::AdministrativeUnitServiceClient;
use lienthong_proto::vn::danhmuc::v1::{GetAdministrativeUnitRequest, ListAdministrativeUnitsRequest};
use lienthong_proto::vn::dkdn::v1::enterprise_service_client::EnterpriseServiceClient;
use lienthong_proto::vn::dkdn::v1::{GetEnterpriseRequest, ListEnterprisesRequest};
use lienthong_samples::backend::{Backend, BackendConfig, BackendError, BackendKind, Listen, run};
use lienthong_samples::danhmuc::{self, sample};
use lienthong_transport::{Endpoint, SharedMaterial, TlsMaterial};
use tokio::sync::oneshot;
use tonic::Code;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

/// A list of the real one's kind, for tests of the file and not of its content.
fn write_list(folder: &Path, body: &str) -> PathBuf {
    let path = folder.join("dvhc.csv");
    std::fs::write(&path, format!("ma_dvhc,ten_dvhc,ten_tieng_anh,cap,ma_cap_tren\n{body}")).unwrap();
    path
}

#[tokio::test]
async fn a_citizen_is_got_by_number() {
    let backend = Running::start(BackendKind::Dancu, None);
    let mut register = CitizenServiceClient::new(backend.client());
    let mut get =
        async |number: &str| register.get_citizen(GetCitizenRequest { so_dinh_danh: number.into() }).await;
    let citizen = get("999190000001").await.unwrap().into_inner().citizen.unwrap();
    assert_eq!(citizen.ho_ten, "Nguyễn Văn Mẫu");
    assert!(citizen.noi_thuong_tru.ends_with("Phường Ba Đình, Thành phố Hà Nội"));
    assert_eq!(get("999000000000").await.unwrap_err().code(), Code::NotFound);
    let malformed = get("99919").await.unwrap_err();
    assert_eq!(malformed.code(), Code::InvalidArgument);
    assert!(malformed.message().contains("12 digits"), "{malformed}");
    backend.stop().await;
}

#[tokio::test]
async fn citizens_are_listed_page_by_page() {
    let backend = Running::start(BackendKind::Dancu, None);
    let mut register = CitizenServiceClient::new(backend.client());
    let first = register.list_citizens(ListCitizensRequest::default()).await.unwrap().into_inner();
    assert_eq!(first.citizens.len(), 50, "the default size of the contract");
    let request = ListCitizensRequest { page_token: first.next_page_token.clone(), ..Default::default() };
    let second = register.list_citizens(request).await.unwrap().into_inner();
    assert_eq!(second.citizens.len(), 6);
    assert_eq!(second.next_page_token, "");

    for wrong in [
        ListCitizensRequest { page_token: "rubbish".into(), ..Default::default() },
        ListCitizensRequest {
            page_token: first.next_page_token,
            ma_dvhc: "00004".into(),
            ..Default::default()
        },
        ListCitizensRequest { page_size: -1, ..Default::default() },
        ListCitizensRequest { ma_dvhc: "Ba Đình".into(), ..Default::default() },
    ] {
        let refused = register.list_citizens(wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code(), Code::InvalidArgument, "{wrong:?}");
    }
    backend.stop().await;
}

#[tokio::test]
async fn citizens_are_streamed_and_a_broken_stream_goes_on() {
    let backend = Running::start(BackendKind::Dancu, None);
    let mut register = CitizenServiceClient::new(backend.client());
    let mut stream = register.sync_citizens(SyncCitizensRequest::default()).await.unwrap().into_inner();
    let mut numbers = BTreeSet::new();
    let mut watermark = None;
    for _ in 0..20 {
        let citizen = stream.message().await.unwrap().unwrap().citizen.unwrap();
        watermark = citizen.cap_nhat_luc;
        assert!(numbers.insert(citizen.so_dinh_danh));
    }
    drop(stream);
    let rest = SyncCitizensRequest { changed_after: watermark };
    let mut stream = register.sync_citizens(rest).await.unwrap().into_inner();
    while let Some(message) = stream.message().await.unwrap() {
        assert!(numbers.insert(message.citizen.unwrap().so_dinh_danh), "nobody comes twice");
    }
    assert_eq!(numbers.len(), 56, "nobody is missing");
    backend.stop().await;
}

#[tokio::test]
async fn a_residence_is_verified_without_being_disclosed() {
    let backend = Running::start(BackendKind::Dancu, None);
    let mut register = CitizenServiceClient::new(backend.client());
    let mut verify = async |so_dinh_danh: &str, ho_ten: &str, commune: &str| {
        let request = VerifyRecordRequest {
            so_dinh_danh: so_dinh_danh.into(),
            ho_ten: ho_ten.into(),
            ma_dvhc_thuong_tru: commune.into(),
        };
        register.verify_record(request).await.map(|response| response.into_inner().confirmation.unwrap())
    };
    let confirmed = verify("999190000001", "Nguyễn Văn Mẫu", "00004").await.unwrap();
    assert!(confirmed.ket_qua_khop && confirmed.thoi_diem_xac_nhan.is_some());
    assert!(!verify("999190000001", "Nguyễn Văn Mẫu", "00008").await.unwrap().ket_qua_khop);
    assert!(!verify("999188000003", "Lê Thí Điểm", "00004").await.unwrap().ket_qua_khop);
    assert_eq!(verify("999000000000", "", "").await.unwrap_err().code(), Code::NotFound);
    backend.stop().await;
}

#[tokio::test]
async fn enterprises_are_got_and_listed() {
    let backend = Running::start(BackendKind::Dkdn, None);
    let mut register = EnterpriseServiceClient::new(backend.client());
    let request = GetEnterpriseRequest { ma_so_doanh_nghiep: "9900000017".into() };
    let enterprise = register.get_enterprise(request).await.unwrap().into_inner().enterprise.unwrap();
    assert_eq!(enterprise.ten_doanh_nghiep, "Công ty TNHH Thử Nghiệm");
    let unknown = GetEnterpriseRequest { ma_so_doanh_nghiep: "9900000099".into() };
    assert_eq!(register.get_enterprise(unknown).await.unwrap_err().code(), Code::NotFound);
    let malformed = GetEnterpriseRequest { ma_so_doanh_nghiep: "17".into() };
    assert_eq!(register.get_enterprise(malformed).await.unwrap_err().code(), Code::InvalidArgument);

    let page = ListEnterprisesRequest { page_size: 3, page_token: String::new() };
    let page = register.list_enterprises(page).await.unwrap().into_inner();
    assert_eq!(page.enterprises.len(), 3);
    assert_ne!(page.next_page_token, "");
    backend.stop().await;
}

#[tokio::test]
async fn paging_through_the_units_gives_every_unit_once() {
    let folder = tempfile::tempdir().unwrap();
    // The real list where it is at hand, else one of the same size made for this test. Tests run in the crate's
    // folder, two below the one from which the default path counts.
    let real = Path::new("../..").join(danhmuc::file::PATH_DEFAULT);
    let path = Some(real).filter(|real| real.is_file()).or_else(|| danhmuc::find(None));
    let path = path.unwrap_or_else(|| write_list(folder.path(), &made_up_list()));
    let backend = Running::start(BackendKind::Danhmuc, Some(path));
    let mut units = AdministrativeUnitServiceClient::new(backend.client());
    let mut request = ListAdministrativeUnitsRequest { page_size: 100, ..Default::default() };
    let (mut codes, mut provinces, mut pages) = (BTreeSet::new(), 0, 0);
    loop {
        let page = units.list_administrative_units(request.clone()).await.unwrap().into_inner();
        assert_eq!(page.total_size, 3_355);
        pages += 1;
        for unit in page.units {
            provinces += usize::from(unit.cap == "TINH");
            assert!(codes.insert(unit.ma_dvhc), "no unit comes twice");
        }
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!((codes.len(), provinces, pages), (3_355, 34, 34));

    let get = |code: &str| GetAdministrativeUnitRequest { ma_dvhc: code.into() };
    let ward = units.get_administrative_unit(get("00004")).await.unwrap().into_inner().unit.unwrap();
    assert_eq!((ward.cap.as_str(), ward.ma_cap_tren.as_str()), ("XA", "01"));
    assert_eq!(units.get_administrative_unit(get("99")).await.unwrap_err().code(), Code::NotFound);
    assert_eq!(units.get_administrative_unit(get("")).await.unwrap_err().code(), Code::InvalidArgument);
    backend.stop().await;
}

/// 34 provinces and 3,321 communes.
fn made_up_list() -> String {
    let provinces = (1..=34).map(|code| format!("{code:02},Tỉnh Ví Dụ {code},Sample Province,TINH,\n"));
    let communes = (1..=3_321).map(|code| format!("{:05},Xã Ví Dụ {code},Sample Commune,XA,01\n", code + 3));
    provinces.chain(communes).collect()
}

#[tokio::test]
async fn a_wrong_list_stops_the_start_and_names_the_line() {
    let folder = tempfile::tempdir().unwrap();
    let path =
        write_list(folder.path(), "01,Thành phố Hà Nội,Hanoi City,TINH,\n0004,Ba Đình,Ba Dinh,XA,01\n");
    let config = BackendConfig {
        listen: Listen::Unix(folder.path().join("backend.sock")),
        tls: None,
        dvhc_csv: Some(path.clone()),
    };
    let error = run(BackendKind::Danhmuc, config, std::future::pending()).await.unwrap_err();
    assert!(error.to_string().starts_with(&format!("{}:3: ", path.display())), "{error}");
}

#[test]
fn the_sample_says_that_it_is_one() {
    for unit in sample::units() {
        assert!(unit.ten_dvhc.ends_with(sample::SAMPLE_MARK_VI), "{unit:?}");
        assert!(unit.ten_tieng_anh.ends_with(sample::SAMPLE_MARK_EN), "{unit:?}");
    }
}

#[tokio::test]
async fn health_follows_the_backend_s_life() {
    for kind in BackendKind::ALL {
        let folder = tempfile::tempdir().unwrap();
        let list = write_list(folder.path(), "01,Thành phố Hà Nội,Hanoi City,TINH,\n");
        let backend = Running::start(kind, Some(list));
        let mut health = HealthClient::new(backend.client());
        let request = |service: &str| HealthCheckRequest { service: service.into() };
        let known = health.check(request(kind.service_name())).await.unwrap().into_inner();
        assert_eq!(known.status(), ServingStatus::Serving);
        assert_eq!(health.check(request("vn.nobody.v1.Nothing")).await.unwrap_err().code(), Code::NotFound);

        let mut watch = health.watch(request(kind.service_name())).await.unwrap().into_inner();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::Serving);
        backend.stop.send(()).unwrap();
        assert_eq!(watch.message().await.unwrap().unwrap().status(), ServingStatus::NotServing);
        drop((watch, health));
        backend.served.await.unwrap();
    }
}

#[tokio::test]
async fn unknown_methods_and_long_questions_are_refused() {
    let backend = Running::start(BackendKind::Dkdn, None);
    // The right question at the wrong backend.
    let mut register = CitizenServiceClient::new(backend.client());
    let request = GetCitizenRequest { so_dinh_danh: "999190000001".into() };
    assert_eq!(register.get_citizen(request).await.unwrap_err().code(), Code::Unimplemented);

    let mut register = EnterpriseServiceClient::new(backend.client());
    let long = GetEnterpriseRequest { ma_so_doanh_nghiep: "9".repeat(70_000) };
    assert_eq!(register.get_enterprise(long).await.unwrap_err().code(), Code::OutOfRange);
    backend.stop().await;
}

#[tokio::test]
async fn plaintext_is_served_on_loopback_only() {
    let config = |address: &str| BackendConfig {
        listen: Listen::Tcp(address.parse().unwrap()),
        tls: None,
        dvhc_csv: None,
    };
    let refused = Backend::open(BackendKind::Dkdn, config("0.0.0.0:0")).unwrap_err();
    assert!(matches!(refused, BackendError::Listen(_)), "{refused}");

    let backend = Backend::open(BackendKind::Dkdn, config("127.0.0.1:0")).unwrap();
    let address = backend.local_addr().unwrap().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let served = tokio::spawn(backend.serve(async {
        let _ = stopped.await;
    }));
    let mut register = EnterpriseServiceClient::new(client(Endpoint::Loopback(address)));
    let request = GetEnterpriseRequest { ma_so_doanh_nghiep: "9900000025".into() };
    register.get_enterprise(request).await.unwrap();
    stop.send(()).unwrap();
    served.await.unwrap();
}

#[tokio::test]
async fn over_mutual_tls_only_the_agency_s_own_node_is_answered() {
    let folder = tempfile::tempdir().unwrap();
    let pki = DevPki::create(&folder.path().join("pki"), "thu-nghiem").unwrap();
    let material = |agency: &str, name: &str| {
        let issued = pki.issue_node(agency, "DEMO – Cơ quan thử nghiệm", name, &["localhost"]).unwrap();
        let judge = Judge::new(pki.anchors().unwrap(), pki.lists().unwrap(), Profile::development()).unwrap();
        SharedMaterial::new(TlsMaterial::new(issued.credentials().unwrap(), judge).unwrap())
    };
    let config = BackendConfig {
        listen: Listen::Tcp("127.0.0.1:0".parse().unwrap()),
        tls: Some(material("G12", "backend")),
        dvhc_csv: None,
    };
    let backend = Backend::open(BackendKind::Dkdn, config).unwrap();
    let address = backend.local_addr().unwrap().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = tokio::spawn(backend.serve(async {
        let _ = stopped.await;
    }));

    let ask = async |material: SharedMaterial| {
        let endpoint =
            Endpoint::Mesh { address: address.to_string(), server_name: Some("localhost".into()), material };
        let request = GetEnterpriseRequest { ma_so_doanh_nghiep: "9900000017".into() };
        EnterpriseServiceClient::new(client(endpoint)).get_enterprise(request).await
    };
    ask(material("G12", "node")).await.unwrap();
    let stranger = ask(material("H26.90", "node")).await.unwrap_err();
    assert_eq!(stranger.code(), Code::PermissionDenied);
    assert!(stranger.message().contains("only the node of G12"), "{stranger}");
    stop.send(()).unwrap();
    serving.await.unwrap();
}

#[tokio::test]
async fn a_unix_socket_takes_no_tls() {
    let folder = tempfile::tempdir().unwrap();
    let pki = DevPki::create(&folder.path().join("pki"), "thu-nghiem").unwrap();
    let issued = pki.issue_node("G12", "DEMO – Cơ quan thử nghiệm", "backend", &["localhost"]).unwrap();
    let judge = Judge::new(pki.anchors().unwrap(), pki.lists().unwrap(), Profile::development()).unwrap();
    let material = TlsMaterial::new(issued.credentials().unwrap(), judge).unwrap();
    let config = BackendConfig {
        listen: Listen::Unix(folder.path().join("backend.sock")),
        tls: Some(SharedMaterial::new(material)),
        dvhc_csv: None,
    };
    let refused = Backend::open(BackendKind::Dkdn, config).unwrap_err();
    assert!(matches!(refused, BackendError::TlsOverUnix(_)), "{refused}");
}
