//! A server's state as statistics tell it.

use super::Scene;
use crate::http::health::board::Standing;
use crate::http::live::{Admin, Server};

/// A server's state in HAProxy's words; without checks, of which `standing` tells, it is on no way up
/// or down. They are those of the server `at` the end of the chain where it tracks one.
pub(super) fn status(
    scene: &Scene,
    at: (usize, usize),
    server: &Server,
    standing: Option<&Standing>,
) -> String {
    let word = match server.admin() {
        Admin::Maintenance if server.is_unresolved() => return "MAINT (resolution)".to_owned(),
        Admin::Maintenance if server.inherited() == Admin::Maintenance => {
            let via = tracked(scene, server).map(|via| format!(" (via {via})"));
            return format!("MAINT{}", via.unwrap_or_default());
        }
        Admin::Maintenance => return "MAINT".to_owned(),
        _ if !server.is_up() => "DOWN",
        _ if server.is_stopping() => "NOLB",
        Admin::Drain => "DRAIN",
        Admin::Ready if standing.is_none() => "no check",
        Admin::Ready => "UP",
    };
    let health = standing.map(|standing| standing.health);
    on_its_way(word, health, scene.numbers.rise_and_fall(at))
}

/// The server that it tracks, `BACKEND/SERVER`.
pub(super) fn tracked(scene: &Scene, server: &Server) -> Option<String> {
    let (backend, server) = scene.proxies.server(server.settings.tracks?)?;
    Some(format!("{}/{}", backend.settings.name, server.settings.name))
}

/// `UP 1/3` on its way down, `DOWN 1/2` on its way up, the `word` alone on none.
fn on_its_way(word: &str, health: Option<u32>, (rise, fall): (u32, u32)) -> String {
    match health {
        Some(health @ 1..) if word == "DOWN" => format!("DOWN {health}/{rise}"),
        Some(health) if word != "DOWN" && health + 1 < rise + fall => {
            format!("{word} {}/{fall}", (health + 1).saturating_sub(rise))
        }
        _ => word.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::on_its_way;

    /// What HAProxy 2.6.12 showed of three servers with `rise 4 fall 5` while they came up and went
    /// down again.
    #[test]
    fn a_server_on_its_way_says_how_far_it_is() {
        let way = |word: &str, all: &[u32]| -> Vec<String> {
            all.iter().map(|&health| on_its_way(word, Some(health), (4, 5))).collect()
        };
        assert_eq!(way("DOWN", &[0, 1, 2, 3]), ["DOWN", "DOWN 1/4", "DOWN 2/4", "DOWN 3/4"]);
        for word in ["UP", "DRAIN", "NOLB"] {
            let want = ["1/5", "2/5", "3/5", "4/5"].map(|way| format!("{word} {way}"));
            assert_eq!(way(word, &[4, 5, 6, 7]), want);
            assert_eq!(way(word, &[8]), [word]);
        }
        assert_eq!(on_its_way("no check", None, (2, 3)), "no check");
        assert_eq!(on_its_way("DOWN", None, (2, 3)), "DOWN");
    }
}
