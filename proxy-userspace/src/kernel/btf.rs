//! The running kernel's own description of its types (BTF): where a field stands, what an
//! enumeration's values are called, which arguments a tracepoint has.
//!
//! rustc makes no CO-RE relocations, so the daemon reads the offsets here and hands them to the
//! programs. Format: Documentation/bpf/btf.rst.

use std::collections::HashMap;
use std::path::Path;

/// Why BTF could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BtfError {
    /// The file could not be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: String,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file is not BTF, or is cut off.
    #[error("{0} is not BTF that this version understands")]
    Malformed(String),
}

/// Where the kernel shows its BTF.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

const MAGIC: u16 = 0xeb9f;
const KIND_STRUCT: u32 = 4;
const KIND_UNION: u32 = 5;
const KIND_ENUM: u32 = 6;
const KIND_FUNC_PROTO: u32 = 13;

/// One type: its header and where its members stand.
#[derive(Clone, Copy)]
struct Type {
    name: u32,
    info: u32,
    /// Size in bytes, or the id of another type.
    size_or_type: u32,
    /// Offset of what follows the header.
    data: usize,
}

impl Type {
    const fn kind(self) -> u32 {
        (self.info >> 24) & 0x1f
    }

    const fn members(self) -> usize {
        (self.info & 0xffff) as usize
    }

    /// Bytes behind the header.
    const fn data_len(self) -> Option<usize> {
        Some(match self.kind() {
            1 | 14 | 17 => 4,
            3 => 12,
            KIND_STRUCT | KIND_UNION | 15 | 19 => self.members() * 12,
            KIND_ENUM | KIND_FUNC_PROTO => self.members() * 8,
            2 | 7..=12 | 16 | 18 => 0,
            _ => return None,
        })
    }
}

/// The kernel's types by name.
pub struct Btf {
    bytes: Vec<u8>,
    strings: usize,
    types: Vec<Type>,
    /// Structures, unions, enumerations and typedefs.
    named: HashMap<(u32, Vec<u8>), usize>,
}

impl Btf {
    /// Reads the running kernel's BTF.
    ///
    /// # Errors
    /// [`BtfError`] where the kernel shows none (`CONFIG_DEBUG_INFO_BTF`), or an unknown kind.
    pub fn of_kernel() -> Result<Self, BtfError> {
        Self::read(Path::new(VMLINUX))
    }

    /// Reads a file of BTF.
    ///
    /// # Errors
    /// As [`Btf::of_kernel`].
    pub fn read(path: &Path) -> Result<Self, BtfError> {
        let shown = path.display().to_string();
        let bytes =
            std::fs::read(path).map_err(|source| BtfError::Read { path: shown.clone(), source })?;
        Self::parse(bytes).ok_or(BtfError::Malformed(shown))
    }

