//! `bench run`: starts everybody, gives each his turns, and reports.

use std::iter::Sum;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;
use time::OffsetDateTime;
use time::macros::format_description;
use tokio::signal::unix::{SignalKind, signal};

use crate::alone::{Alone, LONG_CASE, Long, STARTS};
use crate::cli::RunArgs;
use crate::contestant::{Chain, Contestant, Site};
use crate::hold::holders;
use crate::load::{Measured, Shape};
use crate::pki::Pki;
use crate::plan::{Case, Plan, Turn};
use crate::process::Process;
use crate::report::Report;
use crate::summary::{Results, Sample, goals, validity};
use crate::{host, nginx, out};

/// Where the report goes with `--write`, under the present folder.
const REPORT: &str = "docs/benchmarks.md";
/// How long others are looked at before each round.
const OTHERS_LOOK_MS: u64 = 500;
/// Connections that are only held while our mesh is measured alone.
const HELD_CONNECTIONS: usize = 1_000;
/// Exit code of a run whose baselines were no good builds.
const INVALID: u8 = 2;

/// Runs until done, interrupted or terminated; in no case does a process or a temporary file stay.
pub async fn run_until_interrupted(arguments: &RunArgs) -> anyhow::Result<ExitCode> {
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    tokio::select! {
        done = run(arguments) => done,
        _ = interrupted.recv() => anyhow::bail!("interrupted"),
        _ = terminated.recv() => anyhow::bail!("terminated"),
    }
}

async fn run(arguments: &RunArgs) -> anyhow::Result<ExitCode> {
    let plan = plan(arguments);
    let unknown = plan.unknown_cases();
    ensure!(
        unknown.is_empty(),
        "no such case: {}; they are named as in the tables: '256B c64', '4KiB 1000/s'",
        unknown.join(", ")
    );
    let begun = Instant::now();
    // Declared before the processes, so that it is removed after they were killed.
    let folder = temporary_folder(arguments.data.as_deref())?;
    host::check_durable(folder.path())?;
    let site = site(arguments, folder.path())?;
    let pki = Pki::create(&site.pki)?;
    for number in 0..site.holders {
        pki.another_holder(number)?;
    }
    let mut stage = Stage::start(&site, &plan).await?;
    let mut results = stage.perform(&plan).await?;
    let memory = stage.memory_mib()?;
    results.alone = stage.alone(&plan).await?;
    drop(stage);

    let (validity, goals) = (validity(&results), goals(&results));
    let report = Report {
        plan: &plan,
        results: &results,
        validity: &validity,
        goals: &goals,
        rights: arguments.rights,
        memory_mib: &memory,
    };
    let text = if arguments.json { report.json()? } else { report.text() };
    if !text.is_empty() {
        out::line(&text);
    }
    if arguments.write {
        let date = OffsetDateTime::now_utc().format(format_description!("[year]-[month]-[day]"))?;
        std::fs::write(REPORT, report.markdown(&date, &host::facts()))
            .with_context(|| format!("cannot write {REPORT}; start the run at the root of the project"))?;
    }
    out::note(&format!("the run took {} s", begun.elapsed().as_secs()));
    let valid = validity.iter().all(|goal| goal.ok);
    Ok(if valid { ExitCode::SUCCESS } else { ExitCode::from(INVALID) })
}

fn plan(arguments: &RunArgs) -> Plan {
    let taking_part = Contestant::ALL.into_iter().filter(|contestant| arguments.only.contains(contestant));
    let mut plan = if arguments.quick {
        Plan::quick(taking_part.collect())
    } else {
        Plan::thorough(taking_part.collect())
    };
    plan.cases.clone_from(&arguments.cases);
    plan.rounds = arguments.rounds.unwrap_or(plan.rounds);
    if let Some(mib) = arguments.stream_mib {
        plan.stream_bytes = mib * 1024 * 1024;
    }
    if let Some(window_ms) = arguments.window_ms {
        plan.window = Duration::from_millis(window_ms);
        plan.open_window = plan.window;
    }
    plan
}

/// A folder for journals and logs.
pub fn temporary_folder(within: Option<&Path>) -> anyhow::Result<TempDir> {
    let mut folder = tempfile::Builder::new();
    folder.prefix("lienthong-bench-");
    let made = within.map_or_else(|| folder.tempdir(), |within| folder.tempdir_in(within));
    made.context("cannot make a folder for journals and logs; choose another with --data")
}

fn site(arguments: &RunArgs, folder: &Path) -> anyhow::Result<Site> {
    let program = std::env::current_exe().context("the path of this program is unknown")?;
    let beside = program.with_file_name("lienthong");
    let lienthong: PathBuf = arguments.lienthong.clone().unwrap_or(beside);
    ensure!(
        lienthong.exists() || !arguments.only.iter().any(|contestant| contestant.releases()),
        "{} does not exist: build it (cargo build --release -p lienthong), name another with --lienthong, or leave d and e \
         out (--only a,b,g)",
        lienthong.display()
    );
    if arguments.only.contains(&Contestant::Nginx) {
        nginx::program()?;
    }
    let data = folder.join("data");
    std::fs::create_dir(&data)?;
    let holders = holders(HELD_CONNECTIONS);
    Ok(Site { program, lienthong, pki: folder.join("pki"), data, rights: arguments.rights, holders })
}

