//! What is wrong with a configuration: every finding with its place, in HAProxy's way.

use super::token::{Line, Position};
use std::fmt;

/// How bad a finding is; HAProxy's names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For the reader's information.
    Notice,
    /// It works, but hardly as meant.
    Warning,
    /// It does not work: the configuration is refused.
    Alert,
}

impl Level {
    /// The name in brackets before a message.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Notice => "NOTICE",
            Self::Warning => "WARNING",
            Self::Alert => "ALERT",
        }
    }
}

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// Where. `None`: the configuration as a whole.
    pub at: Option<Position>,
    /// What is wrong and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "[{}] ", self.level.as_str())?;
        if let Some(at) = &self.at {
            write!(out, "{at}: ")?;
        }
        out.write_str(&self.message)
    }
}

/// Every finding, in the order in which they were made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The findings themselves.
    pub list: Vec<Finding>,
}

impl Findings {
    /// Adds an error at `at`.
    pub fn alert(&mut self, at: Position, message: impl Into<String>) {
        self.add(Level::Alert, Some(at), message);
    }

    /// Adds an error at word `index` of `line`.
    pub fn alert_word(&mut self, line: &Line, index: usize, message: impl Into<String>) {
        self.alert(line.at(index), message);
    }

    /// Adds a warning at `at`.
    pub fn warn(&mut self, at: Position, message: impl Into<String>) {
        self.add(Level::Warning, Some(at), message);
    }

    /// Adds a finding.
    pub fn add(&mut self, level: Level, at: Option<Position>, message: impl Into<String>) {
        self.list.push(Finding { level, at, message: message.into() });
    }

    /// Whether the configuration is refused.
    #[must_use]
    pub fn is_fatal(&self) -> bool {
        self.list.iter().any(|finding| finding.level == Level::Alert)
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, finding) in self.list.iter().enumerate() {
            if index > 0 {
                out.write_str("\n")?;
            }
            finding.fmt(out)?;
        }
        Ok(())
    }
}
