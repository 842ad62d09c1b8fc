//! Lines of `defaults`, `frontend`, `listen` and `backend` sections.

use super::args::Args;
use super::directives::{self, Places};
use super::format::{self, Place};
use super::log::{Log, log};
use super::model::{ErrorWord, LogFormat, Probes, Proxy, Timeouts};
use super::{
    balance, bind, capture, check_lines, cookie, error_lines, option, rule_lines, server, stats,
};
use crate::http::cookie::Persist;
use crate::http::format::Part;
use crate::http::sample::Fetch;
use crate::http::settings::{Mode, RetryOn, Reuse};
use crate::near;

/// What of `defaults` only those with a name have.
const RULES: [&str; 6] =
    ["acl", "http-request", "http-response", "http-after-response", "tcp-request", "tcp-response"];

/// Reads one line of a proxy section. `place` is the one section it stands in.
pub(super) fn directive(args: &mut Args<'_>, to: &mut Proxy, place: Places) {
    const MAX: u32 = i32::MAX.unsigned_abs();
    let negated = args.eat("no");
    if negated && !matches!(args.peek(), "option" | "log") {
        args.wrong("'no' stands before 'option' and 'log' only");
        return;
    }
    let Some(word) = args.next() else {
        args.wrong_here("'no' expects 'option' or 'log' behind it");
        return;
    };
    if !may_stand(args, word, place, &to.name) {
        return;
    }
    let settings = &mut to.settings;
    match word {
        "mode" => {
            let modes = [("tcp", Mode::Tcp), ("http", Mode::Http)];
            settings.mode = args.choice(word, &modes).unwrap_or(settings.mode);
        }
        "bind" => {
            let binds = bind::bind(args);
            to.binds.extend(binds);
        }
        "server" => {
            if let Some(server) = server::server(args, &settings.default_server) {
                to.servers.push(server);
            }
            return;
        }
        "default-server" => return server::default_server(args, &mut settings.default_server),
        "option" => return option::option(args, settings, &mut to.own_checks, place, negated),
        "timeout" => timeout(args, &mut settings.timeouts, place),
        "log" => return log_line(args, to, negated),
        "log-tag" => settings.log_tag = args.need(word, "a word").map(str::to_owned),
        "log-format" => {
            if let Some(format) = args.need(word, "a format") {
                let at = args.last();
                match format::format(format, Place::Log) {
                    Ok(format) => settings.log_format = LogFormat::Custom(format, at),
                    Err(why) => args.wrong(format!("'log-format': {why}")),
                }
            }
        }
        "maxconn" => settings.maxconn = args.number(word, 0..=MAX),
        "rate-limit" => {
            if args.choice(word, &[("sessions", ())]).is_some() {
                settings.session_rate = args.number("rate-limit sessions", 0..=MAX);
            }
        }
        "fullconn" => settings.fullconn = args.number(word, 0..=MAX),
        "backlog" => settings.backlog = args.number(word, 0..=MAX),
        "retries" => settings.retries = args.number(word, 0..=100).unwrap_or(settings.retries),
        "retry-on" => return retry_on(args, &mut settings.retry_on),
        "balance" => return balance::balance(args, settings),
        "hash-type" => return balance::hash_type(args, settings),
        "cookie" => return cookie::cookie(args, settings),
        "dynamic-cookie-key" => {
            settings.dynamic_cookie_key = args.need(word, "a secret").map(str::to_owned);
        }
        "capture" => return capture::capture(args, &mut to.captures),
        "declare" => return capture::declare(args, &mut to.captures),
        "http-reuse" => {
            let kinds = [
                ("never", Reuse::Never),
                ("safe", Reuse::Safe),
                ("aggressive", Reuse::Aggressive),
                ("always", Reuse::Always),
            ];
            settings.http_reuse = args.choice(word, &kinds).unwrap_or(settings.http_reuse);
        }
        "default_backend" => {
            if let Some(name) = args.need(word, "a backend's name") {
                settings.default_backend = Some((name.to_owned(), args.last()));
            }
        }
        "errorfile" => {
            let page = error_lines::error_file(args);
            settings.error_words.extend(page.map(|(code, page)| ErrorWord::Page(code, page)));
        }
        "errorfiles" => error_lines::error_files(args, &mut settings.error_words),
        "errorloc" | "errorloc302" | "errorloc303" => {
            error_lines::error_location(args, word, &mut settings.error_words);
        }
        "http-error" => error_lines::http_error(args, &mut settings.error_words),
        "monitor" => return rule_lines::monitor(args, to),
        "unique-id-format" => {
            if let Some(text) = args.need(word, "a format") {
                let read = format::format(text, Place::Request);
                let read = read.map_err(|why| args.wrong(format!("'{word}': {why}")));
                let takes_itself = |part: &Part| matches!(part, Part::Sample(taken, _) if taken.fetch == Fetch::UniqueId);
                if read.as_ref().is_ok_and(|format| format.parts.iter().any(takes_itself)) {
                    args.wrong(format!("'{word}' cannot take 'unique-id': that is what it makes"));
                } else {
                    settings.unique_id_format = read.ok();
                }
            }
        }
        "unique-id-header" => {
            let name = rule_lines::field_name(args, word);
            settings.unique_id_header = name.map(str::to_owned);
        }
        "monitor-uri" => {
            settings.monitor_uri = args.need(word, "a path such as /health").map(str::to_owned);
        }
        "description" => settings.description = Some(args.rest().join(" ")),
        "disabled" => settings.disabled = true,
        "enabled" => settings.disabled = false,
        "id" => {
            to.id_at = Some(args.last());
            to.id = args.number(word, 1..=MAX).unwrap_or(to.id);
        }
        "stats" => return stats::stats(args, &mut settings.stats),
        "http-check" => {
            to.own_checks.http.get_or_insert_with(|| args.last());
            return check_lines::http_check(args, &mut settings.check, &mut to.own_checks);
        }
        "tcp-check" => {
            if to.own_checks.tcp.is_none() {
                settings.check.tcp_steps.clear();
                to.own_checks.tcp = Some(args.last());
            }
            return check_lines::tcp_check(args, &mut settings.check);
        }
        "acl" => return rule_lines::acl(args, to),
        "use_backend" => return rule_lines::use_backend(args, to),
        "clitcpka-cnt" | "clitcpka-idle" | "clitcpka-intvl" => {
            probes(args, word, &mut settings.client_probes);
        }
        "srvtcpka-cnt" | "srvtcpka-idle" | "srvtcpka-intvl" => {
            probes(args, word, &mut settings.server_probes);
        }
        "use-server" => return rule_lines::use_server(args, to),
        "server-template" => {
            let servers = server::template(args, &settings.default_server);
            to.servers.extend(servers);
            return;
        }
        "source" => settings.source = server::source(args).or(settings.source.take()),
        "http-request" => return rule_lines::http_request(args, to, place),
        "redirect" => return rule_lines::redirect_line(args, to),
        "http-response" => return rule_lines::http_response(args, to),
        "tcp-request" => return rule_lines::tcp_request(args, to, place),
        "tcp-response" => return rule_lines::tcp_response(args, to, place),
        "http-after-response" => return rule_lines::http_after_response(args, to),
        "force-persist" => return rule_lines::persist(args, to, word, Persist::Force),
        "ignore-persist" => return rule_lines::persist(args, to, word, Persist::Ignore),
        _ => unreachable_word(args, word),
    }
    args.end(word);
}

