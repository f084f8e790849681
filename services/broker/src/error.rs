//! Why the broker does not start, or stopped.

/// Why the broker does not start, or stopped.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// A value of the store is not what belongs there.
    #[error(
        "the store holds no readable value under {key}: {source}; restore the store folder, or remove it: \
             the broker rebuilds what the log knows, and providers publish their contracts again"
    )]
    Stored {
        /// Key of the value.
        key: String,
        /// What is wrong with it.
        source: prost::DecodeError,
    },
}
