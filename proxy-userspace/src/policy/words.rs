//! The words of a policy: one parser for haproxy.cfg, the command line and the runtime socket.
//!
//! ```text
//! [like PRESET] [active keep|fin|rst] [passive keep|fin|rst] [abort keep|fin]
//! [half-close TIME] [close-wait TIME] [any-fin] [dry-run] [force]
//! [tunnels WORDS...] [checks WORDS...]
//! ```
//!
//! Each word stands once, a preset before the words that change what it says. What follows `tunnels` is
//! for tunnels alone, what follows `checks` for health checks; without them, these follow the same
//! policy as traffic.

#[cfg(test)]
mod tests;

use crate::{near, units};
use proxy_common::policy::{ANY_FIN, DRY_RUN, FORCE, Policy, Wish};
use std::fmt;

/// What one rule wants: of traffic, and of tunnels and health checks where that differs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wishes {
    /// For every connection that nothing else is said of.
    pub traffic: Policy,
    /// For tunnels: `mode tcp`, `option http-tunnel`, CONNECT. `None`: the same as traffic.
    pub tunnels: Option<Policy>,
    /// For health checks. `None`: the same as traffic.
    pub checks: Option<Policy>,
}

impl Wishes {
    /// The policy of tunnels.
    #[must_use]
    pub fn for_tunnels(&self) -> Policy {
        self.tunnels.unwrap_or(self.traffic)
    }

    /// The policy of health checks.
    #[must_use]
    pub fn for_checks(&self) -> Policy {
        self.checks.unwrap_or(self.traffic)
    }
}

/// A wrong word, where it stands, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WordError {
    /// The column of the word at fault, or just behind the last word, from 1.
    pub column: usize,
    /// A whole sentence.
    pub message: String,
}

/// A word and its column, from 1.
pub type Word<'a> = (usize, &'a str);

/// Every word that can begin a clause; what else follows `close` on a server line is the server's.
pub const KEYWORDS: [&str; 11] = [
    "active",
    "passive",
    "abort",
    "half-close",
    "close-wait",
    "any-fin",
    "dry-run",
    "force",
    "like",
    "tunnels",
    "checks",
];

/// What a preset stands for.
#[derive(Clone, Copy)]
struct Preset {
    name: &'static str,
    traffic: Policy,
    tunnels: Policy,
    checks: Policy,
}

/// The presets. docs/policies.md explains them.
///
/// Measured on real builds: 1.4 answers a server's FIN with RST, but passes it on in a tunnel, and
/// ends its checks with FIN; 1.5 and later answer with FIN, and end a check whose server has not
/// closed with RST, as teardown's own checks do by themselves.
const PRESETS: [Preset; 2] = [
    Preset {
        name: "haproxy-1.4",
        traffic: Policy { passive: Wish::RST, ..Policy::KEEP },
        tunnels: Policy::KEEP,
        checks: Policy { abort: Wish::FIN, ..Policy::KEEP },
    },
    Preset {
        name: "haproxy-1.5",
        traffic: Policy { passive: Wish::FIN, ..Policy::KEEP },
        tunnels: Policy { passive: Wish::FIN, ..Policy::KEEP },
        checks: Policy::KEEP,
    },
];

/// What the words being read are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Of {
    Traffic,
    Tunnels,
    Checks,
}

/// Reads a whole text, as on the command line or the runtime socket.
///
/// # Errors
/// The first wrong word.
pub fn parse(text: &str) -> Result<Wishes, WordError> {
    let words: Vec<Word<'_>> = split(text).collect();
    let (wishes, used) = take(&words, text.len() + 1)?;
    match words.get(used) {
        None => Ok(wishes),
        Some(&(column, word)) => Err(unknown(column, word)),
    }
}

