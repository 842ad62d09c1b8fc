//! A small source of traffic on loopback whose connections close in every interesting way.
//!
//! `teardown watch --demo` runs it, so that the first tail that anybody sees has something to
//! show. It listens on free ports of 127.0.0.1 and ::1 alone, and ends with the task that runs it.

pub mod pair;
pub mod scenes;

use crate::ends::endpoint;
use proxy_common::key::Endpoint;
use scenes::Scene;
use socket2::{Domain, Socket, Type};
use std::future::pending;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

/// Time between two connections.
const PACE: Duration = Duration::from_millis(160);

/// Whether 127.0.0.1 can be reached: its ports can be bound while loopback is down.
pub(crate) fn reach_loopback() -> io::Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let own = socket.local_addr()?;
    // A datagram to itself: the tail that is to come shows TCP alone.
    socket.send_to(&[0], own).and_then(|_| socket.recv(&mut [0])).map_err(|error| {
        let advice = "is loopback down? `ip link set lo up` brings it up";
        io::Error::new(error.kind(), format!("127.0.0.1 cannot be reached ({error}): {advice}"))
    })?;
    Ok(())
}

/// A scene's server, or, where it must refuse, a port that is held without listening.
#[derive(Debug)]
enum Stage {
    Listening(TcpListener),
    Refusing(Socket),
}

/// The stages of all scenes, bound and ready.
#[derive(Debug)]
pub struct Traffic {
    stages: Vec<(Scene, SocketAddr, Stage)>,
}

impl Traffic {
    /// Binds a port for each scene, on IPv4, and on IPv6 where this host has it.
    ///
    /// # Errors
    /// Where no port of 127.0.0.1 can be bound, or loopback is down.
    pub fn bind() -> io::Result<Self> {
        reach_loopback()?;
        let mut stages = Vec::new();
        for scene in Scene::ALL {
            let (at, stage) = bind(scene, Ipv4Addr::LOCALHOST.into())?;
            stages.push((scene, at, stage));
        }
        for scene in Scene::ALL {
            // A host without IPv6 shows its closes on IPv4 alone.
            if let Ok((at, stage)) = bind(scene, Ipv6Addr::LOCALHOST.into()) {
                stages.push((scene, at, stage));
            }
        }
        Ok(Self { stages })
    }

    /// Where each scene's server is, with the scene's name.
    pub fn servers(&self) -> impl Iterator<Item = (Endpoint, &'static str)> {
        self.stages.iter().map(|(scene, at, _)| (endpoint(*at), scene.name()))
    }

    /// Plays the scenes one after the other, for ever; dropped, it closes all that it opened.
    pub async fn play(self) {
        let mut open = JoinSet::new();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut calls = Vec::new();
        for (scene, at, stage) in self.stages {
            calls.push((scene, at));
            open.spawn(async move {
                match stage {
                    Stage::Listening(listener) => serve(scene, &listener).await,
                    Stage::Refusing(_held) => pending().await,
                }
            });
        }
        for (scene, at) in calls.into_iter().cycle() {
            pace.tick().await;
            open.spawn(async move {
                // A scene that fails closes in some way too, which is all that is asked of it.
                let _ = scene.client(at).await;
            });
            while open.try_join_next().is_some() {}
        }
    }
}

async fn serve(scene: Scene, listener: &TcpListener) {
    let mut open = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                open.spawn(async move {
                    let _ = scene.server(stream).await;
                });
            }
            // Out of descriptors, or reset before it was accepted: the next may do better.
            Err(_) => tokio::time::sleep(PACE).await,
        }
        while open.try_join_next().is_some() {}
    }
}

fn bind(scene: Scene, address: IpAddr) -> io::Result<(SocketAddr, Stage)> {
    let wanted = SocketAddr::new(address, 0);
    let socket = Socket::new(Domain::for_address(wanted), Type::STREAM.nonblocking(), None)?;
    socket.bind(&wanted.into())?;
    let at = socket.local_addr()?.as_socket().ok_or(io::ErrorKind::AddrNotAvailable)?;
    if scene == Scene::Refused {
        return Ok((at, Stage::Refusing(socket)));
    }
    socket.listen(64)?;
    Ok((at, Stage::Listening(TcpListener::from_std(socket.into())?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[tokio::test]
    async fn every_scene_has_a_port_and_a_name_of_its_own() {
        let traffic = Traffic::bind().expect("loopback");
        let v4: HashSet<_> = traffic.servers().take(Scene::ALL.len()).collect();
        assert_eq!(v4.len(), Scene::ALL.len());
    }

    #[tokio::test]
    async fn dropped_it_leaves_no_listener() {
        let traffic = Traffic::bind().expect("loopback");
        let (_, at, _) = traffic.stages[0];
        let playing = tokio::spawn(traffic.play());
        tokio::net::TcpStream::connect(at).await.expect("it listens");
        playing.abort();
        let _ = playing.await;
        let refused = tokio::net::TcpStream::connect(at).await.expect_err("nobody listens");
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }
}
