//! Persistence by cookie (`cookie`): which server a client's cookie names, and what becomes of the
//! cookie in requests and responses.

mod answered;
mod asked;
mod cacheable;
mod date;
mod fields;
mod pairs;
mod persist;
mod value;

pub(crate) use answered::Answerer;
pub(crate) use asked::Asker;
pub(crate) use fields::Change;
pub use persist::PersistRule;
pub(crate) use value::{made, own_value};

/// `cookie` of a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cookie {
    /// Its name.
    pub name: String,
    /// Who makes it.
    pub mode: Mode,
    /// `indirect`: servers do not see it, and clients that have the right one get none.
    pub indirect: bool,
    /// `nocache`: what could be kept by a cache is private with a cookie in it.
    pub no_cache: bool,
    /// `postonly`: it is inserted in responses to POST alone.
    pub post_only: bool,
    /// `preserve`: what the server itself sets under that name stays.
    pub preserve: bool,
    /// What stands behind the path of one that is inserted, from `; ` on: `domain`, `httponly`,
    /// `secure` and `attr`.
    pub attributes: String,
    /// `maxidle`: seconds since it was last used after which it counts no more; 0 is no limit.
    pub max_idle: u32,
    /// `maxlife`: seconds since it was made after which it counts no more; 0 is no limit.
    pub max_life: u32,
}

/// Who makes the cookie.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// The server, and it knows its own value.
    #[default]
    Passive,
    /// `rewrite`: the server, and its value becomes the server's.
    Rewrite,
    /// `insert`: the proxy.
    Insert,
    /// `prefix`: the server, and before its value stands the server's with a `~`.
    Prefix,
}

impl Cookie {
    /// Whether the log's third and fourth letter of the end tell of it.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.mode != Mode::Passive || self.indirect
    }
}

/// What a rule says of a request's persistence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Persist {
    /// `force-persist`: to the server of its cookie even if that is down.
    Force,
    /// `ignore-persist`: as if it had no cookie.
    Ignore,
}

/// What cookie the client came with: the third letter of the log's termination state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Presented {
    /// `N`: none.
    #[default]
    None,
    /// `I`: one that no server has.
    Invalid,
    /// `D`: that of a server that is down, or could not be reached.
    Down,
    /// `V`: that of its server.
    Valid,
    /// `E`: one that was not used for longer than `maxidle`.
    Expired,
    /// `O`: one that is older than `maxlife`.
    Old,
    /// `U`: one that `ignore-persist` passed over.
    Unused,
}

/// What became of it in the response: the fourth letter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Done {
    /// `N`: the server set none, and the proxy neither.
    #[default]
    Nothing,
    /// `P`: the server set one, and it went on as it was.
    Provided,
    /// `D`: the server's was taken out.
    Deleted,
    /// `I`: the proxy set one.
    Inserted,
    /// `R`: the server's was changed.
    Rewritten,
    /// `U`: the proxy set the client's own with a new date.
    Updated,
}

/// What the log's third and fourth letter of the end say of a cookie: `--` where there is none to say
/// anything of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letters(pub [u8; 2]);

impl Default for Letters {
    fn default() -> Self {
        Self(*b"--")
    }
}

/// What a request's cookie chose, and what became of it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice {
    /// What cookie the client came with.
    pub presented: Presented,
    /// What became of it in the response.
    pub done: Done,
    /// The place of the server that it names, while the request goes there for that.
    pub server: Option<usize>,
    /// What the first rule that holds says.
    pub persist: Option<Persist>,
    /// When the cookie was last sent, in seconds since 1970.
    last: Option<u32>,
    /// When it was first sent.
    first: Option<u32>,
}

impl Choice {
    /// The two letters of the log.
    #[must_use]
    pub fn letters(&self) -> Letters {
        let presented = match self.presented {
            Presented::None => b'N',
            Presented::Invalid => b'I',
            Presented::Down => b'D',
            Presented::Valid => b'V',
            Presented::Expired => b'E',
            Presented::Old => b'O',
            Presented::Unused => b'U',
        };
        let done = match self.done {
            Done::Nothing => b'N',
            Done::Provided => b'P',
            Done::Deleted => b'D',
            Done::Inserted => b'I',
            Done::Rewritten => b'R',
            Done::Updated => b'U',
        };
        Letters([presented, done])
    }

    /// Whether the request goes to its cookie's server whatever that one's state, or nowhere.
    #[must_use]
    pub fn is_forced(&self) -> bool {
        self.persist == Some(Persist::Force)
    }

    fn is_ignored(&self) -> bool {
        self.persist == Some(Persist::Ignore)
    }

    /// The request went to another server than its cookie's after all.
    pub fn moved(&mut self) {
        if self.presented == Presented::Valid {
            self.presented = Presented::Down;
        }
    }
}
