//! Ends connections from outside. The daemon says which and on what condition; this program looks
//! each socket up, checks the condition again, and sends the daemon's frame to both ends.

mod look;

use crate::counters::count;
use crate::enforce::frame::Frame;
use crate::enforce::relieve_stand_in;
use crate::enforce::rules::{self, counted};
use crate::flows::{self, Guard, find_or_make};
use crate::maps::{STRIKES, Slot};
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use look::td_look;
use proxy_common::abi::Counter;
use proxy_common::acts::{
    Acts, CLOSE_BY_FIN, CLOSE_WAIT_OVER, CLOSED_NOW, DRY, HALF_CLOSE_OVER, HAS_LINK, MATCHED,
    REFUSED, STOOD_IN, TOLD_LOCAL,
};
use proxy_common::flow::{STARTED, TRACKED};
use proxy_common::segment::{ACK, RST};
use proxy_common::socket::tcp_state::LISTEN;
use proxy_common::stand_in::TCP_LEN_WITH_TIMESTAMPS;
use proxy_common::strike::{
    AT_ONCE, CHANGED, DONE, FAILED, GONE, LOOK, MARK, NOTHING, REFUSE, RELIEVE, REPEAT, RESET,
    Strike, UNMARK,
};

/// What the daemon asks for stands in the map; so does what it is told. Returns how many questions
/// there were.
#[inline(always)]
pub fn run(ctx: &TcContext) -> i32 {
    for index in 0..AT_ONCE {
        if td_one(ctx.skb.skb, index as u32) == 0 {
            return index as i32;
        }
    }
    AT_ONCE as i32
}

/// Answers one question; 0 where there is none. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_one(ctx: *mut __sk_buff, index: u32) -> u32 {
    let Some(strikes) = STRIKES.get_ptr_mut(0) else { return 0 };
    // SAFETY: the map's only entry; the daemon runs one of these at a time.
    let Some(strike) = (unsafe { (*strikes).entries.get_mut(index as usize) }) else { return 0 };
    if strike.verb == NOTHING {
        return 0;
    }
    strike.answer = answer(&TcContext::new(ctx), strike);
    1
}

#[inline(always)]
fn answer(ctx: &TcContext, strike: &mut Strike) -> u32 {
    let (snd_nxt, rcv_nxt) = (strike.snd_nxt, strike.rcv_nxt);
    if strike.verb == LOOK {
        remember(strike);
        return td_look(ctx.skb.skb, strike);
    }
    if strike.verb == UNMARK {
        return unmark(strike);
    }
    if strike.verb == REPEAT {
        // Of a socket that listens it is another.
        let header_len = strike.header_len;
        td_look(ctx.skb.skb, strike);
        strike.header_len = header_len;
        return repeat(ctx, strike);
    }
    if strike.verb == RESET || strike.verb == MARK {
        let seen = td_look(ctx.skb.skb, strike);
        if seen != DONE {
            return seen;
        }
        // A FIN of the peer's that came meanwhile has changed the state, and one that comes from
        // now on changes what the local stack expects, so that it does not believe the RST.
        let holds = strike.state < 32 && 1u32 << strike.state & strike.states != 0;
        // The kernel's own means need no numbers of ours: data may come and go.
        let is_exact = strike.snd_nxt == snd_nxt && strike.rcv_nxt == rcv_nxt;
        if !holds || strike.verb == RESET && !is_exact {
            return CHANGED;
        }
        let Some((slot, first)) = note(strike) else { return FAILED };
        if first {
            count_cause(strike);
        }
        return if strike.verb == MARK { DONE } else { send(ctx, strike, slot) };
    }
    if strike.verb == RELIEVE {
        return td_relieve(ctx.skb.skb, strike);
    }
    td_told_off(strike)
}

/// Fills in the rule, and what the flow table knows of the connection.
#[inline(always)]
fn remember(strike: &mut Strike) {
    let local = strike.local;
    let found = flows::find(&strike.key);
    let peer = strike.key.end(local.other());
    if let Some(rule) = found.and_then(rules::of_statement).or_else(|| rules::find(peer)) {
        strike.rule = rule;
    }
    let Some(slot) = found else { return };
    let guard = Guard::lock(slot);
    let (flow, reported) = guard.parts();
    strike.reported = u16::from(*reported != 0);
    let speaks = flow.end(local).has(TRACKED);
    strike.unseen = u16::from(speaks && !flow.has(STARTED));
    strike.local_fin_ns = flow.end(local).fin_ns;
    strike.peer_fin_ns = flow.end(local.other()).fin_ns;
    let acts = guard.acts();
    if acts.bits & HAS_LINK != 0 {
        strike.has_link = 1;
        strike.interface = acts.interface;
        strike.link = acts.link;
    }
    guard.unlock();
}

/// Says in the connection's record what is about to happen, and whether that is new.
#[inline(always)]
fn note(strike: &Strike) -> Option<(*mut Slot, bool)> {
    let slot = find_or_make(&strike.key)?;
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    let unmatched = cover(acts, strike);
    let first = acts.bits & strike.cause == 0;
    acts.bits |= strike.cause;
    if strike.verb == RELIEVE {
        // Nobody stands in any more, and what leaves now is no FIN's last word.
        acts.bits &= !(STOOD_IN | CLOSE_BY_FIN);
    }
    if strike.verb == RESET {
        acts.bits |= TOLD_LOCAL;
        acts.local_rst = strike.rcv_nxt;
    }
    acts.asked = 0;
    acts.sent = RST | ACK;
    guard.unlock();
    if unmatched {
        counted!(strike.rule.id, matched);
    }
    Some((slot, first))
}

