//! Servers that have another one's state (`track`).

use super::Events;
use super::board::Board;
use super::told::{Turn, tell};
use crate::http::live::{Admin, Backend, Health, Proxies, Server};

/// The server at the end of the chain: that whose checks count.
#[must_use]
pub fn root(proxies: &Proxies, mut at: (usize, usize)) -> (usize, usize) {
    while let Some(next) = proxies.server(at).and_then(|(_, server)| server.settings.tracks) {
        at = next;
    }
    at
}

/// Has those that track a server follow it, and those that track them; says so as HAProxy does, which
/// begins with the last.
pub fn follow(proxies: &Proxies, board: &Board, events: &dyn Events, at: (usize, usize)) {
    let Some((of, leader)) = proxies.server(at) else { return };
    let servers = proxies
        .backends
        .iter()
        .flat_map(|backend| backend.servers.iter().map(move |server| (&**backend, &**server)));
    let followers: Vec<_> =
        servers.filter(|(_, server)| server.settings.tracks == Some(at)).collect();
    for (backend, server) in followers.into_iter().rev() {
        let via = format!(" via {}/{}", of.settings.name, leader.settings.name);
        if take_over(board, events, (backend, server), leader, &via) {
            follow(proxies, board, events, (backend.index, server.index));
        }
    }
}

/// Gives a server another one's state; whether that changes its own.
fn take_over(
    board: &Board,
    events: &dyn Events,
    (backend, server): (&Backend, &Server),
    leader: &Server,
    via: &str,
) -> bool {
    let (before, served) = (server.state(), backend.serves());
    let was_inherited = server.inherited();
    server.inherit(leader.admin());
    if server.admin() != Admin::Maintenance {
        server.set_health(leader.health());
    }
    let after = server.state();
    let turn = match (before.admin, after.admin) {
        (Admin::Maintenance, Admin::Maintenance) => {
            let is_left =
                was_inherited == Admin::Maintenance && server.inherited() != was_inherited;
            is_left.then_some(Turn::RemainsForced(Admin::Maintenance))
        }
        (Admin::Drain, Admin::Drain) if server.inherited() != was_inherited => {
            Some(Turn::RemainsForced(Admin::Drain))
        }
        (_, Admin::Maintenance) => {
            board.set_health((backend.index, server.index), 0);
            let drained = before.health == Health::Stopping || before.admin == Admin::Drain;
            Some(if before.health != Health::Down {
                Turn::Maintenance { drained }
            } else {
                Turn::DownMaintenance
            })
        }
        (Admin::Maintenance, Admin::Drain) => Some(Turn::ReadyToDrain),
        (Admin::Maintenance, Admin::Ready) => Some(Turn::Ready),
        (Admin::Ready, Admin::Drain) => Some(Turn::Drain),
        (Admin::Drain, Admin::Ready) => Some(Turn::Undrained),
        _ if before == after => None,
        _ => Some(after.health.into()),
    };
    if let Some(turn) = turn {
        board.went((backend.index, server.index), server.is_running(), backend);
        let requeued = backend.changed(server, before);
        tell(events, (backend, server), turn, requeued, served, via);
    }
    before != after
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::settings;
    use std::net::SocketAddr;
    use std::sync::Arc;

    struct Deaf;

    impl Events for Deaf {
        fn event(&self, _: &Backend, _: u8, _: &str) {}
    }

    #[test]
    fn who_is_stopping_is_not_up_in_between() {
        let balance = Arc::new(Balance::new(Algorithm::RoundRobin, Hashing::default(), 1));
        let mut backend = settings::Backend::new("b", balance);
        let address = SocketAddr::from(([127, 0, 0, 1], 1)).into();
        let leader = settings::Server::new("s", address);
        let follower = settings::Server { tracks: Some((0, 0)), ..leader.clone() };
        backend.servers = vec![leader, follower];
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        let [leader, follower] = proxies.backends[0].servers.as_slice() else { panic!("two") };
        let board = Board::new(&[vec![2, 2]], &[]);
        follower.set_admin(Admin::Drain);
        leader.set_health(Health::Stopping);
        follow(&proxies, &board, &Deaf, (0, 0));
        let since = follower.changed();
        leader.set_admin(Admin::Drain);
        follow(&proxies, &board, &Deaf, (0, 0));
        assert_eq!(follower.inherited(), Admin::Drain);
        assert_eq!(follower.changed(), since);
    }
}
