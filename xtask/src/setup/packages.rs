//! Which package brings which tool, by distribution.

use std::fs;

use super::Purpose;

/// A package under the name that each distribution gives it.
#[derive(Debug)]
pub(crate) struct Package {
    debian: &'static str,
    fedora: &'static str,
    arch: &'static str,
    /// The service that it would start, which nobody asked for.
    pub(crate) unit: Option<&'static str>,
}

impl Package {
    const fn named(debian: &'static str, fedora: &'static str, arch: &'static str) -> Self {
        Self { debian, fedora, arch, unit: None }
    }

    /// The same name everywhere.
    const fn same(name: &'static str) -> Self {
        Self::named(name, name, name)
    }

    const fn service(name: &'static str) -> Self {
        Self { unit: Some(name), ..Self::same(name) }
    }
}

/// A command and the package that brings it.
#[derive(Debug)]
pub(crate) struct Tool {
    pub(crate) purpose: Purpose,
    pub(crate) command: &'static str,
    pub(crate) package: Package,
}

const fn tool(purpose: Purpose, command: &'static str, package: Package) -> Tool {
    Tool { purpose, command, package }
}

/// What is called by the user of the demonstration, by tests and by benchmarks.
pub(crate) const TOOLS: &[Tool] = &[
    tool(Purpose::Build, "cc", Package::same("gcc")),
    tool(Purpose::Test, "ip", Package::named("iproute2", "iproute", "iproute2")),
    tool(Purpose::Test, "tc", Package::named("iproute2", "iproute-tc", "iproute2")),
    tool(Purpose::Test, "tcpdump", Package::same("tcpdump")),
    tool(Purpose::Test, "tshark", Package::named("tshark", "wireshark-cli", "wireshark-cli")),
    tool(Purpose::Test, "nft", Package::same("nftables")),
    tool(Purpose::Test, "ethtool", Package::same("ethtool")),
    tool(Purpose::Run, "socat", Package::same("socat")),
    tool(Purpose::Test, "curl", Package::same("curl")),
    tool(Purpose::Test, "haproxy", Package::service("haproxy")),
    tool(Purpose::Test, "nginx", Package::service("nginx")),
    tool(
        Purpose::Test,
        "/usr/lib/nginx/modules/ngx_stream_module.so",
        Package::named("libnginx-mod-stream", "nginx-mod-stream", "nginx-mod-stream"),
    ),
    tool(Purpose::Test, "wrk", Package::same("wrk")),
    tool(Purpose::Test, "sysctl", Package::named("procps", "procps-ng", "procps-ng")),
    tool(Purpose::Bench, "bpftrace", Package::same("bpftrace")),
    tool(Purpose::Kernels, "qemu-system-x86_64", Package::same("qemu-system-x86")),
    tool(Purpose::Kernels, "mmdebstrap", Package::same("mmdebstrap")),
    tool(Purpose::Kernels, "mke2fs", Package::same("e2fsprogs")),
    tool(Purpose::Kernels, "strip", Package::same("binutils")),
];

/// What bpf-linker is compiled with.
pub(crate) const FOR_LINKER: &[Package] = &[
    Package::named("g++", "gcc-c++", "gcc"),
    Package::named("llvm-22-dev", "llvm-devel", "llvm"),
    Package::named("libpolly-22-dev", "llvm-devel", "llvm"),
    Package::named("zlib1g-dev", "zlib-devel", "zlib"),
    Package::named("libzstd-dev", "libzstd-devel", "zstd"),
    Package::named("libxml2-dev", "libxml2-devel", "libxml2"),
];

/// Debian's own compiler for the kernel side; elsewhere rustup brings it.
pub(crate) const COMPILER: &[Package] =
    &[Package::named("rustc-web", "", ""), Package::named("rust-web-src", "", "")];

/// The clippy of Debian's compiler.
pub(crate) const COMPILER_CLIPPY: Package = Package::named("rust-web-clippy", "", "");

/// The families whose names we know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Distribution {
    Debian,
    Fedora,
    Arch,
    Other,
}

impl Distribution {
    /// The one that we run on, by os-release(5).
    pub(crate) fn find() -> Self {
        let files = ["/etc/os-release", "/usr/lib/os-release"];
        let text = files.iter().find_map(|file| fs::read_to_string(file).ok()).unwrap_or_default();
        Self::from_os_release(&text)
    }

