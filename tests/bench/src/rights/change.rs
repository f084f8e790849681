//! How long the law takes: the catalog of a whole nation compiled, and one of its entries changed: what the broker does to
//! tell the node that it concerns most, and what that node does before it decides by it.

use std::hint::black_box;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, ensure};
use lienthong_approval::{Checker, Statement, approve, folder_hash};
use lienthong_broker::activated::{Activated, Signed, in_force};
use lienthong_broker::bundle::{BUNDLE_CONTEXT, BundleSigner, SealedBundle, sha256};
use lienthong_broker::trust::approvers;
use lienthong_catalog::compile::{BUNDLE_BYTES_MAX, Issue};
use lienthong_catalog::{Rights, RightsIndex, compile, delta};
use lienthong_certs::{DevPki, Judge, MeshKey, Profile, RevocationLists, mesh_key};
use lienthong_proto::lienthong::control::v1::bundle_delta::Piece;
use lienthong_proto::lienthong::control::v1::{ApprovedChange, RightsBundle};
use prost::Message;
use time::OffsetDateTime;

use super::nation::{self, Nation};
use super::{ROUNDS, spread};
use crate::goal::Goal;
use crate::out;
use crate::pki::{MESH, Pki, Role};

const AGENCIES: usize = 1_000;
const AGENCIES_SMALL: usize = 40;
/// Times that the whole nation is compiled.
const COMPILED: usize = 3;

/// Measures it.
pub fn run(small: bool) -> anyhow::Result<Vec<Goal>> {
    let folder = tempfile::tempdir()?;
    let operator = Operator::new(folder.path())?;
    let agencies = if small { AGENCIES_SMALL } else { AGENCIES };
    let begun = Instant::now();
    let nation = Nation::of(agencies, 1)?;
    let read = begun.elapsed().as_secs_f64();
    let after = Nation::of(agencies, 2)?;
    let mut seconds = Vec::new();
    for _ in 0..COMPILED {
        let published = nation.published();
        let begun = Instant::now();
        let rights = compile(&nation.catalog, &published);
        seconds.push(begun.elapsed().as_secs_f64());
        black_box(rights);
    }
    let rights = [compile(&nation.catalog, &nation.published()), compile(&after.catalog, &after.published())];
    let activated = operator.activated(&nation)?;
    let activated = [activated.clone(), operator.changed(&activated, &nation, &after)?];
    let seal = |edition: usize| {
        operator.seal([&nation, &after][edition], &rights[edition], &activated[edition], edition as u64 + 1)
    };
    let base = seal(0)?;
    let bundle = RightsBundle::decode(base.signed.bundle.as_slice())?;
    let (held, mut checker) = (RightsIndex::from_bundle(&bundle)?, Checker::default());
    checker.check(&bundle, &|_, _, _| false, &operator.judge)?;
    let [mut made, mut taken] = [const { Vec::new() }; 2];
    // The first round warms up.
    for round in 0..=ROUNDS {
        let begun = Instant::now();
        let target = seal(1)?;
        let pieces = delta::between(&base.signed.bundle, &target.signed.bundle);
        let pieces = pieces.context("one entry of many is no small difference")?;
        let made_ms = begun.elapsed().as_secs_f64() * 1e3;
        let begun = Instant::now();
        black_box(operator.take(&base, (&held, &mut checker), &target, &pieces)?);
        let taken_ms = begun.elapsed().as_secs_f64() * 1e3;
        if round == 0 {
            let bytes: usize = pieces.iter().map(Message::encoded_len).sum();
            out::note(&format!(
                "delta of {bytes} bytes to a bundle of {} bytes with {} rights",
                base.signed.bundle.len(),
                RightsBundle::decode(base.signed.bundle.as_slice())?.rights.len()
            ));
        } else {
            made.push(made_ms);
            taken.push(taken_ms);
        }
    }
    #[allow(clippy::cast_precision_loss)] // a few hundred thousand
    let count = rights[0].rights().len() as f64;
    Ok(vec![
        Goal::told("compile: files and contracts of the nation read", read, "s"),
        Goal::told("compile: rights that the nation's catalog grants", count, "rights"),
        Goal::at_most("compile: 1,000 agencies, 5,000 datasets", spread(seconds)?, "s", 3.0),
        Goal::at_most("delta of one entry: the broker makes it", spread(made)?, "ms", 20.0),
        Goal::at_most("delta of one entry: a node takes it", spread(taken)?, "ms", 20.0),
    ])
}

