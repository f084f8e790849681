//! `lienthong audit export`: what a search finds, as a file. A page at a time in memory; the place of the next page stands
//! in a file beside it, so that an export that was interrupted goes on.

use std::{
    fs::{self, File, OpenOptions},
    io::{BufWriter, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::{Args, ValueEnum};
use lienthong_gateway::console::format::cell;
use lienthong_proto::lienthong::audit::v1::{FoundRecord, SearchRecordsRequest, SearchRecordsResponse};
use serde_json::json;

use super::{
    search::{AskerArgs, FilterArgs, pruned, refused},
    show,
};
use crate::out;

/// Records of one page.
const PAGE_RECORDS: i32 = 500;

/// `lienthong audit export`.
#[derive(Debug, Args)]
pub struct ExportArgs {
    /// Who asks, and why
    #[command(flatten)]
    pub asker: AskerArgs,
    /// What is searched for
    #[command(flatten)]
    pub filter: FilterArgs,
    /// File to write; beside it, while the export is under way, FILE.next
    #[arg(long, value_name = "FILE")]
    pub output: PathBuf,
    /// Format of the file
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    pub format: Format,
}

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table for spreadsheets (RFC 4180), its entries and proofs in base64
    Csv,
    /// One JSON object a line
    Jsonl,
}

/// Carries the command out.
pub async fn run(args: &ExportArgs) -> Result<ExitCode> {
    let mut service = args.asker.service()?;
    let place = Place::of(&args.output);
    let mut resumed = place.read()?;
    let mut file = match &resumed {
        None if args.output.exists() => {
            bail!("{} is there already; choose another file, or remove it", args.output.display())
        }
        None => create(&args.output)?,
        Some((_, bytes)) => reopen(&args.output, *bytes)?,
    };
    let mut request = SearchRecordsRequest {
        filter: Some(args.filter.to_proto()?),
        page_size: PAGE_RECORDS,
        page_token: resumed.as_ref().map(|(token, _)| token.clone()).unwrap_or_default(),
        case_id: args.asker.case.clone(),
        reason: args.asker.reason.clone(),
        export: true,
    };
    let mut written = 0;
    loop {
        let page = service.search_records(request.clone()).await.map_err(refused)?.into_inner();
        let begins = resumed.is_none() && written == 0;
        file.write_all(&encode(args.format, &page, begins)?)?;
        file.flush()?;
        file.get_ref().sync_data()?;
        written += page.records.len();
        if page.next_page_token.is_empty() {
            place.done()?;
            out::line(&format!(
                "{written} records in {}; complete for the entries before {}",
                args.output.display(),
                page.complete_up_to
            ));
            if page.minimum_index > 0 {
                out::line(&pruned(page.minimum_index));
            }
            return Ok(ExitCode::SUCCESS);
        }
        place.write(&page.next_page_token, file.get_ref().metadata()?.len())?;
        request.page_token = page.next_page_token;
        resumed = None;
        written = written.max(1);
    }
}

/// Where an export goes on, in a file of its own.
struct Place(PathBuf);

impl Place {
    fn of(output: &Path) -> Self {
        let mut path = output.as_os_str().to_owned();
        path.push(".next");
        Self(path.into())
    }

    /// Token of the next page, and how many bytes of the output belong to the pages before.
    fn read(&self) -> Result<Option<(String, u64)>> {
        if !self.0.exists() {
            return Ok(None);
        }
        let text =
            fs::read_to_string(&self.0).with_context(|| format!("{} cannot be read", self.0.display()))?;
        let place = text
            .trim()
            .split_once(' ')
            .and_then(|(token, bytes)| Some((token.to_owned(), bytes.parse().ok()?)));
        let place = place.with_context(|| format!("{} is not the place of an export", self.0.display()))?;
        Ok(Some(place))
    }

    fn write(&self, token: &str, bytes: u64) -> Result<()> {
        let fresh = self.0.with_extension("next.tmp");
        fs::write(&fresh, format!("{token} {bytes}\n"))?;
        Ok(fs::rename(&fresh, &self.0)?)
    }

    fn done(&self) -> Result<()> {
        match fs::remove_file(&self.0) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
            _ => Ok(()),
        }
    }
}

fn create(path: &Path) -> Result<BufWriter<File>> {
    let file = OpenOptions::new().write(true).create_new(true).open(path);
    Ok(BufWriter::new(file.with_context(|| format!("{} cannot be made", path.display()))?))
}

/// What was written behind the last whole page goes.
fn reopen(path: &Path, bytes: u64) -> Result<BufWriter<File>> {
    let file = OpenOptions::new().append(true).open(path);
    let file = file.with_context(|| format!("{} cannot be gone on with", path.display()))?;
    if file.metadata()?.len() < bytes {
        bail!("{} is shorter than its pages were; remove it and its .next to begin again", path.display());
    }
    file.set_len(bytes)?;
    Ok(BufWriter::new(file))
}

fn encode(format: Format, page: &SearchRecordsResponse, begins: bool) -> Result<Vec<u8>> {
    match format {
        Format::Csv => csv(page, begins),
        Format::Jsonl => {
            let mut bytes = Vec::new();
            for found in &page.records {
                serde_json::to_writer(&mut bytes, &show::record_json(found, &page.checkpoint))?;
                bytes.push(b'\n');
            }
            Ok(bytes)
        }
    }
}

const COLUMNS: [&str; 18] = [
    "index",
    "time",
    "kind",
    "who",
    "consumer",
    "provider",
    "dataset",
    "purpose",
    "outcome",
    "user",
    "dossier",
    "system",
    "right",
    "exchange",
    "detail",
    "entry",
    "path",
    "checkpoint",
];

fn csv(page: &SearchRecordsResponse, begins: bool) -> Result<Vec<u8>> {
    let mut writer = csv::WriterBuilder::new().from_writer(Vec::new());
    if begins {
        writer.write_record(COLUMNS)?;
    }
    for found in &page.records {
        writer.write_record(row(found, &page.checkpoint))?;
    }
    Ok(writer.into_inner().map_err(csv::IntoInnerError::into_error)?)
}

fn row(found: &FoundRecord, checkpoint: &str) -> [String; COLUMNS.len()] {
    let shown = show::shown(&found.entry);
    let path = json!(found.path.iter().map(|hash| STANDARD.encode(hash)).collect::<Vec<_>>()).to_string();
    [
        found.index.to_string(),
        shown.time,
        shown.kind.to_owned(),
        shown.side,
        shown.consumer,
        shown.provider,
        shown.dataset,
        shown.purpose,
        shown.outcome,
        shown.user,
        shown.dossier,
        shown.system,
        shown.right,
        shown.exchange,
        shown.detail,
        STANDARD.encode(&found.entry),
        path,
        checkpoint.to_owned(),
    ]
    .map(|text| cell(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_back_and_gone_at_the_end() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place::of(&dir.path().join("out.csv"));
        assert_eq!(place.read().unwrap(), None);
        place.write("abc", 77).unwrap();
        assert_eq!(place.read().unwrap(), Some(("abc".to_owned(), 77)));
        place.done().unwrap();
        place.done().unwrap();
        assert_eq!(place.read().unwrap(), None);
    }
}
