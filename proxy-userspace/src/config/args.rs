//! The arguments of one directive, read from left to right; what is wrong goes to the findings.

use super::diag::Findings;
use super::token::{Line, Position};
use crate::{near, units};
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// A line and how far it has been read.
pub(super) struct Args<'a> {
    pub(super) line: &'a Line,
    pub(super) findings: &'a mut Findings,
    /// Unknown words are passed over.
    pub(super) lenient: bool,
    at: usize,
}

impl<'a> Args<'a> {
    pub(super) fn new(line: &'a Line, findings: &'a mut Findings, lenient: bool) -> Self {
        Self { line, findings, lenient, at: 0 }
    }

    /// A section's first line, its keyword taken.
    pub(super) fn after_first(line: &'a Line, findings: &'a mut Findings) -> Self {
        Self { at: 1, ..Self::new(line, findings, false) }
    }

    /// Says that `what`, the word just taken, is HAProxy's way to something that is otherwise here.
    pub(super) fn moot(&mut self, what: &str, why: &str) {
        let at = self.last();
        let message = format!("'{what}' changes nothing here: {why}");
        self.findings.add(super::diag::Level::Notice, Some(at), message);
    }

    /// The next word without taking it; empty at the end.
    pub(super) fn peek(&self) -> &'a str {
        self.line.word(self.at)
    }

    /// Takes the next word, if there is one. An empty word ends a line, as in HAProxy.
    pub(super) fn next(&mut self) -> Option<&'a str> {
        let word = self.line.word(self.at);
        if word.is_empty() {
            return None;
        }
        self.at += 1;
        Some(word)
    }

    /// Takes the next word if it is `word`.
    pub(super) fn eat(&mut self, word: &str) -> bool {
        let found = self.peek() == word;
        self.at += usize::from(found);
        found
    }

    /// How many words have been taken.
    pub(super) fn taken(&self) -> usize {
        self.at
    }

    /// Goes on behind `count` more words.
    pub(super) fn skip(&mut self, count: usize) {
        self.at += count;
    }

    /// The place of the next word.
    pub(super) fn here(&self) -> Position {
        self.line.at(self.at)
    }

    /// The place of the word taken last.
    pub(super) fn last(&self) -> Position {
        self.line.at(self.at.saturating_sub(1))
    }

    /// An error at the next word, or behind the line's end.
    pub(super) fn wrong_here(&mut self, message: impl Into<String>) {
        self.findings.alert(self.here(), message);
    }

    /// An error at the word taken last.
    pub(super) fn wrong(&mut self, message: impl Into<String>) {
        self.findings.alert(self.last(), message);
    }

    /// Takes a word that must be there; `what` says what it should be ("a time such as 5s").
    pub(super) fn need(&mut self, directive: &str, what: &str) -> Option<&'a str> {
        let word = self.next();
        if word.is_none() {
            self.wrong_here(format!("'{directive}' expects {what}"));
        }
        word
    }

    /// Takes a time, in milliseconds.
    pub(super) fn time(&mut self, directive: &str) -> Option<u32> {
        self.time_in(directive, 1_000)
    }

    /// Takes a time whose bare number counts `unit_us` microseconds.
    pub(super) fn time_in(&mut self, directive: &str, unit_us: u64) -> Option<u32> {
        let word = self.need(directive, "a time such as 5s, 500ms or 1m")?;
        match units::time(word, unit_us) {
            Ok(time) => Some(time),
            Err(why) => {
                self.wrong(format!("'{directive}' expects a time such as 5s: '{word}' {why}"));
                None
            }
        }
    }

    /// Takes a time, in seconds.
    pub(super) fn seconds(&mut self, directive: &str) -> Option<u32> {
        let word = self.need(directive, "a time such as 30m or 8h")?;
        let time = units::time_s(word);
        time.map_err(|why| {
            self.wrong(format!("'{directive}' expects a time such as 30m: '{word}' {why}"));
        })
        .ok()
    }

    /// Takes a whole number within `range`.
    pub(super) fn number<T>(&mut self, directive: &str, range: RangeInclusive<T>) -> Option<T>
    where
        T: FromStr + PartialOrd + Display,
    {
        let what = format!("a number from {} to {}", range.start(), range.end());
        let word = self.need(directive, &what)?;
        let number = word.parse().ok().filter(|number| range.contains(number));
        if number.is_none() {
            // Who wrote it may have had ten thousand all the time, or ten.
            let digits = word.find(|c: char| !c.is_ascii_digit()).map_or("", |end| &word[..end]);
            let read = match digits {
                "" => String::new(),
                digits => format!("; HAProxy 2.6 reads it as {digits}"),
            };
            self.wrong(format!("'{directive}' expects {what}, not '{word}'{read}"));
        }
        number
    }

    /// Takes one of `choices` by its name.
    pub(super) fn choice<T: Copy>(&mut self, directive: &str, choices: &[(&str, T)]) -> Option<T> {
        let names = || choices.iter().map(|choice| choice.0);
        let list = names().collect::<Vec<_>>().join(", ");
        let word = self.need(directive, &format!("one of {list}"))?;
        let found = choices.iter().find(|choice| choice.0 == word).map(|choice| choice.1);
        if found.is_none() {
            let hint = near::hint(word, names());
            self.wrong(format!("'{directive}' expects one of {list}, not '{word}'{hint}"));
        }
        found
    }

    /// Says so if words are left.
    pub(super) fn end(&mut self, directive: &str) {
        if let Some(word) = self.next() {
            self.wrong(format!("'{directive}' takes no further word: '{word}' is one too many"));
            self.at = self.line.words.len();
        }
    }

    /// Takes everything that is left.
    pub(super) fn rest(&mut self) -> Vec<&'a str> {
        std::iter::from_fn(|| self.next()).collect()
    }
}
