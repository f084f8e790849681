//! dev
pub struct DevPki;
