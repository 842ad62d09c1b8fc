//! What the tests in a machine came to, by the lines of its console.

use std::fmt;

/// What was heard so far.
pub(super) struct Outcome {
    machine: String,
    passed: usize,
    ignored: usize,
    /// Tests, and programs that ended otherwise than their tests.
    failed: Vec<String>,
    program: String,
    /// The list was run to its end.
    whole: bool,
    /// The tests have begun: what comes now is for the user.
    shown: bool,
}

impl Outcome {
    /// Of a machine of which nothing was heard yet.
    pub(super) fn of(machine: String) -> Self {
        Self {
            machine,
            passed: 0,
            ignored: 0,
            failed: Vec::new(),
            program: String::new(),
            whole: false,
            shown: false,
        }
    }

    /// Hears a line, and shows it if it is of the tests. A line of a test that runs may have been
    /// broken by what others say on the console: what counts is what is said when all have run.
    pub(super) fn hear(&mut self, line: &str) {
        if let Some(words) = line.strip_prefix("xtask: ") {
            self.shown = true;
            self.note(words);
        } else if let Some(counts) = line.strip_prefix("test result: ") {
            self.passed += count(counts, " passed");
            self.ignored += count(counts, " ignored");
        } else if let Some(name) =
            line.strip_prefix("---- ").and_then(|rest| rest.strip_suffix(" stdout ----"))
        {
            self.failed.push(format!("{}: {name}", self.program));
        }
        if self.shown && !line.is_empty() {
            println!("    {line}");
        }
    }

    /// What `run.sh` says.
    fn note(&mut self, words: &str) {
        if let Some(name) = words.strip_suffix(" begins") {
            name.clone_into(&mut self.program);
        } else if let Some((name, status)) = words.split_once(" ended with ") {
            let told = self.failed.iter().any(|failed| failed.starts_with(&format!("{name}: ")));
            if status != "0" && !told {
                self.failed.push(format!("{name}: it ended with {status}"));
            }
        } else {
            self.whole = words == "that was all";
        }
    }

    /// Whether all is well, and there was something.
    pub(super) fn is_good(&self) -> bool {
        self.whole && self.failed.is_empty() && self.passed > 0
    }
}

/// The number before a word of "ok. 1 passed; 2 failed; 3 ignored; ...".
fn count(counts: &str, word: &str) -> usize {
    let mut words = counts.split([';', '.']).filter_map(|part| part.strip_suffix(word));
    words.next().and_then(|number| number.trim().parse().ok()).unwrap_or(0)
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { machine, passed, ignored, failed, .. } = self;
        write!(f, "{machine}: {passed} passed, {} failed, {ignored} ignored", failed.len())?;
        if !self.whole {
            write!(f, "; it ended before its tests")?;
        }
        failed.iter().try_for_each(|test| write!(f, "\n    {test}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(lines: &[&str]) -> Outcome {
        let mut outcome = Outcome::of("m".to_owned());
        lines.iter().for_each(|line| outcome.hear(line));
        outcome
    }

    #[test]
    fn all_is_well_where_every_program_ended_well() {
        let outcome = heard(&[
            "SeaBIOS",
            "xtask: one begins",
            "test a ... ok",
            "test b ... ignored, started by a",
            "test result: ok. 1 passed; 0 failed; 1 ignored; 0 measured; 3 filtered out; finished in 1.50s",
            "xtask: one ended with 0",
            "xtask: that was all",
        ]);
        assert!(outcome.is_good());
        assert_eq!(outcome.to_string(), "m: 1 passed, 0 failed, 1 ignored");
    }

    #[test]
    fn what_failed_is_named() {
        let lines = [
            "xtask: one begins",
            "test a ... ok",
            "test a::b ... [    7.1] a word of the kernel's",
            "FAILED",
            "---- a::b stdout ----",
            "test result: FAILED. 1 passed; 1 failed; 0 ignored; 0 measured",
        ];
        let outcome =
            heard(&[&lines[..], &["xtask: one ended with 101", "xtask: that was all"]].concat());
        assert!(!outcome.is_good());
        assert_eq!(outcome.to_string(), "m: 1 passed, 1 failed, 0 ignored\n    one: a::b");
        let outcome = heard(&["xtask: one begins", "xtask: one ended with 124"]);
        let words = "m: 0 passed, 1 failed, 0 ignored; it ended before its tests\n    \
                     one: it ended with 124";
        assert_eq!(outcome.to_string(), words);
    }

    #[test]
    fn a_machine_that_ran_nothing_or_broke_off_is_not_well() {
        assert!(!heard(&["xtask: that was all"]).is_good());
        assert!(!heard(&["xtask: one begins", "test a ... ok"]).is_good());
    }
}
