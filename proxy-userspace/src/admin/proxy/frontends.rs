//! What may be changed of frontends while the proxy runs.

use super::Scene;
use super::limits::number;
use crate::http::counters::Count;
use crate::http::engine::Engine;
use crate::http::live::Frontend;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

fn find<'a>(scene: &'a Scene, words: &[&str]) -> Result<&'a Arc<Frontend>, String> {
    let name = words.first().ok_or("A frontend name is expected.\n")?;
    Ok(scene.proxies.frontend(name).ok_or("No such frontend.\n")?)
}

/// `enable frontend` and `disable frontend`.
pub(super) fn enable(engine: &Engine, scene: &Scene, words: &[&str], enable: bool) -> String {
    let frontend = match find(scene, words) {
        Ok(frontend) => frontend,
        Err(why) => return why,
    };
    if frontend.shut.load(Relaxed) {
        let verb = if enable { "enable" } else { "disable" };
        return format!("Frontend was previously shut down, cannot {verb}.\n");
    }
    if frontend.enabled.load(Relaxed) == enable {
        let state = if enable { "enabled" } else { "disabled" };
        return format!("All sockets are already {state}.\n");
    }
    let done = if enable {
        if let Err(why) = engine.resume(frontend) {
            return format!("Failed to resume frontend: {why}.\n");
        }
        "Resumed"
    } else {
        engine.pause(frontend);
        "Paused"
    };
    let name = &frontend.settings.name;
    scene.logger.tell(name, 4, &format!("{done} frontend {name}."));
    String::new()
}

/// `shutdown frontend <frontend>`: nobody gets in any more, until a reload. Who is in stays.
pub(super) fn shut(engine: &Engine, scene: &Scene, words: &[&str]) -> String {
    let frontend = match find(scene, words) {
        Ok(frontend) => frontend,
        Err(why) => return why,
    };
    if frontend.shut.load(Relaxed) {
        return "Frontend was already shut down.\n".to_owned();
    }
    engine.shut(frontend);
    let name = &frontend.settings.name;
    let accepted = frontend.counters.total(Count::Connections);
    let other_half = scene.proxies.other_half(frontend);
    let served = other_half.map_or(0, |backend| backend.counters.total(Count::Sessions));
    let conns = format!("FE: {accepted}, BE: {served}");
    scene.logger.tell(name, 4, &format!("Proxy {name} stopped (cumulated conns: {conns})."));
    String::new()
}

/// `set maxconn frontend <frontend> <value>`. As with HAProxy, 0 lets nobody in, and what is no number
/// is 0.
pub(super) fn maxconn(scene: &Scene, words: &[&str]) -> String {
    let frontend = match find(scene, words) {
        Ok(frontend) => frontend,
        Err(why) => return why,
    };
    match words.get(1).map(|value| u32::try_from(number(value))) {
        Some(Ok(most)) => {
            frontend.maxconn.store(most, Relaxed);
            String::new()
        }
        Some(Err(_)) => "Value out of range.\n".to_owned(),
        None => "Integer value expected.\n".to_owned(),
    }
}
