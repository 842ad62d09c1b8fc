//! Ends connections from outside: asks `td_strike` about one, and has it send a RST to both ends.
//!
//! The numbers come from the socket. The frame is built here, and the program sends it only if the
//! socket still has the same numbers, and a state in which it may be ended.

use super::attach;
use super::error::Error;
use super::frame::{self, Numbers};
use super::object::array;
use super::observer::now_ns;
use super::pod::Raw;
use aya::Ebpf;
use aya::maps::{Array, MapData};
use aya::programs::{SchedClassifier, TestRun as _, TestRunOptions};
use bytemuck::Zeroable as _;
use proxy_common::abi::Rule;
use proxy_common::decide::Refusal;
use proxy_common::key::{FlowKey, Side};
use proxy_common::strike::{DRY, LOOK, MARK, REFUSE, RESET, Strike, UNMARK};

/// Where the context of a program on the bench holds its interface (`struct __sk_buff`).
const CONTEXT_INTERFACE: usize = 40;
/// Bytes of a TCP header without options, and with timestamps alone.
const PLAIN: u32 = 20;
const WITH_TIMESTAMPS: u32 = 32;

/// The program and its map.
pub(super) struct Striker {
    map: Array<MapData, Raw<Strike>>,
}

impl Striker {
    /// Loads the program.
    ///
    /// # Errors
    /// Where the verifier refuses it.
    pub(super) fn take(ebpf: &mut Ebpf) -> Result<Self, Error> {
        attach::loaded(ebpf, "td_strike")?;
        Ok(Self { map: array(ebpf, "STRIKE")? })
    }

    /// What is known of a connection's local end. `bound` is the interface that the socket is
    /// bound to, or 0.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(super) fn look(
        &mut self,
        ebpf: &Ebpf,
        key: FlowKey,
        local: Side,
        bound: u32,
    ) -> Result<Strike, Error> {
        let asked = Strike { key, local, verb: LOOK, ..Strike::zeroed() };
        self.run(ebpf, asked, &[0; 64], bound)
    }

    /// Sends a RST+ACK to the peer and its mirror image to the local stack, if the socket is as it
    /// was `seen`, and counts it for `rule`. Returns the answer.
    ///
    /// # Errors
    /// As [`Striker::look`].
    pub(super) fn reset(
        &mut self,
        ebpf: &Ebpf,
        seen: &Strike,
        cause: u32,
        rule: Rule,
    ) -> Result<u32, Error> {
        let asked = Strike { verb: RESET, states: 1 << seen.state, cause, rule, ..*seen };
        let now_ms = (now_ns() / 1_000_000) as u32;
        let value = now_ms.wrapping_add(seen.ts_offset);
        let numbers = Numbers {
            seq: seen.snd_nxt,
            ack: seen.rcv_nxt,
            timestamps: (seen.header_len == WITH_TIMESTAMPS).then_some([value, seen.ts_recent]),
        };
        let frame = frame::reset(&seen.key, seen.local, seen.link, numbers);
        self.run(ebpf, asked, &frame, seen.interface).map(|told| told.answer)
    }

    /// Notes that the connection is ended for `cause` by the kernel's own means, if its socket is
    /// as it was `seen`. Returns the answer.
    ///
    /// # Errors
    /// As [`Striker::look`].
    pub(super) fn mark(
        &mut self,
        ebpf: &Ebpf,
        seen: &Strike,
        cause: u32,
        rule: Rule,
    ) -> Result<u32, Error> {
        let asked = Strike { verb: MARK, states: 1 << seen.state, cause, rule, ..*seen };
        self.run(ebpf, asked, &[0; 64], seen.interface).map(|told| told.answer)
    }

    /// Takes a mark back: it was not ended.
    ///
    /// # Errors
    /// As [`Striker::look`].
    pub(super) fn unmark(
        &mut self,
        ebpf: &Ebpf,
        seen: &Strike,
        cause: u32,
        rule: Rule,
    ) -> Result<(), Error> {
        let asked = Strike { verb: UNMARK, cause, rule, ..*seen };
        self.run(ebpf, asked, &[0; 64], 0).map(|_| ())
    }

    /// Counts what a dry run leaves undone.
    ///
    /// # Errors
    /// As [`Striker::look`].
    pub(super) fn dry(&mut self, ebpf: &Ebpf, seen: &Strike) -> Result<(), Error> {
        self.run(ebpf, Strike { verb: DRY, ..*seen }, &[0; 64], 0).map(|_| ())
    }

    /// Counts a refusal.
    ///
    /// # Errors
    /// As [`Striker::look`].
    pub(super) fn refuse(
        &mut self,
        ebpf: &Ebpf,
        seen: &Strike,
        refusal: Refusal,
    ) -> Result<(), Error> {
        let asked = Strike { verb: REFUSE, refusal: refusal.0, ..*seen };
        self.run(ebpf, asked, &[0; 64], 0).map(|_| ())
    }

    fn run(
        &mut self,
        ebpf: &Ebpf,
        asked: Strike,
        frame: &[u8],
        interface: u32,
    ) -> Result<Strike, Error> {
        self.map.set(0, Raw(asked), 0).map_err(Error::map("STRIKE"))?;
        let program = ebpf.program("td_strike").ok_or(Error::Missing("td_strike"))?;
        let program: &SchedClassifier = program.try_into().map_err(Error::program("td_strike"))?;
        // A socket that is bound to an interface is found from there alone.
        let mut context = [0u8; CONTEXT_INTERFACE + 4];
        context[CONTEXT_INTERFACE..].copy_from_slice(&interface.to_ne_bytes());
        let options = TestRunOptions {
            data_in: Some(frame),
            ctx_in: Some(&context),
            ..TestRunOptions::new()
        };
        program.test_run(options).map_err(Error::program("running td_strike"))?;
        self.map.get(&0, 0).map(|Raw(told)| told).map_err(Error::map("STRIKE"))
    }
}

/// Whether the connection's segments carry options that a frame of ours would lack: a signature.
#[must_use]
pub(super) const fn is_signed(seen: &Strike) -> bool {
    !matches!(seen.header_len, PLAIN | WITH_TIMESTAMPS)
}
