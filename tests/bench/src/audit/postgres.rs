//! PostgreSQL with the same records in a table with the same indexes, each commit synchronous: four clients that copy batches of
//! 500, and 64 clients that insert one record a commit. It proves nothing of what it stores; it is what a user would pick instead.
//!
//! It runs a cluster of its own in a temporary folder, over a Unix socket, without a password, and ends it.

use std::fs;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

use super::ingest::{BATCH_RECORDS, shown, stories};
use super::{Site, bytes_below, float};
use crate::goal::Goal;
use crate::out;

/// Clients that copy batches.
const COPIERS: usize = 4;
/// Clients that commit each record.
const CLIENTS: &str = "64";
const RECORDS: u64 = 1_000_000;
const RECORDS_SMALL: u64 = 4_000;
/// The same questions can be asked of it.
const TABLE: &str = "
create table records (
  id bigserial primary key, time timestamptz not null, consumer text, provider text, system text, dataset text,
  enduser text, dossier text, purpose int, exchange bytea, subject bytea, entry bytea not null);
create index on records (time);
create index on records (consumer);
create index on records (provider);
create index on records (system);
create index on records (dataset);
create index on records (enduser text_pattern_ops);
create index on records (dossier text_pattern_ops);
create index on records (purpose);
create index on records (exchange);
create index on records (subject);
";

/// Measures it, and what we took beside it. Nothing where there is no PostgreSQL.
pub fn compare(site: &Site, ours: f64) -> anyhow::Result<Vec<Goal>> {
    let Some(programs) = programs() else {
        out::note(
            "no PostgreSQL below /usr/lib/postgresql: tests/bench/audit installs it, as root on Debian",
        );
        return Ok(Vec::new());
    };
    let records = if site.small { RECORDS_SMALL } else { RECORDS };
    let cluster = Cluster::start(&programs, &site.dir("postgres")?)?;
    cluster.sql(TABLE)?;
    let (files, bytes) = batches(&cluster.shared, records)?;
    let begun = Instant::now();
    let copiers: Vec<_> = files
        .iter()
        .map(|file| {
            cluster
                .client("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-f", shown(file)?])
                .map(|mut client| client.spawn())
        })
        .collect::<anyhow::Result<_>>()?;
    for copier in copiers {
        ensure!(copier?.wait()?.success(), "psql failed");
    }
    let batched = float(records) / begun.elapsed().as_secs_f64();
    let on_disk = float(bytes_below(&cluster.shared.join("data"))?) / float(bytes);
    let single = cluster.single(if site.small { "2" } else { "20" })?;
    Ok(vec![
        Goal::told("postgres: records/s, 4 clients copy batches of 500", batched, "records/s"),
        Goal::told("postgres: records/s, 64 clients commit each", single, "records/s"),
        Goal::told("postgres: disk bytes, of the records' own", on_disk, "ratio"),
        Goal::at_least("ingest: of PostgreSQL taking the same batches", ours / batched, "ratio", 1.0),
        Goal::at_least("ingest: of PostgreSQL at one commit a record", ours / single, "ratio", 4.0),
    ])
}

/// The newest version's folder of programs.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut found: Vec<PathBuf> = versions.filter_map(|entry| Some(entry.ok()?.path().join("bin"))).collect();
    found.retain(|bin| bin.join("initdb").exists() && bin.join("pgbench").exists());
    found.sort();
    found.pop()
}

/// Files of `COPY` statements, a batch each, one file a client; and the bytes of all records.
fn batches(dir: &Path, records: u64) -> anyhow::Result<(Vec<PathBuf>, u64)> {
    let paths: Vec<PathBuf> = (0..COPIERS).map(|number| dir.join(format!("batches-{number}.sql"))).collect();
    let mut files = paths
        .iter()
        .map(|path| Ok(BufWriter::new(fs::File::create(path)?)))
        .collect::<anyhow::Result<Vec<_>>>()?;
    let mut bytes = 0;
    let mut number = 0;
    let mut stories = stories(records).peekable();
    while stories.peek().is_some() {
        let file = &mut files[number % COPIERS];
        number += 1;
        writeln!(
            file,
            "copy records (time, consumer, provider, system, dataset, enduser, dossier, purpose, exchange, subject, entry) from stdin;"
        )?;
        for (story, entry) in stories.by_ref().take(usize::try_from(BATCH_RECORDS)?) {
            bytes += entry.len() as u64;
            let time = time::OffsetDateTime::from_unix_timestamp(story.time_ms / 1000)?;
            let time = time.format(&time::format_description::well_known::Rfc3339)?;
            let subject = lienthong_audit::hash::leaf_hash(story.person.as_bytes());
            writeln!(
                file,
                "{time}\t{}\t{}\t{}\t{}\t{}\t{}\t{}\t\\\\x{}\t\\\\x{}\t\\\\x{}",
                story.consumer,
                story.provider,
                story.system,
                story.dataset,
                story.user,
                story.dossier,
                i32::from(story.purpose),
                hex::encode(story.exchange_id),
                hex::encode(&subject.0[..16]),
                hex::encode(entry),
            )?;
        }
        writeln!(file, "\\.")?;
    }
    files.iter_mut().try_for_each(std::io::Write::flush)?;
    Ok((paths, bytes))
}

