//! `.if`, `.elif`, `.else`, `.endif`, and the messages `.notice`, `.warning`, `.alert`, `.diag`.

use super::diag::{Findings, Level};
use super::token::{Environment, Line, Position};

/// The version that `version_atleast` and `version_before` compare with: the language's.
const VERSION: [u32; 3] = [2, 6, 0];

/// HAProxy's predicates, for the message about an unknown one.
const PREDICATES: &str =
    "defined(), streq(), strneq(), feature(), version_atleast(), version_before()";

/// The nested blocks of one file.
#[derive(Default)]
pub(super) struct Blocks {
    open: Vec<Block>,
}

struct Block {
    at: Position,
    /// Its lines are read now.
    active: bool,
    /// One of its branches was read, or none may be as the block around it is skipped.
    done: bool,
    /// `.else` has been seen.
    last: bool,
}

impl Blocks {
    /// Whether lines are passed over.
    pub(super) fn is_skipping(&self) -> bool {
        self.open.last().is_some_and(|block| !block.active)
    }

    /// Reads `line` if it is one of these directives, and says whether it was.
    pub(super) fn directive(
        &mut self,
        line: &Line,
        findings: &mut Findings,
        environment: Environment<'_>,
    ) -> bool {
        let rest = || line.words[1..].iter().map(|word| word.text.as_str()).collect::<Vec<_>>();
        let eval = |findings: &mut Findings| match evaluate(&rest().join(" "), environment) {
            Ok(truth) => truth,
            Err(why) => {
                findings.alert_word(line, 1, why);
                false
            }
        };
        match line.word(0) {
            ".if" => {
                let skipping = self.is_skipping();
                let active = !skipping && eval(findings);
                let done = skipping || active;
                self.open.push(Block { at: line.at(0), active, done, last: false });
            }
            word @ (".elif" | ".else") => {
                let Some(block) = self.open.last_mut().filter(|block| !block.last) else {
                    findings.alert_word(line, 0, format!("'{word}' without an '.if' before it"));
                    return true;
                };
                block.last = word == ".else";
                block.active = !block.done && (block.last || eval(findings));
                block.done |= block.active;
            }
            ".endif" => {
                if self.open.pop().is_none() {
                    findings.alert_word(line, 0, "'.endif' without an '.if' before it");
                }
            }
            word if word.starts_with('.') && !self.is_skipping() => {
                let level = match word {
                    ".diag" => None,
                    ".notice" => Some(Level::Notice),
                    ".warning" => Some(Level::Warning),
                    ".alert" => Some(Level::Alert),
                    _ => {
                        let known = [
                            ".if", ".elif", ".else", ".endif", ".diag", ".notice", ".warning",
                            ".alert",
                        ];
                        let hint = crate::near::hint(word, known);
                        findings.alert_word(line, 0, format!("unknown directive '{word}'{hint}"));
                        return true;
                    }
                };
                if let Some(level) = level {
                    findings.add(level, Some(line.at(0)), rest().join(" "));
                }
            }
            _ => return false,
        }
        true
    }

    /// The file's end: every block must be closed.
    pub(super) fn end(&mut self, findings: &mut Findings) {
        for block in self.open.drain(..) {
            findings.alert(block.at, "this '.if' has no '.endif'");
        }
    }
}

/// Evaluates `A || B && !C`; an empty text is false.
fn evaluate(text: &str, environment: Environment<'_>) -> Result<bool, String> {
    let text = text.trim();
    if text.is_empty() {
        return Ok(false);
    }
    let mut parser = Expression { text, environment, depth: 0 };
    let truth = parser.any()?;
    if parser.text.is_empty() {
        return Ok(truth);
    }
    Err(format!("'{}' behind the condition is not understood", parser.text))
}

struct Expression<'a> {
    text: &'a str,
    environment: Environment<'a>,
    depth: u32,
}

impl<'a> Expression<'a> {
    fn eat(&mut self, token: &str) -> bool {
        let rest = self.text.trim_start();
        let found = rest.strip_prefix(token);
        self.text = found.unwrap_or(rest);
        found.is_some()
    }

