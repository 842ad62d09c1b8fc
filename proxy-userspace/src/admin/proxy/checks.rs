//! What may be changed of servers' health checks while the proxy runs.

use super::Scene;
use crate::http::health::board::Place;
use std::sync::atomic::Ordering::Relaxed;

/// `enable health` and `disable health`.
pub(super) fn health(scene: &Scene, words: &[&str], enable: bool) -> String {
    match scene.server(words.first()) {
        Ok((_, server)) if enable && !server.settings.checked => {
            "Health check was not configured on this server, cannot enable.\n".to_owned()
        }
        Ok((_, server)) => {
            server.checking.store(enable, Relaxed);
            String::new()
        }
        Err(why) => why,
    }
}

/// `enable agent` and `disable agent`: no server has one.
pub(super) fn agent(scene: &Scene, words: &[&str], enable: bool) -> String {
    match scene.server(words.first()) {
        Ok(_) if enable => "Agent was not configured on this server, cannot enable.\n".to_owned(),
        Ok(_) => String::new(),
        Err(why) => why,
    }
}

/// `set server ... check-addr <addr> [port <port>]`, the words behind `check-addr`.
pub(super) fn address(scene: &Scene, at: (usize, usize), words: &[&str]) -> Result<(), String> {
    let text = words.first().ok_or(
        "set server <b>/<s> check-addr requires an address and optionally a port.\n".to_owned(),
    )?;
    let ip = text.parse().map_err(|_| format!("invalid addr '{text}'"))?;
    let number = match words.get(1..) {
        Some(["port", rest @ ..]) => Some(port(rest.first().copied().unwrap_or_default())?),
        _ => None,
    };
    scene.board.set_place(at, |place| {
        *place = Place { ip: Some(ip), port: number.or(place.port) };
    });
    Ok(())
}

/// The words behind `set server ... check-port`.
pub(super) fn set_port(scene: &Scene, at: (usize, usize), words: &[&str]) -> Result<(), String> {
    let text = words.first();
    let number = port(text.ok_or("set server <b>/<s> check-port requires a port.\n")?)?;
    scene.board.set_place(at, |place| place.port = Some(number));
    Ok(())
}

/// A port, where 0 is the server's own.
fn port(text: &str) -> Result<u16, String> {
    let number: i64 = text.parse().map_err(|_| "provided port is not an integer".to_owned())?;
    u16::try_from(number).map_err(|_| "provided port is invalid".to_owned())
}
