//! What others count.

use super::{ModelLabels, TenantLevel};

/// What is not counted here, and shown with it.
#[derive(Clone, Debug, Default)]
pub struct Elsewhere {
    /// Users with a history.
    pub users: usize,
    /// The replies of each model.
    pub replies: Vec<(ModelLabels, u64)>,
    /// The version of the config that answers.
    pub config: u64,
    /// The newest version that is known of.
    pub newest_config: u64,
    /// Whether the service can work.
    pub ready: bool,
    /// What waits of each tenant.
    pub tenants: Vec<TenantLevel>,
}
