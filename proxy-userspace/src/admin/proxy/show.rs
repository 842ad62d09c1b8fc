//! `show stat`, `show backend`, `show servers state`, and the statistics page.

mod numbers;

use super::limits::number;
use super::rows::{self, Object, Row};
use super::{Scene, csv, json, typed};
use crate::http::health::outcome::Status;
use crate::http::live::{Backend, Server};
use crate::http::settings::ServerAddress;
use std::fmt::Write;

/// Every line, in the configuration's order: frontend, servers, backend. Addresses and algorithms are
/// not for everybody's eyes.
fn all(scene: &Scene, legends: bool) -> Vec<Row> {
    let mut groups: Vec<(Option<&usize>, u8, Vec<Row>)> = Vec::new();
    for frontend in &scene.proxies.frontends {
        let place = scene.numbers.frontend_places.get(frontend.index);
        groups.push((place, 0, vec![rows::frontend(scene, frontend)]));
    }
    for backend in &scene.proxies.backends {
        let mut list: Vec<Row> =
            backend.servers.iter().map(|server| rows::server(scene, backend, server)).collect();
        list.push(rows::backend(scene, backend));
        let place = scene.numbers.backend_places.get(backend.index);
        groups.push((place, 1, list));
    }
    groups.sort_by_key(|group| (group.0, group.1));
    let mut list: Vec<Row> = groups.into_iter().flat_map(|group| group.2).collect();
    if !legends {
        list.iter_mut().for_each(Row::hide_legends);
    }
    list
}

/// `show stat [<proxy> <types> <server>] [json|typed|no-maint|up]*`: as HAProxy, three words are the
/// former wherever there are so many.
pub(super) fn stat(scene: &Scene, words: &[&str], legends: bool) -> String {
    let mut list = all(scene, legends);
    let mut flags = words;
    if let [proxy, types, server, rest @ ..] = words {
        let proxy = match scene.proxy(proxy) {
            Ok(number) => number,
            Err(why) => return why,
        };
        let (types, server) = (number(types), number(server));
        list.retain(|row| {
            let bit = match row.object {
                Object::Frontend => 1,
                Object::Backend => 2,
                Object::Server => 4,
            };
            let of_server =
                server == -1 || row.object != Object::Server || i64::from(row.server) == server;
            (proxy == -1 || i64::from(row.proxy) == proxy) && types & bit != 0 && of_server
        });
        flags = rest;
    }
    leave_out(&mut list, flags);
    shown(&list, flags).unwrap_or_else(|| csv::rows(&list))
}

/// In the form that `flags` ask for.
fn shown(list: &[Row], flags: &[&str]) -> Option<String> {
    let form = ["json", "typed", "csv"].into_iter().find(|form| flags.contains(form))?;
    Some(match form {
        "json" => json::rows(list),
        "typed" => typed::rows(list),
        _ => csv::rows(list),
    })
}

/// Takes away the lines that `no-maint` and `up` leave out.
fn leave_out(list: &mut Vec<Row>, flags: &[&str]) {
    if ["no-maint", "up"].iter().any(|flag| flags.contains(flag)) {
        list.iter_mut().for_each(Row::tell_running);
    }
    if flags.contains(&"no-maint") {
        list.retain(|row| !row.get("status").starts_with("MAINT"));
    }
    if flags.contains(&"up") {
        list.retain(|row| row.object != Object::Server || row.is_running());
    }
}

/// `show backend`.
pub(super) fn backends(scene: &Scene) -> String {
    let mut out = String::from("# name\n");
    for backend in &scene.proxies.backends {
        out.push_str(&backend.settings.name);
        out.push('\n');
    }
    out
}

/// `show servers state [<backend>]`: version 1 of HAProxy's format.
pub(super) fn servers_state(scene: &Scene, words: &[&str]) -> String {
    let mut out = String::from(
        "1\n# be_id be_name srv_id srv_name srv_addr srv_op_state srv_admin_state srv_uweight \
         srv_iweight srv_time_since_last_change srv_check_status srv_check_result \
         srv_check_health srv_check_state srv_agent_state bk_f_forced_id srv_f_forced_id srv_fqdn \
         srv_port srvrecord srv_use_ssl srv_check_port srv_check_addr srv_agent_addr \
         srv_agent_port\n",
    );
    if let Some(name) = words.first()
        && scene.proxies.backend(name).is_none()
    {
        return "Can't find backend.\n".to_owned();
    }
    for backend in &scene.proxies.backends {
        if words.first().is_some_and(|name| **name != backend.settings.name) {
            continue;
        }
        for server in &backend.servers {
            state(scene, backend, server, &mut out);
        }
    }
    out
}