    fn from_os_release(text: &str) -> Self {
        let value = |key| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or_default().trim_matches(['"', '\''])
        };
        let names = value("ID").split_whitespace().chain(value("ID_LIKE").split_whitespace());
        let known = |name| match name {
            "debian" | "ubuntu" => Some(Self::Debian),
            "fedora" | "rhel" | "centos" => Some(Self::Fedora),
            "arch" => Some(Self::Arch),
            _ => None,
        };
        names.into_iter().find_map(known).unwrap_or(Self::Other)
    }

    /// The packages' names here, each once.
    pub(crate) fn names(self, packages: &[&Package]) -> Vec<&'static str> {
        let mut names = Vec::new();
        for package in packages {
            let name = match self {
                Self::Debian | Self::Other => package.debian,
                Self::Fedora => package.fedora,
                Self::Arch => package.arch,
            };
            if !name.is_empty() && !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }

    /// The command that installs packages here.
    pub(crate) fn command(self, names: &[&str]) -> String {
        let install = match self {
            Self::Debian => "apt-get update && apt-get install --no-install-recommends",
            Self::Fedora => "dnf install",
            Self::Arch => "pacman -S --needed",
            Self::Other => "your distribution's package manager, with what Debian calls",
        };
        format!("{install} {}", names.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distributions_are_told_by_their_family() {
        let of = Distribution::from_os_release;
        assert_eq!(
            of("PRETTY_NAME=\"Debian\"\nVERSION_ID=\"12\"\nID=debian\n"),
            Distribution::Debian
        );
        assert_eq!(of("ID=rocky\nID_LIKE=\"rhel centos fedora\"\n"), Distribution::Fedora);
        assert_eq!(of("ID=\"manjaro\"\nID_LIKE=arch\n"), Distribution::Arch);
        assert_eq!(of("ID=void\n"), Distribution::Other);
        assert_eq!(of(""), Distribution::Other);
    }

    /// Every command that a test calls is one of [`TOOLS`], comes with one, or is there on any
    /// system that this runs on.
    #[test]
    fn tests_call_nothing_that_is_not_installed() {
        let of_iproute2 = ["ss", "nstat"];
        let essential = ["sh", "tar", "unshare", "dpkg-deb"];
        // Called in a machine of the tests' own alone, which has systemd and the package.
        let of_the_machine = ["systemctl", "runuser", "teardown"];
        let known: Vec<&str> = TOOLS
            .iter()
            .filter(|tool| matches!(tool.purpose, Purpose::Build | Purpose::Run | Purpose::Test))
            .map(|tool| tool.command)
            .chain(of_iproute2)
            .chain(essential)
            .chain(of_the_machine)
            .collect();
        let tests = concat!(env!("CARGO_MANIFEST_DIR"), "/../proxy-userspace/tests");
        let called = commands_called(tests.as_ref());
        assert!(called.len() > 10, "{called:?}");
        let missing: Vec<_> = called.iter().filter(|it| !known.contains(&it.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }

    /// The file names of what stands in `Command::new("...")` in the sources below `folder`.
    fn commands_called(folder: &std::path::Path) -> std::collections::BTreeSet<String> {
        let mut called = std::collections::BTreeSet::new();
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let path = entry.path();
            if path.is_dir() {
                called.append(&mut commands_called(&path));
            } else if path.extension().is_some_and(|end| end == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                let words = text.split("Command::new(\"").skip(1);
                let names = words.filter_map(|rest| rest.split('"').next()?.rsplit('/').next());
                called.extend(names.map(str::to_owned));
            }
        }
        called
    }

    #[test]
    fn names_are_given_once_and_never_empty() {
        let packages: Vec<&Package> = FOR_LINKER.iter().chain(COMPILER).collect();
        assert_eq!(
            Distribution::Fedora.names(&packages),
            ["gcc-c++", "llvm-devel", "zlib-devel", "libzstd-devel", "libxml2-devel"]
        );
        let line = Distribution::Arch.command(&Distribution::Arch.names(&[&TOOLS[1].package]));
        assert_eq!(line, "pacman -S --needed iproute2");
    }
}
