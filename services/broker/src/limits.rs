//! Every bound of the broker, named, with its unit and the reason for its value.
//!
//! What an operator may set is in [`crate::config::LimitsConfig`], whose defaults are these; the rest is fixed.

use lienthong_audit::batch::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, HEADS_REMEMBERED_MAX};
use lienthong_audit::log::{APPEND_BYTES_MAX, APPEND_ENTRIES_MAX, ENTRY_BYTES_MAX};
use lienthong_store::batch::VALUE_BYTES_MAX;

/// Largest message that a caller may send, bytes: a contract of 1 MiB, or a batch of 1 MiB, with its frame.
pub const REQUEST_BYTES_MAX: usize = 2 * 1024 * 1024;

/// Largest message that the broker sends, bytes: a plan of a change, a page of records, the difference between two rights bundles.
/// A whole bundle of more than a megabyte goes in parts.
pub const RESPONSE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Contracts that are put into effect with one epoch, when many providers publish at once. With the epoch they must fit one
/// batch of the store.
pub const PUBLICATIONS_AT_ONCE_MAX: usize = 64;

/// Publications that may wait for their turn. Each holds a contract of at most 1 MiB.
pub const PUBLICATIONS_WAITING_MAX: usize = 512;

/// Time between two signed heartbeats of one watch, milliseconds (design §6, *Freshness and clock*).
pub const HEARTBEAT_INTERVAL_MS: u64 = 1_000;

/// A caller must say its first message of a stream within this time, milliseconds.
pub const HELLO_TIMEOUT_MS: u64 = 10_000;

/// Watch streams that one node may hold at once: an old connection may linger while a new one begins.
pub const WATCHES_PER_NODE_MAX: usize = 4;

/// Months for which bodies of the log are kept, at least.
pub const RETENTION_MONTHS_MIN: u32 = 12;

/// Months for which bodies of the log are kept, at most: a hundred years.
pub const RETENTION_MONTHS_MAX: u32 = 1_200;

/// Months for which bodies of the log are kept unless configured otherwise.
pub const RETENTION_MONTHS: u32 = 60;

/// Time between two looks at what is older than its retention, milliseconds.
pub const RETENTION_LOOK_MS: u64 = 10_000;

/// Entries read at once to see how old a block is: a bundle. A record of the broker's own is never far.
pub const RETENTION_ENTRIES_AT_ONCE: u64 = 256;

/// Records of an erased person that are counted; all of them are erased.
pub const ERASED_RECORDS_COUNTED_MAX: usize = 100_000;

/// Tokens of a person in one record of his erasure; a record has at most 4 KiB.
pub const ERASED_TOKENS_PER_RECORD_MAX: usize = 100;

/// How long an erasure is waited for until it is applied, milliseconds.
pub const ERASE_WAIT_MS: u64 = 10_000;

/// Entries that a page of exchanges to be erased is made from.
pub const ERASURES_PAGE_ENTRIES_MAX: usize = 1_000;

/// Findings whose closing is remembered until matching has taken it in; people close them, one by one.
pub const FINDINGS_CLOSING_MAX: usize = 10_000;

/// Bundles that are held indexed for online decisions, bytes together. Of nodes beyond it the rights are indexed again when
/// they ask.
pub const ONLINE_BUNDLE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// Journal streams that one node may hold at once; as above.
pub const SHIPMENTS_PER_NODE_MAX: usize = 4;

/// Lines about callers that go into the broker's own log in one second; the rest is only counted.
pub const CALLER_LINES_PER_SECOND_MAX: u32 = 50;

/// Batches of one node that may be on their way into the log at once.
pub const BATCHES_IN_FLIGHT_MAX: usize = 8;

/// The most that [`BATCHES_IN_FLIGHT_MAX`] may be configured to: as many receipts are remembered.
pub const BATCHES_IN_FLIGHT_CONFIGURABLE_MAX: usize = 64;

/// Submissions that may wait for the log. Each holds at most one batch of about 1 MiB.
pub const LEDGER_JOBS_WAITING_MAX: usize = 64;

/// Entries after which no further submission joins an append. With the last one, a batch and its seal, they must fit
/// what the log takes at once.
pub const LEDGER_GROUP_ENTRIES_MAX: usize = APPEND_ENTRIES_MAX - BATCH_RECORDS_MAX - 1;