/// A word that the table has and this room has not: a fault of teardown's, held off by a test.
fn unreachable_word(args: &mut Args<'_>, word: &str) {
    args.wrong(format!("'{word}' is in teardown's table but not read: please report this"));
}

/// Whether `word` is known and may stand in this section; says so if not.
fn may_stand(args: &mut Args<'_>, word: &str, place: Places, name: &str) -> bool {
    // As HAProxy has it, who uses rules of `defaults` should say which.
    let is_rule = place == Places::DEFAULTS && name.is_empty() && RULES.contains(&word);
    let first = |name: &'static str| name.split(' ').next().unwrap_or(name);
    let mut ours = directives::of_proxies().filter(|d| first(d.name) == word).peekable();
    let section = place.section();
    if ours.peek().is_some() {
        if ours.any(|directive| directive.places.has(place)) && !is_rule {
            return true;
        }
        let nameless = if is_rule { " that has no name" } else { "" };
        let message = format!("'{word}' cannot stand in a '{section}' section{nameless}");
        if place == Places::DEFAULTS || word == "server" {
            args.wrong(message);
        } else {
            // As HAProxy: without effect there, and no error.
            let at = args.last();
            args.findings.warn(at, format!("{message}: it is ignored"));
        }
        return false;
    }
    if let Some(gone) = directives::gone(directives::PROXY_GONE, word) {
        args.wrong(gone.message(word));
    } else if directives::PROXY_OTHERS.contains(&word) {
        args.wrong(format!("'{word}' is HAProxy's; teardown has not got it"));
    } else if directives::GLOBAL.iter().any(|directive| first(directive.name) == word) {
        args.wrong(format!("'{word}' stands in the 'global' section, not in '{section}'"));
    } else {
        let hint = near::hint(word, directives::of_proxies().map(|d| first(d.name)));
        args.wrong(format!("unknown keyword '{word}' in '{section}' section{hint}"));
    }
    false
}

