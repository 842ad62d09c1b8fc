//! Ends connections from outside: asks `td_strike` about them, and has it send a RST to both ends.
//!
//! The numbers come from the sockets. The frames are built here, and the program sends each only if
//! the socket still has the same numbers, and a state in which it may be ended. Many are asked about
//! at once: a system call for each would make a crowd wait.

use super::attach;
use super::clock::now_ns;
use super::error::{Error, has_code};
use super::object::array;
use super::pod::Raw;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use bytemuck::Zeroable as _;
use proxy_common::abi::Rule;
use proxy_common::decide::Refusal;
use proxy_common::key::{FlowKey, Side};
use proxy_common::segment::{ACK, RST};
use proxy_common::stand_in::{Header, StandIn, TCP_LEN, TCP_LEN_WITH_TIMESTAMPS, TIMESTAMPS};
use proxy_common::strike::{
    AT_ONCE, DRY, FRAME, GONE, LOOK, MARK, REFUSE, RELIEVE, REPEAT, RESET, Strike, Strikes, UNMARK,
};
use std::collections::BTreeMap;

/// Where the context of a program on the bench holds its interface (`struct __sk_buff`).
const CONTEXT_INTERFACE: usize = 40;
/// The hop limit of a RST, as Linux has it unless told otherwise (`ip_default_ttl`).
const HOP_LIMIT: u8 = 64;
/// What the program is run on where it sends nothing.
const NO_FRAME: usize = 64;

/// The program and its map.
pub(super) struct Striker {
    map: Array<MapData, Raw<Strikes>>,
}

impl Striker {
    /// Loads the program.
    ///
    /// # Errors
    /// Where the verifier refuses it.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        attach::loaded(ebpf, "td_strike")?;
        Ok(Self { map: array(ebpf, "STRIKES")? })
    }

    /// Asks the program; each answer stands in the place of its question.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(super) fn ask(&mut self, ebpf: &Ebpf, asked: &mut [Strike]) -> Result<(), Error> {
        let program = ebpf.program("td_strike").ok_or(Error::Missing("td_strike"))?;
        let program: &SchedClassifier = program.try_into().map_err(Error::program("td_strike"))?;
        let mut benches: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, strike) in asked.iter().enumerate() {
            benches.entry(bench(strike)).or_default().push(at);
        }
        for places in benches.values().flat_map(|places| places.chunks(AT_ONCE)) {
            self.run(program, asked, places)?;
        }
        Ok(())
    }

    /// Runs the program once, for what stands in `asked` at these places.
    fn run(
        &mut self,
        program: &SchedClassifier,
        asked: &mut [Strike],
        places: &[usize],
    ) -> Result<(), Error> {
        let mut list = Strikes::zeroed();
        for (entry, &at) in list.entries.iter_mut().zip(places) {
            *entry = asked[at];
        }
        self.map.set(0, Raw(list), 0).map_err(Error::map("STRIKES"))?;
        let first = &list.entries[0];
        let mut context = [0u8; CONTEXT_INTERFACE + 4];
        context[CONTEXT_INTERFACE..].copy_from_slice(&first.device.to_ne_bytes());
        let (_, length) = bench(first);
        let frame = if sends(first) { &first.frame[..length] } else { &[0; NO_FRAME] };
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        match program.test_run(options) {
            // The interface is no more, and nobody is reached by sockets that are bound to it.
            Err(error) if has_code(&error, libc::ENODEV) => {
                for &at in places {
                    (asked[at].answer, asked[at].state) = (GONE, 0);
                }
                return Ok(());
            }
            ran => ran.map_err(Error::program("running td_strike"))?,
        };
        let Raw(list) = self.map.get(&0, 0).map_err(Error::map("STRIKES"))?;
        for (entry, &at) in list.entries.iter().zip(places) {
            asked[at] = *entry;
        }
        Ok(())
    }

    /// The same for one; returns the answer.
    ///
    /// # Errors
    /// As [`Striker::ask`].
    pub(super) fn ask_one(&mut self, ebpf: &Ebpf, mut asked: Strike) -> Result<u32, Error> {
        self.ask(ebpf, std::slice::from_mut(&mut asked))?;
        Ok(asked.answer)
    }
}

/// Which questions one run can answer: they look from the same interface, and their frames have
/// the same length.
fn bench(strike: &Strike) -> (u32, usize) {
    (strike.device, if sends(strike) { strike.frame_len() } else { NO_FRAME })
}

const fn sends(strike: &Strike) -> bool {
    matches!(strike.verb, RESET | REPEAT | RELIEVE)
}

/// What is known of a connection's local end? `bound` is the interface that the socket is bound to,
/// or 0.
#[must_use]
pub(super) fn look(key: FlowKey, local: Side, bound: u32) -> Strike {
    Strike { key, local, verb: LOOK, device: bound, ..Strike::zeroed() }
}

