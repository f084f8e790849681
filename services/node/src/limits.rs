//! Every bound of the node, in one place. A bound that an operator may set is a configuration key
//! whose default stands here; the others are part of the contract.

/// Largest message, bytes, uncompressed. Configurable.
pub const MESSAGE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Messages under way that the node holds itself, bytes, uncompressed, all calls together. Configurable.
pub const MESSAGE_BYTES_HELD_MAX: usize = 512 * 1024 * 1024;

/// Largest part of that which one party may take, of the whole.
pub const MESSAGE_SHARES: usize = 4;

/// A frame up to this size is not counted, bytes. Of a call such frames wait at most for what its stream's send buffer
/// takes.
pub const FRAME_BYTES_UNCOUNTED: usize = 16 * 1024;

/// Headers of one request, names and values together, bytes.
pub const HEADERS_BYTES_MAX: usize = 16 * 1024;

/// When a caller that found the node full should try again, milliseconds.
pub const OVERLOAD_RETRY_MS: u64 = 500;

/// Largest value of one `mesh-*` header, bytes.
pub const METADATA_VALUE_BYTES_MAX: usize = 1024;

/// Application metadata that passes with a request, with the head of an answer, or with its end, bytes each, as HTTP/2
/// counts them. With the largest status it stays below the 16 KiB of headers that most libraries take.
pub const APPLICATION_METADATA_BYTES_MAX: usize = 6 * 1024;

/// Longest status message of a provider's application that passes, bytes (design §6, Metadata).
pub const STATUS_MESSAGE_BYTES_MAX: usize = 1024;

/// Status details of a provider's application that pass, bytes; more are dropped.
pub const STATUS_DETAILS_BYTES_MAX: usize = 4 * 1024;

/// Largest request that is kept so that it can be sent to another node of the provider, bytes.
pub const RETRY_REQUEST_BYTES_MAX: usize = 64 * 1024;

/// Largest `mesh-call-bin` header, bytes, decoded.
pub const CALL_CONTEXT_BYTES_MAX: usize = 4 * 1024;

/// Most fields that `mesh-fields` may name.
pub const REQUESTED_FIELDS_MAX: usize = 256;

/// Longest `mesh-user`, characters.
pub const USER_CHARACTERS_MAX: usize = 64;

/// Calls under way in one node, both sides together. Configurable.
pub const CALLS_IN_FLIGHT_MAX: usize = 10_000;

/// Deadline of a unary call that states none, milliseconds. Configurable.
pub const UNARY_DEADLINE_MS_DEFAULT: u64 = 60_000;

/// Longest deadline that a caller may state, milliseconds: a day.
pub const DEADLINE_MS_MAX: u64 = 24 * 60 * 60 * 1000;

/// A stream writes a progress record after this many messages.
pub const PROGRESS_MESSAGES: u64 = 1_000;

/// A stream writes a progress record after this many bytes.
pub const PROGRESS_BYTES: u64 = 16 * 1024 * 1024;

/// A stream writes a progress record after this many milliseconds.
pub const PROGRESS_MS: u64 = 5_000;

/// How far the time inside an exchange id may lie from the node's clock, milliseconds.
pub const REPLAY_WINDOW_MS: u64 = 120_000;

/// Exchange ids remembered at once; beyond it new calls are refused, never old ids forgotten.
pub const REPLAY_IDS_MAX: usize = 8_000_000;

/// A node's clock may be this far behind the largest broker time it has seen, milliseconds.
pub const CLOCK_BEHIND_MS_MAX: u64 = 5_000;

/// Provider nodes that one call is tried on: the second where the first certainly did not process the call, or where it
/// was a unary read that may be asked twice.
pub const PROVIDER_NODES_TRIED_MAX: usize = 2;

/// Denials a second of one system that are recorded one by one; more are aggregated.
pub const DENIALS_PER_SECOND_WHOLE: u32 = 10;

/// Batches that are shipped and not yet receipted.
pub const BATCHES_IN_FLIGHT_MAX: usize = 4;

/// Longest wait before the control connection is tried again, milliseconds.
pub const RECONNECT_MS_MAX: u64 = 5_000;

/// How long a stopping node lets calls finish, milliseconds. Configurable.
pub const DRAIN_MS: u64 = 10_000;

/// Subjects named in a closing record; continuation records name those beyond (design §6, Subjects).
pub const SUBJECTS_PER_RECORD_MAX: usize = 32;

/// Distinct subjects that an exchange holds in memory at one time. A stream writes them down with each progress record;
/// of one message that names more, the rest is counted.
pub const SUBJECTS_HELD_MAX: usize = 65_536;

/// How often the age of the rights is written to disk, milliseconds.
pub const FRESHNESS_SAVE_MS: u64 = 1_000;

