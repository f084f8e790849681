//! A log that the house wrote, read by nobody of the house: `signed_note` opens its checkpoint, `tlog_tiles` checks every
//! tile against it and proves entries and growth out of the files alone.

use std::fs;
use std::path::{Path, PathBuf};

use lienthong_audit::checkpoint::Checkpoint as OurCheckpoint;
use lienthong_audit::hash::{Hash as OurHash, leaf_hash};
use lienthong_audit::log::{Log, LogKey, LogOptions, LogReader};
use lienthong_audit::merkle::{verify_consistency, verify_inclusion};
use lienthong_audit::note::{KeyKind, SigningKey};
use lienthong_audit::tile::{TileId, TileKind};
use proptest::prelude::*;
use signed_note::{Note, StandardSigner, StandardVerifier, VerifierList};
use tempfile::TempDir;
use tlog_tiles::{
    Checkpoint, Error, Hash, Tile, TileHashReader, TileReader, check_record, check_tree, prove_record,
    prove_tree, record_hash, tree_hash,
};

const ORIGIN: &str = "log.example/audit";

/// Full tiles of two levels, and a partial one at the end of each.
const SIZE: u64 = 66_000;

fn entry(number: u64) -> Vec<u8> {
    format!("entry number {number}").into_bytes()
}

fn key() -> SigningKey {
    SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &[42; 32]).unwrap()
}

/// A published log of [`SIZE`] entries, and the checkpoint that it published on the way.
fn log() -> (TempDir, PathBuf, String) {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("log");
    let options = LogOptions::default();
    let log = Log::create(&dir, ORIGIN, LogKey::new(key()).unwrap(), &options).unwrap();
    let entries = (0..SIZE).map(entry).collect::<Vec<_>>();
    let (first, rest) = entries.split_at(1_000);
    log.append_blocking(first.to_vec()).unwrap();
    log.close().unwrap();
    let early = LogReader::new(&dir).checkpoint_note().unwrap();
    let log = Log::open(&dir, ORIGIN, LogKey::new(key()).unwrap(), &options).unwrap();
    for append in rest.chunks(4_096) {
        log.append_blocking(append.to_vec()).unwrap();
    }
    log.close().unwrap();
    (folder, dir, early)
}

/// What `signed_note` and `tlog_tiles` make of the text of a checkpoint.
fn open(note: &str) -> Checkpoint {
    let note = Note::from_bytes(note.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&key().verifier().to_string()).unwrap();
    let (verified, unverified) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unverified.len()), (1, 0));
    Checkpoint::from_bytes(note.text()).unwrap()
}

/// The folder as a file server publishes it: names are made by the oracle.
struct Files<'a>(&'a Path);

impl TileReader for Files<'_> {
    fn height(&self) -> u8 {
        8
    }

    fn read_tiles(&self, tiles: &[Tile]) -> Result<Vec<Vec<u8>>, Error> {
        // The oracle writes the height into the path, as Go's checksum database does; C2SP leaves it out.
        let path = |tile: &Tile| self.0.join(tile.path().replacen("tile/8/", "tile/", 1));
        Ok(tiles
            .iter()
            .map(|tile| fs::read(path(tile)).unwrap_or_else(|_| panic!("{}", tile.path())))
            .collect())
    }

    fn save_tiles(&self, _: &[Tile], _: &[Vec<u8>]) {}
}

#[test]
fn a_log_of_the_house_is_read_and_proven_by_others() {
    let (_folder, dir, early) = log();
    let (early, now) = (open(&early), open(&fs::read_to_string(dir.join("checkpoint")).unwrap()));
    assert_eq!((early.size(), now.size(), now.origin(), now.extension()), (1_000, SIZE, ORIGIN, ""));

    let files = Files(&dir);
    let reader = TileHashReader::new(now.size(), *now.hash(), &files);
    assert_eq!(tree_hash(now.size(), &reader).unwrap(), *now.hash());
    assert_eq!(tree_hash(early.size(), &reader).unwrap(), *early.hash());

    let ours = LogReader::new(&dir);
    let our_hash = |hash: &Hash| OurHash(hash.0);
    for index in (0..SIZE).step_by(4_099).chain([255, 256, 65_535, 65_536, SIZE - 1]) {
        // The oracle proves, the house believes; the house proves, the oracle believes.
        let theirs = prove_record(SIZE, index, &reader).unwrap();
        check_record(&theirs, SIZE, *now.hash(), index, record_hash(&entry(index))).unwrap();
        let path = theirs.iter().map(our_hash).collect::<Vec<_>>();
        verify_inclusion(&leaf_hash(&entry(index)), index, SIZE, &path, &our_hash(now.hash())).unwrap();
        assert_eq!(ours.prove(index).unwrap().unwrap().path, path, "entry {index}");
        assert!(check_record(&theirs, SIZE, *now.hash(), index, record_hash(b"never happened")).is_err());
        assert_eq!(ours.entries(index..index + 1).unwrap(), [entry(index)]);
    }
    for old in [1, 255, 256, 1_000, 65_536, SIZE - 1] {
        let theirs = prove_tree(SIZE, old, &reader).unwrap();
        let before = tree_hash(old, &reader).unwrap();
        check_tree(&theirs, SIZE, *now.hash(), old, before).unwrap();
        let path = theirs.iter().map(our_hash).collect::<Vec<_>>();
        verify_consistency(old, &our_hash(&before), SIZE, &our_hash(now.hash()), &path).unwrap();
        assert_eq!(ours.prove_consistency(old, SIZE).unwrap().unwrap(), path, "growth from {old}");
    }
}

