//! The rules in the kernel: which peers each covers, and what each did.
//!
//! An entry of a trie is replaced whole, so that no connection sees half of a change.

use super::error::Error;
use super::object::{array, take};
use super::pod::Raw;
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
        let addr = IpAddr::from(end.addr).to_canonical();
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 }, port: Some(end.port) }
    }

    /// Whether it covers this peer.
    #[must_use]
    pub fn covers(&self, peer: &Endpoint) -> bool {
        let one = Self::one(peer);
        // What is left of both addresses behind the prefix is nothing.
        let same = Self { prefix: self.prefix, port: self.port, ..one }.key().data().0
            == self.key().data().0;
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

    fn key(self) -> Key<Raw<Peer>> {
        let mut addr = match self.addr {
            IpAddr::V4(addr) => Endpoint::v4(addr.octets(), 0).addr,
            IpAddr::V6(addr) => addr.octets(),
        };
        let bits = self.bits();
        for (index, byte) in addr.iter_mut().enumerate() {
            let kept = bits.saturating_sub(index as u32 * 8).min(8);
            *byte &= !(0xffu16 >> kept) as u8;
        }
        let port = self.port.unwrap_or(0).to_be_bytes();
        Key::new(PEER_PORT_BITS + bits, Raw(Peer { port, reserved: [0; 2], addr }))
    }
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
    /// What each rule covers, by number.
    covered: BTreeMap<u32, Scope>,
    /// Those that wait for our own application's FIN.
    close_wait: BTreeSet<u32>,
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
            covered: BTreeMap::new(),
            close_wait: BTreeSet::new(),
            no_deadlines,
            new_deadline: false,
        })
    }

    /// The lowest number that no rule has.
    ///
    /// # Errors
    /// Where all are taken.
    pub fn free_number(&self) -> Result<u32, RulesFull> {
        (1..RULES as u32).find(|id| !self.covered.contains_key(id)).ok_or(RulesFull)
    }

    /// Sets what rule `id` wants, for exactly this.
    ///
    /// # Errors
    /// Where a map cannot be written.
    pub fn set(&mut self, id: u32, scope: Scope, policies: Policies) -> Result<(), Error> {
        let policy = policies.traffic;
        // New and changed entries first: a peer that stays covered is covered at every moment.
        for peer in &scope.peers {
            let rule = Rule { policy, id, prefix: peer.bits() };
            self.trie.insert(&peer.key(), Raw(rule), 0).map_err(Error::map("RULES"))?;
        }
        for &(server, class) in &scope.stated {
            let policy = match class {
                CLASS_CHECK => policies.checks,
                CLASS_TUNNEL => policies.tunnels,
                _ => policy,
            };
            let rule = Raw(Rule { policy, id, prefix: 0 });
            let key = Statement::key(server, class);
            self.stated.insert(key, rule, 0).map_err(Error::map("RULES_STATED"))?;
        }
        let old = self.covered.insert(id, scope.clone()).unwrap_or_default();
        self.clear(&Scope {
            peers: old.peers.into_iter().filter(|old| !scope.peers.contains(old)).collect(),
            stated: old.stated.into_iter().filter(|old| !scope.stated.contains(old)).collect(),
        })?;
        let policies = policies.all();
        if policies.iter().any(|policy| policy.close_wait_ms != 0) {
            self.close_wait.insert(id);
        } else {
            self.close_wait.remove(&id);
        }
        self.new_deadline |= policies.iter().any(Policy::has_deadline);
        self.write_size()
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
    /// Where a map cannot be written.
    pub fn remove(&mut self, id: u32) -> Result<(), Error> {
        let old = self.covered.remove(&id).unwrap_or_default();
        self.clear(&old)?;
        self.close_wait.remove(&id);
        self.write_size()
    }

    fn clear(&mut self, old: &Scope) -> Result<(), Error> {
        for peer in &old.peers {
            self.trie.remove(&peer.key()).map_err(Error::map("RULES"))?;
        }
        for &(server, class) in &old.stated {
            let key = Statement::key(server, class);
            self.stated.remove(&key).map_err(Error::map("RULES_STATED"))?;
        }
        Ok(())
    }

    fn write_size(&mut self) -> Result<(), Error> {
        let count = |scope: &Scope| (scope.peers.len() + scope.stated.len()) as u32;
        let size = self.covered.values().map(count).sum();
        self.set.set(0, Raw(size), 0).map_err(Error::map("RULES_SET"))?;
        let waiting = self.close_wait.len() as u32;
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
        assert_eq!(one.key().data().0, other.key().data().0);
        assert_eq!(one.key().data().0.addr[12..], [10, 1, 0, 0]);
        assert_eq!(one.key().prefix_len(), 32 + 96 + 22);
        let port = Covered { port: Some(80), ..one };
        assert!(one.covers(&Endpoint::v4([10, 1, 0, 9], 1)));
        assert!(!one.covers(&Endpoint::v4([10, 1, 4, 0], 1)));
        assert!(port.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert!(!port.covers(&Endpoint::v4([10, 1, 0, 9], 81)));
        let all_v6 = Covered { addr: "::".parse().unwrap(), prefix: 0, port: None };
        assert!(!all_v6.covers(&Endpoint::v4([10, 1, 0, 9], 80)));
        assert_ne!(one.key().data().0, port.key().data().0);
    }
}
