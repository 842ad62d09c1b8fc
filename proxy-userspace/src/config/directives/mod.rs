//! Every directive: what teardown has, with its meaning and default, and what only HAProxy has.
//!
//! docs/configuration.md is made from these tables (`config/page.rs`).

mod ours;
mod theirs;

pub use ours::{BIND, CONNECTION, GLOBAL, OPTIONS, PROXY, SERVER};
pub use theirs::{
    ACTION_OTHERS, BIND_OTHERS, CONVERT_OTHERS, FETCH_OTHERS, GLOBAL_GONE, GLOBAL_OTHERS, Gone,
    MOOT, OPTION_GONE, OPTION_OTHERS, PROXY_GONE, PROXY_OTHERS, SECTION_OTHERS, SERVER_OTHERS,
};

/// Sections in which a directive may stand: a set of bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places(u8);

impl Places {
    /// `global`.
    pub const GLOBAL: Self = Self(1);
    /// `defaults`.
    pub const DEFAULTS: Self = Self(2);
    /// `frontend`.
    pub const FRONTEND: Self = Self(4);
    /// `listen`.
    pub const LISTEN: Self = Self(8);
    /// `backend`.
    pub const BACKEND: Self = Self(16);

    /// Both sets together.
    #[must_use]
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// The keyword of a proxy's section.
    #[must_use]
    pub fn section(self) -> &'static str {
        match self {
            Self::DEFAULTS => "defaults",
            Self::FRONTEND => "frontend",
            Self::LISTEN => "listen",
            _ => "backend",
        }
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A directive, or a keyword of a `bind` or `server` line.
#[derive(Debug, Clone, Copy)]
pub struct Directive {
    /// Its first words: `timeout`, `option httplog`.
    pub name: &'static str,
    /// What follows them.
    pub arguments: &'static str,
    /// Where it may stand.
    pub places: Places,
    /// What holds without it.
    pub default: &'static str,
    /// What it does.
    pub meaning: &'static str,
}

/// What a line of a proxy's section may begin with.
pub fn of_proxies() -> impl Iterator<Item = &'static Directive> {
    PROXY.iter().chain(CONNECTION).chain(OPTIONS)
}

/// The word among those that are gone.
#[must_use]
pub fn gone(list: &'static [Gone], word: &str) -> Option<&'static Gone> {
    list.iter().find(|gone| gone.name == word)
}

/// Whether a line of the `global` section may begin with `word`, teardown's or HAProxy's.
#[must_use]
pub fn is_global(word: &str) -> bool {
    let ours = |directive: &Directive| directive.name.split(' ').next() == Some(word);
    GLOBAL.iter().any(ours) || GLOBAL_OTHERS.contains(&word) || MOOT.contains(&word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_word_is_both_ours_and_theirs() {
        let ours = |list: &[Directive]| list.iter().map(|d| d.name).collect::<HashSet<_>>();
        assert!(GLOBAL_OTHERS.iter().all(|name| !ours(GLOBAL).contains(name)));
        assert!(PROXY_OTHERS.iter().all(|name| !ours(PROXY).contains(name)));
        assert!(SERVER_OTHERS.iter().all(|other| !ours(SERVER).contains(other.0)));
        assert!(BIND_OTHERS.iter().all(|other| !ours(BIND).contains(other.0)));
        for name in OPTION_OTHERS {
            assert!(!ours(OPTIONS).contains(format!("option {name}").as_str()), "{name}");
        }
    }
}
