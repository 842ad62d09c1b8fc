//! HAProxy's hash functions, bit for bit (its `src/hash.c` and `hash-type`).

use std::net::IpAddr;

/// The function of `hash-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Function {
    /// `sdbm`.
    #[default]
    Sdbm,
    /// `djb2`.
    Djb2,
    /// `wt6`.
    Wt6,
    /// `crc32`.
    Crc32,
}

/// `hash-type`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashing {
    /// `consistent`: few clients move when a server comes or goes; else `map-based`.
    pub consistent: bool,
    /// The hash function.
    pub function: Function,
    /// `avalanche`: mix the hash's bits once more.
    pub avalanche: bool,
}

impl Hashing {
    /// The hash of a text.
    #[must_use]
    pub fn text(&self, text: &[u8]) -> u32 {
        let hash = match self.function {
            Function::Sdbm => sdbm(text),
            Function::Djb2 => djb2(text),
            Function::Wt6 => wt6(text),
            Function::Crc32 => crc32(text),
        };
        if self.avalanche { avalanche(hash) } else { hash }
    }

    /// The hash of an address: its 32-bit words, exclusive-or. The function does not matter.
    #[must_use]
    pub fn source(&self, ip: IpAddr) -> u32 {
        let hash = match ip {
            IpAddr::V4(ip) => ip.to_bits(),
            IpAddr::V6(ip) => {
                let word = |chunk: &[u8]| {
                    chunk.iter().fold(0_u32, |word, byte| (word << 8) | u32::from(*byte))
                };
                ip.octets().chunks(4).fold(0, |hash, chunk| hash ^ word(chunk))
            }
        };
        if self.avalanche { avalanche(hash) } else { hash }
    }
}

fn sdbm(text: &[u8]) -> u32 {
    text.iter().fold(0_u32, |hash, &byte| {
        u32::from(byte).wrapping_add(hash << 6).wrapping_add(hash << 16).wrapping_sub(hash)
    })
}

fn djb2(text: &[u8]) -> u32 {
    text.iter().fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()))
}

fn wt6(text: &[u8]) -> u32 {
    let (mut h0, mut h1) = (0xa53c_965a_u32, 0x5ca6_953a_u32);
    let (mut step0, mut step1) = (6_u32, 18_u32);
    for &byte in text {
        let t = u32::from(byte);
        h0 = !(h0 ^ t);
        h1 = !h1.wrapping_add(t);
        let turned = h1.rotate_left(step0);
        h1 = h0.rotate_left(step1);
        h0 = turned;
        let t = ((h0 >> 16) ^ h1) & 0xffff;
        step0 = t & 0x1f;
        step1 = t >> 11;
    }
    h0 ^ h1
}

fn crc32(text: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(text);
    crc.sum()
}

/// Bob Jenkins' integer hash and HAProxy's final multiplication (`full_hash`).
pub(super) fn avalanche(hash: u32) -> u32 {
    let mut a = hash;
    a = a.wrapping_add(0x7ed5_5d16).wrapping_add(a << 12);
    a = (a ^ 0xc761_c23c) ^ (a >> 19);
    a = a.wrapping_add(0x1656_67b1).wrapping_add(a << 5);
    a = a.wrapping_add(0xd3a2_646c) ^ (a << 9);
    a = a.wrapping_add(0xfd70_46c5).wrapping_add(a << 3);
    a = (a ^ 0xb55a_4f09) ^ (a >> 16);
    a.wrapping_mul(3_221_225_473)
}

/// What `balance uri` hashes: up to the query unless `whole`, at most `length` bytes, at most
/// `depth` directories.
pub(super) fn part_of_uri(uri: &str, length: usize, depth: usize, whole: bool) -> &str {
    let most = if length > 0 { length.min(uri.len()) } else { uri.len() };
    let mut slashes = 0;
    let end = uri.as_bytes()[..most].iter().position(|&byte| {
        slashes += usize::from(byte == b'/');
        (byte == b'/' && depth > 0 && slashes == depth + 1) || (byte == b'?' && !whole)
    });
    // A cut within a character cannot be: the target has been checked to be ASCII.
    uri.get(..end.unwrap_or(most)).unwrap_or(uri)
}

/// `use_domain_only`: the label before the last one.
pub(super) fn domain(host: &[u8]) -> &[u8] {
    let Some(last) = host.iter().rposition(|&byte| byte == b'.') else { return host };
    let before = &host[..last];
    let start = before.iter().rposition(|&byte| byte == b'.').map_or(0, |dot| dot + 1);
    &before[start..]
}