/// Systems whose denials are told apart within a minute.
pub const DENIAL_SOURCES_MAX: usize = 10_000;

/// Datasets of which the denials of one system for one reason are told apart within a minute; the rest is one number.
pub const DENIAL_DATASETS_MAX: usize = 16;

/// How often counted denials and refused handshakes are recorded, milliseconds.
pub const AGGREGATE_MS: u64 = 60_000;

/// Longest method path that a record names, bytes.
pub const METHOD_BYTES_MAX: usize = 256;

/// Pairs of system and right whose quota is remembered before the past ones are forgotten.
pub const QUOTA_KEYS_MAX: usize = 100_000;

/// Acknowledgements that wait to be sent to the broker.
pub const ACKNOWLEDGEMENTS_WAITING_MAX: usize = 16;

/// Pause between two rounds of shipping, milliseconds: records gather, signatures are saved. Whoever waits for a receipt cuts
/// it short.
pub const SHIP_LINGER_MS: u64 = 50;

/// A batch without records after so long without one, milliseconds: the broker hears that there was nothing to record,
/// and the node gets a receipt for its newest checkpoint.
pub const SHIP_HEARTBEAT_MS: u64 = 10_000;

/// Longest wait at a release gate, milliseconds, where the operator sets no other.
pub const GATE_WAIT_MS_DEFAULT: u64 = 10_000;

/// What is left of a call's deadline for the way back when a gate stays closed, milliseconds at most: a quarter of it,
/// if that is less.
pub const GATE_ANSWER_MS: u64 = 500;

/// How long the broker may hold a question for proofs until a cosigned checkpoint covers it, milliseconds.
pub const PROOF_WAIT_MS: u64 = 2_000;

/// Pause after a question for proofs that settled nothing, milliseconds.
pub const PROOF_BREATH_MS: u64 = 100;

/// Pause after a question for proofs that failed, milliseconds.
pub const PROOF_PAUSE_MS: u64 = 500;

/// Pause between two questions for proofs while nothing waits to be proven, milliseconds.
pub const PROOF_IDLE_MS: u64 = 10_000;

/// Time between two writings of the newest checkpoint to disk, milliseconds.
pub const WITNESS_SAVE_MS: u64 = 5_000;

/// Proofs against the log that are kept on disk; each is a few kilobytes.
pub const EVIDENCE_FILES_MAX: usize = 1_000;

/// Evidence files that are kept free for contradictions of the log, so that no outage leaves them without room.
pub const EVIDENCE_FILES_FORKED_RESERVED: usize = 500;

/// Findings about the log whose ids are remembered, so that each is told once.
pub const FINDINGS_TOLD_MAX: usize = 4_096;

/// Ranges of records that the broker says it holds without a receipt; beyond it the two oldest become one.
pub const UNPROVEN_RANGES_MAX: usize = 16;

/// Contradictions of receipts that wait to be put on record.
pub const TROUBLES_WAITING_MAX: usize = 16;

/// How long a stopping node waits for the receipts of its last records, milliseconds.
pub const SHIP_FINISH_MS: u64 = 2_000;

/// Longest text of a peer's `mesh-call-bin`: purpose, dossier, user, system, bytes.
pub const PEER_TEXT_BYTES_MAX: usize = 256;

/// HTTP/2 window of a connection to a backend or to another node: large enough that callers that stop reading
/// hold up nobody else on it. What they may hold is bounded by the window of each stream and by
/// `calls_in_flight_max`.
pub const UPSTREAM_CONNECTION_WINDOW_BYTES: u32 = 512 * 1024 * 1024;

/// Longest silence of the broker on a stream, milliseconds; it sends a heartbeat every second.
pub const BROKER_SILENCE_MS_MAX: u64 = 10_000;

/// Once a call may not go on, this long until its stream is reset where the caller reads nothing, milliseconds: within it,
/// an answer that moves ends with its reason.
pub const STALLED_READER_GRACE_MS: u64 = 1_000;

/// Calls under way that one peer may hold, over all its connections: no one takes all of a node's. Configurable.
pub const CALLS_PER_PEER_MAX: usize = 5_000;

/// How long a connection that was cut may take to be gone before that is an error, milliseconds.
pub const CUT_WAIT_MS_MAX: u64 = 5_000;

/// How often a live stream is looked at again, milliseconds, beside every message of it.
pub const STANDING_LOOK_MS: u64 = 1_000;

/// Longest wait for the broker's decision about one call, milliseconds.
pub const ONLINE_ANSWER_MS_MAX: u64 = 2_000;

/// Longest wait for the rights by which the broker decided, where they are newer than this node's, milliseconds.
pub const ONLINE_RIGHTS_MS_MAX: u64 = 2_000;

