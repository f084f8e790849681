//! The mesh's card: what a new agency must know of the mesh before it can trust anything in it, in one file.
//!
//! It holds nothing secret. It carries the mesh trust file, which the roots signed, and the way to the broker, which the
//! mesh's bundle key signed: a C2SP signed note. Whoever alters it on the way is found out, unless he replaces the roots as
//! well; so both sides read the fingerprint of the roots to each other, and the node pins it.

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, ensure};
use clap::Args;
use lienthong_audit::note::{NOTE_BYTES_MAX, Note, VerifierKey};
use lienthong_broker::{BrokerConfig, mesh_keys, trust};
use lienthong_certs::{Branch, files};
use lienthong_node::config::BrokerEndpointConfig;
use lienthong_trust::{SignedTrust, TrustConfig, TrustKeeper, signed::Fingerprint, text};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use crate::{commands::enroll::show, out};

/// Names the format; a signature over such a text is good for nothing else.
const FORMAT: &str = "lienthong/mesh-card/v1";

/// `lienthong enroll card`.
#[derive(Debug, Args)]
pub struct CardArgs {
    /// Configuration of the broker, TOML
    #[arg(long, value_name = "FILE")]
    pub config: PathBuf,
    /// Where nodes reach the broker, host:port
    #[arg(long, value_name = "ADDRESS")]
    pub address: String,
    /// DNS name in the broker's certificate
    #[arg(long, value_name = "NAME")]
    pub server_name: String,
    /// File to write
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// The card, its signatures checked.
#[derive(Debug, Clone)]
pub struct Card {
    /// Id of the mesh.
    pub mesh: String,
    /// True for a mesh of demonstrations and tests.
    pub development: bool,
    /// The broker.
    pub broker: BrokerEndpointConfig,
    /// The mesh trust file.
    pub trust: SignedTrust,
}

/// What the card says, as it is signed.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct CardText {
    format: String,
    broker: BrokerEndpointConfig,
    /// The mesh trust file as it is.
    trust_file: String,
}

/// What a new node keeps of the card.
#[derive(Debug, Clone)]
pub struct Pinned {
    /// For configurations.
    pub trust: TrustConfig,
    /// Authorities of agencies, PEM, for client profiles.
    pub authorities: Vec<PathBuf>,
}

/// Writes the card, and says what to read out.
pub fn run(args: &CardArgs) -> Result<ExitCode> {
    let config: BrokerConfig = lienthong_telemetry::load(&args.config)?;
    let held = TrustKeeper::peek(&config.trust, trust::owner(&config), OffsetDateTime::now_utc())?;
    let signer = mesh_keys::bundle_signer(&config, held.trust())?;
    let card = CardText {
        format: FORMAT.to_owned(),
        broker: BrokerEndpointConfig { address: args.address.clone(), server_name: args.server_name.clone() },
        trust_file: held.to_file(),
    };
    let mut note = Note::new(toml::to_string_pretty(&card)?)?;
    note.add(signer.sign_note(note.text())?);
    files::replace(&args.out, note.to_string().as_bytes())?;
    out::line(&show::grouped(&held.trust().parts().roots.fingerprint().0));
    out::note(&format!(
        "{} is the card of mesh {}; the line above is the fingerprint of its roots: read it out when you hand the card over\n\
         Hãy đọc dấu vân tay khóa gốc này qua điện thoại khi trao thẻ mạng.",
        args.out.display(),
        held.trust().mesh()
    ));
    Ok(ExitCode::SUCCESS)
}

impl Card {
    /// Reads a card. Its roots are what it says: compare [`Card::fingerprint`] with what the operator reads out.
    pub fn read(path: &Path) -> Result<Card> {
        let bytes = files::read(path, NOTE_BYTES_MAX as u64)?;
        let read = || -> Result<Card> {
            let note: Note = std::str::from_utf8(&bytes)?.parse()?;
            let card: CardText = toml::from_str(note.text())?;
            ensure!(card.format == FORMAT, "its format is {:?}, this program reads {FORMAT:?}", card.format);
            let trust = SignedTrust::read(card.trust_file.as_bytes())?;
            let keys: Vec<&VerifierKey> = trust.trust().bundle_keys().keys().collect();
            note.verify(keys)?;
            let (mesh, development) = (trust.trust().mesh().to_owned(), trust.trust().parts().development);
            Ok(Card { mesh, development, broker: card.broker, trust })
        };
        read().with_context(|| format!("{} is no card that can be believed", path.display()))
    }

    /// Fingerprint of the roots.
    pub fn fingerprint(&self) -> Fingerprint {
        self.trust.trust().parts().roots.fingerprint()
    }

    /// Refuses a card whose roots are not those that were read out.
    pub fn check_root(&self, read_out: &str) -> Result<()> {
        let expected = Fingerprint::read(read_out)
            .context("--root is no fingerprint: give the 64 hexadecimal digits that the operator read out")?;
        ensure!(
            expected == self.fingerprint(),
            "the roots of this card have the fingerprint\n  {}\nand the operator read out\n  {}\n\
             do not use the card: somebody may have altered it on the way",
            show::grouped(&self.fingerprint().0),
            show::grouped(&expected.0)
        );
        Ok(())
    }

    /// Writes trust file and authorities into `folder`, for configurations to name.
    pub fn write_trust(&self, folder: &Path) -> Result<Pinned> {
        fs::create_dir_all(folder)
            .with_context(|| format!("the folder {} cannot be made", folder.display()))?;
        let file = folder.join("mesh.trust");
        // A node that runs may have put a newer one there.
        if !file.exists() {
            files::replace(&file, self.trust.to_file().as_bytes())?;
        }
        let mut authorities = Vec::new();
        for (branch, name) in [(Branch::State, "state.pem"), (Branch::Party, "party.pem")] {
            let of_branch =
                self.trust.trust().parts().anchors.iter().filter(|anchor| anchor.parties == branch);
            let pem: String =
                of_branch.flat_map(|anchor| &anchor.certificates).map(|der| text::pem(der)).collect();
            if !pem.is_empty() {
                let path = folder.join(name);
                files::replace(&path, pem.as_bytes())?;
                authorities.push(path);
            }
        }
        let root = self.fingerprint().to_string();
        Ok(Pinned { trust: TrustConfig { file, root, ..TrustConfig::default() }, authorities })
    }
}
