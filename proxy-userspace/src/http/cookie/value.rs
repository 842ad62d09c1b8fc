//! A server's value of the cookie: its own, or one made of its address (`dynamic`).

mod xxh64;

use crate::http::live::Server;
use crate::http::settings::ServerAddress;
use std::borrow::Cow;

/// The value of the cookie that leads to a server, if it has one.
pub(crate) fn own_value(server: &Server) -> Option<Cow<'_, str>> {
    let settings = &server.settings;
    let own = settings.cookie.as_deref().map(Cow::Borrowed);
    own.or_else(|| made(settings.cookie_key.as_deref()?, &server.address()).map(Cow::Owned))
}

/// The value that is made of a secret and an address: the same as HAProxy's, so that several proxies
/// agree. A path has none.
pub(crate) fn made(key: &str, address: &ServerAddress) -> Option<String> {
    let ServerAddress::Inet(at) = address else { return None };
    let mut bytes = key.as_bytes().to_vec();
    match at.ip() {
        std::net::IpAddr::V4(ip) => bytes.extend(ip.octets()),
        std::net::IpAddr::V6(ip) => bytes.extend(ip.octets()),
    }
    bytes.extend(u32::from(at.port()).to_be_bytes());
    Some(format!("{:016x}", xxh64::hash(&bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::http::balance::{Algorithm, Balance, Hashing};
    use crate::http::live::Proxies;
    use crate::http::settings;
    use std::net::SocketAddr;
    use std::sync::Arc;

    /// What HAProxy 2.6.12 made of these.
    #[test]
    fn values_are_haproxys() {
        for (address, value) in
            [("127.0.0.1:81", "746084447376cc5a"), ("[::1]:82", "7d402f0d9b514c84")]
        {
            let at: SocketAddr = address.parse().expect("an address");
            assert_eq!(made("secret", &at.into()).as_deref(), Some(value), "{address}");
        }
        assert_eq!(made("secret", &ServerAddress::Unix("/x".into())), None);
    }

    #[test]
    fn a_value_follows_its_servers_address() {
        let at = |text: &str| ServerAddress::from(text.parse::<SocketAddr>().expect("an address"));
        let balance = Balance::new(Algorithm::RoundRobin, Hashing::default(), 1);
        let mut backend = settings::Backend::new("b", Arc::new(balance));
        let server = settings::Server::new("s", at("127.0.0.1:80"));
        backend.servers = vec![settings::Server { cookie_key: Some("secret".into()), ..server }];
        let settings = settings::Settings { backends: vec![backend], ..Default::default() };
        let proxies = Proxies::new(settings, 1, Arc::default());
        let server = &proxies.backends[0].servers[0];
        let before = own_value(server).map(Cow::into_owned);
        server.set_address(at("127.0.0.1:81"));
        assert_ne!(own_value(server).map(Cow::into_owned), before);
        assert_eq!(own_value(server).as_deref(), Some("746084447376cc5a"));
    }
}
