//! The steps of a call, a file each, in the order in which a call takes them. [`crate::egress`] and
//! [`crate::ingress`] put them together; `docs/life-of-a-call.md` walks through them.
//!
//! 1. [`metadata`]: what the caller states; [`deadline`]: until when.
//! 2. [`identify`]: who calls.
//! 3. [`resolve`]: which dataset, which provider.
//! 4. [`authorize`]: may it. Makes the `Permitted` that every later step asks for; [`online`]: what the broker says, where
//!    it is to be asked each time.
//! 5. [`replay`]: has this exchange been seen (provider's node only). What may not go on in steps 2 to 5 ends in
//!    [`deny`].
//! 6. [`open`]: the opening record.
//! 7. [`forward`]: the request goes on; [`request_body`] digests it on its way, [`caller_body`] is where it comes from,
//!    [`framing`] cuts it into messages, [`compression`] unpacks them, [`words`] passes what the applications say
//!    beside them.
//! 8. [`release`]: the answer comes back, filtered and digested; [`conclude`]: its head and its last words;
//!    [`standing`]: a live stream is judged again.
//! 9. [`close`]: the closing record; [`subjects`]: whom it was about. [`answer`]: what the caller gets.

pub mod answer;
pub mod authorize;
pub mod caller_body;
pub mod close;
pub mod compression;
pub mod conclude;
pub mod deadline;
pub mod deny;
pub mod forward;
pub mod framing;
pub mod identify;
pub mod leash;
pub mod metadata;
pub mod online;
pub mod open;
pub mod release;
pub mod replay;
pub mod request_body;
pub mod resolve;
pub mod standing;
pub mod subjects;
pub mod words;