/// Reads clauses from the start of `words` until a word that begins none, and says how many words
/// it used. `end` is the column just behind the last word.
///
/// # Errors
/// The first clause that is begun but wrong, or that there is none at all.
pub fn take(words: &[Word<'_>], end: usize) -> Result<(Wishes, usize), WordError> {
    let mut reader = Reader { words, end, used: 0 };
    let mut wishes = Wishes::default();
    let mut of = Of::Traffic;
    let mut preset = None;
    // Those of traffic, of tunnels or of checks.
    let mut said: Vec<Word<'_>> = Vec::new();
    while let Some((column, word)) = reader.next_keyword() {
        stands_well(&said, column, word)?;
        match word {
            "tunnels" | "checks" => said.clear(),
            _ => said.push((column, word)),
        }
        let policy = match of {
            Of::Traffic => &mut wishes.traffic,
            Of::Tunnels => wishes.tunnels.get_or_insert(Policy::KEEP),
            Of::Checks => wishes.checks.get_or_insert(Policy::KEEP),
        };
        match word {
            "active" => policy.active = reader.wish("active", &["keep", "fin", "rst"])?,
            "passive" => policy.passive = reader.wish("passive", &["keep", "fin", "rst"])?,
            "abort" => policy.abort = reader.wish("abort", &["keep", "fin"])?,
            "half-close" => policy.half_close_ms = reader.time("half-close")?,
            "close-wait" => policy.close_wait_ms = reader.time("close-wait")?,
            "any-fin" => policy.bits |= ANY_FIN,
            "dry-run" => policy.bits |= DRY_RUN,
            "force" => policy.bits |= FORCE,
            "like" => {
                let said = reader.preset()?;
                match of {
                    Of::Traffic => {
                        follow(policy, &said.traffic);
                        preset = Some(said);
                    }
                    Of::Tunnels => follow(policy, &said.tunnels),
                    Of::Checks => follow(policy, &said.checks),
                }
            }
            "tunnels" if wishes.tunnels.is_some() => {
                return Err(wrong(column, "'tunnels' stands once, before the words for tunnels"));
            }
            "tunnels" => {
                of = Of::Tunnels;
                reader.expect_clause(word)?;
            }
            _ if wishes.checks.is_some() => {
                return Err(wrong(column, "'checks' stands once, before the words for checks"));
            }
            _ => {
                of = Of::Checks;
                reader.expect_clause(word)?;
            }
        }
    }
    if reader.used == 0 {
        let column = words.first().map_or(end, |&(column, _)| column);
        let found = words.first().map(|&(_, word)| word);
        return Err(found.map_or_else(
            || wrong(column, &format!("expects what to do with a close: {}", known())),
            |word| unknown(column, word),
        ));
    }
    if let Some(preset) = preset {
        let traffic = wishes.traffic;
        let following = |like: &Policy| {
            let mut policy = traffic;
            follow(&mut policy, like);
            policy
        };
        wishes.tunnels.get_or_insert(following(&preset.tunnels));
        wishes.checks.get_or_insert(following(&preset.checks));
    }
    Ok((wishes, reader.used))
}

/// Whether a word may stand behind those: where a later one won, nobody would see which it is.
fn stands_well(said: &[Word<'_>], column: usize, word: &str) -> Result<(), WordError> {
    if let Some((before, _)) = said.iter().find(|(_, other)| *other == word) {
        let message = format!("'{word}' stands once, and does in column {before} already");
        return Err(wrong(column, &message));
    }
    let changed = said.iter().find(|(_, other)| ["active", "passive", "abort"].contains(other));
    if let (Some((_, other)), "like") = (changed, word) {
        let message = format!("'like' stands before '{other}', which it would take back");
        return Err(wrong(column, &message));
    }
    Ok(())
}

/// A preset says what the three closes look like; times and bits stay.
fn follow(policy: &mut Policy, preset: &Policy) {
    let Policy { active, passive, abort, .. } = *preset;
    *policy = Policy { active, passive, abort, ..*policy };
}

struct Reader<'a> {
    words: &'a [Word<'a>],
    end: usize,
    used: usize,
}