/// All processes of a run.
struct Stage<'a> {
    site: &'a Site,
    chains: Vec<(Contestant, Chain)>,
    /// Starts of a node of our mesh before the first call, milliseconds.
    starts_ms: Vec<f64>,
    _backend: Process,
}

impl<'a> Stage<'a> {
    /// Starts the backend and every contestant.
    async fn start(site: &'a Site, plan: &Plan) -> anyhow::Result<Self> {
        let Shape::Stream { messages } = Case::stream(plan.stream_bytes).shape else {
            anyhow::bail!("a stream is a stream");
        };
        let mut backend = site.start("backend", &["backend", "--stream-messages", &messages.to_string()])?;
        let address = backend.address().await?;
        let (mut chains, mut starts_ms) = (Vec::with_capacity(plan.contestants.len()), Vec::new());
        for contestant in &plan.contestants {
            out::note(&format!("starting {}", contestant.title()));
            let chain = Chain::start(*contestant, site, address).await;
            let mut chain = chain.with_context(|| format!("{} cannot start", contestant.title()))?;
            if let (Contestant::Ours, Chain::Mesh(mesh)) = (contestant, &mut chain)
                && plan.cases.is_empty()
            {
                starts_ms = mesh.restarts(STARTS).await?;
            }
            chains.push((*contestant, chain));
        }
        Ok(Self { site, chains, starts_ms, _backend: backend })
    }

    /// Every turn of the plan; the disk is measured between the rounds, when nothing else runs.
    async fn perform(&mut self, plan: &Plan) -> anyhow::Result<Results> {
        let mut results = Results::default();
        for turn in plan.turns() {
            if usize::from(turn.round) == results.disk.len() {
                results.others_busy.push(others_busy().await?);
                let data = self.site.data.clone();
                results.disk.push(tokio::task::spawn_blocking(move || host::probe_disk(&data)).await??);
            }
            let sample = self.measure(plan, turn).await;
            let sample = sample.with_context(|| format!("{} in {}", turn.contestant.title(), turn.case))?;
            out::note(&progress(plan, &sample));
            results.samples.push(sample);
        }
        Ok(results)
    }

    async fn measure(&mut self, plan: &Plan, turn: Turn) -> anyhow::Result<Sample> {
        let found = self.chains.iter_mut().find(|(contestant, _)| *contestant == turn.contestant);
        let (_, chain) = found.context("it was not started")?;
        let before = cpu_of(chain)?;
        let held = each_hop(chain, |pid| {
            host::reset_peak(pid)?;
            host::resident_bytes(pid)
        })?;
        let measured = load(self.site, chain, plan, turn.case, turn.contestant.releases()).await?;
        let recorded = match chain {
            // What progress a stream records depends on the time that it takes: the report counts pairs only.
            Chain::Mesh(mesh) if matches!(turn.case.shape, Shape::Stream { .. }) => {
                mesh.settle_stream().await?;
                None
            }
            Chain::Mesh(mesh) => Some(mesh.settle(measured.answered).await?),
            Chain::Direct(_) | Chain::Proxies { .. } => None,
        };
        let peak = each_hop(chain, host::peak_resident_bytes)?;
        let memory = peak.into_iter().zip(held).map(|(peak, held)| mib(peak.saturating_sub(held)));
        let hop_memory_mib = memory.collect::<anyhow::Result<_>>()?;
        let spent =
            cpu_of(chain)?.into_iter().zip(before).map(|(after, before)| after.saturating_sub(before));
        let answered = f64::from(u32::try_from(measured.answered)?);
        Ok(Sample {
            turn,
            measured,
            hop_cpu_us: spent.map(|spent| spent.as_secs_f64() * 1e6 / answered).collect(),
            hop_memory_mib,
            recorded,
        })
    }

