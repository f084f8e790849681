//! The watch rules that the operator declares, or those of the house.

use std::path::Path;

use lienthong_certs::files;
use lienthong_watch::Rules;
pub use lienthong_watch::rules::DEFAULTS;

use crate::error::BrokerError;
use crate::limits::WATCH_RULES_BYTES_MAX;

/// Reads the rules at `path`; those of the house where there is none. Blocking.
///
/// # Errors
/// [`BrokerError::Config`] naming what is wrong.
pub fn read(path: Option<&Path>) -> Result<Rules, BrokerError> {
    let Some(path) = path else { return Ok(Rules::default()) };
    let wrong = |problem: String| BrokerError::Config { key: "watch_rules", problem };
    let bytes = files::read(path, WATCH_RULES_BYTES_MAX).map_err(|error| wrong(error.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| wrong(format!("{} is not UTF-8", path.display())))?;
    Rules::parse(&text).map_err(|error| wrong(format!("{}: {error}", path.display())))
}