/// Every file that the oracle says a tree of this size has lies there, under the name and with the bytes that it says,
/// and nothing else does.
#[test]
fn the_files_are_those_that_the_oracle_names() {
    let (_folder, dir, _) = log();
    let size = LogReader::new(&dir).size().unwrap();
    let now = open(&LogReader::new(&dir).checkpoint_note().unwrap());
    let files = Files(&dir);
    let reader = TileHashReader::new(size, *now.hash(), &files);
    let tiles = Tile::new_tiles(8, 0, size);
    assert!(tiles.len() > 258, "{}", tiles.len());
    for tile in tiles {
        let width = u16::try_from(tile.width()).unwrap();
        let id = TileId { kind: TileKind::Hashes(tile.level()), index: tile.level_index(), width };
        assert_eq!(id.path(), tile.path().replacen("tile/8/", "tile/", 1));
        assert_eq!(tile.read_data(&reader).unwrap(), fs::read(dir.join(id.path())).unwrap(), "{id}");
    }
}

#[test]
fn a_changed_tile_is_refused_by_the_oracle_too() {
    let (_folder, dir, _) = log();
    let now = open(&LogReader::new(&dir).checkpoint_note().unwrap());
    let path = dir.join("tile/0/017");
    let mut bytes = fs::read(&path).unwrap();
    bytes[100] ^= 1;
    fs::write(&path, bytes).unwrap();
    let files = Files(&dir);
    let reader = TileHashReader::new(SIZE, *now.hash(), &files);
    let believed = |index: u64| {
        let proof = prove_record(SIZE, index, &reader);
        proof.and_then(|proof| check_record(&proof, SIZE, *now.hash(), index, record_hash(&entry(index))))
    };
    // Byte 100 lies in the fourth hash, which the proof of the third entry is made of.
    assert!(believed(17 * 256 + 2).is_err());
    assert!(believed(16 * 256 + 2).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Notes signed on either side open on the other.
    #[test]
    fn notes_of_either_side_open_on_the_other(seed: [u8; 32], size: u64, root: [u8; 32]) {
        let key = SigningKey::from_seed(ORIGIN, KeyKind::Ed25519, &seed).unwrap();
        let ours = OurCheckpoint::new(ORIGIN, size, OurHash(root)).sign(&key).unwrap().to_string();
        let verifier = StandardVerifier::new(&key.verifier().to_string()).unwrap();
        let note = Note::from_bytes(ours.as_bytes()).unwrap();
        prop_assert!(note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_ok());
        let read = Checkpoint::from_bytes(note.text()).unwrap();
        prop_assert_eq!((read.size(), read.hash().0), (size, root));

        let signer = StandardSigner::new(&key.to_skey().unwrap()).unwrap();
        let text = Checkpoint::new(ORIGIN, size, Hash(root), "").unwrap().to_bytes();
        let mut theirs = Note::new(&text, &[]).unwrap();
        theirs.add_sigs(&[&signer]).unwrap();
        let theirs = String::from_utf8(theirs.to_bytes()).unwrap();
        prop_assert_eq!(&theirs, &ours, "Ed25519 signs the same text the same way");
        let read = OurCheckpoint::open(&theirs, key.verifier()).unwrap();
        prop_assert_eq!((read.size, read.root.0), (size, root));
    }

    /// Names of tiles, as large as logs get.
    #[test]
    fn names_of_tiles_agree(level in 0..8_u8, index in 0..1_u64 << 40, width in 1..=256_u16) {
        let theirs = Tile::new(8, level, index, width.into(), false).path().replacen("tile/8/", "tile/", 1);
        let ours = TileId { kind: TileKind::Hashes(level), index, width };
        prop_assert_eq!(ours.path(), theirs.clone());
        prop_assert_eq!(theirs.parse::<TileId>().unwrap(), ours);
    }
}
