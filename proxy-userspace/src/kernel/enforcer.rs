//! What the rules ask of the daemon: connections whose time is over are ended.
//!
//! FIN_WAIT: `td_strike` sends a RST to both ends, as the kernel would send none for an orphan that
//! has become a minisock. CLOSE_WAIT: the kernel aborts the socket (`SOCK_DESTROY`), under the
//! socket's own lock; `td_strike` only checks the state again and notes it in the record.

use super::btf::Btf;
use super::deadlines::{Deadlines, Entry, Verdict, cause, judge};
use super::diag;
use super::error::Error;
use super::observer::now_ns;
use super::offsets;
use super::route;
use super::rules::Rules;
use super::strike::Striker;
use aya::Ebpf;
use proxy_common::abi::DeadlineRecord;
use proxy_common::key::{FlowKey, Side};
use proxy_common::socket::tcp_state::{CLOSE_WAIT, FIN_WAIT1, FIN_WAIT2};
use proxy_common::strike::{CHANGED, DONE, Strike};

/// At most so many connections are ended before the ring is looked at again.
const AT_ONCE: usize = 256;
/// A connection that was looked at so often after its time is left alone.
const TRIES: u32 = 20;

/// How long after a strike it is looked whether the socket is gone, in nanoseconds.
const CONFIRM_NS: u64 = 500_000_000;

/// The index of `lo` in every network namespace.
const LOOPBACK: u32 = 1;

/// Rules, and what waits because of them.
pub(super) struct Enforcer {
    /// The rules.
    pub rules: Rules,
    pub(super) striker: Option<Striker>,
    deadlines: Deadlines,
    /// Deadlines that were not told.
    lost: u64,
}

impl Enforcer {
    /// Takes the rules out of the object, and loads the program that ends connections. What this
    /// kernel lacks for that is added to `missing`; rules with deadlines are refused then.
    ///
    /// # Errors
    /// Where the object lacks a part.
    pub(super) fn take(
        ebpf: &mut Ebpf,
        btf: &Btf,
        missing: &mut Vec<String>,
    ) -> Result<Self, Error> {
        let lacking = offsets::lacking(btf);
        if !lacking.is_empty() {
            missing.push(format!(
                "this kernel's BTF does not tell {}: active, passive and abort are off",
                lacking.join(", ")
            ));
        }
        let (striker, why) = match able(ebpf, btf) {
            Ok(striker) => (Some(striker), None),
            Err(why) => {
                missing.push(format!("{why}: half-close, close-wait and close are off"));
                (None, Some(why))
            }
        };
        Ok(Self {
            rules: Rules::take(ebpf, why)?,
            striker,
            deadlines: Deadlines::default(),
            lost: 0,
        })
    }

    /// The kernel told of a half-closed connection.
    pub(super) fn told(&mut self, record: &DeadlineRecord) {
        self.deadlines.told(record);
    }

    /// So many deadlines were not told since the start, as the ring was full: where there are more
    /// than before, every socket is looked at.
    pub(super) fn lost(&mut self, total: u64) {
        if total > std::mem::replace(&mut self.lost, total) {
            self.look_at_all();
        }
    }

    /// When the next connection is due, CLOCK_MONOTONIC.
    #[must_use]
    pub(super) fn next_due(&self) -> Option<u64> {
        self.deadlines.next()
    }

    /// Ends what is due; says whether anything was.
    ///
    /// # Errors
    /// Where the program cannot be run.
    pub(super) fn strike(&mut self, ebpf: &Ebpf) -> Result<bool, Error> {
        if self.rules.take_new_deadline() {
            self.look_at_all();
        }
        let Some(striker) = &mut self.striker else { return Ok(false) };
        let mut any = false;
        for _ in 0..AT_ONCE {
            let Some(entry) = self.deadlines.take(now_ns()) else { break };
            any = true;
            strike_one(striker, &mut self.deadlines, ebpf, entry)?;
        }
        Ok(any)
    }

    /// Finds the connections that are half closed now: a new rule may cover them.
    pub(super) fn look_at_all(&mut self) {
        let now = now_ns();
        match diag::list(1 << FIN_WAIT1 | 1 << FIN_WAIT2 | 1 << CLOSE_WAIT) {
            Ok(found) => {
                for one in found {
                    let entry = Entry {
                        key: one.key,
                        local: one.local,
                        bound: one.bound,
                        begun_ns: now,
                        tries: 0,
                        refused: false,
                    };
                    self.deadlines.add(now, entry);
                }
            }
            Err(error) => {
                tracing::warn!(%error, "half-closed connections cannot be listed: a rule holds for later ones");
            }
        }
    }
}

