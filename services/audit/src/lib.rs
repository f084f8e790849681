//! The audit side of the mesh: what is recorded, how it is kept, how anyone can check it.
//!
//! **What.** Two halves that meet in a batch of signed records. The *journal half* is a node's own,
//! hash-chained, append-only file of records. The *log half* is the broker's Merkle log (RFC 6962),
//! published as plain files in the C2SP `tlog-tiles` layout with `signed-note` checkpoints, the proofs
//! taken from it, and the offline verifier.
//!
//! **Why.** "Nothing is released that is not on record" (design §1, idea 3) is only worth
//! something if nobody, the operator included, can rewrite the record unseen. Every format here is a public
//! one, so that a court or a journalist can check it with tools that this project did not write.
//!
//! **What not.** No catalog rule, no network, no TLS. The pure cores (`hash`, `merkle`, `tile`, `note`,
//! `checkpoint`, `policy`, `proof`) know neither disk nor clock; only `log` and `journal` write files.
//!
//! | module | noun |
//! |---|---|
//! | [`hash`] | a SHA-256 hash; leaf and node hashing of RFC 6962 |
//! | [`merkle`] | the tree: roots, inclusion and consistency proofs |
//! | [`tile`] | the tree and the entries cut into files (C2SP tlog-tiles) |
//! | [`note`] | signed text and its keys (C2SP signed-note, tlog-cosignature) |
//! | [`checkpoint`] | the signed head of a log (C2SP tlog-checkpoint) |
//! | [`policy`] | which logs and witnesses to trust (C2SP tlog-policy) |
//! | [`proof`] | an offline proof that an entry is in the log (C2SP tlog-proof) |
//! | [`log`] | the broker's durable log: sequencer, write-ahead log, publisher, reader |
//! | [`record`] | one record: its bytes, its bound, its kind |
//! | [`digest`] | keyed digests of what was exchanged, salted commitments of whom it was about |
//! | [`sealed`] | subject ids, sealed to the broker's index |
//! | [`chain`] | the hash chain of a journal |
//! | [`journal`] | a node's own durable, hash-chained file of records |
//! | [`keys`] | the erasable side file that opens digests and commitments |
//! | [`batch`] | signed batches of records, and the broker's judgement of them |
//! | [`finding`] | names of findings |
//! | [`light_witness`] | a node that holds the log to its receipts |
//! | [`evidence`] | the evidence of one exchange, judged by itself |
//! | [`verify`] | the offline verifier of a log folder |
//! | [`witness`] | what a witness is asked and how it judges (C2SP tlog-witness) |

pub mod batch;
pub mod chain;
pub mod checkpoint;
pub mod digest;
pub mod evidence;
pub mod finding;
pub mod hash;
pub mod journal;
pub mod keys;
pub mod light_witness;
pub mod log;
pub mod merkle;
pub mod note;
pub mod policy;
pub mod proof;
pub mod record;
pub mod sealed;
pub mod tile;
pub mod verify;
pub mod witness;
