//! What teardown has: each directive with its meaning and default.

mod global;
mod keywords;
mod proxies;

pub use global::GLOBAL;
pub use keywords::{BIND, SERVER};
pub use proxies::PROXY;

use super::{Directive, Places};

/// Every section that is a proxy.
const PROXIES: Places = Places::FRONTEND.or(Places::LISTEN).or(Places::BACKEND);

const fn at(
    places: Places,
    name: &'static str,
    arguments: &'static str,
    default: &'static str,
    meaning: &'static str,
) -> Directive {
    Directive { name, arguments, places, default, meaning }
}
