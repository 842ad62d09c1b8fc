//! What the columns of checks say.

use super::{Row, Scene};
use crate::http::health::board::Standing;
use crate::http::health::outcome::Status;

pub(super) fn checked(row: &mut Row, scene: &Scene, at: (usize, usize), standing: &Standing) {
    let (rise, fall) = scene.numbers.rise_and_fall(at);
    row.text("check_status", standing.status.as_str());
    if standing.status.has_code() {
        row.number("check_code", standing.code);
    }
    if standing.status != Status::Unknown {
        // It is no check: HAProxy's -1 stands in a column without a sign.
        let took =
            if standing.status == Status::Analysis { u128::MAX } else { standing.took.as_millis() };
        let took = u64::try_from(took).unwrap_or(u64::MAX);
        row.number("check_duration", took);
    }
    row.text("last_chk", standing.info.as_str());
    row.text("check_desc", standing.status.description());
    row.number("check_rise", rise);
    row.number("check_fall", fall);
    row.number("check_health", standing.health);
}
