//! Open data: what every agency may ask for, for any purpose, and everybody may know of.

use lienthong_catalog::catalog::{Catalog, Entry};
use lienthong_proto::lienthong::compliance::v1::OpenDataset;
use lienthong_proto::lienthong::options::v1::Sharing;

use crate::generation::Generation;

/// Open datasets that one answer names.
pub const OPEN_DATASETS_MAX: usize = 1_000;

/// How many datasets in force are open.
pub fn count(catalog: &Catalog) -> u32 {
    u32::try_from(entries(catalog).count()).unwrap_or(u32::MAX)
}

/// The open datasets by id, each with its names and methods where its contract is published.
pub fn list(generation: &Generation) -> Vec<OpenDataset> {
    let catalog = generation.catalog();
    let mut list: Vec<OpenDataset> = entries(catalog).map(|entry| described(generation, entry)).collect();
    list.sort_by(|a, b| (&a.dataset, &a.provider).cmp(&(&b.dataset, &b.provider)));
    list.truncate(OPEN_DATASETS_MAX);
    list
}

fn entries(catalog: &Catalog) -> impl Iterator<Item = &Entry> {
    let entries = catalog.entries().iter();
    entries.filter(|entry| entry.status.is_in_force() && entry.classification.sharing == Sharing::Open)
}

fn described(generation: &Generation, entry: &Entry) -> OpenDataset {
    let provider = generation.catalog().agency(&entry.provider_code);
    let mut described = OpenDataset {
        dataset: entry.dataset_id.clone(),
        provider: entry.provider_code.clone(),
        provider_name_vi: provider.map(|agency| agency.name_vi.clone()).unwrap_or_default(),
        ..OpenDataset::default()
    };
    let Some(contract) = generation.contracts().get(&entry.provider_code) else { return described };
    if let Some(dataset) = contract.model.dataset(&entry.dataset_id) {
        described.name_vi.clone_from(&dataset.options().name_vi);
        described.name_en.clone_from(&dataset.options().name_en);
    }
    let methods = contract.model.methods().iter();
    let of_it =
        methods.filter(|method| method.dataset == entry.dataset_id && entry.methods.contains(&method.kind));
    described.methods = of_it.map(|method| method.path.clone()).collect();
    described
}
