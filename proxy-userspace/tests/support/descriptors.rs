//! The limit of open descriptors, which is the process's.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the limit of open descriptors where it is too low.
pub(crate) fn descriptors_for(count: u32) {
    let (limit, count) = (getrlimit(Resource::Nofile), u64::from(count));
    if limit.current.is_some_and(|current| current < count) {
        let maximum = limit.maximum.map(|maximum| maximum.max(count));
        let wanted = Rlimit { current: Some(count), maximum };
        setrlimit(Resource::Nofile, wanted).expect("a limit that root may raise");
    }
}
