//! What can go wrong between the daemon and the kernel.

use super::btf::{BtfError, VMLINUX};
use crate::privilege;

/// Why the kernel side could not be loaded, attached or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// bpf(2) and netlink need privileges.
    #[error(
        "loading eBPF programs needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON, \
         outside of any user namespace ('teardown doctor' says which are missing)"
    )]
    NotPermitted,
    /// The privileges are there, and bpf(2) is refused all the same.
    #[error(
        "bpf(2) is forbidden, though the capabilities are held: by a container's seccomp profile or a \
         security module"
    )]
    Forbidden,
    /// The kernel shows no BTF.
    #[error(
        "{0}\nteardown reads the layout of the kernel's sockets from {VMLINUX}; it needs a mounted /sys, \
         and a kernel built with CONFIG_DEBUG_INFO_BTF=y"
    )]
    Btf(#[from] BtfError),
    /// The embedded object belongs to another version.
    #[error("the embedded eBPF object has ABI version {found}, this program needs {expected}")]
    Abi {
        /// In the object; 0 where it has none.
        found: u32,
        /// In this program.
        expected: u32,
    },
    /// The object could not be loaded.
    #[error("loading the eBPF object: {0}")]
    Load(#[from] aya::EbpfError),
    /// A program was refused or could not be attached.
    #[error("{action}: {source}")]
    Program {
        /// What was tried.
        action: String,
        /// aya's answer, with the verifier's.
        source: Box<aya::programs::ProgramError>,
    },
    /// A map could not be read or written.
    #[error("the map {map}: {source}")]
    Map {
        /// Its name.
        map: &'static str,
        /// aya's answer.
        source: aya::maps::MapError,
    },
    /// A part of the object is missing: it was built wrong.
    #[error("the embedded eBPF object has no {0}")]
    Missing(&'static str),
    /// No such interface.
    #[error("there is no interface {name}; there are: {known}")]
    NoInterface {
        /// As asked for.
        name: String,
        /// All that there are.
        known: String,
    },
    /// This process may have no more descriptors.
    #[error("{0}; each interface takes two or three descriptors: 'ulimit -n' should be higher")]
    Descriptors(String),
    /// A system call failed.
    #[error("{action}: {source}")]
    System {
        /// What was tried.
        action: String,
        /// The system's answer.
        source: std::io::Error,
    },
}

impl Error {
    /// A failed system call, with what was tried.
    pub(super) fn system(action: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let action = action.into();
        move |source| Self::System { action, source }
    }

    /// A refused program, with what was tried. A missing privilege gets its own words.
    pub(super) fn program(
        action: impl Into<String>,
    ) -> impl FnOnce(aya::programs::ProgramError) -> Self {
        let action = action.into();
        move |source| Self::Program { action, source: Box::new(source) }
    }

    /// The same, or what is behind it: descriptors have run out, or a privilege is missing. Without
    /// CAP_PERFMON the verifier refuses programs for reasons that say nothing of it.
    #[must_use]
    pub fn explained(self) -> Self {
        match self {
            other if has_code(&other, libc::EMFILE) => Self::Descriptors(other.to_string()),
            Self::NotPermitted if privilege::suffices() => Self::Forbidden,
            Self::Load(_) | Self::Program { .. } | Self::Map { .. } if !privilege::suffices() => {
                Self::NotPermitted
            }
            other => other,
        }
    }

    /// A map that could not be used.
    pub(super) fn map(map: &'static str) -> impl FnOnce(aya::maps::MapError) -> Self {
        move |source| Self::Map { map, source }
    }
}

/// Whether an error, or one that caused it, is the system's of this code.
#[must_use]
pub fn has_code(error: &(dyn std::error::Error + 'static), code: i32) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.raw_os_error() == Some(code)
        {
            return true;
        }
        next = error.source();
    }
    false
}
