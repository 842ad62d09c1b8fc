//! `roundrobin`: whose turn it is, in HAProxy's order.
//!
//! A round has as many places as there is weight. Who has had a turn gets a place as far behind it as
//! its share of the weight asks for, or a turn in the next round if that lies behind this one's end. A
//! round begins with the heaviest.

use std::cmp::Reverse;

/// Places for each unit of weight: so long is a round.
const SCALE: u64 = crate::http::live::SHARES as u64;
/// The highest weight of a server.
const MOST: u64 = 256;

/// The servers of one backend that take turns.
#[derive(Debug, Default)]
pub(super) struct Turns {
    servers: Vec<Turn>,
    /// The weight of all.
    weight: u64,
    /// The length of this round, which changes with the weight only when the next one begins.
    round: u64,
    /// The place that is served next.
    now: u64,
    /// How often anybody was put in a row: of equals the first comes first.
    count: u64,
}

/// Where a server waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Row {
    /// For its first turn of this round.
    #[default]
    First,
    /// At its place.
    Place,
    /// For the next round.
    Next,
    /// It was passed over, and is put back when somebody is found.
    Aside,
}

#[derive(Debug, Default)]
struct Turn {
    index: usize,
    weight: u64,
    row: Row,
    count: u64,
    /// Its next place, 0 before its first turn of a round.
    place: u64,
    /// Its last one.
    last: u64,
    /// What its share leaves over between two places, in parts of its weight.
    rest: u64,
}

impl Turns {
    /// The index of the one whose turn it is among those that `may`, of a `list` of indices and shares of
    /// the load.
    pub(super) fn next(
        &mut self,
        list: impl Iterator<Item = (usize, u32)> + Clone,
        may: impl Fn(usize) -> bool,
    ) -> Option<usize> {
        self.follow(list);
        let mut aside = Vec::new();
        let mut is_next_round = false;
        let found = loop {
            let Some(at) = self.first() else {
                if is_next_round {
                    break None;
                }
                is_next_round = true;
                self.begin_round();
                continue;
            };
            self.serve(at);
            if may(self.servers[at].index) {
                self.place(at);
                break Some(self.servers[at].index);
            }
            aside.push(at);
        };
        for at in aside.into_iter().rev() {
            if is_next_round { self.wait(at, Row::First) } else { self.place(at) }
        }
        found
    }

    /// Takes note of who came, went, or has another weight.
    fn follow(&mut self, list: impl Iterator<Item = (usize, u32)> + Clone) {
        let scaled = list.map(|(index, shares)| (index, u64::from(shares)));
        if self.servers.iter().map(|server| (server.index, server.weight)).eq(scaled.clone()) {
            return;
        }
        self.servers.retain(|server| scaled.clone().any(|(index, _)| index == server.index));
        let is_new = self.servers.is_empty();
        self.weight = self.servers.iter().map(|server| server.weight).sum();
        for (index, weight) in scaled {
            match self.servers.binary_search_by_key(&index, |server| server.index) {
                Ok(at) => self.weigh(at, weight),
                Err(at) => {
                    self.weight += weight;
                    self.servers.insert(at, Turn { index, weight, ..Turn::default() });
                    if is_new {
                        self.wait(at, Row::First);
                    } else {
                        let left = (self.weight + self.round).saturating_sub(self.now);
                        self.servers[at].place = self.now + left / weight.max(1);
                        self.place(at);
                    }
                }
            }
        }
        if is_new {
            (self.round, self.now) = (self.weight, self.weight);
        }
    }

    /// Gives a server another weight.
    fn weigh(&mut self, at: usize, weight: u64) {
        let server = &mut self.servers[at];
        if server.weight == weight {
            return;
        }
        self.weight = self.weight + weight - server.weight;
        server.weight = weight;
        if server.row == Row::First {
            return self.wait(at, Row::First);
        }
        let before = server.place + if server.row == Row::Next { self.round } else { 0 };
        let step = self.weight / weight.max(1);
        server.rest = 0;
        server.place = before.min(server.last + step);
        if server.place < self.now + 2 {
            server.place = self.now + step;
        }
        self.place(at);
    }

    /// Whose turn it is.
    fn first(&self) -> Option<usize> {
        let of = |row| move |at: &usize| self.servers[*at].row == row;
        let all = 0..self.servers.len();
        let placed = all.clone().filter(of(Row::Place)).min_by_key(|&at| {
            let server = &self.servers[at];
            // Where a place is shared, who weighs more comes first, by whole units of weight.
            let lightness = (MOST * SCALE + server.rest).saturating_sub(server.weight) / SCALE;
            (MOST * server.place + lightness, server.count)
        });
        if let Some(at) = placed.filter(|&at| self.servers[at].place <= self.now) {
            return Some(at);
        }
        let heaviest = all.filter(of(Row::First)).min_by_key(|&at| {
            let server = &self.servers[at];
            (Reverse(server.weight), server.count)
        });
        heaviest.or(placed)
    }

