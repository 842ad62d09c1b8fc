//! The rules in the kernel: which peers each covers, and what each did.
//!
//! An entry of a trie is replaced whole, so that no connection sees half of a change.

use super::error::{Error, has_code};
use super::object::{array, take};
use super::pod::Raw;
use crate::ends::address;
use aya::Ebpf;
use aya::maps::lpm_trie::{Key, LpmTrie};
use aya::maps::{Array, HashMap, MapData, PerCpuArray};
use proxy_common::abi::{
    CLASS_CHECK, CLASS_TUNNEL, PEER_PORT_BITS, Peer, RULES, Rule, RuleCounts, Statement,
};
use proxy_common::key::Endpoint;
use proxy_common::policy::Policy;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

/// Which peers a rule covers: an address prefix, and a port or all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Covered {
    /// The address.
    pub addr: IpAddr,
    /// How many of its bits count, of 32 or 128.
    pub prefix: u8,
    /// The port; `None` is every port.
    pub port: Option<u16>,
}

impl Covered {
    /// One peer.
    #[must_use]
    pub fn one(end: &Endpoint) -> Self {
        let addr = address(end);
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 }, port: Some(end.port) }
    }

    /// Whether it covers this peer.
    #[must_use]
    pub fn covers(&self, peer: &Endpoint) -> bool {
        let one = Self::one(peer);
        let same = Self { prefix: self.prefix, port: self.port, ..one }.place() == self.place();
        same && one.addr.is_ipv4() == self.addr.is_ipv4()
            && self.port.is_none_or(|port| port == peer.port)
    }

    /// Bits of the 128 that an IPv4-mapped or IPv6 address has.
    fn bits(self) -> u32 {
        match self.addr {
            IpAddr::V4(_) => 96 + u32::from(self.prefix.min(32)),
            IpAddr::V6(_) => u32::from(self.prefix.min(128)),
        }
    }

    /// Its entry: what is left of the address behind the prefix is nothing.
    fn place(self) -> Place {
        let mut addr = match self.addr {
            IpAddr::V4(addr) => Endpoint::v4(addr.octets(), 0).addr,
            IpAddr::V6(addr) => addr.octets(),
        };
        let bits = self.bits();
        for (index, byte) in addr.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index as u32 * 8).min(8);
            *byte &= !(0xffu16 >> kept) as u8;
        }
        Place::Peers { bits, port: self.port.unwrap_or(0), addr }
    }
}

/// Where an entry of a rule stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Peers { bits: u32, port: u16, addr: [u8; 16] },
    Stated { server: u16, class: u8 },
}

fn trie_key(bits: u32, port: u16, addr: [u8; 16]) -> Key<Raw<Peer>> {
    let port = port.to_be_bytes();
    Key::new(PEER_PORT_BITS + bits, Raw(Peer { port, reserved: [0; 2], addr }))
}

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
            entries: BTreeMap::new(),
            no_deadlines,
            new_deadline: false,
        })
    }

    /// The lowest number that no rule has.
    ///
    /// # Errors
    /// Where all are taken.
    pub fn free_number(&self) -> Result<u32, RulesFull> {
        (1..RULES as u32).find(|id| !self.held.contains_key(id)).ok_or(RulesFull)
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

    /// Takes an entry away; one that is not there is gone.
    fn clear(&mut self, place: Place) -> Result<(), Error> {
        let (map, done) = match place {
            Place::Peers { bits, port, addr } => {
                ("RULES", self.trie.remove(&trie_key(bits, port, addr)))
            }
            Place::Stated { server, class } => {
                ("RULES_STATED", self.stated.remove(&Statement::key(server, class)))
            }
        };
        match done {
            Err(error) if !has_code(&error, libc::ENOENT) => return Err(Error::map(map)(error)),
            _ => self.entries.remove(&place),
        };
        Ok(())
    }

    fn write_size(&mut self) -> Result<(), Error> {
        let size = self.entries.len() as u32;
        self.set.set(0, Raw(size), 0).map_err(Error::map("RULES_SET"))?;
        let waits = |policies: &&Policies| policies.all().iter().any(|one| one.close_wait_ms != 0);
        let waiting = self.held.values().filter(waits).count() as u32;
        self.set.set(1, Raw(waiting), 0).map_err(Error::map("RULES_SET"))
    }

    /// What a rule did, on all CPUs.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counts(&self, id: u32) -> Result<RuleCounts, Error> {
        let values = self.counts.get(&id, 0).map_err(Error::map("RULE_COUNTS"))?;
        let mut sum = RuleCounts::default();
        let total: &mut [u64] = bytemuck::cast_slice_mut(bytemuck::bytes_of_mut(&mut sum));
        for Raw(counts) in values.iter() {
            let each: &[u64] = bytemuck::cast_slice(bytemuck::bytes_of(counts));
            total.iter_mut().zip(each).for_each(|(total, each)| *total += each);
        }
        Ok(sum)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_behind_the_prefix_do_not_count() {
        let one = Covered { addr: "10.1.2.3".parse().unwrap(), prefix: 22, port: None };
        let other = Covered { addr: "10.1.3.200".parse().unwrap(), prefix: 22, port: None };
        assert_eq!(one.place(), other.place());
        let Place::Peers { bits, port, addr } = one.place() else { panic!("{one:?}") };
        assert_eq!(addr[12..], [10, 1, 0, 0]);
        assert_eq!(trie_key(bits, port, addr).prefix_len(), 32 + 96 + 22);
        let port = Covered { port: Some(80), ..one };
        assert!(one.covers(&Endpoint::v4([10, 1, 0, 9], 1)));
        assert!(!one.covers(&Endpoint::v4([10, 1, 4, 0], 1)));
        assert!(port.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert!(!port.covers(&Endpoint::v4([10, 1, 0, 9], 81)));
        let all_v6 = Covered { addr: "::".parse().unwrap(), prefix: 0, port: None };
        assert!(!all_v6.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert_ne!(one.place(), port.place());
    }
}