/// Pause between two looks whether they have come, milliseconds.
pub const ONLINE_PAUSE_MS: u64 = 5;

/// A live stream of a dataset that is decided online goes on while the broker was heard within this time, milliseconds:
/// it beats every second, and every change comes as a bundle.
pub const ONLINE_STREAM_SILENCE_MS_MAX: u64 = 3_000;

/// Largest question to one of the node's own services, bytes.
pub const QUESTION_BYTES_MAX: usize = 64 * 1024;

/// Contracts as callers see them that are kept ready. A view has about the size of the contracts in it, a megabyte at
/// most each.
pub const VIEWS_MAX: usize = 32;

/// Questions that one reflection stream may ask.
pub const QUESTIONS_PER_STREAM_MAX: usize = 10_000;

/// Longest silence of a reflection client, milliseconds.
pub const REFLECTION_IDLE_MS_MAX: u64 = 60_000;

/// Fewest hexadecimal digits that name a version of a contract.
pub const CONTRACT_VERSION_DIGITS_MIN: usize = 8;

/// Longest wait for the broker's answer about an older contract, milliseconds.
pub const REGISTRY_QUESTION_MS: u64 = 5_000;

/// Largest answer of it, bytes: a contract of a megabyte, and what stands around it.
pub const REGISTRY_ANSWER_BYTES_MAX: usize = 2 * 1024 * 1024;

/// How long what was heard of a provider's health counts, milliseconds.
pub const HEALTH_FRESH_MS: u64 = 1_000;

/// Longest wait for one answer about health, milliseconds.
pub const HEALTH_PROBE_MS: u64 = 2_000;

/// Largest such answer, bytes: it holds one number.
pub const HEALTH_ANSWER_BYTES_MAX: usize = 1024;

/// Messages whose records one thread looks at, in a second: their quality is a sample, and must cost next to nothing.
pub const LOOKS_PER_SECOND_MAX: u32 = 10;

/// The longest message whose records are looked at, bytes.
pub const LOOK_BYTES_MAX: usize = 64 * 1024;

/// How often a health watch looks again, milliseconds.
pub const HEALTH_POLL_MS: u64 = 2_000;

/// Health watches under way in one node.
pub const HEALTH_WATCHES_MAX: usize = 1_000;

/// Triples of provider, service and system whose health is remembered.
pub const HEALTH_KNOWN_MAX: usize = 10_000;

/// How long a renewed certificate waits for the rights that bind it, milliseconds: the broker's word takes a moment.
pub const BINDING_WAIT_MS_MAX: u64 = 15_000;

/// How long the node's own rights must bind a renewed certificate before it is shown, milliseconds: those whom it calls hear
/// of the binding at about the same time, and not at the same moment.
pub const BINDING_SPREAD_MS: u64 = 5_000;

/// Pause between two looks whether the rights bind a renewed certificate, milliseconds.
pub const BINDING_PAUSE_MS: u64 = 100;

/// How often the end of the mesh trust file is looked at, milliseconds.
pub const TRUST_LOOK_MS: u64 = 24 * 60 * 60 * 1000;

/// From how many days before the end of the mesh trust file on the log warns of it.
pub const TRUST_WARN_DAYS: i64 = 30;

/// How often it is said that open data goes on without fresh revocation lists, milliseconds.
pub const SOFT_FAIL_LOG_MS: u64 = 60_000;

/// How often the broker is asked which keys of exchanges are to be erased, milliseconds.
pub const ERASURES_LOOK_MS: u64 = 5_000;

/// How often files that are good but not bound yet are tried again, milliseconds.
pub const REBIND_MS: u64 = 30_000;

/// How often the end of the certificate is looked at, milliseconds: a day.
pub const EXPIRY_LOOK_MS: u64 = 24 * 60 * 60 * 1000;

/// Days before the end of its certificate at which a node renews it. Configurable.
pub const RENEWAL_DAYS_BEFORE_DEFAULT: u16 = 30;

/// The part of a short certificate's validity, counted from its end, in which it is renewed: one in this many.
pub const RENEWAL_SHARE: i32 = 3;

/// Connections cut by the node's own revocation lists that the receipt for the next bundle counts, at most.
pub const OWN_CUTS_MAX: usize = 16_384;

/// How often a node looks whether its certificate is to be renewed, and tries again what failed, milliseconds.
pub const RENEWAL_LOOK_MS: u64 = 60_000;

/// How often the same trouble with a renewal is said again, milliseconds: an hour.
pub const RENEWAL_SAID_AGAIN_MS: u64 = 60 * 60 * 1000;

/// Longest wait for the broker's word on a renewal, milliseconds: it records and stores before it answers.
pub const RENEWAL_ANSWER_MS_MAX: u64 = 30_000;
