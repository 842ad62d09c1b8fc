//! Descriptors and connections: each limits the other.

use crate::config::model::Global;
use crate::console::say;
use anyhow::bail;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A client's and a server's.
const EACH: u64 = 2;
/// For all else: what is listened on, checks, logs, the runtime sockets and their clients.
const OTHERS: u64 = 100;

/// The connections for which there can be descriptors: `maxconn` where nobody says it. Without a limit
/// of the system's there is none.
pub(super) fn connections(global: &Global) -> Option<u32> {
    let most = global.ulimit_n.or_else(|| getrlimit(Resource::Nofile).maximum)?;
    let connections = most.saturating_sub(OTHERS) / EACH;
    Some(u32::try_from(connections).map_or(i32::MAX.unsigned_abs(), |count| count.max(1)))
}

/// Room for the connections' descriptors: what `ulimit-n` says, else whatever the system lets us have.
/// Pipes for large bodies, idle connections and what is listened on take some too.
pub(super) fn raise(global: &Global) -> anyhow::Result<()> {
    let now = getrlimit(Resource::Nofile);
    if let Some(wanted) = global.ulimit_n {
        if lift(now, wanted).is_err() {
            bail!("cannot raise the limit of descriptors to {wanted} ('ulimit-n')");
        }
        return Ok(());
    }
    let Some(most) = global.maxconn else { return Ok(()) };
    let needed = u64::from(most) * EACH + OTHERS;
    let Some(allowed) = now.maximum else { return Ok(lift(now, needed)?) };
    if lift(now, needed.max(allowed)).is_err() {
        lift(now, allowed)?;
        say(format_args!(
            "[WARNING] {needed} descriptors are needed for maxconn, and the limit is {allowed}: \
             connections may be refused"
        ));
    }
    Ok(())
}

/// Raises the limit from what it is `now`, if it is lower.
fn lift(now: Rlimit, wanted: u64) -> rustix::io::Result<()> {
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = now.maximum.map_or(wanted, |most| most.max(wanted));
    setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), maximum: Some(most) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn so_many_connections_as_descriptors_suffice_for() {
        let of = |ulimit_n| connections(&Global { ulimit_n, ..Global::default() });
        assert_eq!((of(Some(20_000)), of(Some(1))), (Some(9_950), Some(1)));
        assert_eq!(of(Some(u64::MAX)), Some(i32::MAX.unsigned_abs()));
        // The system's own limit, where there is one.
        assert_eq!(of(None), of(getrlimit(Resource::Nofile).maximum));
    }
}