/// Send a RST+ACK to the peer and its mirror image to the local stack, if the socket is as it was
/// `seen`, and count it for the cause and the rule in there.
#[must_use]
pub(super) fn reset(seen: &Strike) -> Strike {
    Strike { verb: RESET, states: 1 << seen.state, frame: written(seen), ..*seen }
}

/// A stand-in, as if it were a socket that was seen.
#[must_use]
pub(super) fn of_stand_in(key: FlowKey, one: &StandIn) -> Strike {
    let timestamp_at_0 = one.timestamp.wrapping_sub((one.made_ns / 1_000_000) as u32);
    Strike {
        key,
        local: one.local,
        rule: Rule { id: one.rule, ..Rule::zeroed() },
        state: one.state().into(),
        snd_nxt: one.next,
        rcv_nxt: one.expected,
        ts_recent: one.echo,
        ts_offset: timestamp_at_0,
        header_len: Header { stand_in: one, key: &key }.tcp_len(),
        has_link: 1,
        interface: one.interface,
        link: one.link,
        ..Strike::zeroed()
    }
}

/// Send a RST+ACK to the peer of a stand-in that was `seen` so, which is done then.
#[must_use]
pub(super) fn relieve(seen: &Strike) -> Strike {
    Strike { verb: RELIEVE, frame: written(seen), ..*seen }
}

/// Send the RST+ACK of a connection that was struck as it was `seen` to the peer once more, if
/// nothing has taken its place.
#[must_use]
pub(super) fn repeat(seen: &Strike) -> Strike {
    Strike { verb: REPEAT, frame: written(seen), ..*seen }
}

/// Note that the connection is ended by the kernel's own means, if its socket is as it was `seen`.
#[must_use]
pub(super) fn mark(seen: &Strike) -> Strike {
    Strike { verb: MARK, states: 1 << seen.state, ..*seen }
}

/// Take a mark back: it was not ended.
#[must_use]
pub(super) fn unmark(seen: &Strike) -> Strike {
    Strike { verb: UNMARK, ..*seen }
}

/// Count what a dry run leaves undone.
#[must_use]
pub(super) fn dry(seen: &Strike) -> Strike {
    Strike { verb: DRY, ..*seen }
}

/// Count a refusal.
#[must_use]
pub(super) fn refuse(seen: &Strike, refusal: Refusal) -> Strike {
    Strike { verb: REFUSE, refusal: refusal.0, ..*seen }
}

/// The RST+ACK that the socket itself would send now.
fn written(seen: &Strike) -> [u8; FRAME] {
    let now = now_ns();
    let (frame, _) = Header { stand_in: &sender(seen, now), key: &seen.key }.frame(RST | ACK, now);
    let mut written = [0; FRAME];
    written[..frame.len()].copy_from_slice(&frame);
    written
}

/// Who sends the RST: a stand-in for the socket, as it was `seen`, with its very numbers.
fn sender(seen: &Strike, now: u64) -> StandIn {
    let has_timestamps = seen.header_len == TCP_LEN_WITH_TIMESTAMPS;
    StandIn {
        made_ns: now,
        next: seen.snd_nxt,
        expected: seen.rcv_nxt,
        timestamp: ((now / 1_000_000) as u32).wrapping_add(seen.ts_offset),
        echo: seen.ts_recent,
        bits: if has_timestamps { TIMESTAMPS } else { 0 },
        local: seen.local,
        link: seen.link,
        hop_limit: HOP_LIMIT,
        ..StandIn::zeroed()
    }
}

/// Whether the connection's segments carry options that a frame of ours would lack: a signature.
#[must_use]
pub(super) const fn is_signed(seen: &Strike) -> bool {
    seen.signed != 0 || !matches!(seen.header_len, TCP_LEN | TCP_LEN_WITH_TIMESTAMPS)
}

#[cfg(test)]
mod tests {
    use super::super::btf::Btf;
    use super::super::diag::Diag;
    use super::super::load;
    use super::super::options::Options;
    use super::*;
    use crate::ends::endpoint;
    use proxy_common::acts::HALF_CLOSE_OVER;
    use proxy_common::socket::tcp_state::{FIN_WAIT2, TIME_WAIT};
    use proxy_common::strike::{CHANGED, DONE};
    use std::io::{Read as _, Write as _};
    use std::net::{Shutdown, TcpListener, TcpStream};
    use std::time::{Duration, Instant};

    struct Scene {
        ebpf: Ebpf,
        striker: Striker,
        key: FlowKey,
        local: Side,
        peer: TcpStream,
        /// Where its owner holds on to it.
        ours: Option<TcpStream>,
    }

    impl Scene {
        /// A connection that its owner closed, and whose peer did not.
        fn orphan(address: &str) -> Self {
            let mut scene = Self::open(address);
            scene.ours = None;
            scene.wait_for(FIN_WAIT2);
            scene
        }