/// Bytes after which no further submission joins an append; as above.
pub const LEDGER_GROUP_BYTES_MAX: usize = APPEND_BYTES_MAX - BATCH_BYTES_MAX - ENTRY_BYTES_MAX;

/// Receipts of one stream that are remembered, for batches that are sent again: as many as heads are remembered.
pub const RECEIPTS_REMEMBERED_MAX: usize = HEADS_REMEMBERED_MAX;

/// Late openings of one node that are remembered, so that a batch sent again does not double them: a batch of them.
pub const LATE_OPENINGS_REMEMBERED_MAX: usize = 512;

/// Time between two saves of the journal positions, milliseconds. Longer means more of the log to read again at
/// start, nothing else: the log is the truth.
pub const POSITIONS_SAVE_INTERVAL_MS: u64 = 5_000;

/// Log entries read at once when positions are rebuilt.
pub const REBUILD_ENTRIES_AT_ONCE: u64 = 4_096;

/// `BundlePublished` records that go into the log in one append.
pub const BUNDLE_RECORDS_AT_ONCE: usize = 256;

/// Longest text that a node may put on the board (its version, why it refused a bundle), bytes.
pub const BOARD_TEXT_BYTES_MAX: usize = 256;

/// Revocation lists of one node that the board shows; there are as many as authorities.
pub const BOARD_LISTS_MAX: usize = 64;

/// How far ahead of the broker's clock a node may say that a bundle took effect, seconds: as far as clocks go wrong by
/// themselves. One that is further off cannot decide anyway.
pub const BOARD_TIME_AHEAD_S_MAX: i64 = 3_600;

/// Longest detail of an administration record, characters (record.proto).
pub const DETAIL_CHARS_MAX: usize = 256;

/// Items of a page when the caller does not say.
pub const PAGE_ITEMS_DEFAULT: usize = 50;

/// Items of the largest page.
pub const PAGE_ITEMS_MAX: usize = 1_000;

/// Largest file of the catalog folder, bytes.
pub const CATALOG_FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Files of the catalog folder that are read.
pub const CATALOG_FILES_MAX: usize = 1_000;

/// Bytes of all files of a catalog folder together: a national catalog of 5,000 entries has about 8 MiB.
pub const CATALOG_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of a file in one message of a folder that is sent or read.
pub const FILE_PART_BYTES_MAX: usize = 1024 * 1024;

/// A folder that is sent must be whole within this time, milliseconds.
pub const FOLDER_TIMEOUT_MS: u64 = 60_000;

/// Changes of the catalog that may wait for their second person at once; each keeps its files.
pub const CHANGES_OPEN_MAX: usize = 16;

/// Changes of the catalog that are kept, the one in force included; the log remembers all.
pub const CHANGES_KEPT_MAX: usize = 256;

/// Longest note of a change, characters.
pub const CHANGE_NOTE_CHARS_MAX: usize = 256;

/// Longest reason for which a change is rejected, characters.
pub const CHANGE_REASON_CHARS_MAX: usize = 128;

/// Longest id of a request, characters.
pub const REQUEST_ID_CHARS_MAX: usize = 64;

/// Refusals, disputes, outages and connection requests of each kind that are kept.
pub const ACTS_KEPT_MAX: usize = 20_000;

/// Time between two looks at the clock and at the log, milliseconds.
pub const ARBITER_INTERVAL_MS: u64 = 1_000;

/// Time between two looks of the examiner at the clock and at the log, milliseconds.
pub const COMPLIANCE_INTERVAL_MS: u64 = 2_000;

/// Time between two saves of what he has counted, milliseconds.
pub const COMPLIANCE_SAVE_MS: u64 = 5_000;

/// How long after its start the broker calls nothing late, milliseconds: nodes ship first what they have kept for it.
pub const COMPLIANCE_START_GRACE_MS: u64 = 60_000;

/// Months that may lie between two reviews of an entry.
pub const REVIEW_MONTHS_MAX: u8 = 60;

/// Log entries that the examiner reads at once.
pub const COMPLIANCE_ENTRIES_AT_ONCE: u64 = 8_192;

/// Rows that he saves in one batch; with the mark, fewer than a batch of the store may have.
pub const COMPLIANCE_ROWS_AT_ONCE: usize = 120;

/// Findings that he opens, and that he closes, in one look.
pub const COMPLIANCE_FINDINGS_AT_ONCE: usize = 256;

/// Findings of his that he knows at once.
pub const COMPLIANCE_TOLD_MAX: usize = 100_000;

