//! HAProxy's `show info`.

use super::fields::FIELDS;
use super::rows::Value;
use super::{Control, Scene, json};
use crate::http::counters::Count;
use crate::http::format::Surroundings;
use std::fmt::Write;
use std::sync::PoisonError;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant, SystemTime};

/// `show info [typed|json]`.
pub(super) fn show(control: &Control, scene: &Scene, words: &[&str]) -> String {
    // A description that was not given is left out, as by HAProxy.
    let is_said = |name: &str| name != "description" || scene.numbers.description.is_some();
    let values = FIELDS
        .iter()
        .filter(|field| is_said(field.1))
        .map(|field| (field, value(control, scene, field.1)));
    if words.contains(&"json") {
        return json::info(values);
    }
    let mut out = String::new();
    for ((position, name, tags, kind), value) in values {
        // Writing to a String does not fail.
        let _ = if words.contains(&"typed") {
            writeln!(out, "{position}.{name}.1:{tags}:{kind}:{value}")
        } else {
            writeln!(out, "{name}: {value}")
        };
    }
    out
}

fn value(control: &Control, scene: &Scene, name: &str) -> Value {
    let proxies = &scene.proxies;
    let text = |text: String| Value::Text(text);
    let over_frontends = |count: Count| -> u64 {
        proxies.frontends.iter().map(|frontend| frontend.counters.total(count)).sum()
    };
    let uptime = control.started.elapsed().as_secs();
    let number = match name {
        "Name" => return text("teardown".to_owned()),
        "Version" | "Build info" => return text(env!("CARGO_PKG_VERSION").to_owned()),
        "Release_date" => return text("-".to_owned()),
        "Uptime" => {
            let (days, hours) = (uptime / 86_400, uptime / 3_600 % 24);
            let (minutes, seconds) = (uptime / 60 % 60, uptime % 60);
            return text(format!("{days}d {hours}h{minutes:02}m{seconds:02}s"));
        }
        "node" => {
            let node = scene.numbers.node.clone();
            return text(node.unwrap_or_else(|| Surroundings::here().host.clone()));
        }
        "description" => return text(scene.numbers.description.clone().unwrap_or_default()),
        "Nbproc" | "Process_num" => 1,
        "Nbthread" => u64::try_from(proxies.workers).unwrap_or_default(),
        "Pid" => std::process::id().into(),
        "Uptime_sec" => uptime,
        "Ulimit-n" | "Maxsock" => {
            rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(0)
        }
        "Maxconn" => proxies.maxconn.load(Relaxed).into(),
        "Hard_maxconn" => proxies.global.maxconn.unwrap_or(0).into(),
        "CurrConns" => proxies.connections.now().into(),
        "CumConns" => over_frontends(Count::Connections),
        "CumReq" => over_frontends(Count::Requests),
        "ConnRate" | "SessRate" => proxies.session_rate.last().into(),
        "MaxConnRate" | "MaxSessRate" => proxies.session_rate.max().into(),
        "Idle_pct" => {
            let (now, cpu) = (Instant::now(), cpu_time());
            let mut looked = control.looked.lock().unwrap_or_else(PoisonError::into_inner);
            let (since, before) = std::mem::replace(&mut *looked, (now, cpu));
            idle(now.duration_since(since), cpu.saturating_sub(before), proxies.workers)
        }
        "ConnRateLimit" => proxies.throttle.connections.load(Relaxed).into(),
        "SessRateLimit" => proxies.throttle.sessions.load(Relaxed).into(),
        "Listeners" => {
            let open = proxies.frontends.iter().filter(|frontend| !frontend.shut.load(Relaxed));
            let binds = open.map(|frontend| frontend.settings.binds.len());
            u64::try_from(binds.sum::<usize>()).unwrap_or_default()
        }
        "Jobs" => proxies.connections.now().into(),
        "DroppedLogs" => control.logger.dropped(),
        "TotalBytesOut" => over_frontends(Count::BytesOut),
        "Start_time_sec" => control
            .started_at
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
        // There is nothing of the kind here, so there is none of it.
        _ => 0,
    };
    Value::Number(number)
}

/// The CPU time that the process has used.
pub(super) fn cpu_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

/// What of the workers' time was not used, in percent.
fn idle(wall: Duration, cpu: Duration, workers: usize) -> u64 {
    let all = wall.as_secs_f64() * f64::from(u32::try_from(workers).unwrap_or(u32::MAX));
    let used = if all > 0.0 { cpu.as_secs_f64() / all } else { 0.0 };
    // Within 0 and 100, as a float's conversion stays at the ends.
    (100.0 - 100.0 * used).round() as u64
}

#[cfg(test)]
mod tests {
    use super::idle;
    use std::time::Duration;

    #[test]
    fn what_is_not_used_is_idle() {
        let second = Duration::from_secs(1);
        assert_eq!(idle(second, Duration::ZERO, 2), 100);
        assert_eq!(idle(second, Duration::from_millis(500), 2), 75);
        assert_eq!(idle(second, second * 3, 2), 0);
        assert_eq!(idle(Duration::ZERO, Duration::ZERO, 2), 100);
    }
}
