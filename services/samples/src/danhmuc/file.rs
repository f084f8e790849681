//! The real code list, from a CSV file: header `ma_dvhc,ten_dvhc,ten_tieng_anh,cap,ma_cap_tren`, UTF-8.
//!
//! A list with one wrong line is refused as a whole, and the line named: a code list with a hole in it would make
//! other agencies' true data look wrong.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use csv::StringRecord;
use lienthong_proto::vn::danhmuc::v1::AdministrativeUnit;
use unicode_normalization::UnicodeNormalization as _;

use super::code_list::{COMMUNE, PROVINCE, is_commune_code, is_province_code};

/// Environment variable that names the file.
pub const PATH_VARIABLE: &str = "LIENTHONG_DVHC_CSV";

/// Where the file is looked for when nobody names one, from the current folder.
pub const PATH_DEFAULT: &str = "../shared/data/dvhc.csv";

/// Largest file that is read, in bytes; the list of 2026 has 160 kB.
pub const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// The columns, in order.
pub const COLUMNS: [&str; 5] = ["ma_dvhc", "ten_dvhc", "ten_tieng_anh", "cap", "ma_cap_tren"];

/// The file to read: the one `configured`, else the one that [`PATH_VARIABLE`] names, else [`PATH_DEFAULT`] if it is
/// there. `None` means that the sample has to do. A file that somebody named is never quietly replaced by the sample.
pub fn find(configured: Option<&Path>) -> Option<PathBuf> {
    let named = configured
        .map(Path::to_owned)
        .or_else(|| std::env::var_os(PATH_VARIABLE).filter(|path| !path.is_empty()).map(PathBuf::from));
    named.or_else(|| Some(PathBuf::from(PATH_DEFAULT)).filter(|path| path.is_file()))
}

/// Reads the file at `path`.
pub fn read(path: &Path) -> Result<Vec<AdministrativeUnit>, DvhcError> {
    let unreadable = |source| DvhcError::Unreadable { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(DvhcError::TooLarge { path: path.to_owned() });
    }
    parse(&bytes).map_err(|mistake| DvhcError::Line {
        path: path.to_owned(),
        line: mistake.line,
        problem: mistake.problem,
    })
}

/// Why the real list cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum DvhcError {
    /// The file cannot be opened or read.
    #[error("cannot read the list of administrative units {path}: {source}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Larger than [`FILE_BYTES_MAX`].
    #[error("{path} is larger than {FILE_BYTES_MAX} bytes; is it the list of administrative units?", path = path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// One line is wrong.
    #[error("{path}:{line}: {problem}", path = path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: u64,
        /// What is wrong with it, and what it should be.
        problem: String,
    },
}

/// A wrong line.
#[derive(Debug, PartialEq, Eq)]
struct Mistake {
    line: u64,
    problem: String,
}

fn parse(bytes: &[u8]) -> Result<Vec<AdministrativeUnit>, Mistake> {
    let mut reader = csv::ReaderBuilder::new().flexible(true).from_reader(bytes);
    let header = reader.headers().map_err(|error| unreadable_line(&error, 1))?;
    if header.iter().ne(COLUMNS) {
        return Err(Mistake { line: 1, problem: format!("the header must be {}", COLUMNS.join(",")) });
    }
    let mut units = Vec::new();
    let mut line_of = HashMap::new();
    let mut line = 1;
    for record in reader.records() {
        let record = record.map_err(|error| unreadable_line(&error, line + 1))?;
        line = record.position().map_or(line + 1, csv::Position::line);
        let unit = unit(&record).map_err(|problem| Mistake { line, problem })?;
        if let Some(first) = line_of.insert(unit.ma_dvhc.clone(), line) {
            let problem = format!("the code {} stands on line {first} already", unit.ma_dvhc);
            return Err(Mistake { line, problem });
        }
        units.push(unit);
    }
    every_commune_has_its_province(&units, &line_of)?;
    Ok(units)
}

fn unit(record: &StringRecord) -> Result<AdministrativeUnit, String> {
    let [code, name, english, level, above] = record.iter().collect::<Vec<_>>()[..] else {
        return Err(format!("{} columns where {} belong", record.len(), COLUMNS.len()));
    };
    if name.trim().is_empty() {
        return Err("ten_dvhc is empty".to_owned());
    }
    match level {
        PROVINCE if !is_province_code(code) => {
            Err(format!("ma_dvhc {code:?} of a {PROVINCE} must be 2 digits"))
        }
        PROVINCE if !above.is_empty() => Err(format!("ma_cap_tren {above:?} of a {PROVINCE} must be empty")),
        COMMUNE if !is_commune_code(code) => Err(format!("ma_dvhc {code:?} of a {COMMUNE} must be 5 digits")),
        COMMUNE if !is_province_code(above) => {
            Err(format!("ma_cap_tren {above:?} of a {COMMUNE} must be the 2 digits of a {PROVINCE}"))
        }
        PROVINCE | COMMUNE => Ok(AdministrativeUnit {
            ma_dvhc: code.to_owned(),
            ten_dvhc: name.nfc().collect(),
            ten_tieng_anh: english.nfc().collect(),
            cap: level.to_owned(),
            ma_cap_tren: above.to_owned(),
            ma_cu: String::new(),
            hieu_luc_tu: String::new(),
        }),
        _ => Err(format!("cap {level:?} must be {PROVINCE} or {COMMUNE}")),
    }
}

