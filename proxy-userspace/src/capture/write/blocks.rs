//! pcapng's blocks, as bytes (draft-ietf-opsawg-pcapng), little-endian.

/// A comment, in any block.
pub const COMMENT: u16 = 1;
/// The name of the program, in a section header.
pub const USER_APPLICATION: u16 = 4;
/// The operating system, in a section header.
pub const OPERATING_SYSTEM: u16 = 3;
/// The interface's name, in its description.
pub const INTERFACE_NAME: u16 = 2;
/// The resolution of timestamps, in an interface description.
pub const RESOLUTION: u16 = 9;
/// Bytes of someone's own, behind a private enterprise number; copied when a file is edited.
pub const CUSTOM: u16 = 2989;

/// The type of a section header, the same in both byte orders: what a file begins with.
pub const SECTION_HEADER: u32 = 0x0a0d_0d0a;
const INTERFACE_DESCRIPTION: u32 = 1;
const INTERFACE_STATISTICS: u32 = 5;
const ENHANCED_PACKET: u32 = 6;
const MAGIC: u32 = 0x1a2b_3c4d;
/// Raw IP, as tcpdump.org registers it.
const LINKTYPE_RAW: u16 = 101;
/// The longest option: its length has 16 bits, and it is padded.
const LONGEST_OPTION: usize = 0xfff0;

/// An option: its code and its value.
pub type Opt<'a> = (u16, &'a [u8]);

/// A section header: begins a file.
pub fn section(out: &mut Vec<u8>, options: &[Opt<'_>]) {
    block(out, SECTION_HEADER, |body| {
        body.extend(MAGIC.to_le_bytes());
        body.extend(1_u16.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // The section's length is not known in advance.
        body.extend(u64::MAX.to_le_bytes());
        put_options(body, options);
    });
}

/// The description of an interface of raw IP packets, with nanoseconds.
pub fn interface(out: &mut Vec<u8>, name: &str) {
    block(out, INTERFACE_DESCRIPTION, |body| {
        body.extend(LINKTYPE_RAW.to_le_bytes());
        body.extend(0_u16.to_le_bytes());
        // No snap length.
        body.extend(0_u32.to_le_bytes());
        put_options(body, &[(INTERFACE_NAME, name.as_bytes()), (RESOLUTION, &[9])]);
    });
}

/// A packet of `frame_len` bytes on the wire, of which `bytes` are kept.
pub fn packet(out: &mut Vec<u8>, time_ns: u64, bytes: &[u8], frame_len: u32, options: &[Opt<'_>]) {
    block(out, ENHANCED_PACKET, |body| {
        // The first interface; there is only one.
        body.extend(0_u32.to_le_bytes());
        put_time(body, time_ns);
        body.extend((bytes.len() as u32).to_le_bytes());
        body.extend(frame_len.to_le_bytes());
        put_padded(body, bytes);
        put_options(body, options);
    });
}

/// An interface's statistics: the block that may hold options where there is no packet.
pub fn statistics(out: &mut Vec<u8>, time_ns: u64, options: &[Opt<'_>]) {
    block(out, INTERFACE_STATISTICS, |body| {
        body.extend(0_u32.to_le_bytes());
        put_time(body, time_ns);
        put_options(body, options);
    });
}

/// A block: type, length, body, and the length again.
fn block(out: &mut Vec<u8>, kind: u32, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend(kind.to_le_bytes());
    out.extend([0; 4]);
    body(out);
    let len = (out.len() - start + 4) as u32;
    out.extend(len.to_le_bytes());
    out[start + 4..start + 8].copy_from_slice(&len.to_le_bytes());
}

/// The length that the first of several blocks states, in bytes; `None` where its head is not whole.
#[must_use]
pub fn stated_len(blocks: &[u8]) -> Option<usize> {
    let word = blocks.get(4..8)?.try_into().ok()?;
    Some(u32::from_le_bytes(word) as usize)
}

/// The length of the first of several whole blocks.
#[must_use]
pub fn first_len(blocks: &[u8]) -> usize {
    stated_len(blocks).map_or(blocks.len(), |len| len.clamp(1, blocks.len()))
}

/// The halves of a timestamp, the upper first.
fn put_time(out: &mut Vec<u8>, time_ns: u64) {
    out.extend(((time_ns >> 32) as u32).to_le_bytes());
    out.extend((time_ns as u32).to_le_bytes());
}

fn put_options(out: &mut Vec<u8>, options: &[Opt<'_>]) {
    for &(code, value) in options {
        let value = &value[..value.len().min(LONGEST_OPTION)];
        out.extend(code.to_le_bytes());
        out.extend((value.len() as u16).to_le_bytes());
        put_padded(out, value);
    }
    if !options.is_empty() {
        out.extend([0; 4]);
    }
}

fn put_padded(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(bytes);
    out.extend(&[0; 3][..bytes.len().next_multiple_of(4) - bytes.len()]);
}
