//! Somebody else's programs on the same hooks: each counts the packets that it sees.
//!
//! Written in instructions and loaded by bpf(2) directly, so that no compiler is needed and
//! nothing of teardown is in them.

use super::linux;
use super::netns::Netns;
use aya::programs::tc::{NlOptions, SchedClassifierLinkId, TcAttachOptions};
use aya::programs::{
    LinkOrder, SchedClassifier, TcAttachType, loaded_programs, tc::qdisc_add_clsact,
};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

const BPF_MAP_CREATE: libc::c_int = 0;
const BPF_MAP_LOOKUP_ELEM: libc::c_int = 1;
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_PROG_TYPE_SCHED_CLS: u32 = 3;

/// By which mechanism the program hangs on the hook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hook {
    /// A filter of the clsact qdisc.
    Clsact,
    /// A TCX link.
    Tcx,
}

impl Hook {
    /// Behind other links, before other filters.
    fn options(self) -> TcAttachOptions {
        match self {
            Self::Clsact => TcAttachOptions::Netlink(NlOptions::default()),
            Self::Tcx => TcAttachOptions::TcxOrder(LinkOrder::default()),
        }
    }

    /// Those that this kernel has.
    pub(crate) fn all() -> &'static [Self] {
        if linux::has_tcx() { &[Self::Clsact, Self::Tcx] } else { &[Self::Clsact] }
    }
}

/// An attached program that counts packets and lets the next one decide.
pub(crate) struct Counter {
    map: OwnedFd,
    _attached: Attached,
}

/// A network that tags every frame between two hosts, as VLAN devices would: a kernel may have none.
pub(crate) struct Tags {
    _attached: [Attached; 4],
}

impl Tags {
    /// Tags what leaves these interfaces, and takes the tag off behind whatever is there.
    pub(crate) fn between(ends: [(&Netns, &str); 2]) -> Self {
        Self::new(ends, behind)
    }

    /// Tags what comes to these interfaces to be sent, before whatever is there sees it, and takes
    /// the tag off behind all: so a device for one VLAN hands its frames down and gets them.
    pub(crate) fn below(ends: [(&Netns, &str); 2]) -> Self {
        Self::new(ends, before)
    }

    fn new([one, other]: [(&Netns, &str); 2], place: fn() -> TcAttachOptions) -> Self {
        let off = |(netns, interface)| {
            Attached::new(netns, interface, TcAttachType::Ingress, behind(), &TAG_OFF)
        };
        let on = |(netns, interface)| {
            Attached::new(netns, interface, TcAttachType::Egress, place(), &TAG_ON)
        };
        Self { _attached: [off(one), off(other), on(one), on(other)] }
    }
}

/// The last of links, or of filters by the highest number.
fn behind() -> TcAttachOptions {
    placed(LinkOrder::last(), u16::MAX)
}

/// The first of links, or of filters by the lowest number.
fn before() -> TcAttachOptions {
    placed(LinkOrder::first(), 1)
}

fn placed(order: LinkOrder, priority: u16) -> TcAttachOptions {
    if linux::has_tcx() {
        TcAttachOptions::TcxOrder(order)
    } else {
        TcAttachOptions::Netlink(NlOptions { priority, ..NlOptions::default() })
    }
}

/// A program on a hook, until its end.
pub(crate) struct Attached {
    program: SchedClassifier,
    link: Option<SchedClassifierLinkId>,
    netns: Netns,
}

impl Attached {
    /// Attaches a program that does nothing but let the next one decide.
    pub(crate) fn empty(netns: &Netns, interface: &str, way: TcAttachType, hook: Hook) -> Self {
        Self::new(netns, interface, way, hook.options(), &NEXT_DECIDES)
    }

    /// Attaches the program.
    fn new(
        netns: &Netns,
        interface: &str,
        way: TcAttachType,
        options: TcAttachOptions,
        instructions: &[u64],
    ) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let serial = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("fo{}_{serial}", std::process::id());
        let program = load(instructions, &name);
        let info = loaded_programs()
            .filter_map(Result::ok)
            .find(|info| info.name() == name.as_bytes())
            .expect("the program that was just loaded");
        let mut classifier =
            SchedClassifier::from_program_info(info, name.into()).expect("a classifier");
        drop(program);
        let link = netns.run(|| {
            if matches!(options, TcAttachOptions::Netlink(_)) {
                let _there_already = qdisc_add_clsact(interface);
            }
            classifier.attach_with_options(interface, way, options).expect("attached")
        });
        Self { program: classifier, link: Some(link), netns: netns.clone() }
    }

    /// The kernel's number of the program.
    pub(crate) fn id(&self) -> u32 {
        self.program.info().expect("a loaded program").id()
    }
}

impl Counter {
    /// Attaches a counter to `interface`.
    pub(crate) fn attach(netns: &Netns, interface: &str, way: TcAttachType, hook: Hook) -> Self {
        let map = array_of_one();
        let instructions = counting(&map);
        Self { map, _attached: Attached::new(netns, interface, way, hook.options(), &instructions) }
    }

