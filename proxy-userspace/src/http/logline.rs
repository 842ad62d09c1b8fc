//! HAProxy's log lines: the formats that it has names for, and which lines are left out.

use super::event::{Cause, Session};

/// `option httplog`.
pub const HTTP: &str = "%ci:%cp [%tr] %ft %b/%s %TR/%Tw/%Tc/%Tr/%Ta %ST %B %CC %CS %tsc \
                        %ac/%fc/%bc/%sc/%rc %sq/%bq %hr %hs %{+Q}r";
/// `option httplog clf`.
pub const CLF: &str = "%{+Q}o %{-Q}ci - - [%trg] %r %ST %B \"\" \"\" %cp %ms %ft %b %s \
                       %TR %Tw %Tc %Tr %Ta %tsc %ac %fc %bc %sc %rc %sq %bq %CC %CS %hrl %hsl";
/// `option tcplog`.
pub const TCP: &str = "%ci:%cp [%t] %ft %b/%s %Tw/%Tc/%Tt %B %ts %ac/%fc/%bc/%sc/%rc %sq/%bq";
/// Without any of these.
pub const DEFAULT: &str = "Connect from %ci:%cp to %fi:%fp (%f/%mode)";

/// Whether nothing went wrong, for `option dontlog-normal`.
#[must_use]
pub fn is_normal(session: &Session<'_>) -> bool {
    session.termination.cause == Cause::Normal
        && session.status < 500
        && session.retries == 0
        && !session.redispatched
}

/// Whether something went wrong, for `option log-separate-errors`.
#[must_use]
pub fn is_error(session: &Session<'_>) -> bool {
    session.termination.cause != Cause::Normal || session.status >= 500
}
