use lienthong_audit::hash::leaf_hash;

use super::*;

fn row(number: u64) -> TokenRow {
    let tokens = vec![[number.to_le_bytes()[0]; TOKEN_BYTES]; 1 + usize::try_from(number % 3).unwrap()];
    TokenRow { log_size: number / 2, leaf: leaf_hash(&number.to_be_bytes()), tokens }
}

#[test]
fn a_reader_joins_what_was_written_before_the_record() {
    let dir = tempfile::tempdir().unwrap();
    let files = TokenFiles::open(dir.path()).unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    files.append(&[row(0), row(1)]).unwrap();
    reader.read_below(1).unwrap();
    assert_eq!(reader.take(&row(0).leaf), [[0; TOKEN_BYTES]]);
    assert_eq!(reader.take(&row(0).leaf), [] as [Token; 0]);
    // A batch that is sent again after a crash comes twice, and counts once.
    files.append(&[row(1), row(2), row(200)]).unwrap();
    reader.read_below(2).unwrap();
    assert_eq!(reader.take(&row(1).leaf), [[1; TOKEN_BYTES]]);
    assert_eq!(reader.take(&row(2).leaf), [[2; TOKEN_BYTES]]);
    assert!(reader.next.is_some() && reader.waiting.is_empty(), "row 200 is read too early");
}

#[test]
fn a_torn_row_is_cut_off_and_hides_nothing_later() {
    let dir = tempfile::tempdir().unwrap();
    TokenFiles::open(dir.path()).unwrap().append(&[row(1), row(2)]).unwrap();
    let path = path_of(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    bytes.truncate(bytes.len() - 3);
    fs::write(&path, bytes).unwrap();
    TokenFiles::open(dir.path()).unwrap().append(&[row(3)]).unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    reader.read_below(100).unwrap();
    let found = [1, 2, 3].map(|number| reader.take(&row(number).leaf).len());
    assert_eq!(found, [1, 0, 1]);
}

/// Beginning a file may fail for a while. What is taken before and after is read all the same, by whoever reads meanwhile.
#[test]
fn rows_go_on_once_their_folder_can_be_synced_again() {
    let dir = tempfile::tempdir().unwrap();
    let fault = dir.path().join("the folder is gone");
    let files = TokenFiles::open_with(dir.path(), |dir| {
        let gone = dir.join("the folder is gone").exists();
        if gone { Err(io::Error::other("the folder is gone")) } else { Ok(()) }
    })
    .unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    files.append(&[row(1)]).unwrap();
    fs::write(&fault, []).unwrap();
    for _ in 0..2 {
        assert_eq!(files.rotate().unwrap_err().to_string(), "the folder is gone");
        reader.read_below(1_000).unwrap();
        assert_eq!(files.append(&[row(2)]).unwrap_err().to_string(), "the folder is gone");
    }
    fs::remove_file(&fault).unwrap();
    files.append(&[row(2), row(3)]).unwrap();
    assert_eq!(files.rotate().unwrap(), 3);
    for mut reader in [reader, TokenReader::open(dir.path(), 0).unwrap()] {
        reader.read_below(1_000).unwrap();
        for number in 1..=3 {
            assert!(!reader.take(&row(number).leaf).is_empty(), "{number}");
        }
    }
}

#[test]
fn an_erased_token_is_in_no_file_and_its_row_still_counts() {
    let dir = tempfile::tempdir().unwrap();
    let files = TokenFiles::open(dir.path()).unwrap();
    files.append(&[row(1), row(2)]).unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    reader.read_below(1).unwrap();
    files.append(&[row(3), row(258)]).unwrap();
    // Row 258 has the tokens of row 2, and belongs to a later part of the log.
    let erasure = Erasure { tokens: HashSet::from([[1; TOKEN_BYTES], [2; TOKEN_BYTES]]), before: 100 };
    for _ in 0..2 {
        let behind = files.rotate().unwrap();
        erasure.apply_to_files(dir.path(), behind).unwrap();
        reader.erase(&erasure);
    }
    files.append(&[row(400)]).unwrap();
    let first = fs::read(path_of(dir.path(), 1)).unwrap();
    assert!(!first.windows(TOKEN_BYTES).any(|bytes| bytes == [1; TOKEN_BYTES]));
    for mut reader in [reader, TokenReader::open(dir.path(), 0).unwrap()] {
        reader.read_below(1_000).unwrap();
        assert_eq!(reader.take(&row(1).leaf), [ERASED]);
        assert_eq!(reader.take(&row(2).leaf), [ERASED]);
        assert_eq!(reader.take(&row(3).leaf), [[3; TOKEN_BYTES]]);
        assert_eq!(reader.take(&row(258).leaf), [[2; TOKEN_BYTES]]);
        assert!(!reader.take(&row(400).leaf).is_empty());
    }
}

#[test]
fn rows_of_many_at_once_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let files = TokenFiles::open(dir.path()).unwrap();
    std::thread::scope(|scope| {
        for caller in 0..8 {
            let files = &files;
            scope.spawn(move || {
                for number in 0..20 {
                    files.append(&[row(caller * 20 + number)]).unwrap();
                    if number == 10 {
                        files.rotate().unwrap();
                    }
                }
            });
        }
    });
    assert_eq!(*files.durable.lock().unwrap(), 160);
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    reader.read_below(1_000).unwrap();
    for number in 0..160 {
        assert_eq!(reader.take(&row(number).leaf), row(number).tokens[..1], "row {number}");
    }
}

