//! Maps from files: `map_beg(FILE)` and its kin.

use super::read::{address, number};
use super::{Kind, Sample};
use crate::http::acl::TextMatch;
use crate::http::regex::Regex;
use crate::http::variable::Value;
use crate::prefix::Prefix;
use std::collections::HashMap;

/// A map, and what it gives where nothing is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Map {
    /// What is looked for.
    pub keys: Keys,
    /// What belongs to each key.
    pub values: Vec<Value>,
    /// What is given where no key fits.
    pub default: Option<Value>,
    /// The type of its values.
    pub kind: Kind,
}

/// The keys of a map, each with its value's place; in the file's order, but for those of which the
/// one that fits best is wanted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keys {
    /// `map_str`.
    Whole(HashMap<Vec<u8>, usize>),
    /// `map_beg`: the longest one counts.
    Begin(Vec<(Vec<u8>, usize)>),
    /// `map_sub`, `map_dir`, `map_dom`, `map_end`: the first one counts.
    Text(TextMatch, Vec<(Vec<u8>, usize)>),
    /// `map_reg`: the first one counts.
    Regex(Vec<(Regex, usize)>),
    /// `map_int`: inclusive ranges, of which the first one counts.
    Numbers(Vec<((i64, i64), usize)>),
    /// `map_ip`: the narrowest one counts.
    Networks(Vec<(Prefix, usize)>),
}

impl Keys {
    /// Puts those first that fit best.
    #[must_use]
    pub fn sorted(mut self) -> Self {
        match &mut self {
            Self::Begin(keys) => keys.sort_by_key(|(key, _)| std::cmp::Reverse(key.len())),
            Self::Networks(keys) => keys.sort_by_key(|(key, _)| std::cmp::Reverse(key.length())),
            _ => {}
        }
        self
    }

    /// Which one fits; nothing where the sample is of another type.
    fn find(&self, sample: Sample<'_>) -> Option<Option<usize>> {
        let mut text = Vec::new();
        Some(match self {
            Self::Numbers(keys) => {
                let number = number(sample)?;
                first(keys, |(low, high)| (*low..=*high).contains(&number))
            }
            Self::Networks(keys) => {
                let ip = address(sample)?;
                first(keys, |network| network.contains(ip))
            }
            keys => {
                sample.write(&mut text);
                match keys {
                    Self::Whole(keys) => keys.get(&text).copied(),
                    Self::Begin(keys) => first(keys, |key| text.starts_with(key)),
                    Self::Text(how, keys) => first(keys, |key| how.matches(&text, key)),
                    Self::Regex(keys) => first(keys, |key| key.is_match(&text)),
                    Self::Numbers(_) | Self::Networks(_) => None,
                }
            }
        })
    }
}

fn first<K>(keys: &[(K, usize)], fits: impl Fn(&K) -> bool) -> Option<usize> {
    keys.iter().find(|(key, _)| fits(key)).map(|(_, place)| *place)
}

impl Map {
    /// What belongs to a sample.
    #[must_use]
    pub fn find(&self, sample: Sample<'_>) -> Option<&Value> {
        let place = self.keys.find(sample)?;
        place.and_then(|place| self.values.get(place)).or(self.default.as_ref())
    }
}
