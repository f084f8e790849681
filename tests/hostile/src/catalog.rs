//! What decides: catalog files, contracts, rights bundles and their differences.

use std::sync::LazyLock;

use lienthong_catalog::catalog::Catalog;
use lienthong_catalog::source::SourceFile;
use lienthong_catalog::{ContractModel, RightsIndex, delta};
use lienthong_proto::descriptors;
use lienthong_proto::lienthong::control::v1::{BundleDelta, Party, RightsBundle};
use prost::Message;

/// Largest bundle of these tests, bytes.
const BUNDLE_BYTES_MAX: usize = 1024 * 1024;

/// One file of a catalog, in the place of each of the sample's.
pub fn catalog(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Err(mistakes) = Catalog::read(&[SourceFile { name: "thu.yaml".to_owned(), text: text.to_owned() }])
    {
        assert!(!mistakes.is_empty(), "refused without a word");
    }
}

pub fn catalog_seeds() -> Vec<Vec<u8>> {
    lienthong_samples::catalog::CATALOG.iter().map(|(_, text)| text.as_bytes().to_vec()).collect()
}

/// A provider's contract.
pub fn descriptor_set(data: &[u8]) {
    if let Ok(model) = ContractModel::read(data) {
        let _ = model.has_errors();
    }
}

pub fn descriptor_set_seeds() -> Vec<Vec<u8>> {
    [descriptors::DANCU, descriptors::DANHMUC].map(<[u8]>::to_vec).into()
}

/// A rights bundle whose signature was good: a broker that lost its mind.
pub fn bundle(data: &[u8]) {
    let Ok(bundle) = RightsBundle::decode(data) else { return };
    if let Ok(index) = RightsIndex::from_bundle(&bundle) {
        assert_eq!(index.epoch(), bundle.epoch);
    }
}

pub fn bundle_seeds() -> Vec<Vec<u8>> {
    vec![SEED.clone()]
}

/// The difference of two bundles, applied to the one held.
pub fn bundle_delta(data: &[u8]) {
    let Ok(told) = BundleDelta::decode(data) else { return };
    if let Ok(target) = delta::apply(&SEED, &told.pieces, BUNDLE_BYTES_MAX) {
        assert!(target.len() <= BUNDLE_BYTES_MAX);
    }
}

pub fn bundle_delta_seeds() -> Vec<Vec<u8>> {
    let mut bundle = RightsBundle::decode(SEED.as_slice()).unwrap();
    bundle.epoch += 1;
    let pieces = delta::between(&SEED, &bundle.encode_to_vec()).unwrap_or_default();
    vec![BundleDelta { pieces, ..BundleDelta::default() }.encode_to_vec()]
}

static SEED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let party =
        |number: u32| Party { code: format!("G{number:02}"), name_vi: "DEMO".to_owned(), ..Party::default() };
    RightsBundle {
        mesh: "thu-nghiem".to_owned(),
        audience: "agencies/G01/nodes/n1".to_owned(),
        epoch: 7,
        parties: (1..40).map(party).collect(),
        ..RightsBundle::default()
    }
    .encode_to_vec()
});