#[test]
fn after_a_failure_nothing_is_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let files = TokenFiles::open(dir.path()).unwrap();
    files.append(&[row(1)]).unwrap();
    // Nothing can be written to a file that is open for reading.
    files.newest().file = Arc::new(File::open(path_of(dir.path(), 1)).unwrap());
    assert!(files.append(&[row(2)]).is_err());
    assert!(files.append(&[row(3)]).unwrap_err().to_string().contains("start the broker again"));
    drop(files);
    TokenFiles::open(dir.path()).unwrap().append(&[row(4)]).unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    reader.read_below(10).unwrap();
    let there = [1, 2, 3, 4].map(|number| !reader.take(&row(number).leaf).is_empty());
    assert_eq!(there, [true, false, false, true]);
}

#[test]
fn files_of_entries_that_are_gone_go() {
    let dir = tempfile::tempdir().unwrap();
    let files = TokenFiles::open(dir.path()).unwrap();
    let at = |log_size| TokenRow { log_size, ..row(1) };
    for log_size in [0, 1_000, 3 * TOKEN_LEAD_ENTRIES_MAX] {
        files.append(&[at(log_size)]).unwrap();
        files.rotate().unwrap();
    }
    prune(dir.path(), 1_000).unwrap();
    assert_eq!(numbers(dir.path()).unwrap(), [1, 2, 3, 4]);
    prune(dir.path(), 1_000 + TOKEN_LEAD_ENTRIES_MAX).unwrap();
    assert_eq!(numbers(dir.path()).unwrap(), [2, 3, 4]);
    prune(dir.path(), u64::MAX).unwrap();
    assert_eq!(numbers(dir.path()).unwrap(), [3, 4], "the next of 3 has no row yet");
    let mut reader = TokenReader::open(dir.path(), 3 * TOKEN_LEAD_ENTRIES_MAX).unwrap();
    reader.read_below(3 * TOKEN_LEAD_ENTRIES_MAX + 1).unwrap();
    assert!(!reader.take(&row(1).leaf).is_empty());
}

#[test]
fn what_never_entered_the_log_is_forgotten() {
    let dir = tempfile::tempdir().unwrap();
    TokenFiles::open(dir.path()).unwrap().append(&[row(1)]).unwrap();
    let mut reader = TokenReader::open(dir.path(), 0).unwrap();
    reader.read_below(10).unwrap();
    assert_eq!(reader.waiting.len(), 1);
    reader.read_below(TOKEN_LEAD_ENTRIES_MAX + 10).unwrap();
    assert!(reader.waiting.is_empty());
}
