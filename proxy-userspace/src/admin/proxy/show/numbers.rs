//! The numbers that states have in `show servers state`, by their names in HAProxy 2.6.

use crate::http::health::outcome::Status;
use crate::http::live::{Admin, Health, Server};
use std::sync::atomic::Ordering::Relaxed;

/// `srv_op_state`.
pub(super) fn operational(server: &Server) -> u32 {
    const SRV_ST_STOPPED: u32 = 0;
    const SRV_ST_STARTING: u32 = 1;
    const SRV_ST_RUNNING: u32 = 2;
    const SRV_ST_STOPPING: u32 = 3;
    match (server.admin(), server.health()) {
        (Admin::Maintenance, _) | (_, Health::Down) => SRV_ST_STOPPED,
        (_, Health::Stopping) => SRV_ST_STOPPING,
        (_, Health::Up) if server.is_cold() => SRV_ST_STARTING,
        (_, Health::Up) => SRV_ST_RUNNING,
    }
}

/// `srv_admin_state`: what was said of it, of whom it tracks, by its line, and by its name.
pub(super) fn administrative(server: &Server) -> u32 {
    const SRV_ADMF_FMAINT: u32 = 0x01;
    const SRV_ADMF_IMAINT: u32 = 0x02;
    const SRV_ADMF_CMAINT: u32 = 0x04;
    const SRV_ADMF_FDRAIN: u32 = 0x08;
    const SRV_ADMF_IDRAIN: u32 = 0x10;
    const SRV_ADMF_RMAINT: u32 = 0x20;
    let of = |admin, drain, maintenance| match admin {
        Admin::Ready => 0,
        Admin::Drain => drain,
        Admin::Maintenance => maintenance,
    };
    of(server.own_admin(), SRV_ADMF_FDRAIN, SRV_ADMF_FMAINT)
        | of(server.inherited(), SRV_ADMF_IDRAIN, SRV_ADMF_IMAINT)
        | if server.settings.disabled { SRV_ADMF_CMAINT } else { 0 }
        | if server.is_unresolved() { SRV_ADMF_RMAINT } else { 0 }
}

/// `srv_check_status`, which is `HCHK_STATUS_` and the name.
pub(super) fn status(status: Status) -> u32 {
    match status {
        Status::Unknown => 1,
        Status::Analysis => 4,
        Status::SocketError => 5,
        Status::L4Ok => 6,
        Status::L4Timeout => 7,
        Status::L4Connection => 8,
        Status::L7Timeout => 12,
        Status::L7Response => 13,
        Status::L7Ok => 15,
        Status::L7OkConditional => 16,
        Status::L7Status => 17,
    }
}

/// `srv_check_result`.
pub(super) fn result(status: Status) -> u32 {
    const CHK_RES_UNKNOWN: u32 = 0;
    const CHK_RES_FAILED: u32 = 2;
    const CHK_RES_PASSED: u32 = 3;
    const CHK_RES_CONDPASS: u32 = 4;
    match status {
        Status::Unknown => CHK_RES_UNKNOWN,
        Status::L7OkConditional => CHK_RES_CONDPASS,
        good if good.is_good() => CHK_RES_PASSED,
        _ => CHK_RES_FAILED,
    }
}

/// `srv_check_state`. In maintenance checks pause, and for ever where there is none that could go on.
pub(super) fn checks(server: &Server) -> u32 {
    const CHK_ST_CONFIGURED: u32 = 0x02;
    const CHK_ST_ENABLED: u32 = 0x04;
    const CHK_ST_PAUSED: u32 = 0x08;
    let enabled = if server.checking.load(Relaxed) { CHK_ST_ENABLED } else { 0 };
    match (server.settings.checked, server.admin()) {
        (true, Admin::Maintenance) => CHK_ST_PAUSED | CHK_ST_CONFIGURED | enabled,
        (true, _) => CHK_ST_CONFIGURED | enabled,
        (false, _) if server.settings.disabled => CHK_ST_PAUSED,
        (false, _) => 0,
    }
}