/// A cluster of its own.
struct Cluster<'a> {
    programs: &'a Path,
    /// Its folder, which its own user may write to.
    shared: PathBuf,
}

impl<'a> Cluster<'a> {
    fn start(programs: &'a Path, folder: &Path) -> anyhow::Result<Self> {
        // Its user must be able to walk there, and PostgreSQL refuses to run as root.
        for dir in folder
            .ancestors()
            .take_while(|dir| dir.starts_with(std::env::temp_dir()) && *dir != std::env::temp_dir())
        {
            fs::set_permissions(dir, fs::Permissions::from_mode(0o755))?;
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777))?;
        let cluster = Self { programs, shared: folder.to_owned() };
        let data = cluster.shared.join("data");
        cluster.run(
            "initdb",
            &["-D", shown(&data)?, "-A", "trust", "-U", "bench", "--no-locale", "-E", "UTF8"],
        )?;
        let options = format!(
            "-c listen_addresses='' -c unix_socket_directories={} -c synchronous_commit=on -c fsync=on -c max_connections=100 \
             -c shared_buffers=256MB -c max_wal_size=4GB",
            shown(&cluster.shared)?
        );
        let log = cluster.shared.join("log");
        cluster.run("pg_ctl", &["-D", shown(&data)?, "-l", shown(&log)?, "-o", &options, "-w", "start"])?;
        Ok(cluster)
    }

    fn sql(&self, text: &str) -> anyhow::Result<()> {
        let status = self.client("psql", &["-q", "-v", "ON_ERROR_STOP=1", "-c", text])?.status()?;
        ensure!(status.success(), "psql failed");
        Ok(())
    }

    /// Records a second at one commit a record.
    fn single(&self, seconds: &str) -> anyhow::Result<f64> {
        let script = self.shared.join("single.sql");
        fs::write(
            &script,
            "\\set a random(1, 200)\n\\set u random(1, 5000)\n\\set d random(1, 200000)\n\\set p random(1, 1000000)\n\
             insert into records (time, consumer, provider, system, dataset, enduser, dossier, purpose, exchange, subject, entry) \
             values (now(), 'H' || :a, 'G01', 'agencies/H' || :a || '/systems/mot-cua', 'dancu.cong_dan', 'canbo.' || :u, \
             'H26.90-261121-' || :d, 1, decode(md5(random()::text), 'hex'), decode(md5(:p::text), 'hex'), \
             decode(repeat(md5(random()::text), 24), 'hex'));\n",
        )?;
        let arguments = ["-n", "-c", CLIENTS, "-j", "2", "-T", seconds, "-f", shown(&script)?];
        let ran = self.client("pgbench", &arguments)?.stdout(Stdio::piped()).output()?;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let rate = said.lines().find_map(|line| line.strip_prefix("tps = ")?.split(' ').next()?.parse().ok());
        rate.with_context(|| format!("pgbench tells no rate: {said}"))
    }

    /// A client of the cluster's database.
    fn client(&self, program: &str, arguments: &[&str]) -> anyhow::Result<Command> {
        let mut command = Command::new(self.programs.join(program));
        command
            .args(arguments)
            .env("PGHOST", shown(&self.shared)?)
            .env("PGUSER", "bench")
            .env("PGDATABASE", "postgres");
        command.stdout(Stdio::null());
        Ok(command)
    }

    /// A program that works on the cluster's own files, as the cluster's user.
    fn run(&self, program: &str, arguments: &[&str]) -> anyhow::Result<()> {
        let program = self.programs.join(program);
        let mut command = if rustix::process::geteuid().is_root() {
            let mut command = Command::new("runuser");
            command.args(["-u", "postgres", "--"]).arg(&program);
            command
        } else {
            Command::new(&program)
        };
        let ran = command.args(arguments).current_dir(&self.shared).stdout(Stdio::null()).status();
        ensure!(ran?.success(), "{} failed", program.display());
        Ok(())
    }
}

impl Drop for Cluster<'_> {
    fn drop(&mut self) {
        let data = self.shared.join("data");
        let stopped =
            shown(&data).and_then(|data| self.run("pg_ctl", &["-D", data, "-m", "immediate", "-w", "stop"]));
        if let Err(error) = stopped {
            out::note(&format!("PostgreSQL is not stopped: {error:#}"));
        }
    }
}
