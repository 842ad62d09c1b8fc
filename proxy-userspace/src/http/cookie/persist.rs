//! Rules on persistence.

use super::Persist;
use crate::http::acl::Condition;

/// `force-persist` or `ignore-persist`, and when it holds.
#[derive(Clone, Debug)]
pub struct PersistRule {
    /// What it says.
    pub persist: Persist,
    /// When.
    pub condition: Condition,
}