    /// What our mesh does with nobody beside it; only in a run of every case.
    async fn alone(&mut self, plan: &Plan) -> anyhow::Result<Option<Alone>> {
        let site = self.site;
        let found = self.chains.iter_mut().find(|(contestant, _)| *contestant == Contestant::Ours);
        let Some((_, chain)) = found.filter(|_| plan.cases.is_empty()) else { return Ok(None) };
        let (address, count) = (chain.address().to_string(), HELD_CONNECTIONS.to_string());
        let holding = ["hold", "--address", &address, "--connections", &count];
        let mut holder = site.start("hold", &holding)?;
        holder.address().await?;
        let longer = Plan { window: plan.long_window, ..plan.clone() };
        out::note(&format!("d alone, {LONG_CASE}, {} s", longer.window.as_secs()));
        each_hop(chain, |pid| host::reset_peak(pid).map(|()| 0_u64))?;
        let measured = load(site, chain, &longer, LONG_CASE, true).await?;
        let Chain::Mesh(mesh) = chain else { return Ok(None) };
        let recorded = mesh.settle(measured.answered).await?;
        let (mut loaded, mut shared) = (0, 0);
        for node in mesh.nodes() {
            let pid = node.pid().context("a node ended")?;
            loaded = host::peak_resident_bytes(pid)?.max(loaded);
            shared = host::program_bytes(pid)?.max(shared);
        }
        drop(holder);
        let starts_after_load_ms = mesh.restarts(STARTS).await?;
        let program = std::fs::metadata(&site.lienthong)?.len();
        let long = Long { warmup: plan.warmup, window: longer.window, measured, recorded };
        Ok(Some(Alone {
            long,
            idle_mib: mib(mesh.idle_bytes())?,
            loaded_mib: mib(loaded)?,
            shared_mib: mib(shared)?,
            connections: HELD_CONNECTIONS,
            rights: site.rights,
            starts_ms: self.starts_ms.clone(),
            starts_after_load_ms,
            binary_mb: f64::from(u32::try_from(program)?) / 1e6,
        }))
    }

    /// Memory of each process of our mesh.
    fn memory_mib(&self) -> anyhow::Result<Vec<(String, f64)>> {
        let mesh = self.chains.iter().filter(|(_, chain)| matches!(chain, Chain::Mesh(_)));
        let processes = mesh.flat_map(|(_, chain)| chain.hops());
        let of = |process: &Process| {
            let bytes = host::resident_bytes(process.pid().context("it ended")?)?;
            Ok((process.name().to_owned(), mib(bytes)?))
        };
        processes.map(of).collect()
    }
}

fn cpu_of(chain: &Chain) -> anyhow::Result<Vec<Duration>> {
    each_hop(chain, host::cpu_time)
}

/// A number of each hop: the sum over its processes.
fn each_hop<T: Sum>(chain: &Chain, look: impl Fn(u32) -> anyhow::Result<T>) -> anyhow::Result<Vec<T>> {
    let of = |process: &Process| {
        let pid = process.pid().with_context(|| format!("{} ended", process.name()))?;
        host::family(pid).into_iter().map(&look).sum::<anyhow::Result<T>>()
    };
    chain.hops().into_iter().map(of).collect()
}

/// MiB of so many bytes.
pub fn mib(bytes: u64) -> anyhow::Result<f64> {
    Ok(f64::from(u32::try_from(bytes / 1024)?) / 1024.0)
}

/// How busy others keep the processors while nothing of the run works.
async fn others_busy() -> anyhow::Result<f64> {
    let before = host::Processors::look()?;
    tokio::time::sleep(Duration::from_millis(OTHERS_LOOK_MS)).await;
    Ok(host::Processors::look()?.busy_since(before))
}

/// Runs the load generator once.
pub async fn load(
    site: &Site,
    chain: &Chain,
    plan: &Plan,
    case: Case,
    released: bool,
) -> anyhow::Result<Measured> {
    let (shape, much) = match case.shape {
        Shape::Closed { concurrency } => ("--concurrency", concurrency.to_string()),
        Shape::Open { per_second } => ("--per-second", per_second.to_string()),
        Shape::Stream { messages } => ("--stream", messages.to_string()),
        Shape::Fresh { concurrency } => ("--fresh", concurrency.to_string()),
    };
    let address = chain.address().to_string();
    let payload = case.payload_bytes.to_string();
    let warmup = plan.warmup.as_millis().to_string();
    let window = plan.window_of(case).as_millis().to_string();
    let mut arguments = vec!["load", "--address", &address, "--payload", &payload, shape, &much];
    arguments.extend(["--warmup-ms", &warmup, "--window-ms", &window]);
    arguments.extend(released.then_some("--released"));
    let text = site.start("load", &arguments)?.output().await?;
    serde_json::from_str(&text).context("the load generator said something else than its result")
}

fn progress(plan: &Plan, sample: &Sample) -> String {
    let Turn { round, case, contestant } = sample.turn;
    let Measured { per_second, p50_us, p99_us, .. } = sample.measured;
    let cpu = match &sample.hop_cpu_us[..] {
        [] => String::new(),
        hops => {
            let each: Vec<_> = hops.iter().map(|us| format!("{us:.1}")).collect();
            format!("  cpu {} µs", each.join(" + "))
        }
    };
    format!(
        "round {}/{}  {case:<11} {:<25} {per_second:>8.0}/s  p50 {p50_us:>6.0} µs  p99 {p99_us:>6.0} µs{cpu}",
        round + 1,
        plan.rounds,
        contestant.title(),
    )
}