    fn any(&mut self) -> Result<bool, String> {
        let mut truth = self.all()?;
        while self.eat("||") {
            truth |= self.all()?;
        }
        Ok(truth)
    }

    fn all(&mut self) -> Result<bool, String> {
        let mut truth = self.one()?;
        while self.eat("&&") {
            truth &= self.one()?;
        }
        Ok(truth)
    }

    fn one(&mut self) -> Result<bool, String> {
        self.depth += 1;
        if self.depth > 64 {
            return Err("the condition is nested too deeply".to_owned());
        }
        let truth = if self.eat("!") {
            !self.one()?
        } else if self.eat("(") {
            let truth = self.any()?;
            if !self.eat(")") {
                return Err("the condition lacks a closing parenthesis".to_owned());
            }
            truth
        } else {
            self.predicate()?
        };
        self.depth -= 1;
        Ok(truth)
    }

    fn predicate(&mut self) -> Result<bool, String> {
        let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let length = self.text.find(|c| !is_name(c)).unwrap_or(self.text.len());
        let (name, rest) = self.text.split_at(length);
        self.text = rest;
        if let Ok(number) = name.parse::<i64>() {
            return Ok(number != 0);
        }
        if !self.eat("(") {
            return Err(format!("unknown condition '{name}', expected {PREDICATES} or a number"));
        }
        let Some(end) = self.text.find(')') else {
            return Err(format!("'{name}(' lacks its closing parenthesis"));
        };
        let arguments: Vec<&str> = self.text[..end].split(',').map(str::trim).collect();
        self.text = &self.text[end + 1..];
        let first = arguments.first().copied().unwrap_or_default();
        match (name, arguments.as_slice()) {
            ("defined", [name]) => Ok((self.environment)(name).is_some()),
            ("streq", [a, b]) => Ok(a == b),
            ("strneq", [a, b]) => Ok(a != b),
            // teardown has none of the features that HAProxy lists.
            ("feature", [_]) => Ok(false),
            // Nor any library for TLS.
            (
                "openssl_version_atleast" | "openssl_version_before" | "ssllib_name_startswith",
                [_],
            ) => Ok(false),
            ("version_atleast", [_]) => Ok(VERSION >= version(first)),
            ("version_before", [_]) => Ok(VERSION < version(first)),
            ("defined" | "feature" | "version_atleast" | "version_before", _) => {
                Err(format!("'{name}' expects one argument"))
            }
            ("streq" | "strneq", _) => Err(format!("'{name}' expects two arguments")),
            _ => Err(format!("unknown condition '{name}()', expected {PREDICATES}")),
        }
    }
}

/// `2.4-dev19` as three numbers; what is missing is 0.
fn version(text: &str) -> [u32; 3] {
    let text = text.split('-').next().unwrap_or_default();
    let mut numbers = text.split('.').map(|part| part.parse().unwrap_or(0));
    std::array::from_fn(|_| numbers.next().unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn eval(text: &str) -> Result<bool, String> {
        evaluate(text, &|name| (name == "A").then(|| "1".to_owned()))
    }

    #[test]
    fn conditions_are_haproxys() {
        let truths = [
            ("", false),
            ("0", false),
            ("1", true),
            ("defined(A)", true),
            ("!defined(A)", false),
            ("defined(B) || defined(A) && 1", true),
            ("(defined(B) || 1) && !0", true),
            ("streq(a,a) && strneq(a,b)", true),
            ("version_atleast(2.4)", true),
            ("version_atleast(2.6-dev3)", true),
            ("version_before(2.7)", true),
            ("version_atleast(2.8)", false),
            ("feature(OPENSSL)", false),
            ("openssl_version_atleast(1.1.1)", false),
        ];
        for (text, truth) in truths {
            assert_eq!(eval(text), Ok(truth), "{text}");
        }
    }

    #[test]
    fn wrong_conditions_say_what_would_be_right() {
        let cases = [
            ("foo", "defined()"),
            ("foo(a)", "defined()"),
            ("(1", "closing"),
            ("1 1", "behind"),
            ("streq(a)", "two"),
            ("defined(a", "closing"),
        ];
        for (text, part) in cases {
            let error = eval(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
        assert!(eval(&"!".repeat(1000)).is_err());
    }
}
