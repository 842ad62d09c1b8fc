//! What HAProxy 2.6 has and teardown has not: names only, as `haproxy -dKall` and the manual list
//! them.

mod actions;
mod converters;
mod fetches;
mod global;
mod gone;
mod keywords;
mod proxies;

pub use actions::ACTION_OTHERS;
pub use converters::CONVERT_OTHERS;
pub use fetches::FETCH_OTHERS;
pub use global::{GLOBAL_OTHERS, MOOT};
pub use gone::{GLOBAL_GONE, Gone, OPTION_GONE, PROXY_GONE};
pub use keywords::{BIND_OTHERS, SERVER_OTHERS};
pub use proxies::{OPTION_OTHERS, PROXY_OTHERS};

/// Sections.
pub const SECTION_OTHERS: &[&str] = &[
    "cache",
    "crt-store",
    "fcgi-app",
    "log-forward",
    "mailers",
    "peers",
    "program",
    "resolvers",
    "ring",
    "traces",
    "userlist",
];