impl<'a> Reader<'a> {
    fn next_keyword(&mut self) -> Option<Word<'a>> {
        let word = *self.words.get(self.used)?;
        KEYWORDS.contains(&word.1).then(|| {
            self.used += 1;
            word
        })
    }

    fn value(&mut self, of: &str, right: &str) -> Result<Word<'a>, WordError> {
        let word = self.words.get(self.used).copied();
        self.used += 1;
        word.ok_or_else(|| wrong(self.end, &format!("'{of}' expects {right}")))
    }

    fn wish(&mut self, of: &str, right: &[&str]) -> Result<Wish, WordError> {
        let list = right.join(", ");
        let (column, word) = self.value(of, &format!("one of {list}"))?;
        match word {
            "keep" => Ok(Wish::KEEP),
            "fin" => Ok(Wish::FIN),
            "rst" if right.contains(&"rst") => Ok(Wish::RST),
            _ => {
                let hint = near::hint(word, right.iter().copied());
                Err(wrong(column, &format!("'{of}' expects one of {list}, not '{word}'{hint}")))
            }
        }
    }

    fn time(&mut self, of: &str) -> Result<u32, WordError> {
        let (column, word) = self.value(of, "a time such as 5s or 500ms")?;
        match units::time_ms(word) {
            Ok(ms) => Ok(ms),
            Err(why) => {
                Err(wrong(column, &format!("'{of}' expects a time such as 5s: '{word}' {why}")))
            }
        }
    }

    fn preset(&mut self) -> Result<Preset, WordError> {
        let names: Vec<&str> = PRESETS.iter().map(|preset| preset.name).collect();
        let list = names.join(", ");
        let (column, word) = self.value("like", &format!("one of {list}"))?;
        let preset = PRESETS.iter().find(|preset| preset.name == word);
        preset.copied().ok_or_else(|| {
            let hint = near::hint(word, names.iter().copied());
            wrong(column, &format!("'like' expects one of {list}, not '{word}'{hint}"))
        })
    }

    fn expect_clause(&self, of: &str) -> Result<(), WordError> {
        match self.words.get(self.used) {
            Some(&(_, word)) if KEYWORDS.contains(&word) => Ok(()),
            Some(&(column, word)) => Err(unknown(column, word)),
            None => Err(wrong(self.end, &format!("'{of}' expects what to do with their closes"))),
        }
    }
}

fn split(text: &str) -> impl Iterator<Item = Word<'_>> {
    text.split_ascii_whitespace().map(move |word| {
        let column = word.as_ptr() as usize - text.as_ptr() as usize + 1;
        (column, word)
    })
}

fn known() -> String {
    KEYWORDS.join(", ")
}

fn unknown(column: usize, word: &str) -> WordError {
    let hint = near::hint(word, KEYWORDS);
    wrong(column, &format!("unknown policy word '{word}', expected one of {}{hint}", known()))
}

fn wrong(column: usize, message: &str) -> WordError {
    WordError { column, message: message.to_owned() }
}

/// The words that read back to the same wishes, shortest form; `keep` where nothing is asked for.
impl fmt::Display for Wishes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_policy(out, &self.traffic)?;
        if let Some(tunnels) = &self.tunnels {
            out.write_str(" tunnels ")?;
            write_policy(out, tunnels)?;
        }
        if let Some(checks) = &self.checks {
            out.write_str(" checks ")?;
            write_policy(out, checks)?;
        }
        Ok(())
    }
}

fn write_policy(out: &mut fmt::Formatter<'_>, policy: &Policy) -> fmt::Result {
    let mut words: Vec<String> = Vec::new();
    let wishes = [("active", policy.active), ("passive", policy.passive), ("abort", policy.abort)];
    for (name, wish) in wishes {
        match wish {
            Wish::FIN => words.push(format!("{name} fin")),
            Wish::RST => words.push(format!("{name} rst")),
            _ => {}
        }
    }
    let times = [("half-close", policy.half_close_ms), ("close-wait", policy.close_wait_ms)];
    for (name, ms) in times {
        if ms > 0 {
            words.push(format!("{name} {}", units::show_time(ms)));
        }
    }
    for (name, bit) in [("any-fin", ANY_FIN), ("dry-run", DRY_RUN), ("force", FORCE)] {
        if policy.has(bit) {
            words.push(name.to_owned());
        }
    }
    if words.is_empty() {
        words.push("active keep".to_owned());
    }
    out.write_str(&words.join(" "))
}
