//! The one place that speaks to the terminal: results to stdout, everything else to stderr, colour only where
//! a person looks.

#![allow(clippy::print_stdout, clippy::print_stderr)]

use std::io::{IsTerminal, Write};

/// A result line.
pub fn line(text: &str) {
    // A closed pipe (`lienthong … | head`) ends the output, not the program.
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A result that must not be followed by a line break.
pub fn raw(text: &str) {
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes());
    let _ = out.flush();
}

/// Something for a person, beside the result.
pub fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// What went wrong, from the outside in, and what to do when the error knows it.
pub fn error(error: &anyhow::Error) {
    let mut text = format!("{} {error}", paint(Colour::Red, "error:", std::io::stderr().is_terminal()));
    for cause in error.chain().skip(1) {
        let cause = cause.to_string();
        // An error that shows its source in its own words does not need it said again.
        if !text.contains(&cause) {
            text.push_str("\n  because ");
            text.push_str(&cause);
        }
    }
    note(&text);
}

/// Colours of the terminal.
#[derive(Clone, Copy)]
pub enum Colour {
    /// Failures.
    Red,
    /// Successes.
    Green,
    /// Headings.
    Bold,
    /// What can be skipped.
    Dim,
}

/// The text in a colour, if `colourful`.
pub fn paint(colour: Colour, text: &str, colourful: bool) -> String {
    if !colourful || std::env::var_os("NO_COLOR").is_some() {
        return text.to_owned();
    }
    let code = match colour {
        Colour::Red => "31",
        Colour::Green => "32",
        Colour::Bold => "1",
        Colour::Dim => "2",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}

/// True where stdout is read by a person.
pub fn stdout_is_terminal() -> bool {
    std::io::stdout().is_terminal()
}
