//! The rules in the kernel: which peers each covers, and what each did.
//!
//! An entry of a trie is replaced whole, so that no connection sees half of a change.

use super::covered::{Covered, Place, V4, V4_BITS, trie_key};
use super::error::{Error, has_code};
use super::object::{array, take};
use super::pod::Raw;
use aya::Ebpf;
use aya::maps::lpm_trie::LpmTrie;
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use proxy_common::abi::{CLASS_CHECK, CLASS_TUNNEL, Peer, RULES, Rule, RuleCounts, Statement};
use proxy_common::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};

/// What a rule is for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// Every connection to these peers.
    pub peers: Vec<Covered>,
    /// Connections of this host's own proxy, as it states them: a server's number, and a `CLASS_*`
    /// of [`proxy_common::abi`].
    pub stated: Vec<(u16, u8)>,
}

/// What a rule wants of each kind of connection that the proxy states; of others, `traffic`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Policies {
    /// Of connections with requests.
    pub traffic: Policy,
    /// Of tunnels.
    pub tunnels: Policy,
    /// Of health checks.
    pub checks: Policy,
}

impl Policies {
    /// Every one.
    #[must_use]
    pub const fn all(&self) -> [Policy; 3] {
        [self.traffic, self.tunnels, self.checks]
    }
}

impl Scope {
    /// Whether it covers nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.stated.is_empty()
    }

    /// The entries that it needs.
    fn places(&self) -> impl Iterator<Item = Place> {
        let stated = self.stated.iter().map(|&(server, class)| Place::Stated { server, class });
        self.peers.iter().map(|peers| peers.place()).chain(stated)
    }
}

/// There is no number left for another rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {RULES} rules already")]
pub struct RulesFull;

/// The rules' maps.
pub struct Rules {
    trie: LpmTrie<MapData, Raw<Peer>, Raw<Rule>>,
    stated: HashMap<MapData, u32, Raw<Rule>>,
    set: Array<MapData, Raw<u32>>,
    counts: PerCpuArray<MapData, Raw<RuleCounts>>,
    /// What each rule wants, by number.
    held: BTreeMap<u32, Policies>,
    /// The number that was given last: closes that are told later name their rule by its number.
    newest: u32,
    /// What was counted under each number before its rule was set.
    before: BTreeMap<u32, RuleCounts>,
    /// Whose each entry is.
    entries: BTreeMap<Place, u32>,
    /// Why no rule may have a deadline, if none may.
    no_deadlines: Option<String>,
    /// A rule with a deadline was set: it may cover connections that are half closed already.
    new_deadline: bool,
}

impl Rules {
    /// Takes the maps out of the object. `no_deadlines` says why no rule may have one, if so.
    ///
    /// # Errors
    /// Where one is missing.
    pub(super) fn take(ebpf: &mut Ebpf, no_deadlines: Option<String>) -> Result<Self, Error> {
        Ok(Self {
            trie: LpmTrie::try_from(take(ebpf, "RULES")?).map_err(Error::map("RULES"))?,
            stated: HashMap::try_from(take(ebpf, "RULES_STATED")?)
                .map_err(Error::map("RULES_STATED"))?,
            set: array(ebpf, "RULES_SET")?,
            counts: PerCpuArray::try_from(take(ebpf, "RULE_COUNTS")?)
                .map_err(Error::map("RULE_COUNTS"))?,
            held: BTreeMap::new(),
            newest: 0,
            before: BTreeMap::new(),
            entries: BTreeMap::new(),
            no_deadlines,
            new_deadline: false,
        })
    }

    /// A number that no rule has, nor has had for the longest time.
    ///
    /// # Errors
    /// Where all are taken.
    pub fn free_number(&self) -> Result<u32, RulesFull> {
        let mut numbers = (self.newest + 1..RULES as u32).chain(1..=self.newest);
        numbers.find(|id| !self.held.contains_key(id)).ok_or(RulesFull)
    }

    /// A rule other than `id` that has an entry for something in `scope`. An entry belongs to one
    /// rule: another's would take its place, and be taken away with it.
    #[must_use]
    pub fn other(&self, id: u32, scope: &Scope) -> Option<u32> {
        let mut owners = scope.places().filter_map(|place| self.entries.get(&place).copied());
        owners.find(|owner| *owner != id)
    }

    /// Sets what rule `id` wants, for exactly this, of which no other rule has an entry. Where it
    /// fails, all is as before.
    ///
    /// # Errors
    /// Where a map cannot be written.
    pub fn set(&mut self, id: u32, scope: &Scope, policies: Policies) -> Result<(), Error> {
        if !self.held.contains_key(&id) {
            let before = self.counted(id)?;
            self.before.insert(id, before);
            self.newest = id;
        }
        let old = self.places_of(id);
        let new: BTreeSet<Place> = scope.places().collect();
        // New and changed entries first: a peer that stays covered is covered at every moment.
        for &place in &new {
            if let Err(error) = self.write(id, place, &policies) {
                self.take_back(id, &old, new.range(..place));
                return Err(error);
            }
        }
        self.held.insert(id, policies);
        old.difference(&new).try_for_each(|place| self.clear(*place))?;
        self.new_deadline |= policies.all().iter().any(Policy::has_deadline);
        self.write_size()
    }