        fn open(address: &str) -> Self {
            let options = Options { enforce: true, ..Options::default() };
            let btf = Btf::of_kernel().expect("BTF");
            let mut ebpf = load::load(&options, &btf).expect("the object");
            let striker = Striker::take(&mut ebpf).unwrap_or_else(|error| panic!("{error}"));
            let listener = TcpListener::bind(address).expect("a port");
            let ours = TcpStream::connect(listener.local_addr().expect("it")).expect("it listens");
            let (peer, _) = listener.accept().expect("a connection");
            let (key, local) = FlowKey::new(
                endpoint(ours.local_addr().expect("bound")),
                endpoint(ours.peer_addr().expect("connected")),
            );
            Self { ebpf, striker, key, local, peer, ours: Some(ours) }
        }

        fn look(&mut self) -> Strike {
            let mut seen = [look(self.key, self.local, 0)];
            self.striker.ask(&self.ebpf, &mut seen).expect("it runs");
            Strike { interface: 1, has_link: 1, ..seen[0] }
        }

        fn reset(&mut self, seen: &Strike) -> u32 {
            self.ask(reset, seen)
        }

        fn repeat(&mut self, seen: &Strike) -> u32 {
            self.ask(repeat, seen)
        }

        fn ask(&mut self, what: fn(&Strike) -> Strike, seen: &Strike) -> u32 {
            let rule = Rule::zeroed();
            let asked = what(&Strike { rule, cause: HALF_CLOSE_OVER, ..*seen });
            self.striker.ask_one(&self.ebpf, asked).expect("it runs")
        }

        fn wait_for(&mut self, state: u8) -> Strike {
            let end = Instant::now() + Duration::from_secs(20);
            loop {
                let seen = self.look();
                if seen.state == u32::from(state) {
                    return seen;
                }
                assert!(Instant::now() < end, "{seen:?}");
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    #[test]
    fn an_orphans_minisock_tells_its_numbers_and_is_ended_with_its_peer() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut scene = Scene::orphan(address);
            let seen = scene.look();
            assert_ne!((seen.snd_nxt, seen.rcv_nxt), (0, 0));
            assert_eq!(seen.header_len, 32, "timestamps are on by default");
            assert_eq!(scene.reset(&seen), DONE);
            if address.starts_with("127.") {
                assert_eq!(scene.repeat(&seen), CHANGED, "what did not believe the RST is there");
            }
            Diag::open()
                .and_then(|mut diag| diag.forget_orphans(&[(seen.key, seen.local)]))
                .expect("it was there, or is gone");
            scene.wait_for(0);
            let error = scene.peer.take_error().expect("an option").expect("the RST came");
            assert_eq!(error.raw_os_error(), Some(libc::EPIPE));
            assert_eq!(scene.reset(&seen), GONE);
            assert_eq!(scene.repeat(&seen), DONE, "the ports are free");
        }
    }

    /// Its peer would believe the RST that was written before them, and the local stack would not.
    #[test]
    fn bytes_that_come_in_between_leave_the_connection_as_it_is() {
        let mut scene = Scene::open("127.0.0.1:0");
        scene.ours.as_ref().expect("open").shutdown(Shutdown::Write).expect("it is open");
        let seen = scene.wait_for(FIN_WAIT2);
        scene.peer.write_all(b"more").expect("it is open");
        let mut ours = scene.ours.as_ref().expect("open");
        ours.read_exact(&mut [0; 4]).expect("they came");
        assert_eq!(scene.reset(&seen), CHANGED);
        assert!(scene.peer.take_error().expect("an option").is_none());
        assert_eq!(scene.ask(mark, &seen), DONE, "the kernel has numbers of its own");
        assert_eq!(scene.ask(unmark, &seen), DONE);
        let seen = scene.look();
        assert_eq!(scene.reset(&seen), DONE, "with the numbers of now");
    }

    /// The race: between the look and the strike the peer's FIN comes.
    #[test]
    fn a_fin_that_comes_in_between_leaves_a_proper_time_wait_alone() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let mut scene = Scene::orphan(address);
            let seen = scene.look();
            scene.peer.shutdown(Shutdown::Write).expect("it is open");
            let after = scene.wait_for(TIME_WAIT);
            assert_eq!(after.rcv_nxt, seen.rcv_nxt.wrapping_add(1));
            assert_eq!(scene.reset(&seen), CHANGED, "the numbers are others");
            // Even with the right numbers: it is the state that counts.
            let exact = Strike { state: FIN_WAIT2.into(), ..after };
            assert_eq!(scene.reset(&exact), CHANGED, "the peer has closed");
            let found = Diag::open().and_then(|mut diag| diag.find(&scene.key, scene.local, 0));
            let found = found.expect("it is still there");
            assert_eq!(found.state, TIME_WAIT);
            assert!(scene.peer.take_error().expect("an option").is_none());
        }
    }
}
