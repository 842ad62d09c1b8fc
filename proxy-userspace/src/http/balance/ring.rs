//! The map and the ring that turn a hash into a server, as HAProxy builds them.

use super::hash::avalanche;
use crate::http::live::{Backend, SHARES, Server};
use std::sync::{Arc, Mutex, PoisonError};

/// The distance of two servers' first points before hashing (`SRV_EWGHT_RANGE`): each has a point for
/// each of its shares.
const RANGE: u32 = 256 * SHARES;

/// The tables of one backend, rebuilt when a server comes, goes or changes its weight.
#[derive(Debug, Default)]
pub(super) struct Tables {
    map: Mutex<Cached<u16>>,
    ring: Mutex<Cached<(u32, u16)>>,
}

/// A server among those that share the load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Share {
    index: usize,
    shares: u32,
    id: u32,
}

#[derive(Debug)]
struct Cached<T> {
    /// The servers that it was built for.
    servers: Vec<Share>,
    table: Arc<[T]>,
}

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self { servers: Vec::new(), table: Arc::new([]) }
    }
}

impl<T> Cached<T> {
    fn get(
        cache: &Mutex<Self>,
        backend: &Backend,
        list: &[(usize, &Server)],
        build: impl FnOnce(&[Share]) -> Vec<T>,
    ) -> Arc<[T]> {
        let mut cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let share = |&(index, server): &(usize, &Server)| Share {
            index,
            shares: server.shares(backend),
            id: server.settings.id,
        };
        let now = list.iter().map(share);
        if !now.clone().eq(cached.servers.iter().copied()) {
            cached.servers = now.collect();
            cached.table = build(&cached.servers).into();
        }
        Arc::clone(&cached.table)
    }
}

impl Tables {
    /// Server indices, each as often as its share; never empty if `list` is not.
    pub(super) fn map(&self, backend: &Backend, list: &[(usize, &Server)]) -> Arc<[u16]> {
        Cached::get(&self.map, backend, list, map)
    }

    /// The server whose point is nearest to `hash`, other than the one to avoid if possible.
    pub(super) fn ring(
        &self,
        backend: &Backend,
        list: &[(usize, &Server)],
        hash: u32,
        avoid: Option<usize>,
    ) -> Option<usize> {
        let ring = Cached::get(&self.ring, backend, list, ring);
        let count = ring.len();
        if count == 0 {
            return None;
        }
        let next = ring.partition_point(|point| point.0 < hash) % count;
        let before = (next + count - 1) % count;
        let (down, up) = (hash.wrapping_sub(ring[before].0), ring[next].0.wrapping_sub(hash));
        let start = if down <= up { before } else { next };
        let mut walk = (0..count).map(|step| usize::from(ring[(start + step) % count].1));
        walk.find(|&index| Some(index) != avoid).or(avoid)
    }
}

/// HAProxy's `recalc_server_map`: the first server first, then evenly spread.
fn map(servers: &[Share]) -> Vec<u16> {
    let divisor = servers.iter().fold(0, |a, share| gcd(a, share.shares)).max(1);
    let weights: Vec<i64> =
        servers.iter().map(|share| i64::from((share.shares / divisor).max(1))).collect();
    let total: i64 = weights.iter().sum();
    let mut scores = vec![0_i64; servers.len()];
    let mut table = Vec::new();
    for _ in 0..total {
        let (mut best, mut max) = (0, i64::MIN);
        for (index, weight) in weights.iter().enumerate() {
            if total > 1 {
                scores[index] += weight;
            }
            let value = (scores[index] + total) / total;
            if value > max {
                (best, max) = (index, value);
            }
        }
        scores[best] -= total;
        table.push(u16::try_from(servers[best].index).unwrap_or(u16::MAX));
    }
    table
}

/// HAProxy's ring: each server's points are hashes of its `id` (`puid`) times the range, counted on.
fn ring(servers: &[Share]) -> Vec<(u32, u16)> {
    let mut points = Vec::new();
    for &Share { index, shares, id } in servers {
        for point in 0..shares {
            let key = avalanche(id.wrapping_mul(RANGE).wrapping_add(point));
            points.push((key, u16::try_from(index).unwrap_or(u16::MAX)));
        }
    }
    points.sort_unstable();
    points
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