/// Log entries that one look reads.
pub const LOG_FOLLOWED_AT_ONCE: u64 = 65_536;

/// Newest entries of the log that one plan reads.
pub const REPLAY_ENTRIES_MAX: u64 = 1_000_000;

/// Groups of alike calls that a plan lists.
pub const REPLAY_GROUPS_MAX: usize = 500;

/// Days of calls that a plan may ask for.
pub const REPLAY_DAYS_MAX: u32 = 90;

/// Right changes that a plan lists; the rest is a number.
pub const PLAN_RIGHTS_MAX: usize = 5_000;

/// Versions of one provider's contract that are kept, the newest included.
pub const CONTRACT_VERSIONS_MAX: u64 = 32;

/// Time that streams and connections get to end when the broker stops, milliseconds.
pub const DRAIN_TIMEOUT_MS: u64 = 5_000;

/// Findings of a refused contract that the status lists; it must fit the headers of an answer.
pub const FINDINGS_SHOWN_MAX: usize = 20;

/// Files that may be named for the keys of one use: one in use, the next, and room for a ceremony that prepares more.
pub const KEY_SLOTS_MAX: usize = 8;

/// Largest file of the log's private key, bytes.
pub const LOG_KEY_BYTES_MAX: u64 = 4 * 1024;

/// Bytes of one part of a stored contract: small enough that two parts fit one batch of the store.
pub const CONTRACT_PART_BYTES: usize = VALUE_BYTES_MAX / 2;

/// Longest name that a refusal shows as it was asked for, bytes.
pub const NAME_SHOWN_BYTES_MAX: usize = 128;

/// Fewest hexadecimal digits that name a version of a contract.
pub const CONTRACT_VERSION_DIGITS_MIN: usize = 8;

/// Hexadecimal digits by which a version is shown to people.
pub const VERSION_SHOWN_DIGITS: usize = 12;

/// Longest time that an enrollment token is good for, seconds: 24 h (design §6, *Enrollment*).
pub const TOKEN_VALID_SECONDS_MAX: u32 = 24 * 60 * 60;

/// Wrong certificates after which a token is spent: a slip is forgiven, a search is not.
pub const TOKEN_TRIES_MAX: u32 = 5;

/// Enrollments that may wait at once, for their certificate or for approval.
pub const ENROLLMENTS_OPEN_MAX: usize = 1_000;

/// Enrollments that are kept in all; each holds at most two certificates' names.
pub const ENROLLMENTS_MAX: usize = 20_000;

/// Days that an enrollment is kept once it has ended; the log remembers it for ever.
pub const ENROLLMENTS_ENDED_DAYS: i64 = 90;

/// Ended enrollments that are forgotten in one go.
pub const ENROLLMENTS_FORGOTTEN_AT_ONCE: usize = 100;

/// Longest reason of a rejection or an unbinding, characters.
pub const ENROLLMENT_REASON_CHARS_MAX: usize = 128;

/// Longest validity of a renewed certificate, days: three years.
pub const RENEWAL_DAYS_MAX: i64 = 3 * 366;

/// Days for which a renewal stays among the notices.
pub const RENEWAL_NOTICE_DAYS: i64 = 30;

/// Times that a certificate which nobody is bound to may knock in a minute: a patient client asks every second.
pub const KNOCKS_PER_MINUTE_MAX: u32 = 120;

/// Unbound certificates whose knocks are counted at once; beyond them, newcomers wait for the next minute.
pub const KNOCKERS_MAX: usize = 1_024;

/// Certificates of a renewal's chain.
pub const RENEWAL_CHAIN_MAX: usize = 5;

/// Receipts that one question proves at most.
pub const PROOFS_AT_ONCE_MAX: usize = 64;

/// Longest time that a question for proofs waits for a cosigned checkpoint, milliseconds.
pub const PROOF_WAIT_MS_MAX: u64 = 10_000;

/// Questions for proofs that one node may have under way at once.
pub const PROOFS_PER_NODE_MAX: usize = 4;

/// Time that a witness gets to cosign a checkpoint, milliseconds: publishing waits so long at most, twice on a busy
/// machine.
pub const WITNESS_DEADLINE_MS: u64 = 500;

/// The most that [`WITNESS_DEADLINE_MS`] may be configured to.
pub const WITNESS_DEADLINE_CONFIGURABLE_MS_MAX: u64 = 10_000;