/// The program, or why this kernel cannot have it.
fn able(ebpf: &mut Ebpf, btf: &Btf) -> Result<Striker, String> {
    let lacking = offsets::missing_for_strikes(&offsets::of(btf));
    if !lacking.is_empty() {
        return Err(format!("this kernel's BTF does not tell {}", lacking.join(", ")));
    }
    if !diag::can_destroy() {
        return Err("this kernel cannot abort sockets (CONFIG_INET_DIAG_DESTROY)".to_owned());
    }
    Striker::take(ebpf).map_err(|error| error.to_string())
}

/// What is known of a connection's local end, the way to its peer included.
pub(super) fn look(
    striker: &mut Striker,
    ebpf: &Ebpf,
    key: FlowKey,
    local: Side,
    bound: u32,
) -> Result<Strike, Error> {
    let mut seen = striker.look(ebpf, key, local, bound)?;
    let sends = [FIN_WAIT1, FIN_WAIT2].map(u32::from).contains(&seen.state);
    if sends && seen.has_link == 0 {
        let way = route::towards(key.end(local), key.end(local.other()), bound);
        match way {
            Ok(Some(way)) => {
                (seen.has_link, seen.interface, seen.link) = (1, way.interface, way.link);
            }
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "the way to a peer cannot be asked for"),
        }
    }
    Ok(seen)
}

/// Does with a connection whose time may be over what is to be done.
fn strike_one(
    striker: &mut Striker,
    deadlines: &mut Deadlines,
    ebpf: &Ebpf,
    mut entry: Entry,
) -> Result<(), Error> {
    let now = now_ns();
    let seen = look(striker, ebpf, entry.key, entry.local, entry.bound)?;
    match judge(&seen, &entry, now) {
        Verdict::Over => {}
        Verdict::Later(due) => deadlines.add(due, entry),
        Verdict::Dry => striker.dry(ebpf, &seen)?,
        Verdict::Refuse(refusal) => {
            if !entry.refused {
                striker.refuse(ebpf, &seen, refusal)?;
                entry.refused = true;
            }
            deadlines.again(now, entry);
        }
        verdict => {
            let seen = Strike { cause: cause(&seen), ..seen };
            let done = if verdict == Verdict::Abort {
                abort(striker, ebpf, &seen)?
            } else {
                reset(striker, ebpf, &seen)?
            };
            tracing::debug!(state = seen.state, done, "a half-closed connection was struck");
            // Also where it was done: a RST that crosses data may not be believed. There is no
            // hurry, and others may be due.
            if done == DONE && entry.tries < TRIES {
                entry.tries += 1;
                deadlines.add(now + CONFIRM_NS, entry);
            } else if entry.tries < TRIES {
                deadlines.again(now, entry);
            } else if done != CHANGED {
                tracing::warn!(key = ?entry.key, "a connection does not end: it is left alone");
            }
        }
    }
    Ok(())
}

/// Sends a RST to both ends, for the `cause` in `seen`. Returns the program's answer.
pub(super) fn reset(striker: &mut Striker, ebpf: &Ebpf, seen: &Strike) -> Result<u32, Error> {
    let done = striker.reset(ebpf, seen)?;
    if done == DONE && seen.interface == LOOPBACK {
        // IPv4 takes a packet that comes in over loopback without a route for a martian, unless
        // it is for a full socket: the minisock did not get it. The peer, here too, did.
        if let Err(error) = diag::forget_minisock(&seen.key, seen.local) {
            tracing::debug!(%error, "a minisock on loopback stays for its minute");
        }
    }
    Ok(done)
}

/// Has the kernel abort the socket, for the `cause` in `seen`. Returns the answer as the program
/// would give it.
pub(super) fn abort(striker: &mut Striker, ebpf: &Ebpf, seen: &Strike) -> Result<u32, Error> {
    let Ok(socket) = diag::find(&seen.key, seen.local, seen.interface) else { return Ok(CHANGED) };
    if u32::from(socket.state) != seen.state {
        return Ok(CHANGED);
    }
    let marked = striker.mark(ebpf, seen)?;
    if marked != DONE {
        return Ok(marked);
    }
    if diag::destroy(&socket).is_err() {
        striker.unmark(ebpf, seen)?;
        return Ok(CHANGED);
    }
    Ok(DONE)
}
