use proptest::prelude::*;

use super::*;
use crate::hash::{EMPTY_ROOT, leaf_hash};
use crate::merkle::Frontier;

fn id(path: &str) -> TileId {
    path.parse().unwrap()
}

#[test]
fn golden_paths() {
    let partial = TileId { kind: TileKind::Hashes(0), index: 1_234_067, width: 12 };
    assert_eq!(partial.path(), "tile/0/x001/x234/067.p/12");
    assert_eq!(id("tile/0/x001/x234/067.p/12"), partial);
    for (path, kind, index) in [
        ("tile/0/000", TileKind::Hashes(0), 0),
        ("tile/63/999", TileKind::Hashes(63), 999),
        ("tile/3/x001/000", TileKind::Hashes(3), 1000),
        ("tile/entries/x001/x234/067", TileKind::Entries, 1_234_067),
        ("tile/entries/x018/x446/x744/x073/x709/x551/615", TileKind::Entries, u64::MAX),
    ] {
        assert_eq!(id(path), TileId::full(kind, index));
        assert_eq!(TileId::full(kind, index).path(), path);
    }
}

#[test]
fn only_canonical_paths() {
    for path in [
        "",
        "tile",
        "tile/",
        "tile/0",
        "tile/0/",
        "tile/0/0",
        "tile/0/0000",
        "tile/0/x000/001",
        "tile/0/001/002",
        "tile/0/x001",
        "tile/64/000",
        "tile/00/000",
        "tile/+1/000",
        "tile/0/000.p/0",
        "tile/0/000.p/256",
        "tile/0/000.p/01",
        "tile/0/000.p/",
        "tile/0/000.p",
        "tile/-1/000",
        "/tile/0/000",
        "tile/0/000/",
        "tile/entries/../000",
        "tile/data/000",
        "tile/0/+01",
        "tile/entries/x018/x446/x744/x073/x709/x551/616",
    ] {
        assert!(matches!(path.parse::<TileId>(), Err(TileError::Path(_))), "{path:?}");
    }
}

/// The worked example of the specification: a tree of 70,000 leaves, and one of 256.
#[test]
fn worked_example_of_the_specification() {
    let widths = |size| partial_tiles(size).map(|id| (id.kind, id.index, id.width)).collect::<Vec<_>>();
    assert_eq!(
        widths(70_000),
        [
            (TileKind::Entries, 273, 112),
            (TileKind::Hashes(0), 273, 112),
            (TileKind::Hashes(1), 1, 17),
            (TileKind::Hashes(2), 0, 1)
        ]
    );
    assert_eq!(widths(256), [(TileKind::Hashes(1), 0, 1)]);
    assert_eq!(widths(0), []);
    assert_eq!(
        TileId::in_tree(TileKind::Hashes(0), 272, 70_000),
        Some(TileId::full(TileKind::Hashes(0), 272))
    );
    assert_eq!(TileId::in_tree(TileKind::Hashes(0), 274, 70_000), None);
    assert_eq!(id("tile/1/001.p/17").start_leaf(), Some(65_536));
    assert_eq!(id("tile/1/001.p/17").end_leaf(), Some(65_536 + 17 * 256));
    assert_eq!(id("tile/63/001").start_leaf(), None);
}

#[test]
fn bundles_refuse_what_they_cannot_hold() {
    let longest = vec![7; BUNDLE_ENTRY_BYTES_MAX];
    let bundle = encode_bundle([&longest[..], b""]).unwrap();
    assert_eq!(parse_bundle(&bundle, 2).unwrap(), [&longest[..], b""]);
    assert_eq!(encode_bundle([vec![7; 65_536]]), Err(TileError::EntryTooLong(65_536)));
    assert_eq!(parse_bundle(&bundle, 3), Err(TileError::BundleWidth { actual: 2, expected: 3 }));
    let cut = TileError::BundleCut { offset: bundle.len() - 2 };
    assert_eq!(parse_bundle(&bundle[..bundle.len() - 1], 2), Err(cut));
    assert_eq!(parse_bundle(&bundle[..9], 1), Err(TileError::BundleCut { offset: 0 }));
}

#[test]
fn right_edge_agrees_with_frontier() {
    let (mut edge, mut frontier) = (RightEdge::new(), Frontier::new());
    let mut filled = Vec::new();
    assert_eq!(edge.root(), EMPTY_ROOT);
    for number in 0..66_100_u64 {
        let leaf = leaf_hash(&number.to_be_bytes());
        edge.push(leaf, |id, hashes| filled.push((id, merkle::root_of(hashes))));
        frontier.push(leaf);
        if number % 97 == 0 || number > 65_500 {
            assert_eq!(edge.root(), frontier.root(), "size {}", number + 1);
            let expected = partial_tiles(number + 1).filter(|id| id.kind != TileKind::Entries);
            assert!(edge.partials().map(|(id, _)| id).eq(expected));
        }
    }
    assert_eq!(filled.len(), 66_100 / 256 + 1);
    assert!(filled.iter().all(|(id, _)| id.is_full()));
    let level_1 = filled.iter().find(|(id, _)| id.kind == TileKind::Hashes(1)).unwrap();
    assert_eq!(level_1.0.index, 0);

    let partials = edge.partials().map(|(id, hashes)| (id, hashes.to_vec())).collect::<Vec<_>>();
    let reread = RightEdge::read(66_100, |id| {
        partials.iter().find(|(known, _)| *known == id).map(|(_, hashes)| hashes.clone()).ok_or(id)
    });
    assert_eq!(reread.unwrap().root(), frontier.root());
}

proptest! {
    #[test]
    fn paths_round_trip(level in 0..=63_u8, index in any::<u64>(), width in 1..=256_u16, entries in any::<bool>()) {
        let kind = if entries { TileKind::Entries } else { TileKind::Hashes(level) };
        let id = TileId { kind, index, width };
        prop_assert_eq!(id.path().parse::<TileId>().unwrap(), id);
    }

    #[test]
    fn bundles_round_trip(entries in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 0..256)) {
        let bundle = encode_bundle(&entries).unwrap();
        let width = u16::try_from(entries.len()).unwrap();
        prop_assert_eq!(parse_bundle(&bundle, width).unwrap(), entries);
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..600), path in "[tile/0-9xp.entr]{0,40}") {
        let _ = parse_bundle(&bytes, 3);
        let _ = parse_hashes(&bytes, 3);
        if let Ok(id) = path.parse::<TileId>() {
            let _ = (id.start_leaf(), id.end_leaf());
            prop_assert_eq!(id.path(), path);
        }
    }
}
