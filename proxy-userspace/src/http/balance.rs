//! Which server gets a request: HAProxy's `balance` algorithms.
//!
//! Those that hash choose the same server as HAProxy does for the same key: the hash functions, the
//! map and the ring are its own.

mod hash;
mod ring;
mod turns;

pub use hash::{Function, Hashing};

use super::hooks::{self, Edit, Request};
use super::live::{Backend, Server};
use super::sample::{Expression, Fetch, Kind, Message, Sample, View};
use ring::Tables;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use turns::Turns;

/// `balance`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// `roundrobin`: in turn, by weight; weights may change.
    RoundRobin,
    /// `static-rr`: in turn, by weights that never change.
    StaticRoundRobin,
    /// `leastconn`: the fewest connections, by weight.
    LeastConn,
    /// `first`: the first by its `id` that has a free place.
    First,
    /// `source`: a hash of the client's address.
    Source,
    /// `uri [len N] [depth N] [whole] [path-only]`: a hash of the path.
    Uri {
        /// How many characters count; 0 is all.
        length: usize,
        /// How many directories count; 0 is all.
        depth: usize,
        /// The query string counts too.
        whole: bool,
        /// Scheme and authority never count.
        path_only: bool,
    },
    /// `hdr(NAME) [use_domain_only]`: a hash of a field's value.
    Header {
        /// What is hashed.
        value: Expression,
        /// Only the domain's own name counts.
        domain_only: bool,
    },
    /// `random(DRAWS)`: the least loaded of so many drawn at random.
    Random {
        /// How many; 2.
        draws: u32,
    },
}

impl Algorithm {
    /// `hdr(name)`.
    #[must_use]
    pub fn header(name: String, domain_only: bool) -> Self {
        let (of, kind) = (Message::Request, Kind::Text);
        let fetch = Fetch::Header { of, name, full: false, occurrence: Some(1), kind };
        Self::Header { value: Expression { fetch, converts: Vec::new() }, domain_only }
    }
}

/// The balance of one backend, shared by all workers.
#[derive(Debug)]
pub struct Balance {
    algorithm: Algorithm,
    hashing: Hashing,
    /// `roundrobin`'s, where weights differ.
    weighted: Mutex<Turns>,
    /// How often a server was chosen in turn without them.
    turns: AtomicU32,
    /// The state of the generator of random numbers.
    random: AtomicU64,
    tables: Tables,
}

/// A key is the hash with this bit, so that 0 is no key.
const IS_KEY: u64 = 1 << 32;

impl Balance {
    /// For a backend; `seed` is where random numbers begin.
    #[must_use]
    pub fn new(algorithm: Algorithm, hashing: Hashing, seed: u64) -> Self {
        Self {
            algorithm,
            hashing,
            weighted: Mutex::default(),
            turns: AtomicU32::new(0),
            random: AtomicU64::new(seed | 1),
            tables: Tables::default(),
        }
    }

    /// The least loaded, ties in turn among those that may be chosen: a place that nobody may take
    /// would be its neighbour's.
    fn least(&self, backend: &Backend, avoid: Option<usize>) -> Option<usize> {
        let free =
            |(index, server): &(usize, &Server)| Some(*index) != avoid && server.has_place(backend);
        let list = || candidates(backend).filter(free);
        let count = list().count().max(1);
        let turn = self.turns.fetch_add(1, Relaxed) as usize % count;
        list()
            .enumerate()
            .min_by_key(|&(place, (_, server))| {
                // With the one that is to come, but for those who have none: they go first.
                let load = match server.sessions.now() + server.queue.len() {
                    0 => 0,
                    load => u64::from(load + 1) << 16,
                };
                (load / u64::from(server.shares(backend).max(1)), (place + count - turn) % count)
            })
            .map(|(_, (index, _))| index)
    }

    /// By weights that may change. Equals take turns by a count alone: no worker waits for another,
    /// and nothing is allocated.
    fn by_weight(&self, backend: &Backend, avoid: Option<usize>) -> Option<usize> {
        let free = |index: usize| Some(index) != avoid && !backend.servers[index].full(backend);
        let list = candidates(backend);
        let (_, first) = list.clone().next()?;
        if list.clone().all(|(_, server)| server.shares(backend) == first.shares(backend)) {
            let turn = match list.clone().count() {
                // One alone takes no turns: workers don't meet at the counter.
                0 | 1 => 0,
                count => self.turns.fetch_add(1, Relaxed) as usize % count,
            };
            let mut order = list.clone().skip(turn).chain(list.take(turn));
            return order.find(|(index, _)| free(*index)).map(|(index, _)| index);
        }
        let weights = list.map(|(index, server)| (index, server.shares(backend)));
        let mut turns = self.weighted.lock().unwrap_or_else(PoisonError::into_inner);
        turns.next(weights, free)
    }

    /// By a map that holds each server as often as its weight asks for, spread evenly.
    fn in_turn(&self, backend: &Backend, avoid: Option<usize>) -> Option<usize> {
        let free = |index: &usize| Some(*index) != avoid && !backend.servers[*index].full(backend);
        let list = candidates(backend);
        if list.clone().nth(1).is_none() {
            // One alone takes no turns: workers don't meet at the counter, nothing is allocated.
            return list.map(|(index, _)| index).find(free);
        }
        let list: Vec<_> = list.collect();
        let turn = self.turns.fetch_add(1, Relaxed) as usize;
        let map = self.tables.map(backend, &list);
        let count = map.len();
        (0..count).map(|i| usize::from(map[(turn + i) % count])).find(free)
    }

