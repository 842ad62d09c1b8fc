//! The map and the ring that turn a hash into a server, as HAProxy builds them.

use super::hash::avalanche;
use crate::http::live::Server;
use std::sync::{Arc, Mutex, PoisonError};

/// A server's points on the ring for each unit of weight (`BE_WEIGHT_SCALE`).
const POINTS: u32 = 16;
/// The distance of two servers' first points before hashing (`SRV_EWGHT_RANGE`).
const RANGE: u32 = 256 * POINTS;

/// The tables of one backend, rebuilt when a server comes, goes or changes its weight.
#[derive(Debug, Default)]
pub(super) struct Tables {
    map: Mutex<Cached<u16>>,
    ring: Mutex<Cached<(u32, u16)>>,
}

#[derive(Debug)]
struct Cached<T> {
    /// Index and weight of each server that it was built for.
    servers: Vec<(usize, u32)>,
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
        list: &[(usize, &Server)],
        build: impl FnOnce(&[(usize, u32)]) -> Vec<T>,
    ) -> Arc<[T]> {
        let mut cached = cache.lock().unwrap_or_else(PoisonError::into_inner);
        let now = list.iter().map(|&(index, server)| (index, server.weight()));
        if !now.clone().eq(cached.servers.iter().copied()) {
            cached.servers = now.collect();
            cached.table = build(&cached.servers).into();
        }
        Arc::clone(&cached.table)
    }
}

impl Tables {
    /// Server indices, each as often as its share; never empty if `list` is not.
    pub(super) fn map(&self, list: &[(usize, &Server)]) -> Arc<[u16]> {
        Cached::get(&self.map, list, map)
    }

    /// The server whose point is nearest to `hash`, other than the one to avoid if possible.
    pub(super) fn ring(
        &self,
        list: &[(usize, &Server)],
        hash: u32,
        avoid: Option<usize>,
    ) -> Option<usize> {
        let ring = Cached::get(&self.ring, list, ring);
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
fn map(servers: &[(usize, u32)]) -> Vec<u16> {
    let divisor = servers.iter().fold(0, |a, &(_, weight)| gcd(a, weight)).max(1);
    let weights: Vec<i64> =
        servers.iter().map(|&(_, weight)| i64::from((weight / divisor).max(1))).collect();
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
        table.push(u16::try_from(servers[best].0).unwrap_or(u16::MAX));
    }
    table
}

/// HAProxy's ring: each server's points are hashes of its number times the range, counted on.
fn ring(servers: &[(usize, u32)]) -> Vec<(u32, u16)> {
    let mut points = Vec::new();
    for &(index, weight) in servers {
        // HAProxy counts a backend's servers from 1 (`puid`).
        let number = u32::try_from(index + 1).unwrap_or(u32::MAX);
        for point in 0..weight * POINTS {
            let key = avalanche(number.wrapping_mul(RANGE).wrapping_add(point));
            points.push((key, u16::try_from(index).unwrap_or(u16::MAX)));
        }
    }
    points.sort_unstable();
    points
}

fn gcd(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { gcd(b, a % b) }
}
