//! Tests on samples, and conditions made of tests (HAProxy's ACLs): pure evaluation.

use super::regex::Regex;
use super::sample::{Expression, Sample, View, address, number};
use crate::prefix::Prefix;
use std::sync::Arc;

/// A condition: `if A B or !C`, `unless D`.
#[derive(Clone, Debug)]
pub struct Condition {
    /// `unless`.
    pub unless: bool,
    /// One of these must hold; in it, all of its terms must.
    pub any_of: Vec<Vec<Term>>,
}

/// A named or anonymous ACL, possibly negated.
#[derive(Clone, Debug)]
pub struct Term {
    /// `!`.
    pub negate: bool,
    /// The ACL's tests: one of them must hold.
    pub tests: Arc<[Test]>,
}

/// An expression, and what its samples must be.
#[derive(Clone, Debug)]
pub struct Test {
    /// What is looked at.
    pub expression: Expression,
    /// What it must be.
    pub patterns: Patterns,
}

/// What samples are compared with; one of the patterns must match.
#[derive(Clone, Debug)]
pub enum Patterns {
    /// `-m found`: there is a sample.
    Found,
    /// `-m bool`: it is true, or a number that is not 0.
    Truth,
    /// `-m int`: inclusive ranges.
    Numbers(Vec<(i64, i64)>),
    /// `-m len`: inclusive ranges of the text's length.
    Lengths(Vec<(i64, i64)>),
    /// `-m ip`.
    Networks(Vec<Prefix>),
    /// `-m str`, `beg`, `end`, `sub`, `dir`, `dom`.
    Text {
        /// How texts are compared.
        how: TextMatch,
        /// `-i`: without regard to case; then `texts` are in lower case.
        ignore_case: bool,
        /// The texts.
        texts: Vec<Vec<u8>>,
    },
    /// `-m reg`.
    Regex(Vec<Regex>),
}

/// How texts are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextMatch {
    /// `str`: the whole text.
    Exact,
    /// `beg`: its beginning.
    Begin,
    /// `end`: its end.
    End,
    /// `sub`: anywhere.
    Contains,
    /// `dir`: between slashes.
    Directory,
    /// `dom`: between dots.
    Domain,
}

impl Condition {
    /// Whether it holds.
    #[must_use]
    pub fn holds(&self, view: &View<'_>) -> bool {
        let all = |terms: &Vec<Term>| terms.iter().all(|term| term.holds(view));
        self.any_of.iter().any(all) != self.unless
    }

    /// What it looks at.
    pub fn expressions(&self) -> impl Iterator<Item = &Expression> {
        let tests = self.any_of.iter().flatten().flat_map(|term| term.tests.iter());
        tests.map(|test| &test.expression)
    }

    /// Whether it holds; nothing where that depends on what is still to come.
    #[must_use]
    pub fn outlook(&self, view: &View<'_>) -> Option<bool> {
        let all = |terms: &Vec<Term>| {
            // One that does not hold is enough.
            any_of(terms.iter().map(|term| term.outlook(view).map(|holds| !holds)))
                .map(|fails| !fails)
        };
        any_of(self.any_of.iter().map(all)).map(|holds| holds != self.unless)
    }
}

/// Whether one of them is true; nothing where one might be that is not known yet.
fn any_of(truths: impl Iterator<Item = Option<bool>>) -> Option<bool> {
    let mut none_is = Some(false);
    for truth in truths {
        match truth {
            Some(true) => return truth,
            Some(false) => {}
            None => none_is = None,
        }
    }
    none_is
}

impl Term {
    fn holds(&self, view: &View<'_>) -> bool {
        self.tests.iter().any(|test| test.holds(view)) != self.negate
    }

    fn outlook(&self, view: &View<'_>) -> Option<bool> {
        any_of(self.tests.iter().map(|test| test.outlook(view))).map(|holds| holds != self.negate)
    }
}

impl Test {
    /// Whether one of the expression's samples matches one of the patterns.
    #[must_use]
    pub fn holds(&self, view: &View<'_>) -> bool {
        self.expression.any(view, &mut |sample| self.patterns.match_one(sample))
    }

    fn outlook(&self, view: &View<'_>) -> Option<bool> {
        let holds = self.holds(view);
        (holds || !self.expression.fetch.may_change(view)).then_some(holds)
    }
}