    /// It has had its turn: its next place is as far behind as its share asks for.
    fn serve(&mut self, at: usize) {
        let server = &mut self.servers[at];
        if server.row == Row::First {
            (server.place, server.rest) = (self.now, 0);
        }
        server.row = Row::Aside;
        server.last = server.place;
        let weight = server.weight.max(1);
        server.rest += self.weight % weight;
        server.place += self.weight / weight + server.rest / weight;
        server.rest %= weight;
        self.now += 1;
    }

    /// Puts it at its place, or into the next round.
    fn place(&mut self, at: usize) {
        if self.servers[at].place < self.round + self.round.min(self.weight) {
            return self.wait(at, Row::Place);
        }
        self.servers[at].place -= self.round;
        self.wait(at, Row::Next);
    }

    fn wait(&mut self, at: usize, row: Row) {
        self.count += 1;
        let server = &mut self.servers[at];
        (server.row, server.count) = (row, self.count);
    }

    fn begin_round(&mut self) {
        for server in &mut self.servers {
            if server.row == Row::Next {
                server.row = Row::First;
            }
        }
        (self.round, self.now) = (self.weight, self.weight);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who is chosen, a digit each; changes are `(when, who, weight)`.
    fn order(weights: &[u32], changes: &[(usize, usize, u32)], length: usize) -> String {
        let mut weights = weights.to_vec();
        let mut turns = Turns::default();
        let mut next = |turn| {
            for change in changes.iter().filter(|change| change.0 == turn) {
                weights[change.1] = change.2;
            }
            let shares = weights.iter().map(|weight| weight * crate::http::live::SHARES);
            let list = shares.enumerate().filter(|(_, shares)| *shares > 0);
            turns.next(list, |_| true).expect("somebody").to_string()
        };
        (0..length).map(&mut next).collect()
    }

    /// What Debian's HAProxy 2.6.12 chose, weights changed by `set weight` between two requests.
    #[test]
    fn the_order_is_haproxys() {
        let same = |weights: &[u32], changes: &[(usize, usize, u32)], theirs: &str| {
            assert_eq!(order(weights, changes, theirs.len()), theirs, "{weights:?} {changes:?}");
        };
        same(&[1, 2], &[], "110110110110110110110110110110");
        same(&[3, 1], &[], "000100010001000100010001000100");
        same(&[1, 2, 3], &[], "212021212021212021212021212021");
        same(&[10, 30, 20], &[], "121012121012121012121012121012");
        same(&[1, 1, 2], &[], "202120212021202120212021202120");
        same(&[5, 1, 1], &[], "000100200010020001002000100200");
        same(&[7, 3, 2, 1], &[], "001020103021000102010302100010");
        same(&[100, 1], &[], "000000000000000000000000000000");
        same(&[2, 2, 3, 3], &[], "230231203213023120321302312032");
        same(
            &[1, 1, 1],
            &[(5, 1, 3)],
            "012012101121011210112101121011210112101121011210111210112101",
        );
        same(
            &[1, 2],
            &[(4, 0, 5), (20, 1, 1)],
            "110110001001000100100010000010000010000010000010000001000001",
        );
        same(
            &[10, 20, 30],
            &[(7, 2, 5), (15, 0, 0), (25, 0, 40)],
            "212021211011012111112111102100100100100210010010010021001001001002100100100100210010010010",
        );
        same(
            &[2, 1, 1],
            &[(6, 0, 0), (9, 0, 2)],
            "010201212012001200120012001200120012001200120012001200120012",
        );
        same(
            &[1, 1],
            &[(3, 0, 2), (40, 0, 1), (50, 1, 7)],
            "010100100100100100100100100100100010010010101010101101111111011111110111111101111111111011",
        );
        same(
            &[4, 4, 4],
            &[(30, 2, 1), (33, 1, 200)],
            "012012012012012012012012012012010210111111111111111111111111111111111111111111111111110111",
        );
    }

    #[test]
    fn who_may_not_keeps_its_share_of_later_turns() {
        let mut turns = Turns::default();
        let list = [(0, 16), (3, 32)];
        let mut next = |may: fn(usize) -> bool| turns.next(list.into_iter(), may);
        assert_eq!([next(|_| true), next(|at| at == 0), next(|_| false)], [Some(3), Some(0), None]);
        let after: Vec<_> = (0..300).filter_map(|_| next(|_| true)).collect();
        assert!((98..=102).contains(&after.iter().filter(|at| **at == 0).count()), "{after:?}");
    }
}