    fn parse(bytes: Vec<u8>) -> Option<Self> {
        let word = |at: usize| Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?));
        if u16::from_le_bytes(bytes.get(..2)?.try_into().ok()?) != MAGIC {
            return None;
        }
        let header_len = word(4)? as usize;
        let start = header_len + word(8)? as usize;
        let end = start + word(12)? as usize;
        let strings = header_len + word(16)? as usize;
        // Type 0 is void.
        let mut types = vec![Type { name: 0, info: 0, size_or_type: 0, data: 0 }];
        let mut at = start;
        while at < end {
            let found = Type {
                name: word(at)?,
                info: word(at + 4)?,
                size_or_type: word(at + 8)?,
                data: at + 12,
            };
            at = found.data + found.data_len()?;
            types.push(found);
        }
        let mut btf = Self { bytes, strings, types, named: HashMap::new() };
        for id in 1..btf.types.len() {
            let kind = btf.types[id].kind();
            if matches!(kind, KIND_STRUCT | KIND_UNION | KIND_ENUM | 8) {
                let name = btf.string(btf.types[id].name).to_vec();
                btf.named.entry((kind, name)).or_insert(id);
            }
        }
        Some(btf)
    }

    fn word(&self, at: usize) -> u32 {
        self.bytes
            .get(at..at + 4)
            .map_or(0, |word| u32::from_le_bytes(word.try_into().unwrap_or_default()))
    }

    fn string(&self, offset: u32) -> &[u8] {
        let rest = self.bytes.get(self.strings + offset as usize..).unwrap_or_default();
        &rest[..memchr::memchr(0, rest).unwrap_or(0)]
    }

    fn find(&self, kind: u32, name: &str) -> Option<usize> {
        self.named.get(&(kind, name.as_bytes().to_vec())).copied()
    }

    /// Follows typedefs and qualifiers.
    fn resolve(&self, mut id: usize) -> Option<usize> {
        for _ in 0..32 {
            let found = *self.types.get(id)?;
            match found.kind() {
                8..=11 | 18 => id = found.size_or_type as usize,
                _ => return Some(id),
            }
        }
        None
    }

    /// The offset in bytes of a field, as `offset("sock", "sk_cgrp_data.cgroup")`. Fields of
    /// unnamed members are found as in C.
    #[must_use]
    pub fn offset(&self, structure: &str, path: &str) -> Option<u32> {
        let mut id = self.find(KIND_STRUCT, structure)?;
        let mut bits = 0;
        for field in path.split('.') {
            let (offset, kind) = self.member(self.resolve(id)?, field.as_bytes())?;
            bits += offset;
            id = kind;
        }
        (bits % 8 == 0).then_some(bits / 8)
    }

    /// Offset in bits and type of a member.
    fn member(&self, id: usize, field: &[u8]) -> Option<(u32, usize)> {
        let structure = *self.types.get(id)?;
        if !matches!(structure.kind(), KIND_STRUCT | KIND_UNION) {
            return None;
        }
        let has_bitfields = structure.info >> 31 == 1;
        for index in 0..structure.members() {
            let at = structure.data + index * 12;
            let (name, kind, offset) = (self.word(at), self.word(at + 4), self.word(at + 8));
            let offset = if has_bitfields { offset & 0x00ff_ffff } else { offset };
            if name != 0 && self.string(name) == field {
                return Some((offset, kind as usize));
            }
            if name == 0
                && let Some((inner, found)) = self.member(self.resolve(kind as usize)?, field)
            {
                return Some((offset + inner, found));
            }
        }
        None
    }

    /// The names and values of an enumeration.
    #[must_use]
    pub fn enumeration(&self, name: &str) -> Vec<(u32, String)> {
        let Some(id) = self.find(KIND_ENUM, name) else { return Vec::new() };
        let found = self.types[id];
        (0..found.members())
            .map(|index| {
                let at = found.data + index * 8;
                let name = String::from_utf8_lossy(self.string(self.word(at))).into_owned();
                (self.word(at + 4), name)
            })
            .collect()
    }

    /// The names of a raw tracepoint's arguments, or `None` where the kernel has no such
    /// tracepoint. The kernel describes it as the typedef `btf_trace_NAME` of a function pointer
    /// whose first argument is not the program's.
    #[must_use]
    pub fn tracepoint(&self, name: &str) -> Option<Vec<String>> {
        let typedef = self.find(8, &format!("btf_trace_{name}"))?;
        let pointer = self.types.get(self.types[typedef].size_or_type as usize)?;
        let prototype = *self.types.get(pointer.size_or_type as usize)?;
        if prototype.kind() != KIND_FUNC_PROTO {
            return None;
        }
        // Newer kernels leave the arguments unnamed: what counts is how many there are.
        Some(
            (1..prototype.members())
                .map(|index| {
                    let name = self.word(prototype.data + index * 8);
                    String::from_utf8_lossy(self.string(name)).into_owned()
                })
                .collect(),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_running_kernel_tells_its_offsets() {
        let btf = Btf::of_kernel().expect("this kernel shows no BTF");
        assert_eq!(btf.offset("sock", "__sk_common"), Some(0));
        let copied = btf.offset("tcp_sock", "copied_seq").unwrap();
        let written = btf.offset("tcp_sock", "write_seq").unwrap();
        assert!(copied > 0 && written > 0 && copied != written);
        // In an unnamed union of an unnamed structure, and through a typedef.
        assert!(btf.offset("sock_common", "skc_daddr").is_some());
        assert!(btf.offset("sock_common", "skc_net.net").is_some());
        assert_eq!(btf.offset("tcp_sock", "no_such_field"), None);
        assert_eq!(btf.offset("no_such_struct", "field"), None);
    }

    #[test]
    fn enumerations_have_names() {
        let btf = Btf::of_kernel().expect("this kernel shows no BTF");
        let states = btf.enumeration("bpf_map_type");
        assert!(states.contains(&(1, "BPF_MAP_TYPE_HASH".to_owned())), "{states:?}");
    }

    #[test]
    fn what_is_no_btf_is_refused() {
        assert!(Btf::parse(b"no BTF at all, yet long enough".to_vec()).is_none());
        assert!(Btf::parse(vec![0x9f, 0xeb, 1]).is_none());
    }
}
