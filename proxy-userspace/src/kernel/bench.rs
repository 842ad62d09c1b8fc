//! The programs on the bench: loaded, attached nowhere, and given one frame after the other by
//! `BPF_PROG_TEST_RUN`. For tests and measurements; no traffic of the host's is seen.

use super::attach::{loaded, loaded_xdp};
use super::btf::Btf;
use super::error::Error;
use super::load;
use super::options::Options;
use super::ring::{Record, Ring};
use super::table::{Count, Table};
use aya::Ebpf;
use aya::programs::{TestRun as _, TestRunOptions};
use proxy_common::abi::Slot;
use proxy_common::flow::Flow;
use proxy_common::key::FlowKey;
use proxy_common::wire::Link;
use std::time::Duration;

/// Which program gets a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hook {
    /// tc ingress.
    Ingress,
    /// tc egress.
    Egress,
    /// XDP in place of tc ingress.
    Xdp,
}

impl Hook {
    /// The program for frames that begin with `link`.
    const fn program(self, link: Link) -> &'static str {
        match (self, link) {
            (Self::Ingress, Link::Ethernet) => "td_ingress",
            (Self::Ingress, Link::Ip) => "td_ingress_ip",
            (Self::Egress, Link::Ethernet) => "td_egress",
            (Self::Egress, Link::Ip) => "td_egress_ip",
            (Self::Xdp, Link::Ethernet) => "td_xdp",
            (Self::Xdp, Link::Ip) => "td_xdp_ip",
        }
    }

    /// The vantage of its segments, [`proxy_common::segment::Segment::vantage`]: the kernel shows
    /// frames on the bench as loopback's, interface 1.
    #[must_use]
    pub const fn vantage(self) -> u32 {
        match self {
            Self::Ingress | Self::Xdp => 1 << 1,
            Self::Egress => 1 << 1 | 1,
        }
    }
}

/// The programs, loaded and attached nowhere.
pub struct Bench {
    ring: Ring,
    table: Table,
    ebpf: Ebpf,
}

impl Bench {
    /// Makes the maps; each program is loaded for the first frame that it gets.
    ///
    /// # Errors
    /// Where the kernel refuses a map.
    pub fn load(options: &Options) -> Result<Self, Error> {
        let mut ebpf = load::load(options, &Btf::of_kernel()?)?;
        let ring = Ring::take(&mut ebpf)?;
        Ok(Self { ring, table: Table::take(&mut ebpf, options)?, ebpf })
    }

    /// Gives one frame to a program; returns what the program said of it.
    ///
    /// # Errors
    /// Where the verifier refuses the program, or the kernel takes no such frame: it wants an
    /// Ethernet header, a whole IP header where that speaks of IP, and less than a page.
    pub fn run(&mut self, hook: Hook, link: Link, frame: &[u8]) -> Result<u32, Error> {
        self.test_run(hook, link, frame, 1).map(|(verdict, _)| verdict)
    }

    /// Gives the same frame to a program many times; returns the mean time of a run.
    ///
    /// # Errors
    /// As [`Bench::run`].
    pub fn time(
        &mut self,
        hook: Hook,
        link: Link,
        frame: &[u8],
        times: u32,
    ) -> Result<Duration, Error> {
        self.test_run(hook, link, frame, times).map(|(_, mean)| mean)
    }

    fn test_run(
        &mut self,
        hook: Hook,
        link: Link,
        frame: &[u8],
        repeat: u32,
    ) -> Result<(u32, Duration), Error> {
        let name = hook.program(link);
        let options = TestRunOptions { data_in: Some(frame), repeat, ..TestRunOptions::new() };
        let ran = if hook == Hook::Xdp {
            loaded_xdp(&mut self.ebpf, name)?.test_run(options)
        } else {
            loaded(&mut self.ebpf, name)?.test_run(options)
        };
        let ran =
            ran.map_err(Error::program(format!("running {name} on {} bytes", frame.len())))?;
        Ok((ran.return_value, ran.duration))
    }

    /// The connections reported since the last call, in the order of their records.
    pub fn closes(&mut self) -> Vec<(FlowKey, Flow)> {
        let mut found = Vec::new();
        while self.ring.drain(|record| {
            if let Record::Close(record) = record {
                found.push((record.key, record.flow));
            }
        }) {}
        let now = super::clock::now_ns();
        for (key, flow) in &found {
            self.table.reported(*key, flow, now);
        }
        found
    }

    /// Makes room in the table as the observer does every second and in the rounds after it, as if it
    /// were `now_ns` (CLOCK_MONOTONIC).
    ///
    /// # Errors
    /// Where the program that does it cannot be run.
    pub fn tidy(&mut self, now_ns: u64) -> Result<(), Error> {
        self.table.tidy(&self.ebpf, now_ns)?;
        self.go_on(now_ns)
    }

    /// The rounds alone, until there is nothing to do in them.
    ///
    /// # Errors
    /// As [`Bench::tidy`].
    pub fn go_on(&mut self, now_ns: u64) -> Result<(), Error> {
        while self.table.is_busy(now_ns) {
            self.table.go_on(&self.ebpf, now_ns)?;
        }
        Ok(())
    }

    /// Brings every entry of the flow table to where the reaper has looked at it for the last time
    /// and has not freed it yet.
    ///
    /// # Errors
    /// Where the table cannot be read or written.
    pub fn leave(&mut self) -> Result<(), Error> {
        self.table.leave()
    }

    /// Every entry of the flow table, in no order.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn slots(&self) -> Result<Vec<(FlowKey, Slot)>, Error> {
        self.table.slots()
    }

    /// Every counter of the kernel side.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counters(&self) -> Result<Vec<Count>, Error> {
        self.table.counters()
    }
}
