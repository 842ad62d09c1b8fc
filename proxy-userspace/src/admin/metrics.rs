//! The counters as Prometheus and OpenMetrics read them; docs/metrics.md lists them.

use crate::report::kind::Kind;
use crate::report::summary::{Counts, HALF_CLOSED_BOUNDS};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeLabelSet, MetricEncoder, NoLabelSet, text,
};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use std::fmt::{self, Debug};

/// The media type of what [`encode`] writes.
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// All numbers at one moment.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// Seconds since the daemon started.
    pub uptime_s: f64,
    /// Tails that are attached.
    pub tails: usize,
    /// What the proxy said of connections and was forgotten, where there is a proxy.
    pub lost_notes: Option<u64>,
    /// What was counted, by backend.
    pub backends: Vec<(String, Counts)>,
    /// The kernel side's counters: name, meaning, value, whether it counts losses.
    pub kernel: Vec<KernelCounter>,
}

/// A counter of the kernel side.
#[derive(Clone, Debug)]
pub struct KernelCounter {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: u64,
    /// Whether what it counts kept something from being shown.
    pub is_loss: bool,
}

/// The snapshot as OpenMetrics text.
#[must_use]
pub fn encode(snapshot: Snapshot) -> String {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(snapshot));
    let mut out = String::new();
    // Writing to a String does not fail.
    let _ = text::encode(&mut out, &registry);
    out
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let e = &mut encoder;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        describe(e, "teardown_build", "What runs", MetricType::Info)?.encode_info(&version)?;
        describe(e, "teardown_uptime_seconds", "Time since the start", MetricType::Gauge)?
            .encode_gauge(&self.uptime_s)?;
        describe(e, "teardown_tails", "Attached tails", MetricType::Gauge)?
            .encode_gauge(&(self.tails as i64))?;
        let closes = describe(e, "teardown_closes", "Connections that ended", MetricType::Counter)?;
        self.encode_closes(closes)?;
        type Of = fn(&Counts) -> u64;
        let sums: [(&str, &str, Of); 4] = [
            ("teardown_orig_bytes", "Bytes that originators sent", |row| row.orig_bytes),
            ("teardown_resp_bytes", "Bytes that responders sent", |row| row.resp_bytes),
            ("teardown_unread_bytes", "Bytes received and never read", |row| row.unread_bytes),
            ("teardown_unacked_bytes", "Bytes sent and never acknowledged", |row| {
                row.unacked_bytes
            }),
        ];
        for (name, help, of) in sums {
            let mut metric = describe(e, name, help, MetricType::Counter)?;
            for (backend, row) in &self.backends {
                counter(&mut metric, &[("backend", backend.as_str())], of(row))?;
            }
        }
        let help = "Time between a first FIN and its answer";
        let mut metric = describe(e, "teardown_half_closed_seconds", help, MetricType::Histogram)?;
        for (backend, row) in &self.backends {
            let labels = [("backend", backend.as_str())];
            half_closed(&mut metric.encode_family(&labels)?, row)?;
        }
        let kinds = [
            (true, "teardown_kernel_losses", "Events that the kernel side could not deliver"),
            (false, "teardown_kernel_events", "What the kernel side counted"),
        ];
        for (is_loss, name, help) in kinds {
            let mut metric = describe(e, name, help, MetricType::Counter)?;
            for each in self.kernel.iter().filter(|each| each.is_loss == is_loss) {
                counter(&mut metric, &[("kind", each.name.as_str())], each.value)?;
            }
        }
        if let Some(lost) = self.lost_notes {
            let help = "What the proxy said of connections and was forgotten";
            describe(e, "teardown_lost_notes", help, MetricType::Counter)?
                .encode_counter::<NoLabelSet, u64, u64>(&lost, None)?;
        }
        Ok(())
    }
}

impl Snapshot {
    fn encode_closes(&self, mut metric: MetricEncoder<'_>) -> fmt::Result {
        for (backend, row) in &self.backends {
            for kind in Kind::all().filter(|kind| row.kinds[kind.index()] > 0) {
                let labels = [
                    ("backend", backend.as_str()),
                    ("first", kind.first.map_or("none", |role| role.as_str())),
                    ("signal", kind.signal.map_or("none", |signal| signal.as_str())),
                    ("answer", kind.answer.map_or("none", |answer| answer.as_str())),
                ];
                counter(&mut metric, &labels, row.kinds[kind.index()])?;
            }
        }
        Ok(())
    }
}

fn describe<'a>(
    encoder: &'a mut DescriptorEncoder<'_>,
    name: &'a str,
    help: &'a str,
    kind: MetricType,
) -> Result<MetricEncoder<'a>, fmt::Error> {
    encoder.encode_descriptor(name, help, None, kind)
}

fn counter(
    metric: &mut MetricEncoder<'_>,
    labels: &(impl EncodeLabelSet + Debug),
    value: u64,
) -> fmt::Result {
    metric.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(&value, None)
}

fn half_closed(metric: &mut MetricEncoder<'_>, row: &Counts) -> fmt::Result {
    let bounds = HALF_CLOSED_BOUNDS.iter().map(|&ns| seconds(ns)).chain([f64::INFINITY]);
    let buckets: Vec<(f64, u64)> = bounds.zip(row.half_closed).collect();
    let count = row.half_closed.iter().sum();
    metric.encode_histogram::<NoLabelSet>(seconds(row.half_closed_ns), count, &buckets, None)
}

fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::label::Label;
    use crate::report::record::Record;
    use crate::report::sample;
    use crate::report::summary::Summary;
    use proxy_common::verdict;
    use std::collections::BTreeSet;

    #[test]
    fn every_counter_is_there() {
        let mut summary = Summary::default();
        for script in [sample::clean(), sample::clean(), sample::reset()] {
            let close = verdict::close(&script.key, &script.flow);
            let label = Label { backend: Some("we\"b"), server: Some("w1"), ..Label::default() };
            let label = if close.half_closed_ns.is_some() { label } else { Label::default() };
            summary.add(&Record { label, ..Record::of(&close) });
        }
        let names = |end: &_| {
            let is_server = *end == sample::SERVER;
            Label {
                backend: is_server.then_some("we\"b"),
                server: is_server.then_some("w1"),
                ..Label::default()
            }
        };
        let backends = summary.named_rows(&names);
        let kernel = vec![
            KernelCounter { name: "ring_full".to_owned(), value: 0, is_loss: true },
            KernelCounter { name: "flows_made".to_owned(), value: 3, is_loss: false },
        ];
        let text =
            encode(Snapshot { uptime_s: 1.5, tails: 2, lost_notes: Some(4), backends, kernel });
        assert_eq!(families(&text), documented(), "docs/metrics.md lists each");
        insta::assert_snapshot!(text, @r#"
        # HELP teardown_build What runs
        # TYPE teardown_build info
        teardown_build_info{version="0.1.0"} 1
        # HELP teardown_uptime_seconds Time since the start
        # TYPE teardown_uptime_seconds gauge
        teardown_uptime_seconds 1.5
        # HELP teardown_tails Attached tails
        # TYPE teardown_tails gauge
        teardown_tails 2
        # HELP teardown_closes Connections that ended
        # TYPE teardown_closes counter
        teardown_closes_total{backend="we\\x22b/w1",first="resp",signal="fin",answer="fin"} 2
        teardown_closes_total{backend="[::1]:8080",first="orig",signal="rst_ack",answer="none"} 1
        # HELP teardown_orig_bytes Bytes that originators sent
        # TYPE teardown_orig_bytes counter
        teardown_orig_bytes_total{backend="we\\x22b/w1"} 156
        teardown_orig_bytes_total{backend="[::1]:8080"} 10
        # HELP teardown_resp_bytes Bytes that responders sent
        # TYPE teardown_resp_bytes counter
        teardown_resp_bytes_total{backend="we\\x22b/w1"} 334
        teardown_resp_bytes_total{backend="[::1]:8080"} 4096
        # HELP teardown_unread_bytes Bytes received and never read
        # TYPE teardown_unread_bytes counter
        teardown_unread_bytes_total{backend="we\\x22b/w1"} 0
        teardown_unread_bytes_total{backend="[::1]:8080"} 4096
        # HELP teardown_unacked_bytes Bytes sent and never acknowledged
        # TYPE teardown_unacked_bytes counter
        teardown_unacked_bytes_total{backend="we\\x22b/w1"} 0
        teardown_unacked_bytes_total{backend="[::1]:8080"} 0
        # HELP teardown_half_closed_seconds Time between a first FIN and its answer
        # TYPE teardown_half_closed_seconds histogram
        teardown_half_closed_seconds_sum{backend="we\\x22b/w1"} 0.000664
        teardown_half_closed_seconds_count{backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="0.001",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="0.01",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="0.1",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="1.0",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="5.0",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="30.0",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="120.0",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_bucket{le="+Inf",backend="we\\x22b/w1"} 2
        teardown_half_closed_seconds_sum{backend="[::1]:8080"} 0.0
        teardown_half_closed_seconds_count{backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="0.001",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="0.01",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="0.1",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="1.0",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="5.0",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="30.0",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="120.0",backend="[::1]:8080"} 0
        teardown_half_closed_seconds_bucket{le="+Inf",backend="[::1]:8080"} 0
        # HELP teardown_kernel_losses Events that the kernel side could not deliver
        # TYPE teardown_kernel_losses counter
        teardown_kernel_losses_total{kind="ring_full"} 0
        # HELP teardown_kernel_events What the kernel side counted
        # TYPE teardown_kernel_events counter
        teardown_kernel_events_total{kind="flows_made"} 3
        # HELP teardown_lost_notes What the proxy said of connections and was forgotten
        # TYPE teardown_lost_notes counter
        teardown_lost_notes_total 4
        # EOF
        "#);
    }

    /// Names and types of what is served, as docs/metrics.md writes them.
    fn families(text: &str) -> BTreeSet<(String, String)> {
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types
            .filter_map(|family| family.split_once(' '))
            .map(|(name, kind)| {
                let ending = match kind {
                    "info" => "_info",
                    "counter" => "_total",
                    _ => "",
                };
                (format!("{name}{ending}"), kind.to_owned())
            })
            .collect()
    }

    /// The rows of the page's table.
    fn documented() -> BTreeSet<(String, String)> {
        let page = include_str!("../../../docs/metrics.md");
        let rows = page.lines().filter(|line| line.starts_with("| `teardown_"));
        rows.flat_map(|row| {
            let cells: Vec<&str> = row.split('|').map(str::trim).collect();
            let kind = cells[2].to_owned();
            let names = cells[1].split(", ").map(|name| name.trim_matches('`').to_owned());
            names.map(move |name| (name, kind.clone())).collect::<Vec<_>>()
        })
        .collect()
    }
}
