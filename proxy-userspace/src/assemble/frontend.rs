//! A frontend, and the addresses that it listens on.

use super::Builder;
use super::terms::{connection, error_pages, tcp, time};
use crate::config::address::{Address, Port};
use crate::config::model::{self, Kind, Proxy, Settings as Said};
use crate::config::options::Switch;
use crate::http::rules::Routes;
use crate::http::settings;
use std::net::SocketAddr;
use std::sync::Arc;

impl Builder<'_> {
    /// The frontend of a section that accepts clients.
    pub(super) fn frontend(&mut self, proxy: &Proxy) -> settings::Frontend {
        let said = &proxy.settings;
        let timeouts = &said.timeouts;
        let routes: Vec<_> = proxy
            .use_backends
            .iter()
            .map(|rule| (self.index.get(rule.name.as_str()).copied(), rule.condition.clone()))
            .collect();
        let named = said.default_backend.as_ref().map(|(name, _)| name.as_str());
        let own = (proxy.kind == Kind::Listen).then_some(proxy.name.as_str());
        settings::Frontend {
            name: proxy.name.clone(),
            mode: said.mode,
            binds: self.binds(proxy),
            maxconn: said.maxconn.unwrap_or(0),
            session_rate: said.session_rate.unwrap_or(0),
            disabled: false,
            connection: connection(said.close_mode),
            timeouts: settings::ClientTimeouts {
                client: time(timeouts.client),
                client_fin: time(timeouts.client_fin),
                http_request: time(timeouts.http_request),
                http_keep_alive: time(timeouts.http_keep_alive),
                tarpit: time(timeouts.tarpit.or(timeouts.connect)),
            },
            nolinger: said.switches.has(Switch::NoLinger),
            dontlognull: said.switches.has(Switch::DontLogNull),
            ignore_probes: said.switches.has(Switch::IgnoreProbes),
            logs_source: matches!(&said.log_format, model::LogFormat::Custom(format, _)
                if format.needs_source()),
            captures: proxy.captures.clone(),
            has_cookie: proxy.kind == Kind::Listen && said.cookie.is_some(),
            forwardfor: said.forward_for.clone(),
            originalto: said.original_to.clone(),
            unique_id: said.unique_id_format.as_ref().map(|format| settings::UniqueId {
                format: format.clone(),
                header: said.unique_id_header.as_deref().map(Arc::from),
            }),
            error_pages: error_pages(self.config, said),
            buffers_requests: said.switches.has(Switch::BufferRequests),
            admission: self.admission(proxy),
            inspection: self.inspection(&proxy.tcp_request.content, proxy.tcp_request.delay),
            rules: self.rules(proxy),
            route: (!routes.is_empty()).then(|| Arc::new(Routes { rules: routes }) as _),
            default_backend: named.or(own).and_then(|name| self.index.get(name).copied()),
        }
    }

    fn binds(&mut self, proxy: &Proxy) -> Vec<settings::Bind> {
        let mut binds = Vec::new();
        for (bind, number) in proxy.binds.iter().zip(1..) {
            let name = || bind.id.unwrap_or(number).to_string();
            let name = bind.name.clone().unwrap_or_else(name);
            let made = self.bind(bind, &proxy.settings);
            binds.extend(made.map(|made| settings::Bind { name, ..made }));
        }
        binds
    }

    fn bind(&mut self, bind: &model::Bind, said: &Said) -> Option<settings::Bind> {
        let address = match &bind.address {
            Address::Tcp { host, port: Port::Fixed(port) } => {
                let ip = self.lookup(host, &bind.at)?;
                settings::BindAddress::Inet(SocketAddr::new(ip, *port))
            }
            Address::Unix(path) => settings::BindAddress::Unix(path.clone()),
            Address::Abstract(name) => settings::BindAddress::Abstract(name.clone().into_bytes()),
            Address::Fd(fd) => settings::BindAddress::Fd(*fd),
            Address::Tcp { .. } => return None,
        };
        Some(settings::Bind {
            accept_proxy: bind.accept_proxy,
            defer_accept: bind.defer_accept,
            maxconn: bind.maxconn.unwrap_or(0),
            v6only: bind.v6only,
            backlog: bind.backlog.or(said.backlog).unwrap_or(0),
            transparent: bind.transparent,
            interface: bind.interface.clone(),
            tcp: tcp(said, Switch::ClientTcpKeepAlive, said.client_probes, bind.user_timeout_ms),
            fast_open: bind.fast_open,
            mss: bind.mss,
            unix_mode: bind.mode,
            unix_uid: bind.user,
            unix_gid: bind.group,
            ..settings::Bind::new(address)
        })
    }
}
