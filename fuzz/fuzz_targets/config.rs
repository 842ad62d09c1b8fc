//! A configuration: whatever is written in it, it is read to its end, what is wrong is said with a
//! place that exists, and what is taken can be put together.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::net::{IpAddr, Ipv4Addr};
use teardown::assemble::{assemble, logs};
use teardown::config::source::Source;
use teardown::config::{Findings, Level, Strictness, labels::Labels, parse};

/// A name is known unless it begins with `no`.
fn resolve(name: &str) -> Vec<IpAddr> {
    if name.starts_with("no") { Vec::new() } else { vec![IpAddr::V4(Ipv4Addr::LOCALHOST)] }
}

fuzz_target!(|data: &[u8]| {
    let text = String::from_utf8_lossy(data);
    // Files are read while a configuration is: that is not what is looked at here.
    if text.contains("/dev") || text.contains("/proc") {
        return;
    }
    // Several files are told apart by a form feed.
    let sources: Vec<Source> = text
        .split('\x0c')
        .enumerate()
        .map(|(at, text)| Source { name: format!("{at}.cfg").into(), text: text.into() })
        .collect();
    let environment = |name: &str| name.len().is_multiple_of(2).then(|| format!("<{name}>"));
    let (_, lenient) = parse(&sources, Strictness::Lenient, &environment);
    assert!(lenient.list.iter().all(|finding| finding.level == Level::Notice));
    let (config, findings) = parse(&sources, Strictness::Strict, &environment);
    for finding in &findings.list {
        assert!(!finding.to_string().is_empty());
    }
    if findings.list.iter().any(|finding| finding.level == Level::Alert) {
        return;
    }
    let mut findings = Findings::default();
    let assembled = assemble(&config, &resolve, &|_| Vec::new(), &mut findings);
    assert_eq!(assembled.healths.len(), assembled.settings.backends.len());
    let _ = logs(&config, &resolve, &mut findings);
    let _ = Labels::new(&config, &resolve);
});
