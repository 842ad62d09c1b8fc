//! Keeps the time for stand-ins: FINs that are sent again, peers that are given up, and those that
//! were answered for long enough.
//!
//! Nothing is decided here: `StandIn::due` says what time asks for, and the kernel program asks it
//! again before it sends the frame.

use super::batch;
use super::clock::now_ns;
use super::error::Error;
use super::load;
use super::object::{array, take};
use super::options::Options;
use super::pod::Raw;
use aya::Ebpf;
use aya::maps::{Array, Map, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use proxy_common::abi::StandInSlot;
use proxy_common::key::FlowKey;
use proxy_common::segment::{ACK, FIN, RST};
use proxy_common::stand_in::{Due, Header, StandIn, TIME_WAIT_NS};

const MILLISECOND: u64 = 1_000_000;
/// How often it is looked for FINs to send again.
const LOOK_NS: u64 = 50 * MILLISECOND;
/// The same while every stand-in has seen both ends close.
const QUIET_LOOK_NS: u64 = 1_000 * MILLISECOND;
/// How long retransmissions are answered when the table is half full.
const SHORT_TIME_WAIT_NS: u64 = 1_000 * MILLISECOND;

/// The table of stand-ins, as the daemon sees it.
pub(super) struct StandIns {
    table: MapData,
    capacity: u64,
    standing: Array<MapData, Raw<[u64; 2]>>,
    tended: Array<MapData, Raw<u64>>,
    next_look: u64,
    looked: u64,
    /// How long the last look through the table took.
    took: u64,
    waiting: bool,
}

impl StandIns {
    /// Takes the maps out of the object, and loads the program.
    ///
    /// # Errors
    /// Where the object lacks one, or the verifier refuses the program.
    pub(super) fn take(ebpf: &mut Ebpf, options: &Options) -> Result<Self, Error> {
        super::attach::loaded(ebpf, "td_tend")?;
        let table = match take(ebpf, "STAND_INS")? {
            Map::HashMap(data) => data,
            _ => return Err(Error::Missing("STAND_INS as a hash map")),
        };
        let standing = array(ebpf, "STANDING")?;
        let capacity = u64::from(load::stand_ins(options));
        let mut tended = array(ebpf, "TENDED")?;
        tended.set(0, Raw(now_ns()), 0).map_err(Error::map("TENDED"))?;
        Ok(Self {
            table,
            capacity,
            standing,
            tended,
            next_look: 0,
            looked: 0,
            took: 0,
            waiting: false,
        })
    }

    /// Whether one waits for its peer, as far as was seen when it was last looked: then the time
    /// must be kept.
    pub(super) const fn is_waiting(&self) -> bool {
        self.waiting
    }

    /// Those that stand, the ones included whose peers have closed.
    ///
    /// # Errors
    /// Where the table cannot be read.
    pub(super) fn list(&self) -> Result<Vec<(FlowKey, StandIn)>, Error> {
        let slots = batch::entries::<FlowKey, StandInSlot>(&self.table, self.capacity)?;
        Ok(slots.into_iter().map(|(key, slot)| (key, slot.stand_in)).collect())
    }

    /// Does what is due at `now`, if it is time to look.
    ///
    /// # Errors
    /// Where the table cannot be read or the program not be run.
    pub(super) fn tend(&mut self, ebpf: &Ebpf, now: u64) -> Result<(), Error> {
        if now < self.next_look {
            return Ok(());
        }
        self.tended.set(0, Raw(now), 0).map_err(Error::map("TENDED"))?;
        let Raw([all, waiting]) = self.standing.get(&0, 0).map_err(Error::map("STANDING"))?;
        self.waiting = waiting != 0;
        self.next_look = now + LOOK_NS;
        // At most a twentieth of one processor, and a hundredth where nothing presses.
        let (least, times) = if self.waiting { (LOOK_NS, 20) } else { (QUIET_LOOK_NS, 100) };
        let pause = least.max(self.took.saturating_mul(times));
        if all == 0 || now < self.looked + pause {
            return Ok(());
        }
        self.looked = now;
        let half_full = all * 2 > self.capacity;
        let time_wait = if half_full { SHORT_TIME_WAIT_NS } else { TIME_WAIT_NS };
        let program = ebpf.program("td_tend").ok_or(Error::Missing("td_tend"))?;
        let program: &SchedClassifier = program.try_into().map_err(Error::program("td_tend"))?;
        for (key, stand_in) in self.list()? {
            let flags = match stand_in.due(now, time_wait) {
                Due::FIN => FIN | ACK,
                Due::RESET => RST | ACK,
                Due::FORGET => ACK,
                _ => continue,
            };
            let (frame, len) = Header { stand_in: &stand_in, key: &key }.frame(flags, now);
            let options = TestRunOptions { data_in: Some(&frame[..len]), ..TestRunOptions::new() };
            program.test_run(options).map_err(Error::program("running td_tend"))?;
        }
        self.took = now_ns().saturating_sub(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::btf::Btf;
    use super::super::strike::{Striker, of_stand_in, relieve};
    use super::*;
    use aya::maps::HashMap;
    use bytemuck::Zeroable as _;
    use proxy_common::key::{Endpoint, Side};
    use proxy_common::stand_in::{FIN_ACKED, LEAST_RTO_MS, PEER_FIN, WAITS};
    use proxy_common::strike::{CHANGED, DONE};

    const KEY: FlowKey =
        FlowKey { ends: [Endpoint::v4([127, 0, 0, 1], 1), Endpoint::v4([127, 0, 0, 1], 2)] };

    /// A table with one stand-in, made by hand: nothing is attached.
    struct Scene {
        ebpf: Ebpf,
        striker: Striker,
        table: HashMap<MapData, Raw<FlowKey>, Raw<StandInSlot>>,
    }

    impl Scene {
        fn new() -> Self {
            let options = Options { enforce: true, ..Options::default() };
            let btf = Btf::of_kernel().expect("BTF");
            let mut ebpf = load::load(&options, &btf).expect("the object");
            let striker = Striker::take(&mut ebpf).unwrap_or_else(|error| panic!("{error}"));
            super::super::attach::loaded(&mut ebpf, "td_tend").expect("a program");
            let table = take(&mut ebpf, "STAND_INS").expect("a map");
            Self { ebpf, striker, table: HashMap::try_from(table).expect("a hash map") }
        }

        fn put(&mut self, stand_in: StandIn) {
            let slot = StandInSlot { stand_in, ..StandInSlot::zeroed() };
            self.table.insert(Raw(KEY), Raw(slot), 0).expect("there is room");
        }

        fn found(&self) -> Option<StandIn> {
            self.table.get(&Raw(KEY), 0).ok().map(|Raw(slot)| slot.stand_in)
        }

        fn relieve(&mut self, seen: &StandIn) -> u32 {
            let asked = relieve(&of_stand_in(KEY, seen));
            self.striker.ask_one(&self.ebpf, asked).expect("it runs")
        }

        /// Has the program send this, as the daemon does; says whether it did.
        fn tend(&self, seen: &StandIn, flags: u8) -> bool {
            let (frame, len) = Header { stand_in: seen, key: &KEY }.frame(flags, now_ns());
            let program = self.ebpf.program("td_tend").expect("the program");
            let program: &SchedClassifier = program.try_into().expect("a classifier");
            let options = TestRunOptions { data_in: Some(&frame[..len]), ..TestRunOptions::new() };
            program.test_run(options).expect("it runs").return_value == 1
        }
    }

    /// Its FIN was just sent, and the peer has not closed.
    fn stand_in() -> StandIn {
        StandIn {
            made_ns: now_ns(),
            fin_ns: now_ns(),
            next: 1_000,
            expected: 2_000,
            interface: 1,
            linger_ms: 60_000,
            bits: WAITS,
            rto_ms: 60_000,
            fins: 1,
            local: Side::LOW,
            hop_limit: 64,
            ..StandIn::zeroed()
        }
    }

    #[test]
    fn a_peer_is_reset_by_command_only_where_the_stand_in_is_as_it_was_seen() {
        let mut scene = Scene::new();
        let one = stand_in();
        scene.put(one);
        assert_eq!(scene.relieve(&StandIn { next: 999, ..one }), CHANGED, "another connection's");
        assert_eq!(
            scene.relieve(&StandIn { local: Side::HIGH, ..one }),
            CHANGED,
            "the other end's"
        );
        scene.put(StandIn { bits: WAITS | FIN_ACKED | PEER_FIN, ..one });
        assert_eq!(scene.relieve(&one), CHANGED, "the peer has closed meanwhile");
        assert!(scene.found().is_some());
        scene.put(one);
        assert_eq!(scene.relieve(&one), DONE);
        assert_eq!(scene.found(), None);
    }

    #[test]
    fn time_is_asked_again_before_anything_is_sent() {
        let mut scene = Scene::new();
        let one = stand_in();
        scene.put(one);
        for flags in [FIN | ACK, RST | ACK, ACK] {
            assert!(!scene.tend(&one, flags), "it is not due");
            assert_eq!(scene.found(), Some(one));
        }
        let due = StandIn { fin_ns: 1, rto_ms: LEAST_RTO_MS, ..one };
        scene.put(due);
        assert!(!scene.tend(&due, RST | ACK), "what is due is a FIN");
        assert!(scene.tend(&due, FIN | ACK));
        let found = scene.found().expect("it stays");
        assert!(found.fins == 2 && found.fin_ns > 1, "{found:?}");
    }
}