fn state(scene: &Scene, backend: &Backend, server: &Server, out: &mut String) {
    let at = (backend.index, server.index);
    let standing = scene.board.get(at).filter(|_| server.settings.checked);
    let (ip, port) = match server.address() {
        ServerAddress::Inet(address) if server.is_unresolved() => ("-".to_owned(), address.port()),
        ServerAddress::Inet(address) => (address.ip().to_string(), address.port()),
        ServerAddress::Unix(_) => ("-".to_owned(), 0),
    };
    let operational = numbers::operational(server);
    let administrative = numbers::administrative(server);
    let last = standing.as_ref().map_or(Status::Unknown, |standing| standing.status);
    let (status, result) = (numbers::status(last), numbers::result(last));
    let (rise, _) = scene.numbers.rise_and_fall(at);
    let whole = scene.board.get(at);
    let health = whole.as_ref().map_or(rise, |standing| standing.health);
    let place = whole.map(|standing| standing.place).unwrap_or_default();
    let check_address = place.ip.map_or_else(|| "-".to_owned(), |ip| ip.to_string());
    let checks = numbers::checks(server);
    let (says_id, backend_says_id) = scene.numbers.say_id(at);
    // Writing to a String does not fail.
    let _ = writeln!(
        out,
        "{} {} {} {} {ip} {operational} {administrative} {} {} {} {status} {result} {health} \
         {checks} 0 {} {} {} {port} - 0 {} {check_address} - 0",
        scene.numbers.backends.get(at.0).copied().unwrap_or_default(),
        backend.settings.name,
        scene.numbers.server(at),
        server.settings.name,
        server.weight(),
        server.settings.weight,
        server.changed().elapsed().as_secs(),
        u8::from(backend_says_id),
        u8::from(says_id),
        server.settings.host.as_deref().unwrap_or("-"),
        place.port.unwrap_or(0),
    );
}

/// The statistics page: as `show stat` has it where `flags` say `csv`, `json` or `typed`.
pub(super) fn page(scene: &Scene, flags: &[&str], legends: bool, proxies: &[String]) -> String {
    let mut list = all(scene, legends);
    if !proxies.is_empty() {
        list.retain(|row| proxies.contains(&row.get("pxname")));
    }
    leave_out(&mut list, flags);
    shown(&list, flags).unwrap_or_else(|| html(&list))
}

/// One table a proxy.
fn html(list: &[Row]) -> String {
    const SHOWN: [&str; 23] = [
        "svname", "qcur", "qmax", "scur", "smax", "slim", "stot", "bin", "bout", "dreq", "dresp",
        "ereq", "econ", "eresp", "wretr", "wredis", "status", "last_chk", "weight", "chkfail",
        "chkdown", "downtime", "throttle",
    ];
    let escape = |text: &str| {
        text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
    };
    let mut out = String::from(
        "<!DOCTYPE html><html><head><meta charset=\"utf-8\"><title>Statistics report for teardown\
         </title><style>body{font:13px sans-serif}table{border-collapse:collapse;margin:0 0 1.5em}\
         td,th{border:1px solid #bbb;padding:1px 6px;text-align:right}td:first-child{text-align:left}\
         .FRONTEND td,.BACKEND td{background:#eee}</style></head><body><h1>teardown</h1>\n",
    );
    let mut proxy = String::new();
    for row in list {
        let name = row.get("pxname");
        if name != proxy {
            if !proxy.is_empty() {
                out.push_str("</table>\n");
            }
            let _ = write!(out, "<h2>{}</h2>\n<table><tr>", escape(&name));
            for column in SHOWN {
                let _ = write!(out, "<th>{column}</th>");
            }
            out.push_str("</tr>\n");
            proxy = name;
        }
        let _ = write!(out, "<tr class=\"{}\">", escape(&row.get("svname")));
        for column in SHOWN {
            let _ = write!(out, "<td>{}</td>", escape(&row.get(column)));
        }
        out.push_str("</tr>\n");
    }
    if !proxy.is_empty() {
        out.push_str("</table>\n");
    }
    out.push_str("</body></html>\n");
    out
}
