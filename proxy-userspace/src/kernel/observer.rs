//! The observer: programs loaded and attached, and what they tell.

use super::attach::{self, Attached, Attachment};
use super::btf::Btf;
use super::cgroup::Widest;
use super::clock::now_ns;
use super::close::{Closed, Closing, Which};
use super::enforcer::Enforcer;
use super::error::{Error, has_code};
use super::event::Event;
use super::hold::Hold;
use super::interfaces::Interfaces;
use super::links::Watch;
use super::load;
use super::object::array;
use super::options::Options;
use super::owners::Owners;
use super::pod::Raw;
use super::reasons::RstReasons;
use super::ring::{Record, Ring};
use super::rules::Rules;
use super::stand_ins::StandIns;
use super::stated::Statements;
use super::table::{Count, Table};
use super::tracepoints;
use crate::passing::Passing;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use proxy_common::abi::{CloseRecord, Counter};
use proxy_common::flow::{Flow, Mode};
use proxy_common::key::FlowKey;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::Instant;

/// How often an awake observer looks into the ring: the wait of a close before it is shown.
const TICK: Duration = Duration::from_millis(2);
/// An observer that saw nothing for so long sleeps until it is woken. A look costs about what being
/// woken does: with a hundred connections a second it stays awake, with ten it sleeps most of the
/// time (docs/performance.md).
const DROWSY: Duration = Duration::from_millis(20);
/// While a deadline is as near as this, closes are given out a few at a time: to tell of a crowd
/// takes longer than others may wait for their end.
const PRESSING_NS: u64 = 100_000_000;
const A_FEW: usize = 64;
/// How often the table is tidied.
const TIDY: Duration = Duration::from_secs(1);

/// The kernel side at work. Dropped, it is off, and nothing of it is left.
pub struct Observer {
    // Links go before the programs.
    interfaces: Interfaces,
    ring: AsyncFd<Ring>,
    asleep: Array<MapData, Raw<u32>>,
    table: Table,
    hold: Hold,
    owners: Owners,
    enforcer: Option<Enforcer>,
    stand_ins: Option<StandIns>,
    statements: Option<Statements>,
    reasons: RstReasons,
    missing: Vec<String>,
    passing: Passing,
    last_event: Instant,
    next_tidy: Instant,
    ebpf: Ebpf,
}

impl Observer {
    /// Loads the programs and attaches them: all interfaces of this network namespace, or those
    /// of the options; the cgroup root; the tracepoints that the kernel has. Of a crowd of interfaces
    /// some [wait](Self::waiting). Needs a tokio runtime.
    ///
    /// # Errors
    /// Where something cannot be done without which closes could not be observed.
    pub fn start(options: &Options) -> Result<Self, Error> {
        let btf = Btf::of_kernel()?;
        let mut ebpf = load::load(options, &btf)?;
        let attached = Attached::prepare(options)?;
        let mut table = Table::take(&mut ebpf, options)?;
        let watch =
            Watch::start(!options.uses_tcx()).map_err(Error::system("listening to rtnetlink"))?;
        let owners = Owners::of_host();
        // Sockets first: a connection's socket speaks before its first segment.
        let sockets = attach::sockets(&mut ebpf);
        let mut missing = tracepoints::attach_all(&mut ebpf, &btf);
        match sockets {
            Ok(Widest::Root(_)) => {}
            Ok(Widest::Containers(at)) => missing.push(format!(
                "{} is this container's own cgroup, not the root of all ('--cgroupns=host'): closes \
                 of sockets outside of it carry no unread and no unacknowledged bytes, and hardly a \
                 process",
                at.display()
            )),
            // Nobody who lacks the privilege gets by with less.
            Err(error) if has_code(&error, libc::EPERM) => return Err(error),
            Err(error) => missing.push(format!(
                "{error}: closes carry no unread and no unacknowledged bytes, and a process only \
                 where it listened before the start"
            )),
        }
        let mut interfaces = Interfaces::new(attached, watch, options.interfaces.clone());
        interfaces.begin(&mut ebpf)?;
        // Of one interface alone nobody knows which sockets it has.
        if options.interfaces.is_empty() {
            let mode = if options.full_history { Mode::FULL } else { Mode::SPARSE };
            if let Err(error) = table.take_in_earlier(mode) {
                missing.push(format!("{error}: who closed first before the start is not known"));
            }
        }
        let enforcer = match options.enforce {
            true => Some(Enforcer::take(&mut ebpf, &btf, &mut missing)?),
            false => None,
        };
        let now = Instant::now();
        Ok(Self {
            interfaces,
            ring: ring(&mut ebpf)?,
            asleep: array(&mut ebpf, "ASLEEP")?,
            table,
            hold: Hold::default(),
            owners,
            statements: if options.enforce { Some(Statements::take(&mut ebpf)?) } else { None },
            enforcer,
            stand_ins: if options.enforce {
                Some(StandIns::take(&mut ebpf, options)?)
            } else {
                None
            },
            reasons: RstReasons::of(&btf),
            missing,
            passing: Passing::default(),
            last_event: now,
            next_tidy: now + TIDY,
            ebpf,
        })
    }

