//! Tells the story: to a person as lines, to a machine as one JSON object a step.

use serde_json::json;

use crate::out::{self, Colour, paint};

/// Tells and counts.
pub struct Narrator {
    json: bool,
    colourful: bool,
    scenario: &'static str,
    passed: usize,
    failed: usize,
}

impl Narrator {
    /// A narrator for a person or for a machine.
    pub fn new(json: bool) -> Self {
        Self { json, colourful: out::stdout_is_terminal(), scenario: "", passed: 0, failed: 0 }
    }

    /// Begins a chapter.
    pub fn scenario(&mut self, name: &'static str, title: &str) {
        self.scenario = name;
        if !self.json {
            out::line("");
            out::line(&paint(Colour::Bold, title, self.colourful));
        }
    }

    /// Says something that is no step.
    pub fn say(&self, text: &str) {
        if !self.json {
            out::line(&format!("  {}", paint(Colour::Dim, text, self.colourful)));
        }
    }

    /// Tells a step, and whether it went as the law has it.
    pub fn step(&mut self, step: &str, expected: &str, observed: &str, ok: bool) {
        if ok {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
        if self.json {
            let object = json!({
                "scenario": self.scenario, "step": step, "expected": expected, "observed": observed, "ok": ok,
            });
            out::line(&object.to_string());
            return;
        }
        let mark = if ok {
            paint(Colour::Green, "✓", self.colourful)
        } else {
            paint(Colour::Red, "✗", self.colourful)
        };
        out::line(&format!("  {mark} {step}"));
        if !ok {
            out::line(&format!("      expected {expected}"));
        }
        for line in observed.lines() {
            out::line(&format!("      {}", paint(Colour::Dim, line, self.colourful)));
        }
    }

    /// Tells the end; true where every step went well.
    pub fn end(&self) -> bool {
        if self.json {
            out::line(&json!({ "passed": self.passed, "failed": self.failed }).to_string());
        } else {
            out::line("");
            out::line(&format!("{} passed, {} failed", self.passed, self.failed));
        }
        self.failed == 0 && self.passed > 0
    }
}
