//! Which server, and over which connection: `balance`, `hash-type`, `http-reuse`.

/// `balance`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Balance {
    /// `roundrobin`: in turn, by weight; weights may change.
    RoundRobin,
    /// `static-rr`: in turn, by weights that never change.
    StaticRoundRobin,
    /// `leastconn`: the fewest connections, by weight.
    LeastConn,
    /// `first`: the first with a free place.
    First,
    /// `source`: a hash of the client's address.
    Source,
    /// `uri [len N] [depth N] [whole] [path-only]`: a hash of the path.
    Uri {
        /// How many characters count; 0: all.
        length: u32,
        /// How many directories count; 0: all.
        depth: u32,
        /// The query string counts too.
        whole: bool,
        /// Scheme and authority never count.
        path_only: bool,
    },
    /// `hdr(NAME) [use_domain_only]`: a hash of a field's value.
    Header {
        /// The field's name.
        name: String,
        /// Only the domain's own name counts.
        use_domain_only: bool,
    },
    /// `random(DRAWS)`: the least loaded of so many drawn at random.
    Random {
        /// How many; 2.
        draws: u32,
    },
}

/// `hash-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HashType {
    /// `consistent`: few clients move when a server comes or goes; else `map-based`.
    pub consistent: bool,
    /// The hash function.
    pub function: HashFunction,
    /// `avalanche`: mix the hash's bits once more.
    pub avalanche: bool,
}

/// The function of `hash-type`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum HashFunction {
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

/// `http-reuse`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Each client keeps its own server connections.
    Never,
    /// A first request goes over a new connection or one that has proven itself.
    #[default]
    Safe,
    /// A first request may go over connections that have proven themselves more often.
    Aggressive,
    /// Any request over any idle connection.
    Always,
}