    /// Undoes what was `written` of a change to rule `id`, which had `old`.
    fn take_back<'a>(
        &mut self,
        id: u32,
        old: &BTreeSet<Place>,
        written: impl Iterator<Item = &'a Place>,
    ) {
        let (changed, new): (Vec<Place>, Vec<Place>) =
            written.partition(|place| old.contains(place));
        let policies = self.held.get(&id).copied().unwrap_or_default();
        // What is cleared makes room for what is written.
        let cleared = new.into_iter().try_for_each(|place| self.clear(place));
        let restored = changed.into_iter().try_for_each(|place| self.write(id, place, &policies));
        if let Err(error) = cleared.and(restored) {
            tracing::warn!(%error, "a part of a rule that could not be set stays");
        }
    }

    fn places_of(&self, id: u32) -> BTreeSet<Place> {
        let its = self.entries.iter().filter(|(_, owner)| **owner == id);
        its.map(|(place, _)| *place).collect()
    }

    /// Why no rule may have a deadline on this kernel, if none may.
    #[must_use]
    pub fn no_deadlines(&self) -> Option<&str> {
        self.no_deadlines.as_deref()
    }

    /// Whether a rule with a deadline was set since this was last asked.
    pub(super) fn take_new_deadline(&mut self) -> bool {
        std::mem::take(&mut self.new_deadline)
    }

    /// Takes a rule away.
    ///
    /// # Errors
    /// Where a map cannot be written: the rule is there still, in part.
    pub fn remove(&mut self, id: u32) -> Result<(), Error> {
        self.places_of(id).into_iter().try_for_each(|place| self.clear(place))?;
        self.held.remove(&id);
        self.write_size()
    }

    fn write(&mut self, id: u32, place: Place, policies: &Policies) -> Result<(), Error> {
        if place.is_around_v4() && !self.entries.contains_key(&Place::v4(place.port())) {
            self.keep_out_v4(place.port())?;
        }
        match place {
            Place::Peers { bits, port, addr } => {
                let rule = Rule { policy: policies.traffic, id, prefix: bits };
                let key = trie_key(bits, port, addr);
                self.trie.insert(&key, Raw(rule), 0).map_err(Error::map("RULES"))?;
            }
            Place::Stated { server, class } => {
                let policy = match class {
                    CLASS_CHECK => policies.checks,
                    CLASS_TUNNEL => policies.tunnels,
                    _ => policies.traffic,
                };
                let rule = Raw(Rule { policy, id, prefix: 0 });
                let key = Statement::key(server, class);
                self.stated.insert(key, rule, 0).map_err(Error::map("RULES_STATED"))?;
            }
        }
        self.entries.insert(place, id);
        Ok(())
    }

    /// Writes the entry that is no rule where IPv4's addresses lie in an IPv6 prefix. Any that is one
    /// goes before it.
    fn keep_out_v4(&mut self, port: u16) -> Result<(), Error> {
        let nobodys = Rule { policy: Policy::KEEP, id: 0, prefix: 0 };
        self.trie.insert(&trie_key(V4_BITS, port, V4), Raw(nobodys), 0).map_err(Error::map("RULES"))
    }

    /// Takes an entry away.
    fn clear(&mut self, place: Place) -> Result<(), Error> {
        let port = place.port();
        let mut others = self.entries.keys().filter(|other| **other != place);
        let is_around = others.any(|other| other.is_around_v4() && other.port() == port);
        let v4 = Place::v4(port);
        if place == v4 && is_around {
            self.keep_out_v4(port)?;
        } else {
            self.take_out(place)?;
        }
        self.entries.remove(&place);
        if place.is_around_v4() && !is_around && !self.entries.contains_key(&v4) {
            self.take_out(v4)?;
        }
        Ok(())
    }

    /// Takes an entry out of its map; one that is not there is gone.
    fn take_out(&mut self, place: Place) -> Result<(), Error> {
        let (map, done) = match place {
            Place::Peers { bits, port, addr } => {
                ("RULES", self.trie.remove(&trie_key(bits, port, addr)))
            }
            Place::Stated { server, class } => {
                ("RULES_STATED", self.stated.remove(&Statement::key(server, class)))
            }
        };
        match done {
            Err(error) if !has_code(&error, libc::ENOENT) => Err(Error::map(map)(error)),
            _ => Ok(()),
        }
    }

    fn write_size(&mut self) -> Result<(), Error> {
        let size = self.entries.len() as u32;
        self.set.set(0, Raw(size), 0).map_err(Error::map("RULES_SET"))?;
        let waits = |policies: &&Policies| policies.all().iter().any(|one| one.close_wait_ms != 0);
        let waiting = self.held.values().filter(waits).count() as u32;
        self.set.set(1, Raw(waiting), 0).map_err(Error::map("RULES_SET"))
    }

    /// What a rule did.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counts(&self, id: u32) -> Result<RuleCounts, Error> {
        let mut counts = self.counted(id)?;
        let before = self.before.get(&id).copied().unwrap_or_default();
        each_of(&mut counts, before, |count, before| count.saturating_sub(before));
        Ok(counts)
    }

    /// What was counted under a number, on all CPUs.
    fn counted(&self, id: u32) -> Result<RuleCounts, Error> {
        let values = self.counts.get(&id, 0).map_err(Error::map("RULE_COUNTS"))?;
        let mut sum = RuleCounts::default();
        values.iter().for_each(|Raw(counts)| each_of(&mut sum, *counts, |sum, count| sum + count));
        Ok(sum)
    }
}

/// Changes each of the counts by the same of others.
fn each_of(counts: &mut RuleCounts, others: RuleCounts, with: impl Fn(u64, u64) -> u64) {
    let counts: &mut [u64] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(counts));
    let others: &[u64] = bytemuck::cast_slice(bytemuck::bytes_of(&others));
    counts.iter_mut().zip(others).for_each(|(count, other)| *count = with(*count, *other));
}
