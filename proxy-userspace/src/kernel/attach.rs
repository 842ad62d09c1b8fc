//! Hangs the programs on interfaces, the cgroup root and the tracepoints, and takes them off.

use super::cgroup::{self, Widest};
use super::clsact;
use super::error::Error;
use super::links::Interface;
use super::options::{Ingress, Options};
use aya::Ebpf;
use aya::programs::links::LinkOrder;
use aya::programs::tc::{NlOptions, SchedClassifierLink, TcAttachOptions};
use aya::programs::xdp::{XdpLink, XdpMode};
use aya::programs::{
    CgroupAttachMode, ProgramError, RawTracePoint, SchedClassifier, SockOps, TcAttachType, Xdp,
};
use std::collections::BTreeMap;
use std::os::unix::net::UnixDatagram;

/// How a program hangs on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum How {
    /// A link of tcx (Linux 6.6).
    Tcx,
    /// A filter of the clsact qdisc.
    Clsact,
    /// XDP in the driver.
    XdpNative,
    /// XDP behind the driver, for any device.
    XdpGeneric,
}

impl How {
    /// As it is shown.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Tcx => "tcx",
            Self::Clsact => "clsact",
            Self::XdpNative => "xdp (native)",
            Self::XdpGeneric => "xdp (generic)",
        }
    }
}

/// One interface with programs.
#[derive(Clone, Debug)]
pub struct Attachment {
    /// Its name.
    pub interface: String,
    /// What sees its incoming packets.
    pub ingress: How,
    /// What sees its outgoing packets.
    pub egress: How,
}

/// What keeps programs on an interface: dropped, they are off.
#[expect(dead_code, reason = "held for its Drop")]
enum Hold {
    Tc(SchedClassifierLink),
    Xdp(XdpLink),
    Clsact(clsact::Qdisc),
}

struct Hooked {
    shown: Attachment,
    _holds: Vec<Hold>,
}

/// Every interface that has programs, by index.
pub(super) struct Attached {
    ingress: Ingress,
    tcx: bool,
    enforce: bool,
    hooked: BTreeMap<u32, Hooked>,
    /// Held while there may be filters.
    present: Option<UnixDatagram>,
    /// Another teardown had filters when this one began.
    has_company: bool,
}

const TC_PROGRAMS: [&str; 6] =
    ["td_ingress", "td_egress", "td_guard", "td_ingress_ip", "td_egress_ip", "td_guard_ip"];

impl Attached {
    /// What the options ask for; no interface has it yet. Each program is loaded for the first
    /// interface that needs it, as the kernel takes its time to verify one.
    ///
    /// # Errors
    /// Where others cannot be told that this teardown lives.
    pub(super) fn prepare(options: &Options) -> Result<Self, Error> {
        let Options { ingress, enforce, .. } = *options;
        let tcx = options.uses_tcx();
        let be_present = || clsact::be_present().map_err(Error::system("naming this process"));
        let present = if tcx { None } else { Some(be_present()?) };
        // In doubt somebody lives.
        let has_company = clsact::present().map_or(true, |all| all > usize::from(!tcx));
        Ok(Self { ingress, tcx, enforce, hooked: BTreeMap::new(), present, has_company })
    }

    /// Takes off what a dead predecessor left on these interfaces.
    pub(super) fn clear(&self, there: &[Interface]) {
        if !self.has_company {
            there.iter().for_each(|interface| clsact::clear(interface, &TC_PROGRAMS));
        }
    }

    /// Whether the interface has programs already; shows it by the name that it has now.
    pub(super) fn knows(&mut self, interface: &Interface) -> bool {
        let hooked = self.hooked.get_mut(&interface.index);
        let is_known = hooked.is_some();
        hooked.into_iter().for_each(|hooked| hooked.shown.interface.clone_from(&interface.name));
        is_known
    }

