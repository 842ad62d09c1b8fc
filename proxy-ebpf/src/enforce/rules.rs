//! Which rule covers a peer, and what it did.

use super::tended::is_tended;
use crate::flows::Guard;
use crate::maps::{RULE_COUNTS, RULES, RULES_SET, RULES_STATED, Slot};
use crate::settings;
use aya_ebpf::btf_maps::lpm_trie::Key;
use proxy_common::abi::{
    PEER_PORT_BITS, Peer, REFUSALS, Rule, RuleCounts, SWITCH_OUTLIVES, Statement,
};
use proxy_common::acts::MATCHED;
use proxy_common::key::{Endpoint, Side};

/// Whether there is any rule, and the daemon that set it: programs that outlive it must not go on
/// changing closes.
#[inline(always)]
pub fn any() -> bool {
    // SAFETY: the map's only entry; the daemon writes it whole.
    RULES_SET.get_ptr(0).is_some_and(|set| unsafe { *set } != 0)
        && (!settings::has(SWITCH_OUTLIVES) || is_tended())
}

/// The rule for what this host's own proxy stated of the connection: it names the server itself,
/// so it goes before what the addresses say.
#[inline(always)]
pub fn of_statement(slot: *mut Slot) -> Option<Rule> {
    // SAFETY: a pointer to a value of the map; the fields are written once, before the connection
    // is on the wire.
    let (server, class) = unsafe { ((*slot).acts.server, (*slot).acts.class) };
    if server == 0 {
        return None;
    }
    // SAFETY: copied at once; an entry is replaced whole.
    unsafe { RULES_STATED.get(&Statement::key(server, class)) }.copied()
}

/// Whether any rule waits for our own application's FIN.
#[inline(always)]
pub fn any_close_wait() -> bool {
    // SAFETY: as in `any`.
    RULES_SET.get_ptr(1).is_some_and(|set| unsafe { *set } != 0)
}

/// The rule for a peer: the longest prefix of its address wins, then a port before none.
#[inline(always)]
pub fn find(peer: &Endpoint) -> Option<Rule> {
    let mut asked = Key::new(
        PEER_PORT_BITS + 128,
        Peer { port: peer.port.to_be_bytes(), reserved: [0; 2], addr: peer.addr },
    );
    let with_port = RULES.get(&asked).copied();
    asked.data.port = [0; 2];
    let without = RULES.get(&asked).copied();
    let found = match (with_port, without) {
        (Some(with), Some(without)) if without.prefix > with.prefix => Some(without),
        (Some(with), _) => Some(with),
        (None, without) => without,
    };
    // Without a number it is none: it keeps IPv4's addresses out of an IPv6 prefix.
    found.filter(|rule| rule.id != 0)
}

/// Remembers the rule; says whether it is the first time for this connection.
#[inline(always)]
pub fn note_match(slot: *mut Slot, rule: &Rule, local: Side) -> bool {
    let guard = Guard::lock(slot);
    let acts = guard.acts();
    let first = acts.bits & MATCHED == 0;
    acts.bits |= MATCHED;
    acts.rule = rule.id;
    acts.local = local.0;
    guard.unlock();
    first
}

/// Adds one to what `pick` chooses of a rule's counters on this CPU.
#[inline(always)]
pub fn count(rule: u32, pick: impl FnOnce(*mut RuleCounts) -> *mut u64) {
    if let Some(counts) = RULE_COUNTS.get_ptr_mut(rule) {
        crate::counters::add_one(pick(counts));
    }
}

/// Adds one to a rule's count of a refusal, on this CPU.
#[inline(always)]
pub fn count_refusal(rule: u32, refusal: u8) {
    count(rule, |counts| {
        let index = refusal as usize & (REFUSALS - 1);
        // SAFETY: only the address of an element is taken; the index is within the array.
        unsafe { (&raw mut (*counts).refused).cast::<u64>().add(index) }
    });
}

/// `counted!(rule, field)`: adds one to a field of the rule's counters.
macro_rules! counted {
    ($rule:expr, $field:ident) => {
        // SAFETY: only the address of a field is taken.
        $crate::enforce::rules::count($rule, |counts| unsafe { &raw mut (*counts).$field })
    };
}
pub(crate) use counted;
