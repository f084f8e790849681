//! The one place that speaks to the terminal: results to stdout, progress to stderr.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::Write;

/// A result.
pub fn line(text: &str) {
    // A reader that left wants no more: there is nobody to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// How it goes.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