    /// The interface is gone, or its programs are; gives its name if it had any.
    pub(super) fn forget(&mut self, index: u32) -> Option<String> {
        self.hooked.remove(&index).map(|hooked| hooked.shown.interface)
    }

    /// Only these are there: the others are gone, as is one whose index another has by now.
    pub(super) fn keep(&mut self, there: &[Interface]) {
        let is_there = |index: u32, name: &str| {
            there.iter().any(|known| known.index == index && known.name == name)
        };
        self.hooked.retain(|index, hooked| is_there(*index, &hooked.shown.interface));
    }

    /// What hangs where.
    pub(super) fn list(&self) -> impl Iterator<Item = &Attachment> {
        self.hooked.values().map(|hooked| &hooked.shown)
    }

    /// Hangs the programs on an interface.
    ///
    /// # Errors
    /// Where the kernel refuses; the interface then has none of them.
    pub(super) fn add(&mut self, ebpf: &mut Ebpf, interface: &Interface) -> Result<(), Error> {
        let ethernet = interface.has_ethernet_header;
        let name = interface.name.as_str();
        let mut holds = Vec::new();
        if self.present.is_some() {
            holds.push(Hold::Clsact(clsact::Qdisc::ensure(interface, self.has_company)?));
        }
        // Filters go before the qdisc that they hang on: later holds are dropped first.
        let egress = if ethernet { "td_egress" } else { "td_egress_ip" };
        let hold = self.add_tc(ebpf, name, egress, TcAttachType::Egress)?;
        holds.insert(0, hold);
        let tc = if self.tcx { How::Tcx } else { How::Clsact };
        let how = match self.ingress {
            Ingress::Tc => {
                let ingress = if ethernet { "td_ingress" } else { "td_ingress_ip" };
                let hold = self.add_tc(ebpf, name, ingress, TcAttachType::Ingress)?;
                holds.insert(0, hold);
                tc
            }
            Ingress::Xdp => {
                let (hold, how) = add_xdp(ebpf, interface)?;
                holds.insert(0, hold);
                if self.enforce {
                    let guard = if ethernet { "td_guard" } else { "td_guard_ip" };
                    let hold = self.add_tc(ebpf, name, guard, TcAttachType::Ingress)?;
                    holds.insert(0, hold);
                }
                how
            }
        };
        let shown = Attachment { interface: interface.name.clone(), ingress: how, egress: tc };
        self.hooked.insert(interface.index, Hooked { shown, _holds: holds });
        Ok(())
    }

    fn add_tc(
        &self,
        ebpf: &mut Ebpf,
        interface: &str,
        name: &'static str,
        kind: TcAttachType,
    ) -> Result<Hold, Error> {
        // First in the chain: a program before this one may end the chain.
        let options = if self.tcx {
            TcAttachOptions::TcxOrder(LinkOrder::first())
        } else {
            TcAttachOptions::Netlink(NlOptions::default())
        };
        let action = || format!("attaching {name} to {interface}");
        let program = loaded(ebpf, name)?;
        let id = program
            .attach_with_options(interface, kind, options)
            .map_err(Error::program(action()))?;
        program.take_link(id).map(Hold::Tc).map_err(Error::program(action()))
    }
}

/// XDP in the driver where that works, else behind it.
fn add_xdp(ebpf: &mut Ebpf, interface: &Interface) -> Result<(Hold, How), Error> {
    let name = if interface.has_ethernet_header { "td_xdp" } else { "td_xdp_ip" };
    let program = loaded_xdp(ebpf, name)?;
    let action = || format!("attaching {name} to {}", interface.name);
    let (id, how) = match program.attach_to_if_index(interface.index, XdpMode::Driver) {
        Ok(id) => (id, How::XdpNative),
        Err(_) => {
            let id = program
                .attach_to_if_index(interface.index, XdpMode::Skb)
                .map_err(Error::program(action()))?;
            (id, How::XdpGeneric)
        }
    };
    let link = program.take_link(id).map_err(Error::program(action()))?;
    Ok((Hold::Xdp(link), how))
}

