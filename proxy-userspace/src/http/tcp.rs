//! A client's connection in `mode tcp`.

use std::{rc::Rc, sync::Arc};

use super::{
    account::Account,
    capture::Captured,
    client::Client,
    closes::Class,
    counters::Count,
    edit,
    hear::hear,
    held::HeldBackend,
    inspect::{Ended, inspect},
    pump::{Body, Pump},
    sample::{Message, View},
    tunnel,
    upstream::{Errand, Upstream, note_session, reach},
    variable::Scope,
};

/// Passes a connection on to a server.
pub(crate) async fn serve(mut client: Client) {
    let mut account = Account::new(&client);
    account.variables.clone_from(&client.variables);
    let frontend = Arc::clone(client.frontend());
    let mut ended = match &frontend.settings.inspection {
        Some(inspection) => inspect(&mut client, inspection, &mut account).await.err(),
        None => None,
    };
    let backend = match ended {
        None | Some(Ended::Left(_)) => chosen(&client, &account),
        _ => None,
    };
    if let Some(backend) = &backend {
        account.backend = Some(backend.clone());
        backend.sessions.rise();
        client.worker.count(&backend.counters, Count::Sessions, 1);
        if ended.is_none()
            && let Some(inspection) = &backend.settings.inspection
        {
            ended = inspect(&mut client, inspection, &mut account).await.err();
        }
        if ended.is_none() {
            pass_on(&mut client, backend, &mut account).await;
        }
        backend.sessions.fall();
        client.session.leave();
    }
    if let Some(ended) = ended {
        account.bytes_in += client.input.len() as u64;
        account.failed(0, ended.termination());
        match ended {
            Ended::Refused(parting) => client.refused(parting),
            Ended::Left(_) => client.worker.count(&frontend.counters, Count::RequestErrors, 1),
            Ended::Stopped(_) => {}
        }
    }
    let slots = &frontend.settings.captures.request;
    account.captured = Captured::of(slots, &[]);
    account.captured.keep(Message::Request, slots, &account.variables);
    account.variables = edit::left(&account.variables, Scope::AFTER);
    if account.bytes_in == 0 && frontend.settings.dontlognull {
        account.finish_unlogged(&mut client, None);
    } else {
        account.finish(&mut client, None);
    }
    client.part();
}

/// The backend that the frontend's rules name, or its default.
fn chosen(client: &Client, account: &Account) -> Option<HeldBackend> {
    let settings = &client.frontend().settings;
    let chosen = settings.route.as_ref().and_then(|route| route.backend(&view(client, account)));
    let index = chosen.unwrap_or(settings.default_backend);
    index.and_then(|index| client.proxies.hold(index))
}

/// What rules that choose see of it.
fn view<'a>(client: &'a Client, account: &'a Account) -> View<'a> {
    View {
        client: client.session.client,
        local: client.local,
        received: Some(&client.input),
        edits: &account.variables,
        ..View::default()
    }
}

/// Passes it on to a server of this backend.
async fn pass_on(client: &mut Client, backend: &HeldBackend, account: &mut Account) {
    if let Some(rules) = &backend.settings.server_rules {
        account.choice.server = rules.server(backend, &view(client, account));
    }
    let errand = Errand {
        backend,
        key: backend.settings.balance.key(None, &[], client.session.client),
        head: b"",
        body: Body::Close,
        prefix: client.input.len(),
        reuse: false,
        again: false,
        class: Class::Tunnel,
    };
    match reach(client, errand, account).await {
        Ok(Upstream { mut conn, slot, request, .. }) => {
            note_session(client, slot.server(), account.mark());
            let response = Pump::new(Body::Close, false);
            let mut ways = tunnel::Ways { request, response, rest: Vec::new() };
            let goes_on = match &backend.settings.hearing {
                Some(hearing) => hear(client, &conn, hearing, &mut ways, account).await,
                None => true,
            };
            if goes_on {
                tunnel::run(client, &conn, ways, account).await;
            }
            let worker = Rc::clone(&client.worker);
            account.describe(&mut conn.doing, None);
            worker.close_idle(conn, Some(Class::Tunnel));
            drop(slot);
        }
        Err(fail) => {
            account.termination = fail.termination;
            account.bytes_in += (client.input.len() + client.forget_input()) as u64;
        }
    }
}