    /// Waits until something happened, and appends it to `out`.
    ///
    /// Cancel safe: what was taken out of the ring and not given out waits in the observer.
    ///
    /// # Errors
    /// Where it cannot wait for the ring any more. Whatever else fails is said, and tried again.
    pub async fn next(&mut self, out: &mut Vec<Event>) -> Result<(), Error> {
        loop {
            // One at a time, and nobody waits for more than that one.
            let complete = self.interfaces.go_on(&mut self.ebpf);
            if complete {
                out.push(Event::Attached);
            }
            self.collect(out);
            let struck = self.strike();
            if struck {
                self.last_event = Instant::now();
            }
            self.keep_house();
            if !out.is_empty() {
                return Ok(());
            }
            if struck {
                // More may be due; others on this thread want their turn too.
                tokio::task::yield_now().await;
                continue;
            }
            if self.interfaces.waiting() > 0 {
                self.wait(Some(Duration::ZERO)).await?;
                tokio::task::yield_now().await;
                continue;
            }
            let waits = self.stand_ins.as_ref().is_some_and(StandIns::is_waiting);
            let busy = waits || !self.hold.is_empty() || self.table.is_busy(now_ns());
            if busy || self.last_event.elapsed() < DROWSY {
                self.wait(Some(TICK)).await?;
            } else {
                self.asleep.set(0, Raw(1), 0).map_err(Error::map("ASLEEP"))?;
                // What came before the kernel side saw the flag would wake nobody.
                let any = self.collect(out);
                if !any && out.is_empty() && self.hold.is_empty() {
                    self.wait(None).await?;
                }
                self.asleep.set(0, Raw(0), 0).map_err(Error::map("ASLEEP"))?;
            }
        }
    }

    /// Everything that was told and not given out yet, without waiting: for the end of a run.
    pub fn finish(&mut self, out: &mut Vec<Event>) {
        while self.collect(out) {}
        self.release(u64::MAX, usize::MAX, out);
    }

    /// Ends connections whose time is over; says whether there were any.
    fn strike(&mut self) -> bool {
        let Some(enforcer) = &mut self.enforcer else { return false };
        let done = enforcer.strike(&self.ebpf);
        self.passing.over("ending connections whose time is over", done).unwrap_or(false)
    }

    /// Makes room in the tables, and does what time asks for.
    fn keep_house(&mut self) {
        let Self { passing, table, ebpf, .. } = self;
        if Instant::now() >= self.next_tidy {
            self.next_tidy = Instant::now() + TIDY;
            passing.over("making room in the table", table.tidy(ebpf, now_ns()));
            if let Some(enforcer) = &mut self.enforcer {
                let lost = table.count(Counter::LOST_DEADLINES);
                if let Some(lost) = passing.over("reading what deadlines were lost", lost) {
                    enforcer.lost(lost);
                }
            }
        }
        passing.over("making room in the table", table.go_on(ebpf, now_ns()));
        if let Some(stand_ins) = &mut self.stand_ins {
            passing.over("tending the stand-ins", stand_ins.tend(ebpf, now_ns()));
        }
    }

    /// Waits for the ring (or, awake, a tick), new interfaces, or the time to tidy.
    async fn wait(&mut self, tick: Option<Duration>) -> Result<(), Error> {
        let until = match tick {
            Some(tick) => Instant::now() + tick,
            None => self.next_tidy.min(self.next_due()),
        };
        tokio::select! {
            () = tokio::time::sleep_until(until) => {}
            ready = self.ring.ready(Interest::READABLE), if tick.is_none() => {
                ready.map_err(Error::system("waiting for the ring buffer"))?.clear_ready();
            }
            changes = self.interfaces.next() => self.interfaces.follow(changes),
        }
        Ok(())
    }

    /// When the next deadline is over.
    fn next_due(&self) -> Instant {
        let due = self.enforcer.as_ref().and_then(Enforcer::next_due);
        let wait = due.map_or(TIDY, |due| Duration::from_nanos(due.saturating_sub(now_ns())));
        Instant::now() + wait
    }