/// Who signs: two persons the catalog, the broker its bundles. And who believes them.
struct Operator {
    pki: Pki,
    signer: BundleSigner,
    judge: Judge,
}

impl Operator {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let pki = Pki::create(folder)?;
        let anchors = DevPki::open(folder)?.anchors()?;
        Ok(Self {
            pki,
            signer: BundleSigner::new(MESH, "bundle-1", MeshKey::generate()?),
            judge: Judge::new(anchors, RevocationLists::empty(), Profile::development())?,
        })
    }

    /// The whole catalog, approved at once.
    fn activated(&self, nation: &Nation) -> anyhow::Result<Activated> {
        let entries = in_force(&nation.catalog);
        let statement = Statement::of(MESH, None, folder_hash(&nation.files), &entries);
        Ok(Activated::default().after(1, self.sign(&statement)?, &entries, &nation.catalog))
    }

    /// The same after a change of those entries that say something else.
    fn changed(&self, before: &Activated, nation: &Nation, after: &Nation) -> anyhow::Result<Activated> {
        let entries = before.lacking(&after.catalog, &nation.catalog, &self.judge);
        ensure!(entries.len() == 1, "{} entries changed", entries.len());
        let base = Some(folder_hash(&nation.files));
        let statement = Statement::of(MESH, base, folder_hash(&after.files), &entries);
        Ok(before.after(2, self.sign(&statement)?, &entries, &after.catalog))
    }

    fn sign(&self, statement: &Statement) -> anyhow::Result<Signed> {
        let statement = statement.to_bytes();
        let (mut approvals, mut files) = (Vec::new(), Vec::new());
        for role in [Role::Officer, Role::SecondOfficer] {
            let issued = self.pki.issued(role)?;
            approvals.push(approve(&issued.credentials()?, &statement, OffsetDateTime::now_utc())?);
            files.push(issued.certificate);
        }
        Ok(Signed { approved: ApprovedChange { statement, approvals }, approvers: approvers(&files)? })
    }

    /// The bundle of the largest node, from rights that are compiled.
    fn seal(
        &self,
        nation: &Nation,
        rights: &Rights,
        activated: &Activated,
        epoch: u64,
    ) -> anyhow::Result<SealedBundle> {
        let issue = Issue {
            mesh: MESH.to_owned(),
            epoch,
            time: OffsetDateTime::UNIX_EPOCH,
            revocation_lists: Vec::new(),
        };
        let bundle =
            rights.bundle_for(&nation::largest_node(), &issue).context("the registry has no such node")?;
        let activations = Some(activated.of_bundle(&bundle, &nation.catalog));
        Ok(self.signer.seal(&RightsBundle { activations, ..bundle })?)
    }

    /// What a node does with a delta: puts the bundle together, believes it, and indexes it.
    fn take(
        &self,
        base: &SealedBundle,
        (held, checker): (&RightsIndex, &mut Checker),
        target: &SealedBundle,
        pieces: &[Piece],
    ) -> anyhow::Result<RightsIndex> {
        let bytes = delta::apply(&base.signed.bundle, pieces, BUNDLE_BYTES_MAX)?;
        let key = self.signer.public_key();
        let hash = sha256(&bytes);
        mesh_key::verify(&key, &[BUNDLE_CONTEXT, &hash].concat(), &target.signed.signature)?;
        let bundle = RightsBundle::decode(bytes.as_slice())?;
        let index = std::thread::scope(|scope| {
            let approved = scope.spawn(|| checker.check(&bundle, &|_, _, _| false, &self.judge));
            let index = held.followed_by(&bundle)?;
            approved.join().map_err(|_| anyhow::anyhow!("the check panicked"))??;
            anyhow::Ok(index)
        })?;
        ensure!(index.problems().is_empty(), "{:?}", index.problems());
        Ok(index)
    }
}
