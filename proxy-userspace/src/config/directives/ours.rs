//! What teardown has: each directive with its meaning and default.

mod connection;
mod global;
mod keywords;
mod options;
mod proxies;

pub use connection::CONNECTION;
pub use global::GLOBAL;
pub use keywords::{BIND, SERVER};
pub use options::OPTIONS;
pub use proxies::PROXY;

use super::{Directive, Places};

const D: Places = Places::DEFAULTS;
const F: Places = Places::FRONTEND;
const L: Places = Places::LISTEN;
const B: Places = Places::BACKEND;
const EVERY: Places = D.or(F).or(L).or(B);
const FRONT: Places = D.or(F).or(L);
const BACK: Places = D.or(L).or(B);

/// Every section that is a proxy.
const PROXIES: Places = F.or(L).or(B);

const fn at(
    places: Places,
    name: &'static str,
    arguments: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Directive {
    Directive { name, arguments, places, default, meaning }
}
