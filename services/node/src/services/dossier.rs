//! Where the components of a dossier are to be had: nobody is asked on paper for what the mesh has.

use std::collections::{BTreeMap, BTreeSet};

use lienthong_catalog::RightsIndex;
use lienthong_proto::{
    lienthong::{
        catalog::v1::{
            CallableMethod, CheckDossierRequest, CheckDossierResponse, ComponentAvailability,
            ComponentSource, DossierComponent, SharedDataset,
        },
        options::v1::Purpose,
    },
    reason::Reason,
    status::MeshError,
};
use tonic::Status;

/// Components that one question may name.
pub const COMPONENTS_MAX: usize = 100;
/// The longest name of a component, bytes.
pub const COMPONENT_BYTES_MAX: usize = 256;

/// Answers the question by what the caller may call.
pub fn check(
    rights: &RightsIndex,
    callable: &[CallableMethod],
    asked: CheckDossierRequest,
) -> Result<CheckDossierResponse, Status> {
    let purpose = asked.purpose();
    let fits = |component: &String| !component.is_empty() && component.len() <= COMPONENT_BYTES_MAX;
    if asked.components.is_empty()
        || asked.components.len() > COMPONENTS_MAX
        || !asked.components.iter().all(fits)
    {
        let detail = format!("name 1 to {COMPONENTS_MAX} components of at most {COMPONENT_BYTES_MAX} bytes");
        return Err(MeshError::new(Reason::DenyContext, detail).to_status());
    }
    let datasets = Datasets::of(rights, callable);
    let components =
        asked.components.into_iter().map(|component| datasets.look_up(component, purpose)).collect();
    Ok(CheckDossierResponse { components })
}

/// What the caller may call, by dataset.
struct Datasets<'c> {
    callable: &'c [CallableMethod],
    /// By provider and id.
    declared: BTreeMap<(String, String), SharedDataset>,
}

impl<'c> Datasets<'c> {
    fn of(rights: &RightsIndex, callable: &'c [CallableMethod]) -> Self {
        let providers: BTreeSet<&str> = callable.iter().map(|method| method.provider.as_str()).collect();
        let declared = providers.into_iter().flat_map(|provider| {
            let of = move |dataset: SharedDataset| ((provider.to_owned(), dataset.id.clone()), dataset);
            rights.shared_datasets(provider).into_iter().map(of)
        });
        Self { callable, declared: declared.collect() }
    }

    fn look_up(&self, component: String, purpose: Purpose) -> DossierComponent {
        let mut sources: BTreeMap<(String, String, String), ComponentSource> = BTreeMap::new();
        for method in self.callable {
            let Some(dataset) = self.declared.get(&(method.provider.clone(), method.dataset.clone())) else {
                continue;
            };
            for granted in &method.purposes {
                if purpose != Purpose::Unspecified
                    && ![purpose, Purpose::Unspecified].contains(&granted.purpose())
                {
                    continue;
                }
                // A masked value is no paper.
                let whole = |id: &String| granted.fields.contains(id) && !granted.masked_fields.contains(id);
                for field in named(dataset, &component) {
                    if field.as_ref().is_some_and(|id| !whole(id)) {
                        continue;
                    }
                    let field = field.unwrap_or_default();
                    let key = (method.provider.clone(), method.dataset.clone(), field.clone());
                    let source = sources.entry(key).or_insert_with(|| ComponentSource {
                        provider: method.provider.clone(),
                        dataset: method.dataset.clone(),
                        field,
                        ..ComponentSource::default()
                    });
                    if !source.purposes.contains(&granted.purpose) {
                        source.purposes.push(granted.purpose);
                    }
                    if !source.methods.contains(&method.path) {
                        source.methods.push(method.path.clone());
                    }
                }
            }
        }
        answered(component, sources.into_values().collect())
    }
}

/// The fields of a dataset that a component names; `None`: the dataset itself.
fn named(dataset: &SharedDataset, component: &str) -> Vec<Option<String>> {
    if component == dataset.id {
        return vec![None];
    }
    if let Some((id, field)) = component.split_once('/') {
        let found = dataset.fields.iter().filter(|one| dataset.id == id && one.id == field);
        return found.map(|one| Some(one.id.clone())).collect();
    }
    let found = dataset.fields.iter().filter(|one| one.dictionary_ref == component);
    found.map(|one| Some(one.id.clone())).collect()
}

fn answered(component: String, sources: Vec<ComponentSource>) -> DossierComponent {
    let (availability, text_vi, text_en) = if sources.is_empty() {
        (
            ComponentAvailability::NotAvailable,
            "Hệ thống không có quyền lấy thành phần này qua mạng liên thông cho mục đích đã nêu.",
            "The system has no right to this component over the mesh for the purpose stated.",
        )
    } else {
        (
            ComponentAvailability::AvailableViaMesh,
            "Khai thác qua mạng liên thông; không yêu cầu nộp giấy tờ (R-08).",
            "Get it over the mesh; do not ask for it on paper (R-08).",
        )
    };
    DossierComponent {
        component,
        availability: availability.into(),
        sources,
        text_vi: text_vi.to_owned(),
        text_en: text_en.to_owned(),
    }
}
