//! Step 3: which dataset stands behind a method, and whose it is.

use std::sync::Arc;

use lienthong_catalog::{Method, Resolution, RightsIndex};
use lienthong_proto::{reason::Reason, status::MeshError};

/// The dataset's method behind a path.
pub fn resolve(rights: &RightsIndex, path: &str, provider: Option<&str>) -> Result<Arc<Method>, MeshError> {
    match rights.method(path, provider) {
        Resolution::One(method) => Ok(method),
        Resolution::Ambiguous(providers) => Err(MeshError::new(
            Reason::DenyContext,
            format!("name the provider in mesh-provider: {}", providers.join(", ")),
        )),
        Resolution::Unknown => Err(MeshError::new(
            Reason::DenyUnknownMethod,
            match provider {
                Some(provider) => format!("{path} of {provider}"),
                None => path.to_owned(),
            },
        )),
    }
}