/// Puts the rule and the local side into `acts`; says whether the rule had not matched before.
#[inline(always)]
fn cover(acts: &mut Acts, strike: &Strike) -> bool {
    let unmatched = acts.bits & MATCHED == 0 && strike.rule.id != 0;
    if strike.rule.id != 0 {
        acts.bits |= MATCHED;
        acts.rule = strike.rule.id;
    }
    acts.local = strike.local.0;
    unmatched
}

/// Sends the frame at hand to the peer, and its mirror image to the local stack.
#[inline(always)]
fn send(ctx: &TcContext, strike: &Strike, slot: *mut Slot) -> u32 {
    let frame = made(ctx, strike);
    let sent = frame.as_ref().and_then(|frame| frame.copy_out(strike.interface));
    let (Some(frame), Some(())) = (frame, sent) else {
        take_back(strike, slot);
        counted!(strike.rule.id, failed);
        return FAILED;
    };
    if frame.turn().and_then(|()| frame.copy_in(strike.interface)).is_none() {
        // The daemon looks again, and finds the socket still there.
        counted!(strike.rule.id, failed);
        return FAILED;
    }
    DONE
}

/// Resets the peer of a stand-in, which is done then. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_relieve(ctx: *mut __sk_buff, strike: *mut Strike) -> u32 {
    // SAFETY: as in `td_look`.
    let Some(strike) = (unsafe { strike.as_mut() }) else { return GONE };
    let ctx = TcContext::new(ctx);
    let key = strike.key;
    let Some(expected) = relieve_stand_in(&key, strike.local, strike.snd_nxt) else {
        return CHANGED;
    };
    // The peer may have spoken since the frame was written.
    strike.rcv_nxt = expected;
    let Some((slot, _)) = note(strike) else { return FAILED };
    let frame = made(&ctx, strike);
    let exact = frame.and_then(|frame| frame.set_ack(expected).map(|()| frame));
    if exact.and_then(|frame| frame.copy_out(strike.interface)).is_none() {
        take_back(strike, slot);
        counted!(strike.rule.id, failed);
        return FAILED;
    }
    count(Counter::STAND_IN_RESETS);
    count_cause(strike);
    DONE
}

/// Sends the frame to the peer again. A connection that began meanwhile has a clean record.
#[inline(always)]
fn repeat(ctx: &TcContext, strike: &Strike) -> u32 {
    let Some(slot) = flows::find(&strike.key) else { return GONE };
    // SAFETY: a pointer to a value of the map; the bits were set before the first was sent.
    let bits = unsafe { (*slot).acts.bits };
    let is_free = strike.state == 0 || strike.state == LISTEN.into();
    if !is_free || bits & strike.cause == 0 || bits & STOOD_IN != 0 {
        return CHANGED;
    }
    let sent = made(ctx, strike).and_then(|frame| frame.copy_out(strike.interface));
    if sent.is_some() { DONE } else { FAILED }
}

/// Writes the daemon's frame over the one at hand, which has its length.
#[inline(always)]
fn made<'a>(ctx: &'a TcContext, strike: &Strike) -> Option<Frame<'a>> {
    let (is_ipv6, has_timestamps) =
        (strike.key.is_ipv6(), strike.header_len == TCP_LEN_WITH_TIMESTAMPS);
    let frame = Frame::made(ctx, is_ipv6, has_timestamps);
    match (is_ipv6, has_timestamps) {
        (false, false) => frame.store::<54>(0, strike.frame.first_chunk()?)?,
        (false, true) => frame.store::<66>(0, strike.frame.first_chunk()?)?,
        (true, false) => frame.store::<74>(0, strike.frame.first_chunk()?)?,
        (true, true) => frame.store::<86>(0, strike.frame.first_chunk()?)?,
    }
    Some(frame)
}

#[inline(always)]
fn count_cause(strike: &Strike) {
    if strike.cause & HALF_CLOSE_OVER != 0 {
        counted!(strike.rule.id, half_close);
    } else if strike.cause & CLOSE_WAIT_OVER != 0 {
        counted!(strike.rule.id, close_wait);
    } else if strike.cause & CLOSED_NOW != 0 {
        counted!(strike.rule.id, closed_now);
    }
}

#[inline(always)]
fn take_back(strike: &Strike, slot: *mut Slot) {
    let guard = Guard::lock(slot);
    guard.acts().bits &= !(strike.cause | TOLD_LOCAL);
    guard.unlock();
}

#[inline(always)]
fn unmark(strike: &Strike) -> u32 {
    let Some(slot) = flows::find(&strike.key) else { return GONE };
    take_back(strike, slot);
    counted!(strike.rule.id, failed);
    DONE
}

/// A dry run, or a refusal: noted and counted. Global, so that the verifier looks at it once.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn td_told_off(strike: *mut Strike) -> u32 {
    // SAFETY: as in `td_look`.
    let Some(strike) = (unsafe { strike.as_mut() }) else { return GONE };
    let Some(slot) = find_or_make(&strike.key) else { return FAILED };
    let refused = strike.verb == REFUSE;
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    let unmatched = cover(acts, strike);
    if refused {
        acts.bits |= REFUSED;
        acts.refusal = strike.refusal;
    } else {
        acts.bits |= DRY;
    }
    guard.unlock();
    if unmatched {
        counted!(strike.rule.id, matched);
    }
    if refused {
        rules::count_refusal(strike.rule.id, strike.refusal);
    } else {
        counted!(strike.rule.id, dry_run);
    }
    DONE
}