    fn by_hash(&self, backend: &Backend, key: u64, avoid: Option<usize>) -> Option<usize> {
        let list: Vec<(usize, &Server)> = candidates(backend).collect();
        let hash = u32::try_from(key & (IS_KEY - 1)).unwrap_or_default();
        let chosen = match list.as_slice() {
            [] => return None,
            [only] => return Some(only.0),
            _ if self.hashing.consistent => self.tables.ring(backend, &list, hash, avoid)?,
            _ => {
                let map = self.tables.map(backend, &list);
                usize::from(map[hash as usize % map.len()])
            }
        };
        if Some(chosen) == avoid { self.in_turn(backend, avoid) } else { Some(chosen) }
    }

    fn at_random(&self, backend: &Backend, draws: u32, avoid: Option<usize>) -> Option<usize> {
        let list: Vec<(usize, &Server)> = candidates(backend)
            .filter(|(index, server)| Some(*index) != avoid && !server.full(backend))
            .collect();
        let total: u64 = list.iter().map(|(_, server)| u64::from(server.shares(backend))).sum();
        let draw = || {
            let mut left = self.next_random().checked_rem(total)?;
            list.iter().find(|(_, server)| {
                let weight = u64::from(server.shares(backend));
                let here = left < weight;
                left = left.saturating_sub(weight);
                here
            })
        };
        (0..draws.max(1))
            .filter_map(|_| draw())
            .min_by_key(|(_, server)| {
                (u64::from(server.sessions.now()) << 16) / u64::from(server.shares(backend).max(1))
            })
            .map(|(index, _)| *index)
    }

    /// Marsaglia's xorshift64*; workers that meet here may draw the same number, which is no harm.
    fn next_random(&self) -> u64 {
        let mut x = self.random.load(Relaxed);
        x ^= x >> 12;
        x ^= x << 25;
        x ^= x >> 27;
        self.random.store(x, Relaxed);
        x.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// The servers that may be chosen, with their places.
fn candidates(backend: &Backend) -> impl Iterator<Item = (usize, &Server)> + Clone {
    backend.candidates().map(|server| (server.index, server))
}

impl hooks::Balance for Balance {
    fn key(
        &self,
        request: Option<&Request<'_>>,
        edits: &[Edit],
        client: Option<SocketAddr>,
    ) -> u64 {
        let hash = match (&self.algorithm, request) {
            (Algorithm::Source, _) => {
                client.map(|client| self.hashing.source(client.ip().to_canonical()))
            }
            (Algorithm::Uri { length, depth, whole, path_only }, Some(request)) => {
                let uri = match path_only {
                    true => super::sample::path_and_query(request),
                    false => Some(request.target),
                };
                let part = uri.map(|uri| hash::part_of_uri(uri, *length, *depth, *whole));
                part.map(|part| self.hashing.text(part.as_bytes()))
            }
            (Algorithm::Header { value, domain_only }, Some(request)) => {
                let view = View { request: Some(request), edits, client, ..View::default() };
                let mut hash = None;
                value.any(&view, &mut |sample| {
                    if let Sample::Text(text) = sample
                        && !text.is_empty()
                    {
                        let text = if *domain_only { hash::domain(text) } else { text };
                        hash = Some(self.hashing.text(text));
                    }
                    true
                });
                hash
            }
            _ => None,
        };
        hash.map_or(0, |hash| u64::from(hash) | IS_KEY)
    }

    fn pick(&self, backend: &Backend, key: u64, avoid: Option<usize>) -> Option<usize> {
        let first_try = match &self.algorithm {
            Algorithm::RoundRobin => self.by_weight(backend, avoid),
            Algorithm::StaticRoundRobin => self.in_turn(backend, avoid),
            Algorithm::LeastConn => self.least(backend, avoid),
            Algorithm::First => {
                let free = |(i, s): &(usize, &Server)| Some(*i) != avoid && !s.full(backend);
                let list = candidates(backend).filter(free);
                list.min_by_key(|(_, server)| server.settings.id).map(|(index, _)| index)
            }
            Algorithm::Random { draws } => self.at_random(backend, *draws, avoid),
            // Without a key it is in turn, as in HAProxy.
            _ if key == 0 => self.in_turn(backend, avoid),
            _ => return self.by_hash(backend, key, avoid),
        };
        // The one to avoid is better than none.
        first_try.or_else(|| {
            let avoided = backend.servers.get(avoid?)?;
            let allowed = candidates(backend).any(|(index, _)| Some(index) == avoid);
            (allowed && !avoided.full(backend)).then_some(avoid?)
        })
    }

    fn is_dynamic(&self) -> bool {
        match self.algorithm {
            Algorithm::RoundRobin
            | Algorithm::LeastConn
            | Algorithm::First
            | Algorithm::Random { .. } => true,
            Algorithm::StaticRoundRobin => false,
            Algorithm::Source | Algorithm::Uri { .. } | Algorithm::Header { .. } => {
                self.hashing.consistent
            }
        }
    }

    fn is_free(&self) -> bool {
        matches!(
            self.algorithm,
            Algorithm::RoundRobin
                | Algorithm::StaticRoundRobin
                | Algorithm::LeastConn
                | Algorithm::First
                | Algorithm::Random { .. }
        )
    }
}

#[cfg(test)]
mod tests;
