//! The package: what it brings, what it starts, and what it leaves.

use crate::stage::{Service, is_gone, said};
use std::path::Path;

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn installed_it_is_neither_enabled_nor_started_and_its_unit_is_well_formed() {
    let service = Service::with("");
    assert_eq!(service.property("UnitFileState"), "disabled");
    assert_eq!(service.property("ActiveState"), "inactive");
    let verified = said("sh", &["-c", "systemd-analyze verify --man=no teardown.service 2>&1"]);
    assert_eq!(verified, "");
    assert!(said("teardown", &["--version"]).starts_with("teardown "));
    is_gone();
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn an_upgrade_leaves_it_running_and_its_configuration_as_it_is() {
    let service = Service::started_with("--segments");
    let pid = service.pid();
    said("dpkg", &["--install", "/mnt/teardown.deb"]);
    assert_eq!(service.pid(), pid);
    let kept = std::fs::read_to_string("/etc/default/teardown").expect("a file");
    assert!(kept.contains("--segments"), "{kept}");
}

#[test]
#[ignore = "only in a machine of its own: cargo xtask kernels systemd"]
fn purged_it_is_stopped_and_leaves_nothing() {
    let service = Service::started_with("");
    said("systemctl", &["enable", "teardown"]);
    said("dpkg", &["--purge", "teardown"]);
    assert_eq!(service.property("LoadState"), "not-found");
    for file in
        ["/usr/bin/teardown", "/etc/default/teardown", "/lib/systemd/system/teardown.service"]
    {
        assert!(!Path::new(file).exists(), "{file}");
    }
    is_gone();
}
