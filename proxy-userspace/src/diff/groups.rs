//! Which connections are compared with which.

use crate::ends::address;
use crate::explain::collect::{Ended, Output};
use crate::explain::names::Placeholders;
use crate::report::diff::{Tallies, Typical};
use clap::ValueEnum;
use proxy_common::key::Endpoint;
use std::net::{IpAddr, SocketAddr};
use std::ops::ControlFlow;
use std::rc::Rc;
use std::str::FromStr;

/// What makes a group of connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum By {
    /// The responder's address and port
    Backend,
    /// The responder's address
    Address,
    /// The responder's port
    Port,
    /// Nothing: all are one group
    All,
}

/// An address, with a port or without, that has become another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Map {
    old: (IpAddr, Option<u16>),
    new: (IpAddr, Option<u16>),
}

/// Why a text is no map of addresses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// There is no `=`.
    #[error("'{0}' has no '=': write OLD=NEW, as 10.0.0.5=10.1.0.5")]
    Half(String),
    /// Not an address.
    #[error("'{0}' is neither an address nor ADDRESS:PORT")]
    Address(String),
    /// A port on one side only.
    #[error("'{0}' names a port on one side only")]
    Port(String),
}

impl FromStr for Map {
    type Err = MapError;

    fn from_str(text: &str) -> Result<Self, MapError> {
        let (old, new) = text.split_once('=').ok_or_else(|| MapError::Half(text.into()))?;
        let map = Self { old: end(old)?, new: end(new)? };
        if map.old.1.is_some() != map.new.1.is_some() {
            return Err(MapError::Port(text.into()));
        }
        Ok(map)
    }
}

fn end(text: &str) -> Result<(IpAddr, Option<u16>), MapError> {
    if let Ok(both) = text.parse::<SocketAddr>() {
        return Ok((both.ip(), Some(both.port())));
    }
    text.parse().map(|address| (address, None)).map_err(|_| MapError::Address(text.into()))
}

impl Map {
    /// The endpoint that `end` has become, if this speaks of it.
    fn apply(&self, end: &Endpoint) -> Option<SocketAddr> {
        let (old, port) = self.old;
        let speaks = address(end) == old && port.is_none_or(|port| port == end.port);
        speaks.then(|| SocketAddr::new(self.new.0, self.new.1.unwrap_or(end.port)))
    }
}

/// Connections whose ladders are kept: the first ones, which tell what is typical.
const LADDERS: u64 = 20_000;

/// Counts connections into groups.
pub(super) struct Grouped<'a> {
    pub(super) groups: Tallies,
    by: By,
    maps: &'a [Map],
    names: Rc<Placeholders>,
}

impl<'a> Grouped<'a> {
    pub(super) fn new(groups: Tallies, by: By, maps: &'a [Map], names: Rc<Placeholders>) -> Self {
        Self { groups, by, maps, names }
    }

    /// The group of a responder.
    fn name(&self, end: &Endpoint) -> String {
        let mapped = self.maps.iter().find_map(|map| map.apply(end));
        match (self.by, mapped) {
            (By::All, _) => "all connections".into(),
            (By::Port, _) => {
                format!("port {}", mapped.map_or(end.port, |mapped| mapped.port()))
            }
            (By::Backend, Some(mapped)) => mapped.to_string(),
            (By::Backend, None) => self.names.endpoint(end),
            (By::Address, Some(mapped)) => mapped.ip().to_string(),
            (By::Address, None) => self.names.address(end),
        }
    }
}

impl Output for Grouped<'_> {
    fn ladders(&self) -> u64 {
        LADDERS
    }

    fn close(&mut self, ended: &Ended<'_>) -> ControlFlow<()> {
        let name = self.name(&ended.close.resp.endpoint);
        let names = &self.names;
        self.groups.entry(name).or_default().add(
            ended.close,
            ended.flow,
            ended.record().lost_anything(),
            || {
                let ends = [&ended.close.orig.endpoint, &ended.close.resp.endpoint];
                Some(Typical {
                    number: ended.number,
                    close: *ended.close,
                    flow: *ended.flow,
                    facts: ended.facts,
                    ladder: ended.kept.ladder.as_deref().cloned()?,
                    ends: ends.map(|end| names.endpoint(end)),
                })
            },
        );
        ControlFlow::Continue(())
    }
}

/// Both captures' groups by address alone, where that joins any; ports are what differs most.
pub(super) fn joined_by_address(old: &Tallies, new: &Tallies) -> Option<(Tallies, Tallies)> {
    let address = |name: &str| match name.parse::<SocketAddr>() {
        Ok(end) => end.ip().to_string(),
        // The name that stands in a text, with its port.
        Err(_) => name.rsplit_once(':').map_or(name, |(name, _)| name).to_owned(),
    };
    let (old, new) = (regrouped(old, address), regrouped(new, address));
    old.keys().any(|name| new.contains_key(name)).then_some((old, new))
}

/// Both captures as one group each.
pub(super) fn joined(old: &Tallies, new: &Tallies) -> (Tallies, Tallies) {
    let all = |_: &str| "all connections".to_owned();
    (regrouped(old, all), regrouped(new, all))
}

fn regrouped(groups: &Tallies, name: impl Fn(&str) -> String) -> Tallies {
    let mut joined = Tallies::new();
    for (old, tally) in groups {
        joined.entry(name(old)).or_default().merge(tally);
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::diff::Tally;

    #[test]
    fn addresses_are_themselves() {
        let grouped = Grouped::new(Tallies::new(), By::Address, &[], Rc::default());
        for address in ["2001:db8:0:1:2:3:4:5", "2001:db8:1:2:3:4:5:0", "::1", "192.0.2.1"] {
            let ip: IpAddr = address.parse().unwrap();
            let end = crate::ends::endpoint(SocketAddr::new(ip, 80));
            assert_eq!(grouped.name(&end), address);
            let groups = || Tallies::from([(put_endpoint(&end), Tally::default())]);
            let (old, new) = joined_by_address(&groups(), &groups()).unwrap();
            assert!(old.contains_key(address) && new.contains_key(address), "{old:?}");
        }
    }

    fn put_endpoint(end: &Endpoint) -> String {
        Placeholders::default().endpoint(end)
    }

    #[test]
    fn maps_are_read() {
        let map: Map = "10.0.0.5=10.1.0.5".parse().unwrap();
        let end = Endpoint::v4([10, 0, 0, 5], 80);
        assert_eq!(map.apply(&end), Some("10.1.0.5:80".parse().unwrap()));
        let map: Map = "10.0.0.5:80=[::1]:81".parse().unwrap();
        assert_eq!(map.apply(&end), Some("[::1]:81".parse().unwrap()));
        assert_eq!(map.apply(&Endpoint::v4([10, 0, 0, 5], 81)), None);
        for wrong in ["10.0.0.5", "a=b", "10.0.0.5:80=10.1.0.5", "="] {
            assert!(wrong.parse::<Map>().is_err(), "{wrong}");
        }
    }
}
