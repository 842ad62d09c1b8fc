//! Loads the embedded object with what this kernel and this run need.

use super::btf::Btf;
use super::error::{Error, has_code};
use super::object::OBJECT;
use super::offsets;
use super::options::Options;
use aya::{Ebpf, EbpfLoader};
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};
use proxy_common::abi::{
    ABI_VERSION, MOST_PAYLOAD, SWITCH_ENFORCE, SWITCH_FULL_HISTORY, SWITCH_OUTLIVES,
    SWITCH_SEGMENTS,
};
use std::os::fd::AsRawFd as _;

/// Creates the maps and prepares the programs; nothing is attached yet.
///
/// # Errors
/// Where the kernel refuses a map, or the object is of another version.
pub(super) fn load(options: &Options, btf: &Btf) -> Result<Ebpf, Error> {
    check_abi()?;
    let offsets = offsets::of(btf);
    let mut switches = 0u32;
    if options.full_history {
        switches |= SWITCH_FULL_HISTORY;
    }
    if options.segments {
        switches |= SWITCH_SEGMENTS;
    }
    if options.enforce {
        switches |= SWITCH_ENFORCE;
    }
    if !options.uses_tcx() {
        switches |= SWITCH_OUTLIVES;
    }
    let payload = if options.segments { options.payload.min(MOST_PAYLOAD) } else { 0 };
    let netns = netns_cookie().map_err(Error::system("reading the network namespace's cookie"))?;
    EbpfLoader::new()
        .override_global("SWITCHES", &switches, true)
        .override_global("PAYLOAD", &payload, true)
        .override_global("NETNS_COOKIE", &netns, true)
        .override_global("OFFSETS", bytemuck::bytes_of(&offsets), true)
        .map_max_entries("FLOWS", options.table_entries)
        .map_max_entries("STAND_INS", stand_ins(options))
        .map_max_entries("EVENTS", options.ring_bytes)
        .load(OBJECT)
        .map_err(refused)
}

/// How many sockets can be stood in for at once: half as many as connections are followed.
pub(super) const fn stand_ins(options: &Options) -> u32 {
    if options.table_entries < 2 { 1 } else { options.table_entries / 2 }
}

/// A missing privilege shows first when the maps are made.
fn refused(error: aya::EbpfError) -> Error {
    if has_code(&error, libc::EPERM) { Error::NotPermitted } else { Error::Load(error) }
}

/// Compares the version in the object's read-only data with this program's.
fn check_abi() -> Result<(), Error> {
    let found = abi_of(OBJECT).unwrap_or(0);
    if found == ABI_VERSION { Ok(()) } else { Err(Error::Abi { found, expected: ABI_VERSION }) }
}

fn abi_of(bytes: &[u8]) -> Option<u32> {
    let file = object::File::parse(bytes).ok()?;
    let symbol = file.symbols().find(|symbol| symbol.name() == Ok("TEARDOWN_ABI"))?;
    let data = file.section_by_index(symbol.section_index()?).ok()?.data().ok()?;
    let at = usize::try_from(symbol.address()).ok()?;
    Some(u32::from_le_bytes(data.get(at..at + 4)?.try_into().ok()?))
}

/// The cookie of this process's network namespace (`SO_NETNS_COOKIE`, Linux 5.14).
fn netns_cookie() -> std::io::Result<u64> {
    let socket = socket2::Socket::new(socket2::Domain::UNIX, socket2::Type::DGRAM, None)?;
    let mut cookie = 0u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the pointers are to memory of the sizes that the call is told.
    let failed = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    if failed == 0 { Ok(cookie) } else { Err(std::io::Error::last_os_error()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use aya::programs::Program;

    #[test]
    fn the_object_says_its_version() {
        assert_eq!(abi_of(OBJECT), Some(ABI_VERSION));
        assert_eq!(abi_of(b"not an object"), None);
    }

    /// The most that a kernel's verifier looks at, in instructions: BPF_COMPLEXITY_LIMIT_INSNS.
    const LIMIT: u32 = 1_000_000;

    /// Older kernels look at the same program longer: with less than half of the limit here, there
    /// is room for them.
    #[test]
    fn the_verifier_takes_every_program() {
        let btf = Btf::of_kernel().expect("this kernel shows no BTF");
        let watch = Options::default();
        let run = Options { enforce: true, ..Options::default() };
        let told = Options { segments: true, payload: MOST_PAYLOAD, ..Options::default() };
        let full = Options { full_history: true, enforce: true, ..told.clone() };
        let mut refused = Vec::new();
        for (name, options) in [("watch", watch), ("run", run), ("payload", told), ("full", full)] {
            let mut ebpf = load(&options, &btf).expect("the maps");
            for (program, loaded) in ebpf.programs_mut() {
                let done = match loaded {
                    Program::SchedClassifier(program) => program.load(),
                    Program::Xdp(program) => program.load(),
                    Program::SockOps(program) => program.load(),
                    Program::RawTracePoint(program) => program.load(),
                    other => panic!("{program} is a {:?}", other.prog_type()),
                };
                let looked_at = done.and_then(|()| loaded.info()).map(|info| {
                    info.verified_instruction_count().expect("a kernel of 5.16 or newer")
                });
                println!("{name}: {program}: {looked_at:?}");
                if !looked_at.as_ref().is_ok_and(|count| *count < LIMIT / 2) {
                    refused.push(format!("{name}: {program}: {looked_at:?}"));
                }
            }
        }
        assert!(refused.is_empty(), "{}", refused.join("\n"));
    }

    #[test]
    fn a_namespace_has_a_cookie() {
        assert_ne!(netns_cookie().unwrap(), 0);
    }
}
