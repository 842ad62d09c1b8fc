//! The flow table and the counters beside it: what stands in them, and making room.

use super::attach;
use super::batch;
use super::bpf::{self, Put};
use super::earlier;
use super::error::Error;
use super::object::{array, take};
use super::options::Options;
use super::pod::Raw;
use super::reap::{Reaper, Tools};
use aya::Ebpf;
use aya::maps::{Array, Map, MapData, PerCpuArray};
use proxy_common::abi::{Counter, LEAVING, Reap, Slot};
use proxy_common::flow::{Flow, Mode};
use proxy_common::key::FlowKey;
use std::io;

/// A counter of the kernel side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// Which.
    pub counter: Counter,
    /// Its name.
    pub name: &'static str,
    /// What it counts.
    pub meaning: &'static str,
    /// How many, since the start.
    pub value: u64,
}

/// The flow table, its counters and its reaper.
pub(super) struct Table {
    flows: MapData,
    counts: PerCpuArray<MapData, Raw<u64>>,
    reap_list: Array<MapData, Raw<Reap>>,
    reaper: Reaper,
    capacity: u64,
    /// Entries that the daemon made itself.
    earlier: u64,
}

impl Table {
    /// Takes the maps out of the object, and loads the program that makes room.
    ///
    /// # Errors
    /// Where the object lacks one, or the verifier refuses the program.
    pub(super) fn take(ebpf: &mut Ebpf, options: &Options) -> Result<Self, Error> {
        attach::loaded(ebpf, "td_reap")?;
        // Each read of a counter needs the number of CPUs. It is found in /sys, and then known to
        // this thread: a chroot hides /sys before the first read.
        aya::util::nr_cpus().map_err(|(path, error)| Error::system(path)(error))?;
        let flows = match take(ebpf, "FLOWS")? {
            Map::HashMap(data) => data,
            _ => return Err(Error::Missing("FLOWS as a hash map")),
        };
        Ok(Self {
            flows,
            counts: PerCpuArray::try_from(take(ebpf, "COUNTS")?).map_err(Error::map("COUNTS"))?,
            reap_list: array(ebpf, "REAP")?,
            reaper: Reaper::new(options.table_entries),
            capacity: u64::from(options.table_entries),
            earlier: 0,
        })
    }

    /// Takes in the connections that one end had closed before the programs looked.
    ///
    /// # Errors
    /// Where their sockets cannot be listed, or the table not be written.
    pub(super) fn take_in_earlier(&mut self, mode: Mode) -> io::Result<()> {
        self.earlier += earlier::take_in(&self.flows, mode)?;
        Ok(())
    }

    /// A connection was reported at `now`.
    pub(super) fn reported(&mut self, key: FlowKey, flow: &Flow, now: u64) {
        self.reaper.reported(key, flow, now);
    }

    /// Sees to it that there is room, once a second.
    ///
    /// # Errors
    /// Where the program cannot be run or a map not be read.
    pub(super) fn tidy(&mut self, ebpf: &Ebpf, now: u64) -> Result<(), Error> {
        let in_use = self.in_use()?;
        let (reaper, mut tools) = self.reaper(ebpf)?;
        reaper.tidy(&mut tools, in_use, now)
    }

    /// Whether [`Self::go_on`] has something to do.
    pub(super) fn is_busy(&self, now: u64) -> bool {
        self.reaper.is_busy(now)
    }

    /// Frees a portion of what may go, in every round.
    ///
    /// # Errors
    /// As [`Self::tidy`].
    pub(super) fn go_on(&mut self, ebpf: &Ebpf, now: u64) -> Result<(), Error> {
        if !self.is_busy(now) {
            return Ok(());
        }
        let (reaper, mut tools) = self.reaper(ebpf)?;
        reaper.go_on(&mut tools, now)
    }

    /// The reaper and its tools.
    fn reaper<'a>(&'a mut self, ebpf: &'a Ebpf) -> Result<(&'a mut Reaper, Tools<'a>), Error> {
        let program = ebpf.program("td_reap").ok_or(Error::Missing("td_reap"))?;
        let program = program.try_into().map_err(Error::program("td_reap"))?;
        let tools = Tools { program, list: &mut self.reap_list, flows: &self.flows };
        Ok((&mut self.reaper, tools))
    }

    /// Entries that are taken.
    fn in_use(&self) -> Result<u64, Error> {
        let freed = self.count(Counter::RECLAIMED)?
            + self.count(Counter::EXPIRED)?
            + self.count(Counter::EVICTED)?;
        Ok((self.count(Counter::FLOWS_MADE)? + self.earlier).saturating_sub(freed))
    }

    /// One counter.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub(super) fn count(&self, counter: Counter) -> Result<u64, Error> {
        let values = self.counts.get(&counter.0, 0).map_err(Error::map("COUNTS"))?;
        Ok(values.iter().map(|Raw(value)| value).sum())
    }

    /// Every counter of the kernel side.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub(super) fn counters(&self) -> Result<Vec<Count>, Error> {
        Counter::ALL
            .iter()
            .map(|&(counter, name, meaning)| {
                Ok(Count { counter, name, meaning, value: self.count(counter)? })
            })
            .collect()
    }

    /// Marks every entry as one that is about to be freed.
    ///
    /// # Errors
    /// Where the table cannot be read or written.
    pub(super) fn leave(&self) -> Result<(), Error> {
        for (key, slot) in self.slots()? {
            let slot = Slot { reported: LEAVING, ..slot };
            let put = bpf::put(&self.flows, &key, &slot, Put::Again);
            put.map_err(Error::system("writing the flow table"))?;
        }
        Ok(())
    }

    /// Every entry, those of reported connections included.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub(super) fn slots(&self) -> Result<Vec<(FlowKey, Slot)>, Error> {
        batch::entries(&self.flows, self.capacity)
    }
}