    /// Takes records out of the ring, and closes out of the hold. Returns whether there were records.
    fn collect(&mut self, out: &mut Vec<Event>) -> bool {
        let now = now_ns();
        let due = self.enforcer.as_ref().and_then(Enforcer::next_due);
        let pressing = due.is_some_and(|due| due < now + PRESSING_NS);
        let (hold, owners, enforcer) = (&mut self.hold, &mut self.owners, &mut self.enforcer);
        let table = &mut self.table;
        let any = self.ring.get_mut().drain(|record| match record {
            Record::Close(record) => {
                if let Some(enforcer) = enforcer {
                    enforcer.over(record.key);
                }
                if pressing || hold.wants(record) {
                    hold.close(record);
                } else {
                    give(record, table, owners, now, out);
                }
            }
            Record::Facts(record) => hold.fact(&record, now),
            Record::Listen(record) => owners.listens(record.endpoint, &record.event),
            Record::Deadline(record) => {
                if let Some(enforcer) = enforcer {
                    enforcer.told(&record);
                }
            }
            Record::Segment(record, data) => out.push(Event::Segment {
                key: record.key,
                segment: record.segment,
                data,
                at_ns: record.at_ns,
            }),
        });
        if any {
            self.last_event = Instant::now();
        }
        self.release(now, if pressing { A_FEW } else { usize::MAX }, out);
        any
    }

    fn release(&mut self, now: u64, most: usize, out: &mut Vec<Event>) {
        let (owners, table) = (&mut self.owners, &mut self.table);
        self.hold.release(now, most, |record| give(record, table, owners, now, out));
    }

    /// Every counter of the kernel side.
    ///
    /// # Errors
    /// Where the map cannot be read.
    pub fn counters(&self) -> Result<Vec<Count>, Error> {
        self.table.counters()
    }

    /// The connections that are followed and not over.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub fn flows(&self) -> Result<Vec<(FlowKey, Flow)>, Error> {
        Ok(self
            .table
            .slots()?
            .into_iter()
            .filter(|(_, slot)| slot.reported == 0)
            .map(|(key, slot)| (key, slot.flow))
            .collect())
    }

    /// What is attached where.
    pub fn attachments(&self) -> impl Iterator<Item = &Attachment> {
        self.interfaces.attached.list()
    }

    /// How many interfaces have no programs yet.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.interfaces.waiting()
    }

    /// The rules, where closes may be changed.
    pub fn rules(&mut self) -> Option<&mut Rules> {
        self.enforcer.as_mut().map(|enforcer| &mut enforcer.rules)
    }

    /// Where this host's own proxy states what its connections are for, where closes may be
    /// changed. Only the first call gets it.
    pub const fn take_statements(&mut self) -> Option<Statements> {
        self.statements.take()
    }

    /// Finds the connections that are to be closed now, by FIN or by RST, or only to be listed.
    /// `None` where closes are not changed.
    ///
    /// # Errors
    /// Where the sockets cannot be listed.
    pub fn find_to_close(
        &self,
        which: &Which,
        by_fin: bool,
        dry_run: bool,
    ) -> Result<Option<Closing>, Error> {
        let (Some(_), Some(stand_ins)) = (&self.enforcer, &self.stand_ins) else {
            return Ok(None);
        };
        Closing::find((&self.table, stand_ins), which, by_fin, dry_run).map(Some)
    }

    /// Closes some of them.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub fn close_some(&mut self, closing: &mut Closing) -> Result<Vec<Closed>, Error> {
        let Some(enforcer) = &mut self.enforcer else { return Ok(Vec::new()) };
        enforcer.close(&self.ebpf, closing)
    }

    /// What this kernel lacks and teardown does without, in words.
    #[must_use]
    pub fn missing(&self) -> &[String] {
        &self.missing
    }

    /// The kernel's names for its reasons to reset.
    #[must_use]
    pub const fn rst_reasons(&self) -> &RstReasons {
        &self.reasons
    }
}

/// Gives a close out, with its owners. It is copied once, to where it will be read: from the ring it
/// comes cold.
fn give(
    record: &CloseRecord,
    table: &mut Table,
    owners: &mut Owners,
    now: u64,
    out: &mut Vec<Event>,
) {
    table.reported(record.key, &record.flow, now);
    out.push(Event::Close(*record));
    if let Some(Event::Close(record)) = out.last_mut() {
        owners.complete(&record.key, &mut record.flow);
    }
}

fn ring(ebpf: &mut Ebpf) -> Result<AsyncFd<Ring>, Error> {
    let ring = Ring::take(ebpf)?;
    // SAFETY: the ring owns its descriptor and keeps it for as long as it lives.
    unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
        .map_err(|error| Error::system("watching the ring buffer")(error.into_parts().1))
}