fn every_commune_has_its_province(
    units: &[AdministrativeUnit],
    line_of: &HashMap<String, u64>,
) -> Result<(), Mistake> {
    let provinces: HashSet<&str> =
        units.iter().filter(|unit| unit.cap == PROVINCE).map(|unit| unit.ma_dvhc.as_str()).collect();
    let orphan =
        units.iter().find(|unit| unit.cap == COMMUNE && !provinces.contains(unit.ma_cap_tren.as_str()));
    orphan.map_or(Ok(()), |unit| {
        Err(Mistake {
            line: line_of.get(&unit.ma_dvhc).copied().unwrap_or_default(),
            problem: format!("ma_cap_tren {} is no {PROVINCE} of this list", unit.ma_cap_tren),
        })
    })
}

/// The line that the CSV reader stumbled over.
fn unreadable_line(error: &csv::Error, otherwise: u64) -> Mistake {
    let line = error.position().map_or(otherwise, csv::Position::line);
    let problem = match error.kind() {
        csv::ErrorKind::Utf8 { .. } => "the line is not UTF-8 text".to_owned(),
        _ => error.to_string(),
    };
    Mistake { line, problem }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HEADER: &str = "ma_dvhc,ten_dvhc,ten_tieng_anh,cap,ma_cap_tren\n";

    fn mistake(body: &str) -> Mistake {
        parse(format!("{HEADER}{body}").as_bytes()).unwrap_err()
    }

    #[test]
    fn a_good_list_is_read_whatever_its_line_ends_and_order() {
        let text = "00004,Phường Ba Đình,Ba Dinh Ward,XA,01\r\n01,Thành phố Hà Nội,Hanoi City,TINH,\r\n";
        let units = parse(format!("\u{feff}{HEADER}{text}").as_bytes()).unwrap();
        assert_eq!(units.len(), 2);
        assert_eq!(units[0].ten_dvhc, "Phường Ba Đình");
        assert_eq!(units[1].ma_cap_tren, "");
    }

    #[test]
    fn decomposed_names_become_nfc() {
        let decomposed: String = "Thành phố Hà Nội".nfd().collect();
        let units = parse(format!("{HEADER}01,{decomposed},Hanoi City,TINH,\n").as_bytes()).unwrap();
        assert_eq!(units[0].ten_dvhc, "Thành phố Hà Nội");
    }

    #[test]
    fn each_wrong_line_is_named() {
        let good = "01,Thành phố Hà Nội,Hanoi City,TINH,\n";
        for (line, problem) in [
            ("1,Hà Nội,Hanoi,TINH,\n", "2 digits"),
            ("02,Hà Nội,Hanoi,TINH,01\n", "must be empty"),
            ("0004,Ba Đình,Ba Dinh,XA,01\n", "5 digits"),
            ("00004,Ba Đình,Ba Dinh,XA,\n", "2 digits of a TINH"),
            ("00004,Ba Đình,Ba Dinh,XA,02\n", "no TINH of this list"),
            ("00004,Ba Đình,Ba Dinh,HUYEN,01\n", "must be TINH or XA"),
            ("00004,,Ba Dinh,XA,01\n", "ten_dvhc is empty"),
            ("00004,Ba Đình,XA,01\n", "4 columns"),
            ("01,Thành phố Hà Nội,Hanoi City,TINH,\n", "line 2 already"),
        ] {
            let mistake = mistake(&format!("{good}{line}"));
            assert_eq!(mistake.line, 3, "{line}");
            assert!(mistake.problem.contains(problem), "{line}: {}", mistake.problem);
        }
    }

    #[test]
    fn another_header_and_other_bytes_are_refused() {
        assert_eq!(parse(b"code,name\n01,x\n").unwrap_err().line, 1);
        assert_eq!(parse(b"").unwrap_err().line, 1);
        let latin1 = [HEADER.as_bytes(), b"01,Th\xe0nh ph\xf4,Hanoi,TINH,\n"].concat();
        let mistake = parse(&latin1).unwrap_err();
        assert_eq!((mistake.line, mistake.problem.as_str()), (2, "the line is not UTF-8 text"));
    }

    #[test]
    fn a_named_file_that_is_not_there_is_an_error_and_not_the_sample() {
        let nowhere = Path::new("no/such/dvhc.csv");
        assert_eq!(find(Some(nowhere)).as_deref(), Some(nowhere));
        let error = read(nowhere).unwrap_err();
        assert!(
            error.to_string().starts_with("cannot read the list of administrative units no/such"),
            "{error}"
        );
    }

    proptest! {
        #[test]
        fn no_bytes_panic(body in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = parse(&[HEADER.as_bytes(), &body].concat());
            let _ = parse(&body);
        }
    }
}
