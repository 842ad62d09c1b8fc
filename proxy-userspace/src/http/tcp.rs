//! A client's connection in `mode tcp`.

use std::{rc::Rc, sync::Arc};

use super::{
    account::Account,
    client::Client,
    closes::Class,
    counters::Count,
    pump::{Body, Pump},
    sample::View,
    tunnel,
    upstream::{Errand, Upstream, note_session, reach},
};

/// Passes a connection on to a server.
pub(crate) async fn serve(mut client: Client) {
    let mut account = Account::new(&client);
    let frontend = Arc::clone(client.frontend());
    let address = client.session.client;
    let view = View { client: address, local: client.local, ..View::default() };
    let chosen = frontend.settings.route.as_ref().and_then(|route| route.backend(&view));
    let index = chosen.unwrap_or(frontend.settings.default_backend);
    let backend = index.and_then(|index| client.proxies.hold(index));
    if let Some(backend) = backend {
        account.backend = Some(backend.clone());
        backend.sessions.rise();
        client.worker.count(&backend.counters, Count::Sessions, 1);
        if let Some(rules) = &backend.settings.server_rules {
            account.choice.server = rules.server(&backend, &view);
        }
        let errand = Errand {
            backend: &backend,
            key: backend.settings.balance.key(None, &[], address),
            head: b"",
            body: Body::Close,
            prefix: 0,
            reuse: false,
            class: Class::Tunnel,
        };
        match reach(&mut client, errand, &mut account).await {
            Ok(Upstream { mut conn, slot, request, .. }) => {
                note_session(&client, slot.server(), account.mark());
                let response = Pump::new(Body::Close, false);
                let ways = tunnel::Ways { request, response, rest: Vec::new() };
                tunnel::run(&mut client, &conn, ways, &mut account).await;
                let worker = Rc::clone(&client.worker);
                account.describe(&mut conn.doing, None);
                worker.close_idle(conn, Some(Class::Tunnel));
                drop(slot);
            }
            Err(fail) => {
                account.termination = fail.termination;
                account.bytes_in += client.forget_input() as u64;
            }
        }
        backend.sessions.fall();
        client.session.leave();
    }
    if account.bytes_in == 0 && frontend.settings.dontlognull {
        account.finish_unlogged(&mut client, None);
    } else {
        account.finish(&mut client, None);
    }
    client.part();
}