/// Reads what follows `retry-on`: all that it says takes the place of what was said before.
fn retry_on(args: &mut Args<'_>, to: &mut RetryOn) {
    const STATUSES: [u16; 10] = [401, 403, 404, 408, 425, 500, 501, 502, 503, 504];
    const WORDS: [&str; 7] = [
        "none",
        "conn-failure",
        "empty-response",
        "junk-response",
        "response-timeout",
        "0rtt-rejected",
        "all-retryable-errors",
    ];
    let nothing = RetryOn { connect: false, ..RetryOn::default() };
    *to = nothing;
    if args.peek().is_empty() {
        args.wrong_here(format!("'retry-on' expects some of {} and statuses", WORDS.join(", ")));
    }
    let first = args.taken();
    while let Some(word) = args.next() {
        match word {
            "none" if args.taken() == first + 1 && args.peek().is_empty() => {}
            "none" => args.wrong("'none' stands alone behind 'retry-on'"),
            "conn-failure" => to.connect = true,
            "empty-response" => to.empty = true,
            "junk-response" => to.junk = true,
            "response-timeout" => to.late = true,
            // There is no TLS that could have early data.
            "0rtt-rejected" => {}
            "all-retryable-errors" => {
                (to.connect, to.empty, to.junk, to.late) = (true, true, true, true);
                to.statuses.extend([500, 502, 503, 504]);
            }
            _ => match word.parse().ok().filter(|status| STATUSES.contains(status)) {
                Some(status) => to.statuses.push(status),
                None => {
                    let statuses = STATUSES.map(|status| status.to_string()).join(", ");
                    let hint = near::hint(word, WORDS);
                    args.wrong(format!(
                        "'retry-on' expects some of {}, {statuses}, not '{word}'{hint}",
                        WORDS.join(", ")
                    ));
                }
            },
        }
    }
}

/// What follows `clitcpka-cnt` and its kin; a bare time counts seconds.
fn probes(args: &mut Args<'_>, word: &str, to: &mut Probes) {
    if word.ends_with("-cnt") {
        to.count = args.number(word, 1..=127).unwrap_or(to.count);
    } else if word.ends_with("-idle") {
        to.idle_ms = probe_time(args, word).unwrap_or(to.idle_ms);
    } else {
        to.interval_ms = probe_time(args, word).unwrap_or(to.interval_ms);
    }
}

/// A time that Linux takes: no connection could be told another one.
fn probe_time(args: &mut Args<'_>, word: &str) -> Option<u32> {
    const SECOND: u64 = 1_000_000;
    const MOST: u32 = 32_767;
    let time = args.time_in(word, SECOND)?;
    if time.div_ceil(1_000) > MOST {
        args.wrong(format!("'{word}' is {MOST}s at most: Linux takes no more"));
        return None;
    }
    Some(time)
}

fn timeout(args: &mut Args<'_>, to: &mut Timeouts, place: Places) {
    let names = || {
        directives::PROXY
            .iter()
            .filter_map(|d| d.name.strip_prefix("timeout ").map(|n| (n, d.places)))
    };
    let list = || names().map(|(name, _)| name).collect::<Vec<_>>().join(", ");
    let Some(word) = args.need("timeout", &format!("one of {}", list())) else { return };
    let slot = match word {
        "client" => &mut to.client,
        "client-fin" => &mut to.client_fin,
        "server" => &mut to.server,
        "server-fin" => &mut to.server_fin,
        "connect" => &mut to.connect,
        "check" => &mut to.check,
        "http-request" => &mut to.http_request,
        "http-keep-alive" => &mut to.http_keep_alive,
        "queue" => &mut to.queue,
        "tarpit" => &mut to.tarpit,
        "tunnel" => &mut to.tunnel,
        _ => {
            let hint = near::hint(word, names().map(|(name, _)| name));
            args.wrong(match directives::gone(directives::PROXY_GONE, word) {
                Some(gone) => gone.message(&format!("timeout {word}")),
                None => format!("unknown timeout '{word}', expected one of {}{hint}", list()),
            });
            args.skip(args.line.words.len());
            return;
        }
    };
    if names().any(|(name, places)| name == word && !places.has(place)) {
        let at = args.last();
        let section = place.section();
        args.findings
            .warn(at, format!("'timeout {word}' is without effect in a '{section}' section"));
    }
    if let Some(time) = args.time(&format!("timeout {word}")) {
        *slot = Some(time);
    }
}

fn log_line(args: &mut Args<'_>, to: &mut Proxy, negated: bool) {
    if negated {
        to.settings.logs.clear();
        to.settings.log_global = false;
        return args.end("no log");
    }
    match log(args) {
        Some(Log::Global) => to.settings.log_global = true,
        Some(Log::Target(target)) => to.settings.logs.push(target),
        None => return,
    }
    args.end("log");
}