impl Patterns {
    fn match_one(&self, sample: Sample<'_>) -> bool {
        match self {
            Self::Found => true,
            Self::Truth => match sample {
                Sample::Truth(truth) => truth,
                _ => number(sample).is_some_and(|number| number != 0),
            },
            Self::Numbers(ranges) => number(sample).is_some_and(|n| within(ranges, n)),
            Self::Lengths(ranges) => with_text(sample, |text| {
                within(ranges, i64::try_from(text.len()).unwrap_or(i64::MAX))
            }),
            Self::Networks(networks) => address(sample)
                .is_some_and(|ip| networks.iter().any(|network| network.contains(ip))),
            Self::Text { how, ignore_case: true, texts } => with_text(sample, |text| {
                let lower = text.to_ascii_lowercase();
                texts.iter().any(|pattern| how.matches(&lower, pattern))
            }),
            Self::Text { how, texts, .. } => {
                with_text(sample, |text| texts.iter().any(|pattern| how.matches(text, pattern)))
            }
            Self::Regex(list) => with_text(sample, |text| list.iter().any(|re| re.is_match(text))),
        }
    }
}

impl TextMatch {
    pub(super) fn matches(self, text: &[u8], pattern: &[u8]) -> bool {
        match self {
            Self::Exact => text == pattern,
            Self::Begin => text.starts_with(pattern),
            Self::End => text.ends_with(pattern),
            Self::Contains => memchr::memmem::find(text, pattern).is_some(),
            Self::Directory => between(text, pattern, b"/?"),
            Self::Domain => between(text, pattern, b"/?.:"),
        }
    }
}

/// Whether `pattern`, its own delimiters at both ends aside, stands in `text` as whole parts
/// between delimiters.
fn between(text: &[u8], pattern: &[u8], delimiters: &[u8]) -> bool {
    let is_delimiter = |byte: &u8| delimiters.contains(byte);
    let start = pattern.iter().position(|byte| !is_delimiter(byte)).unwrap_or(pattern.len());
    let end = pattern.iter().rposition(|byte| !is_delimiter(byte)).map_or(start, |last| last + 1);
    let pattern = &pattern[start..end];
    if pattern.is_empty() {
        return false;
    }
    let mut starts = (0..text.len()).filter(|&at| at == 0 || is_delimiter(&text[at - 1]));
    starts.any(|at| {
        let behind = text[at..].strip_prefix(pattern);
        behind.is_some_and(|behind| behind.first().is_none_or(is_delimiter))
    })
}

fn within(ranges: &[(i64, i64)], number: i64) -> bool {
    ranges.iter().any(|&(low, high)| (low..=high).contains(&number))
}

fn with_text(sample: Sample<'_>, test: impl FnOnce(&[u8]) -> bool) -> bool {
    if let Sample::Text(text) = sample {
        return test(text);
    }
    let mut text = Vec::new();
    sample.write(&mut text);
    test(&text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::sample::Fetch;

    #[test]
    fn directories_and_domains_match_whole_parts() {
        let dir = |text: &str, pattern: &str| {
            TextMatch::Directory.matches(text.as_bytes(), pattern.as_bytes())
        };
        assert!(dir("/a/static/b", "static") && dir("/static", "/static/"));
        assert!(!dir("/a/staticx/b", "static") && !dir("/a", ""));
        let dom = |text: &str, pattern: &str| {
            TextMatch::Domain.matches(text.as_bytes(), pattern.as_bytes())
        };
        assert!(dom("www.example.com:80", "example") && !dom("www.examples.com", "example"));
        // Where they begin within one that is none.
        assert!(dir("/xa/a/a/b", "a/a") && dom("xa.a.a", "a.a") && !dom("xa.ab", "a.a"));
    }

    /// As HAProxy's `acl_exec_cond()` has it: what is not known yet counts where nothing else decides.
    #[test]
    fn what_is_still_to_come_decides_where_nothing_else_does() {
        let term = |fetch: Fetch, negate| {
            let expression = Expression { fetch, converts: Vec::new() };
            Term { negate, tests: [Test { expression, patterns: Patterns::Truth }].into() }
        };
        let yes = || term(Fetch::Truth(true), false);
        let no = || term(Fetch::Truth(false), false);
        let open = || term(Fetch::WaitEnd, false);
        let cases = [
            (vec![vec![open()]], None),
            (vec![vec![term(Fetch::WaitEnd, true)]], None),
            (vec![vec![open(), no()]], Some(false)),
            (vec![vec![open(), yes()]], None),
            (vec![vec![open()], vec![yes()]], Some(true)),
            (vec![vec![open()], vec![no()]], None),
            (vec![vec![no()], vec![yes(), term(Fetch::Truth(false), true)]], Some(true)),
        ];
        for (any_of, expected) in cases {
            for unless in [false, true] {
                let condition = Condition { unless, any_of: any_of.clone() };
                let partial = View { is_partial: true, ..View::default() };
                let outlook = condition.outlook(&partial);
                assert_eq!(outlook, expected.map(|holds| holds != unless), "{condition:?}");
                // In the end it is what it is.
                let whole = View::default();
                assert_eq!(condition.outlook(&whole), Some(condition.holds(&whole)));
            }
        }
    }
}