    /// Packets seen so far.
    pub(crate) fn seen(&self) -> u64 {
        let (key, mut value) = (0_u32, 0_u64);
        let mut attribute = [0_u64; 4];
        attribute[0] = u64::try_from(self.map.as_raw_fd()).expect("a descriptor");
        attribute[1] = (&raw const key) as u64;
        attribute[2] = (&raw mut value) as u64;
        bpf(BPF_MAP_LOOKUP_ELEM, &attribute);
        value
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        let (program, link) = (&mut self.program, self.link.take().expect("attached once"));
        self.netns.run(move || {
            let _the_namespace_is_going_anyway = program.detach(link);
        });
    }
}

/// An array map of one u64.
fn array_of_one() -> OwnedFd {
    // map_type, key_size, value_size, max_entries
    let attribute = [u64::from(BPF_MAP_TYPE_ARRAY) | 4 << 32, 8 | 1 << 32, 0, 0];
    let fd = bpf(BPF_MAP_CREATE, &attribute);
    // SAFETY: bpf(2) has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// One instruction: opcode, registers (destination in the low half), offset, immediate.
const fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    code as u64
        | (registers as u64) << 8
        | (offset as u16 as u64) << 16
        | (immediate as u32 as u64) << 32
}

/// return TC_ACT_UNSPEC, the next program decides
const NEXT_DECIDES: [u64; 2] = [instruction(0xb7, 0x00, 0, -1), instruction(0x95, 0, 0, 0)];

/// A tag of 802.1Q with identifier 7, where there is none.
const TAG_ON: [u64; 7] = [
    // if ((struct __sk_buff *)r1)->vlan_present != 0 goto out
    instruction(0x61, 0x12, 20, 0),
    instruction(0x55, 0x02, 3, 0),
    // bpf_skb_vlan_push(r1, htons(ETH_P_8021Q), 7)
    instruction(0xb7, 0x02, 0, 0x8100_u16.to_be() as i32),
    instruction(0xb7, 0x03, 0, 7),
    instruction(0x85, 0, 0, 18),
    // out:
    NEXT_DECIDES[0],
    NEXT_DECIDES[1],
];

/// The same tag off.
const TAG_OFF: [u64; 3] = [
    // bpf_skb_vlan_pop(r1)
    instruction(0x85, 0, 0, 19),
    NEXT_DECIDES[0],
    NEXT_DECIDES[1],
];

/// Adds one to the map's only value.
fn counting(map: &OwnedFd) -> [u64; 11] {
    [
        // *(u32 *)(r10 - 4) = 0
        instruction(0x62, 0x0a, -4, 0),
        // r2 = r10 - 4
        instruction(0xbf, 0xa2, 0, 0),
        instruction(0x07, 0x02, 0, -4),
        // r1 = map
        instruction(0x18, 0x11, 0, map.as_raw_fd()),
        instruction(0, 0, 0, 0),
        // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x85, 0, 0, 1),
        // if r0 == 0 goto out
        instruction(0x15, 0x00, 2, 0),
        // lock *(u64 *)r0 += 1
        instruction(0xb7, 0x01, 0, 1),
        instruction(0xdb, 0x10, 0, 0),
        // out:
        NEXT_DECIDES[0],
        NEXT_DECIDES[1],
    ]
}

fn load(program: &[u64], name: &str) -> OwnedFd {
    let license = c"GPL";
    let mut log = vec![0_u8; 1 << 16];
    let mut attribute = [0_u64; 9];
    let count = u64::try_from(program.len()).expect("small");
    attribute[0] = u64::from(BPF_PROG_TYPE_SCHED_CLS) | count << 32;
    attribute[1] = program.as_ptr() as u64;
    attribute[2] = license.as_ptr() as u64;
    attribute[3] = 1 | (log.len() as u64) << 32;
    attribute[4] = log.as_mut_ptr() as u64;
    let mut words = [0_u8; 16];
    words[..name.len()].copy_from_slice(name.as_bytes());
    attribute[6] = u64::from_le_bytes(words[..8].try_into().expect("eight"));
    attribute[7] = u64::from_le_bytes(words[8..].try_into().expect("eight"));
    let fd = bpf(BPF_PROG_LOAD, &attribute);
    // SAFETY: bpf(2) has just made it for us.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// bpf(2) with an attribute of whole words; panics with the error.
fn bpf(command: libc::c_int, attribute: &[u64]) -> libc::c_int {
    // SAFETY: the attribute is readable for its size, and the pointers in it live in the callers.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, attribute.as_ptr(), size_of_val(attribute))
    };
    assert!(result >= 0, "bpf({command}): {}", std::io::Error::last_os_error());
    libc::c_int::try_from(result).expect("a descriptor or 0")
}