/// Attaches the socket program to the root of the cgroup v2 hierarchy, or to the nearest to it that is
/// mounted here, and says to which.
///
/// # Errors
/// Where there is no such hierarchy or the kernel refuses.
pub(super) fn sockets(ebpf: &mut Ebpf) -> Result<Widest, Error> {
    let widest = cgroup::widest().ok_or(Error::System {
        action: "looking for the root of the cgroup v2 hierarchy".to_owned(),
        source: std::io::Error::other("not mounted here"),
    })?;
    let at = widest.at().display();
    let folder =
        std::fs::File::open(widest.at()).map_err(Error::system(format!("opening {at}")))?;
    let program: &mut SockOps = ebpf
        .program_mut("td_sockets")
        .ok_or(Error::Missing("td_sockets"))?
        .try_into()
        .map_err(Error::program("td_sockets"))?;
    program.load().map_err(Error::program("loading td_sockets"))?;
    // A link is always one of several; the other mode is refused for links.
    program
        .attach(folder, CgroupAttachMode::Single)
        .map_err(Error::program(format!("attaching td_sockets to {at}")))?;
    Ok(widest)
}

/// Attaches a tracepoint program.
///
/// # Errors
/// Where the kernel lacks the tracepoint or refuses.
pub(super) fn tracepoint(ebpf: &mut Ebpf, name: &'static str, event: &str) -> Result<(), Error> {
    let program: &mut RawTracePoint = ebpf
        .program_mut(name)
        .ok_or(Error::Missing(name))?
        .try_into()
        .map_err(Error::program(name))?;
    program.load().map_err(Error::program(format!("loading {name}")))?;
    program.attach(event).map_err(Error::program(format!("attaching {name} to {event}")))?;
    Ok(())
}

/// A tc program of the object, loaded.
///
/// # Errors
/// Where the object lacks it, or the verifier refuses it.
pub(super) fn loaded<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, Error> {
    let program = classifier(ebpf, name)?;
    if program.fd().is_err() {
        program.load().map_err(Error::program(format!("loading {name}")))?;
    }
    Ok(program)
}

/// A tc program of the object.
///
/// # Errors
/// Where the object lacks it.
pub(super) fn classifier<'a>(
    ebpf: &'a mut Ebpf,
    name: &'static str,
) -> Result<&'a mut SchedClassifier, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    program.try_into().map_err(|error: ProgramError| Error::program(name)(error))
}

/// An XDP program of the object, loaded.
///
/// # Errors
/// Where the object lacks it, or the verifier refuses it.
pub(super) fn loaded_xdp<'a>(ebpf: &'a mut Ebpf, name: &'static str) -> Result<&'a mut Xdp, Error> {
    let program = ebpf.program_mut(name).ok_or(Error::Missing(name))?;
    let program: &mut Xdp =
        program.try_into().map_err(|error: ProgramError| Error::program(name)(error))?;
    if program.fd().is_err() {
        program.load().map_err(Error::program(format!("loading {name}")))?;
    }
    Ok(program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_vanished_unseen_is_forgotten_and_so_is_one_whose_index_is_used_again() {
        let mut attached = Attached::prepare(&Options::default()).expect("a name");
        for (index, name) in [(1, "lo"), (7, "veth0"), (8, "veth1")] {
            let shown =
                Attachment { interface: name.to_owned(), ingress: How::Tcx, egress: How::Tcx };
            attached.hooked.insert(index, Hooked { shown, _holds: Vec::new() });
        }
        let there = [(1, "lo"), (8, "wg0")].map(|(index, name)| Interface {
            index,
            name: name.to_owned(),
            has_ethernet_header: true,
        });
        attached.keep(&there);
        let left: Vec<&str> = attached.list().map(|shown| shown.interface.as_str()).collect();
        assert_eq!(left, ["lo"]);
    }
}