/// Time that the other witnesses get once the quorum is reached, milliseconds.
pub const WITNESS_GRACE_MS: u64 = 50;

/// Pause between two rounds of questions at start, milliseconds.
pub const WITNESS_RETRY_MS: u64 = 200;

/// Time that the witnesses get to say what they have seen of the log before it is opened, milliseconds: a data centre that starts as a whole.
pub const WITNESS_START_PATIENCE_MS: u64 = 15_000;

/// Threads that wait for the disk on behalf of what follows the log.
pub const BACKGROUND_BLOCKING_THREADS_MAX: usize = 4;

/// Log entries that matching takes in at once.
pub const MATCHING_ENTRIES_AT_ONCE: u64 = 1_024;

/// Open pairs that matching holds in memory; older ones are put away in the store.
pub const MATCHING_PAIRS_HELD_MAX: usize = 1_024;

/// Bytes of them, and of what is put away in one batch: with the rest they fit one batch of the store.
pub const MATCHING_SNAPSHOT_BYTES_MAX: usize = 700 * 1024;

/// Bytes of one part of the snapshot, beyond which a new one begins; a pair is far smaller than the rest of a value.
pub const MATCHING_PART_BYTES_MAX: usize = 256 * 1024;

/// Rows that are put away in one batch of the store.
pub const MATCHING_ROWS_AT_ONCE: usize = 100;

/// Changes after which matching saves at once: they must fit one batch of the store with the snapshot.
pub const MATCHING_CHANGES_MAX: usize = 80;

/// Time between two saves of matching, milliseconds: so much of the log is read again after a crash.
pub const MATCHING_SAVE_MS: u64 = 1_000;

/// Time between two looks at what waits, milliseconds.
pub const MATCHING_SWEEP_MS: u64 = 1_000;

/// Rows put away that one look takes up; the next one goes on behind them.
pub const MATCHING_AWAY_AT_ONCE: usize = 500;

/// How far a node's clock may be from the broker's when a batch comes, milliseconds: 5 s (design §6, *Freshness and
/// clock*), and 5 s for the way.
pub const NODE_CLOCK_SKEW_MS_MAX: i64 = 10_000;

/// Hearings of one node that wait to be followed in the log.
pub const HEARINGS_PER_NODE_MAX: usize = 64;

/// Batches of one node that come within this time are one hearing, milliseconds.
pub const HEARING_EVERY_MS: i64 = 250;

/// A record that does not come within this time after the exchange, by its node's journal, is missing; milliseconds.
pub const MATCHING_GRACE_MS: u64 = 60_000;

/// A node that is not heard for so long while another waits for its record is silent; milliseconds.
pub const MATCHING_SILENT_AFTER_MS: u64 = 5 * 60_000;

/// How long a reported gap is remembered, milliseconds: as long as a node may be cut off (open data, 7 days).
pub const MATCHING_LATE_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// Largest file of watch rules, bytes.
pub const WATCH_RULES_BYTES_MAX: u64 = 256 * 1024;

/// Newest log entries that the watch rules count again after a start: what is usual follows from them.
pub const WATCH_REPLAY_ENTRIES_MAX: u64 = 100_000;

/// Findings of a page when the caller does not say.
pub const FINDINGS_PAGE_DEFAULT: usize = 50;

/// Findings of the largest page.
pub const FINDINGS_PAGE_MAX: usize = 100;

/// Streams of findings that one caller may hold at once.
pub const FINDING_WATCHES_PER_CALLER_MAX: usize = 4;

/// Pause between two looks for findings that a stream has not told yet, milliseconds.
pub const FINDINGS_WATCH_LOOK_MS: u64 = 500;

/// Time after which a stream of findings gives a sign of life, milliseconds.
pub const FINDINGS_WATCH_ALIVE_MS: u64 = 5_000;

/// How long the closing of a finding waits until it is seen in lists, milliseconds.
pub const FINDING_CLOSE_WAIT_MS: u64 = 5_000;

/// Notes of one finding, those that say who follows it up among them.
pub const FINDING_NOTES_MAX: usize = 64;

/// Newest log entries among which a decision is looked for to be explained. Older ones: `lienthong audit`.
pub const EXPLAIN_ENTRIES_MAX: u64 = 65_536;

/// Questions about decisions that are answered at once; the others wait.
pub const QUESTIONS_AT_ONCE: usize = 2;

/// Calls that one question may be about.
pub const WHAT_IF_CALLS_MAX: usize = 1_000;
