//! What may be changed of the whole process while it runs.

use super::Scene;
use super::set::leading_number;
use std::sync::atomic::Ordering::Relaxed;

/// A number as HAProxy reads it here, by C's `atoi`: what is none is 0.
pub(super) fn number(word: &str) -> i64 {
    leading_number(word).map_or(0, |(number, _)| number)
}

/// `set maxconn global <value>`: up to what the configuration says, which is also what 0 and less
/// stand for.
pub(super) fn maxconn(scene: &Scene, words: &[&str]) -> String {
    let Some(word) = words.first() else { return "Expects an integer value.\n".to_owned() };
    let hard = scene.proxies.global.maxconn.unwrap_or(0);
    let most = match u32::try_from(number(word)) {
        Ok(most) if hard > 0 && most > hard => return "Value out of range.\n".to_owned(),
        Ok(most @ 1..) => most,
        Err(_) if number(word) > 0 => return "Value out of range.\n".to_owned(),
        _ => hard,
    };
    scene.proxies.maxconn.store(most, Relaxed);
    String::new()
}

/// `set rate-limit connections|sessions global <value>`; there is no TLS and no compression.
pub(super) fn rate(scene: &Scene, words: &[&str]) -> String {
    let throttle = &scene.proxies.throttle;
    let (limit, words) = match words {
        ["connections", "global", rest @ ..] => (&throttle.connections, rest),
        ["sessions", "global", rest @ ..] => (&throttle.sessions, rest),
        _ => {
            return "'set rate-limit' only supports :\n   - 'connections global' to set the \
                    per-process maximum connection rate\n   - 'sessions global' to set the \
                    per-process maximum session rate\n"
                .to_owned();
        }
    };
    let Some(word) = words.first() else { return "Expects an integer value.\n".to_owned() };
    let Ok(most) = u32::try_from(number(word)) else { return "Value out of range.\n".to_owned() };
    limit.store(most, Relaxed);
    String::new()
}
