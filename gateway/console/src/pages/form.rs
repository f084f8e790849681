//! Forms: fields, and the seal by which one that was made here for its sender is known.
//!
//! A browser shows a client certificate to whoever's page makes it send a form. So each form carries a seal over its sender's
//! certificate and the form's address, which no other site can make.

use std::fmt;
use std::sync::Arc;

use aws_lc_rs::{hmac, rand};
use maud::{Markup, html};
use rustls_pki_types::CertificateDer;

use crate::failure::Failure;
use crate::server::ConsoleError;
use crate::visit::Visit;

/// Seals forms; a new one each time the console starts.
pub struct Seal(hmac::Key);

impl Seal {
    /// A seal that nobody knows.
    ///
    /// # Errors
    /// [`ConsoleError::Random`].
    pub fn new() -> Result<Seal, ConsoleError> {
        let mut secret = [0; 32];
        rand::fill(&mut secret).map_err(|_| ConsoleError::Random)?;
        Ok(Seal(hmac::Key::new(hmac::HMAC_SHA256, &secret)))
    }

    fn over(&self, chain: &Arc<[CertificateDer<'static>]>, path: &str) -> String {
        hex::encode(hmac::sign(&self.0, &input(chain, path)))
    }
}

impl fmt::Debug for Seal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Seal")
    }
}

/// The hidden field of a form that is sent to `path`.
pub fn seal(visit: &Visit, path: &str) -> Markup {
    html! { input type="hidden" name="seal" value=(visit.house.seal.over(&visit.chain, path)); }
}

/// Whether a form came from a page of ours for this person.
///
/// # Errors
/// [`Failure::Forged`].
pub fn check(visit: &Visit, path: &str, seal: &str) -> Result<(), Failure> {
    let seal = hex::decode(seal).map_err(|_| Failure::Forged)?;
    hmac::verify(&visit.house.seal.0, &input(&visit.chain, path), &seal).map_err(|_| Failure::Forged)
}

fn input(chain: &Arc<[CertificateDer<'static>]>, path: &str) -> Vec<u8> {
    let leaf = chain.first().map(AsRef::as_ref).unwrap_or_default();
    [leaf, &[0], path.as_bytes()].concat()
}

/// A line to type in.
pub fn line(name: &str, label: &str, value: &str, hint: &str) -> Markup {
    html! { div { label for=(name) { (label) } input type="text" id=(name) name=(name) value=(value) placeholder=(hint) autocomplete="off"; } }
}

/// A date to choose.
pub fn date(name: &str, label: &str, value: &str) -> Markup {
    html! { div { label for=(name) { (label) } input type="date" id=(name) name=(name) value=(value); } }
}

/// One of several; the first stands for none.
pub fn choice<'a>(
    name: &str,
    label: &str,
    none: &str,
    value: &str,
    options: impl IntoIterator<Item = (&'a str, String)>,
) -> Markup {
    html! {
        div {
            label for=(name) { (label) }
            select id=(name) name=(name) {
                option value="" { (none) }
                @for (word, text) in options {
                    option value=(word) selected[word == value] { (text) }
                }
            }
        }
    }
}
