//! `teardown` alone: the whole at a glance. A proxy whose configuration is modelled on the one that
//! the project began with, two servers before which it closes differently, some traffic, the tail,
//! and what to type to change the closes while one watches.

use super::Reader;
use super::proxy::{Origin, Planned};
use super::run::{self, Shown};
use crate::admin::socket::DEFAULT_PATH;
use crate::admin::terminal::Terminal;
use crate::report::columns::Paint;
use crate::report::tail::{Look, Tail};
use crate::traffic::pair::Pair;
use anyhow::Context;
use clap::Parser;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;

/// Where the proxy listens, if nobody else does.
const FRONT: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 8080);

/// How much stdout may be behind before lines are left out, in bytes.
const BACKLOG: usize = 1 << 20;

/// FRONT, W1 and W2 stand for addresses.
const CONFIGURATION: &str = "\
global
  maxconn 1000

defaults http
  mode    http
  option  dontlognull
  option  http-server-close
  option  redispatch
  retries 3
  timeout http-request    10s
  timeout queue           1m
  timeout connect         10s
  timeout client          1m
  timeout server          5m
  timeout http-keep-alive 10s
  timeout check           10s

listen webservice
  bind FRONT
  balance hdr(X-Forwarded-For)
  option  httpchk GET /healthcheck
  default-server inter 5s
  server  w1 W1 check
  server  w2 W2 check
";

/// Runs until Ctrl-C.
///
/// # Errors
/// As [`run::run`]; and where no port of 127.0.0.1 can be bound.
pub fn run() -> anyhow::Result<ExitCode> {
    #[derive(Parser)]
    struct Defaults {
        #[command(flatten)]
        run: run::Args,
        #[command(flatten)]
        look: Look,
    }
    let socket = socket();
    let Defaults { run, look } = Defaults::parse_from(["teardown", "--socket", &socket]);
    let pair = Pair::bind().context("the built-in servers need ports of 127.0.0.1")?;
    let front = front()?;
    let [w1, w2] = pair.addresses();
    let text = CONFIGURATION
        .replace("FRONT", &front.to_string())
        .replace("W1", &w1.to_string())
        .replace("W2", &w2.to_string());
    let planned = Planned::read(Origin::BuiltIn(text))?;
    let greeting = format!(
        "teardown: no command given, so here is a proxy at http://{front} with some traffic, before \
         two servers: w1 closes well, w2 never closes. See 'teardown --help'; Ctrl-C ends it\n\
         teardown: to let it close towards w1 as HAProxy 1.4 did, type elsewhere\n  \
         echo 'set policy webservice/w1 like haproxy-1.4' | socat - {socket}\n\
         and to end that: echo 'del policy webservice/w1' | socat - {socket}"
    );
    let (terminal, outlet) =
        Terminal::start(BACKLOG).context("cannot start a thread for stdout")?;
    let reader = Reader::new(Tail::new(look, Paint::of_stdout()), outlet, false);
    let shown = Shown { greeting, reader, traffic: Box::pin(pair.play(front)) };
    let done = run::serve(&run, Some(planned), Some(shown))?;
    terminal.finish().context("stdout")?;
    Ok(done)
}

/// A runtime socket: the usual one, or one of its own where a daemon answers there.
fn socket() -> String {
    if UnixStream::connect(DEFAULT_PATH).is_ok() {
        return format!("/run/teardown-{}.sock", std::process::id());
    }
    DEFAULT_PATH.to_owned()
}

/// A port for the proxy: the usual one, or any where that one is taken.
fn front() -> anyhow::Result<SocketAddr> {
    let free = |at: SocketAddr| std::net::TcpListener::bind(at).and_then(|held| held.local_addr());
    free(FRONT)
        .or_else(|_| free(SocketAddr::new(FRONT.ip(), 0)))
        .context("the built-in proxy needs a port of 127.0.0.1")
}
