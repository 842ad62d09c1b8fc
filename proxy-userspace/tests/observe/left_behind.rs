//! Ctrl-C and SIGKILL leave nothing: no program, map, link, filter, qdisc or pin. Before Linux 6.6 a kill
//! leaves filters, and the next start takes them away.

use crate::support::linux::has_tcx;
use crate::support::netns::Netns;
use crate::support::topology::{Family, Topology};
use crate::support::until::until;
use crate::support::watch::{Ingress, Watch};
use aya::programs::{SchedClassifier, TcAttachType, loaded_links, loaded_programs};
use rustix::process::Signal;
use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn nothing_is_left_after_ctrl_c_and_after_a_kill() {
    for (ingress, signal) in [
        (Ingress::Tc, Signal::INT),
        (Ingress::Xdp, Signal::INT),
        (Ingress::Tc, Signal::TERM),
        (Ingress::Tc, Signal::KILL),
        (Ingress::Xdp, Signal::KILL),
    ] {
        let topology = Topology::veth(Family::V4);
        let pins = pins();
        let mut watch = Watch::start(&topology, &["--ingress", ingress.word()]);
        let held = Held::of(watch.process.pid());
        assert!(held.programs.len() >= 3 && held.maps.len() >= 2, "{held:?}");
        assert_ne!(hooks(&topology.proxy), Vec::<String>::new(), "attached");
        watch.process.signal(signal);
        let status = watch.process.wait();
        assert!(signal == Signal::KILL || status.success(), "{status}");
        if signal == Signal::KILL && !has_tcx() {
            let mut next = Watch::start(&topology, &["--ingress", ingress.word()]);
            next.process.signal(Signal::INT);
            assert!(next.process.wait().success());
        }
        // The kernel frees programs and maps a grace period after their last reference.
        until(&format!("{held:?} to be gone"), || held.is_gone().then_some(()));
        assert_eq!(hooks(&topology.proxy), Vec::<String>::new(), "{ingress:?} {signal:?}");
        assert_eq!(self::pins(), pins);
    }
}

/// Filters outlive a kill. Whatever the next one hangs its programs on, and wherever.
#[test]
fn the_next_start_takes_away_the_filters_of_one_that_was_killed() {
    for next in [&[][..], &["--hook", "clsact"], &["--ingress", "xdp"], &["--interface", "lo"]] {
        let topology = Topology::veth(Family::V4);
        let mut watch = Watch::start(&topology, &["--hook", "clsact"]);
        watch.process.signal(Signal::KILL);
        watch.process.wait();
        assert_ne!(hooks(&topology.proxy), Vec::<String>::new(), "left behind");
        let mut next = Watch::start(&topology, next);
        next.process.signal(Signal::INT);
        assert!(next.process.wait().success());
        assert_eq!(hooks(&topology.proxy), Vec::<String>::new());
    }
}

/// The kernel's objects that a process holds, by their ids.
#[derive(Debug, Default)]
struct Held {
    programs: BTreeSet<u32>,
    maps: BTreeSet<u32>,
    links: BTreeSet<u32>,
}

impl Held {
    fn of(pid: u32) -> Self {
        let mut held = Self::default();
        let folder = format!("/proc/{pid}/fdinfo");
        for entry in std::fs::read_dir(folder).expect("the descriptors").flatten() {
            let text = std::fs::read_to_string(entry.path()).unwrap_or_default();
            let number = |name: &str| {
                text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse::<u32>().ok())
            };
            match (number("link_id:"), number("map_id:"), number("prog_id:")) {
                (Some(link), _, _) => held.links.insert(link),
                (None, Some(map), _) => held.maps.insert(map),
                (None, None, Some(program)) => held.programs.insert(program),
                _ => false,
            };
        }
        held
    }

    fn is_gone(&self) -> bool {
        let programs = loaded_programs().flatten().any(|info| self.programs.contains(&info.id()));
        let maps = aya::maps::loaded_maps().flatten().any(|info| self.maps.contains(&info.id()));
        let links = loaded_links().flatten().any(|info| self.links.contains(&info.id()));
        !(programs || maps || links)
    }
}

/// What hangs on the namespace's interfaces: TCX programs, qdiscs that take filters, XDP.
fn hooks(netns: &Netns) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let qdiscs = netns.output(Command::new("tc").args(["qdisc", "show"]));
    found.extend(qdiscs.lines().filter(|line| line.contains("clsact")).map(str::to_owned));
    let links = netns.output(Command::new("ip").args(["link", "show"]));
    found.extend(links.lines().filter(|line| line.contains("xdp")).map(str::to_owned));
    let interfaces: &[&str] = if has_tcx() { &["lo", "front", "back"] } else { &[] };
    for interface in interfaces {
        for way in [TcAttachType::Ingress, TcAttachType::Egress] {
            let query = netns.run(|| SchedClassifier::query_tcx(interface, way));
            let (_, programs) = query.expect("a kernel with TCX");
            found.extend(programs.iter().map(|info| format!("{interface} {way:?} {}", info.id())));
        }
    }
    found
}

/// Names pinned by anybody in the BPF file system, if there is one.
fn pins() -> Vec<String> {
    let entries = std::fs::read_dir("/sys/fs/bpf").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| name.contains("teardown"));
    names
}
