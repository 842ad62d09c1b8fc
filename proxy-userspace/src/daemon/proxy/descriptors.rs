//! Descriptors and connections: each limits the other.

use crate::config::model::Global;
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

/// Room for the connections' descriptors, where the system lets us.
pub(super) fn raise(global: &Global) -> anyhow::Result<()> {
    let needed = global.maxconn.map(|most| u64::from(most) * EACH + OTHERS);
    let Some(wanted) = global.ulimit_n.or(needed) else { return Ok(()) };
    let now = getrlimit(Resource::Nofile);
    if now.current.is_none_or(|current| current >= wanted) {
        return Ok(());
    }
    let most = now.maximum.map_or(wanted, |most| most.max(wanted));
    let raised = Rlimit { current: Some(wanted), maximum: Some(most) };
    if setrlimit(Resource::Nofile, raised).is_err() {
        if global.ulimit_n.is_some() {
            bail!("cannot raise the limit of descriptors to {wanted} ('ulimit-n')");
        }
        eprintln!(
            "[WARNING] {wanted} descriptors are needed for maxconn, and the limit is {}: \
             connections may be refused",
            now.current.unwrap_or_default()
        );
    }
    Ok(())
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
