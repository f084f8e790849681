//! Every parser of a peer's bytes, as a function from bytes to nothing, with seeds to start from.
//!
//! **What.** A [`Target`] is one parser behind one door. Whatever bytes it is given, it must neither panic nor hang, nor
//! take memory out of proportion; where bytes are read back from what was read, both must agree.
//!
//! **Why a crate of its own.** The same functions run twice: as ordinary tests over seeds and mutated seeds, in every run of
//! `tests/run`; and under a coverage-guided fuzzer (`tests/fuzz`, outside the workspace), for as long as one likes.
//! What that found is kept in `corpus/` and stays mended.

// A panic is how a target says that something is wrong.
#![allow(clippy::unwrap_used, clippy::panic)]

mod audit;
mod call;
mod catalog;
mod identity;
mod web;

/// One parser, under hostile bytes.
pub struct Target {
    /// Its name: of the fuzzer's target and of its corpus.
    pub name: &'static str,
    /// Reads the bytes; panics only where the parser is wrong.
    pub run: fn(&[u8]),
    /// Well-formed inputs, made anew: no key and no certificate is ever committed.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them, by name.
pub const TARGETS: &[Target] = &[
    Target { name: "batch", run: audit::batch, seeds: audit::batch_seeds },
    Target { name: "bundle", run: catalog::bundle, seeds: catalog::bundle_seeds },
    Target { name: "bundle_delta", run: catalog::bundle_delta, seeds: catalog::bundle_delta_seeds },
    Target { name: "call_headers", run: call::headers, seeds: call::headers_seeds },
    Target { name: "catalog", run: catalog::catalog, seeds: catalog::catalog_seeds },
    Target { name: "certificate", run: identity::certificate, seeds: identity::certificate_seeds },
    Target { name: "compression", run: call::compression, seeds: call::compression_seeds },
    Target { name: "descriptor_set", run: catalog::descriptor_set, seeds: catalog::descriptor_set_seeds },
    Target { name: "filter", run: call::filter, seeds: call::filter_seeds },
    Target { name: "framing", run: call::framing, seeds: call::framing_seeds },
    Target { name: "http", run: web::http, seeds: web::http_seeds },
    Target { name: "index_segment", run: audit::index_segment, seeds: audit::index_segment_seeds },
    Target { name: "journal", run: audit::journal, seeds: audit::journal_seeds },
    Target { name: "key_rows", run: audit::key_rows, seeds: audit::key_rows_seeds },
    Target { name: "log_segment", run: audit::log_segment, seeds: audit::log_segment_seeds },
    Target { name: "note", run: audit::note, seeds: audit::note_seeds },
    Target { name: "record", run: audit::record, seeds: audit::record_seeds },
    Target {
        name: "revocation_list",
        run: identity::revocation_list,
        seeds: identity::revocation_list_seeds,
    },
    Target { name: "tile", run: audit::tile, seeds: audit::tile_seeds },
    Target { name: "token", run: identity::token, seeds: identity::token_seeds },
    Target { name: "trust_file", run: identity::trust_file, seeds: identity::trust_file_seeds },
];

/// The target of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}

/// The first two bytes as a number, and the rest.
fn number(data: &[u8]) -> (usize, &[u8]) {
    match data {
        [high, low, rest @ ..] => (usize::from(u16::from_be_bytes([*high, *low])), rest),
        short => (0, short),
    }
}
