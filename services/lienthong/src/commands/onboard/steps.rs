//! What was done and how long it took: a line a step for people, an object a step for machines.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::out::{self, Colour, paint};

/// Tells the steps.
pub struct Steps {
    json: bool,
    colourful: bool,
    begun: Instant,
    last: Instant,
    waited: Duration,
    ended: bool,
}

impl Steps {
    /// Begins to count.
    pub fn new(json: bool) -> Self {
        let now = Instant::now();
        let colourful = out::stdout_is_terminal();
        Self { json, colourful, begun: now, last: now, waited: Duration::ZERO, ended: false }
    }

    /// A step was taken: its id, what came of it, details for people, facts for machines.
    pub fn done(&mut self, step: &str, what: &str, detail: &str, facts: &Value) {
        let took = self.lap();
        if self.json {
            let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            out::line(&json!({ "step": step, "ms": millis, "facts": facts }).to_string());
            return;
        }
        let mark = paint(Colour::Green, "✓", self.colourful);
        out::line(&format!("{mark} {what}  {}", paint(Colour::Dim, &seconds(took), self.colourful)));
        for line in detail.lines() {
            out::line(&format!("    {}", paint(Colour::Dim, line, self.colourful)));
        }
    }

    /// Something is waited for that others must do; told once.
    pub fn waits(&self, what: &str) {
        if self.json {
            out::line(&json!({ "waits_for": what }).to_string());
        } else {
            out::line(&format!("… {what}"));
        }
    }

    /// The time since the last step was spent waiting for people.
    pub fn waited(&mut self) {
        self.waited += self.last.elapsed();
    }

    /// What somebody must do before this can go on.
    pub fn next(&mut self, what: &str, how: &str) {
        self.last = Instant::now();
        if self.json {
            out::line(&json!({ "next": what, "how": how }).to_string());
            return;
        }
        out::line(&format!("→ {}", paint(Colour::Bold, what, self.colourful)));
        for line in how.lines() {
            out::line(&format!("    {line}"));
        }
    }

    /// The end, told once: how long all of it took, and how much of that was waiting for people.
    pub fn end(&mut self, done: bool) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let total = self.begun.elapsed();
        if self.json {
            let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
            let object = json!({ "done": done, "total_ms": millis(total), "waited_ms": millis(self.waited) });
            out::line(&object.to_string());
        } else if done {
            let (total, waited) = (seconds(total), seconds(self.waited));
            out::line(&format!("done in {total}, of which {waited} waiting for approval"));
        }
    }

    fn lap(&mut self) -> Duration {
        let now = Instant::now();
        let took = now - self.last;
        self.last = now;
        took
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
