//! Why the arbiter does not take a step.

use lienthong_duty::NotTaken;

use crate::error::BrokerError;
use crate::limits::ACTS_KEPT_MAX;

/// Why a step is not taken.
#[derive(Debug, thiserror::Error)]
pub enum ArbiterError {
    /// The act itself does not fit.
    #[error(transparent)]
    NotTaken(#[from] NotTaken),
    /// No such thing, or none that the caller is party to.
    #[error("no {0} of yours is called so")]
    NotFound(&'static str),
    /// There is nothing to refuse.
    #[error(
        "{consumer} has no right to {dataset} of yours{purpose}: there is nothing to refuse; a call of its is denied anyway"
    )]
    NoRight {
        /// Code of the consumer.
        consumer: String,
        /// Dataset.
        dataset: String,
        /// For which purpose.
        purpose: String,
    },
    /// It is refused already.
    #[error("{0} refuses this already; withdraw it first")]
    Refused(String),
    /// Not what the caller saw.
    #[error("it is not as you saw it; look at it again before you decide")]
    Etag,
    /// The request id stands for something else.
    #[error("the request id stands for another request; use a new random one, at most 64 characters")]
    RequestId,
    /// The system is not the caller's.
    #[error("{0} is no system of your agency in the catalog")]
    System(String),
    /// No such provider or dataset.
    #[error("{provider} holds no dataset {dataset}; see `lienthong registry datasets`, or the catalog")]
    Dataset {
        /// Code of the provider.
        provider: String,
        /// Dataset.
        dataset: String,
    },
    /// Too many are kept.
    #[error("{ACTS_KEPT_MAX} of these are open; decide some first")]
    TooMany,
    /// The broker could not record or store it.
    #[error(transparent)]
    Broker(#[from] BrokerError),
}
