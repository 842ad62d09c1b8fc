//! Closes of both ends at nearly the same time, of which either may come first.

use super::{Backend, Case, Finding, Topic};
use crate::report::story::counted;
use proxy_common::flow::closes_crossed;
use proxy_common::verdict::Role;

/// Closes of both ends this near to one another are a race.
const RACE: u64 = 1_000_000;

impl Backend {
    /// Closes of both ends within a millisecond, where each would have closed without the other.
    pub(super) fn near(&mut self, case: &Case<'_>) {
        let (close, flow) = (case.close, case.flow);
        if case.keeps_alive {
            return;
        }
        let (orig, resp) = (flow.end(flow.orig), flow.end(flow.orig.other()));
        let (client, server_fin) = (orig.closed_at(), resp.fin_ns);
        let response = case.facts.last_data_ns[flow.orig.other().index()];
        // A close just behind the response may be the same race, won before the FIN came.
        let is_behind =
            |closed: u64| closed != 0 && response != 0 && closed.abs_diff(response) < RACE;
        let is_near = server_fin != 0 && client != 0 && client.abs_diff(server_fin) < RACE;
        match close.first_closer {
            // Later it is the server's own timer that closes.
            Some(Role::Resp) if is_near && (response == 0 || is_behind(server_fin)) => {
                self.races[1] += 1;
            }
            Some(Role::Orig) if is_near && closes_crossed(flow) => self.races[0] += 1,
            Some(Role::Orig) if is_behind(client) => {
                self.races[0] += 1;
                return;
            }
            _ => return,
        }
        self.race.add(case, client.abs_diff(server_fin), 0);
    }

    /// Both ends close at once, and either comes first.
    pub(super) fn racing(&self) -> Option<Finding> {
        let [client, server] = self.races;
        (self.race.count > 0 && client > 0 && server > 0).then(|| Finding {
            topic: Topic::Race,
            text: format!(
                "the close comes within a millisecond of the server's FIN, and who is first is a \
                 race: the client {}, the server {} {}",
                counted(client, "time"),
                counted(server, "time"),
                self.race.evidence()
            ),
            count: self.race.count,
            numbers: self.race.numbers.clone(),
            rule: None,
        })
    }
}
