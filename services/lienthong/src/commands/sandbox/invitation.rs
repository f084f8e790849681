//! What to try in a sandbox: calls to paste, for this program and for others' clients.

use std::{
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use lienthong_catalog::purpose;
use lienthong_node::sandbox;
use lienthong_proto::lienthong::{catalog::v1::CallableMethod, options::v1::Purpose};
use lienthong_synthetic::{answer, record::NOT_FOUND_ENDING};
use prost_reflect::DescriptorPool;
use serde_json::json;

use crate::{
    client::{self, ClientProfile},
    commands::sandbox::plan::Player,
    demo::layout::Layout,
};

/// Everything that an integrator needs to begin.
pub struct Invitation {
    program: PathBuf,
    player: Player,
    profile_file: PathBuf,
    profile: ClientProfile,
    health: String,
    contracts: PathBuf,
    calls: Vec<Call>,
}

/// One call to paste.
struct Call {
    path: String,
    provider: String,
    purposes: Vec<&'static str>,
    dossier: Option<String>,
    /// The question, JSON; `None` for a method whose caller streams.
    question: Option<String>,
    contract: Option<PathBuf>,
}

impl Invitation {
    /// Puts it together from what the player's node says may be called, each with its contract.
    pub fn new(
        program: &Path,
        layout: &Layout,
        player: &Player,
        calls: &[(CallableMethod, DescriptorPool)],
    ) -> Result<Self> {
        let profile_file =
            layout.profiles.get(&player.profile()).context("the player has no client profile")?;
        let node = layout.nodes.iter().find(|(code, _, _)| *code == player.agency);
        let (_, _, admin) = node.context("the player's agency has no node")?;
        let calls =
            calls.iter().map(|(method, pool)| call(layout, player, method, pool)).collect::<Result<_>>()?;
        Ok(Self {
            program: program.to_owned(),
            player: player.clone(),
            profile_file: profile_file.clone(),
            profile: client::profile(profile_file)?,
            health: format!("http://{admin}/health"),
            contracts: layout.dir.join("contracts"),
            calls,
        })
    }

    /// The same for a machine.
    pub fn to_json(&self) -> String {
        let calls: Vec<_> = self
            .calls
            .iter()
            .map(|call| {
                json!({
                    "method": call.path,
                    "provider": call.provider,
                    "purposes": call.purposes,
                    "dossier": call.dossier,
                    "question": call.question,
                })
            })
            .collect();
        json!({
            "sandbox": true,
            "agency": self.player.agency,
            "system": self.player.system,
            "profile": self.profile_file,
            "node": self.profile.node,
            "server_name": self.profile.server_name,
            "certificate": self.profile.certificate,
            "key": self.profile.key,
            "trust": self.profile.trust,
            "contracts": self.contracts,
            "health": self.health,
            "calls": calls,
        })
        .to_string()
    }

    /// What every client needs: certificate, key, trust, name.
    fn with_buf(&self, call: &Call, contract: &Path, question: &str) -> String {
        let trust = self.profile.trust.first().map(|path| path.display().to_string()).unwrap_or_default();
        let stated: String = call
            .stated()
            .iter()
            .map(|(name, value)| format!(" -H '{name}: {value}'"))
            .collect::<Vec<_>>()
            .concat();
        format!(
            "buf curl --protocol grpc --schema {} \\\n    --cert {} --key {} \\\n    --cacert {trust} --servername {} \\\n   {stated} \\\n    -d '{question}' https://{}{}",
            contract.display(),
            self.profile.certificate.display(),
            self.profile.key,
            self.profile.server_name,
            self.profile.node,
            call.path,
        )
    }
}

impl Call {
    /// What the call states in its metadata.
    fn stated(&self) -> Vec<(&'static str, &str)> {
        let purpose = self.purposes.first().map(|purpose| ("mesh-purpose", *purpose));
        let dossier = self.dossier.as_deref().map(|dossier| ("mesh-dossier", dossier));
        purpose.into_iter().chain(dossier).collect()
    }
}

impl fmt::Display for Invitation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let program = self.program.display();
        let (agency, system) = (&self.player.agency, &self.player.system);
        writeln!(f, "\nA sandbox: every answer is synthetic. You are the system {system} of {agency}.")?;
        writeln!(f, "\n  node        {} ({})", self.profile.node, self.profile.server_name)?;
        writeln!(f, "  profile     {}", self.profile_file.display())?;
        writeln!(f, "  contracts   {}", self.contracts.display())?;
        writeln!(f, "  health      {}", self.health)?;
        if self.calls.is_empty() {
            return writeln!(f, "\nThe catalog grants {agency} nothing here: every call will be denied.");
        }
        writeln!(f, "\nWhat you may call:\n")?;
        for call in &self.calls {
            let Some(question) = &call.question else {
                writeln!(f, "# {} takes a stream: call it from your own client\n", call.path)?;
                continue;
            };
            write!(f, "{program} call {} \\\n    --profile {}", call.path, self.profile_file.display())?;
            for (name, value) in call.stated() {
                write!(f, " --{} {value}", name.trim_start_matches("mesh-"))?;
            }
            writeln!(f, " \\\n    -d '{question}'\n")?;
        }
        let with_buf =
            self.calls.iter().find_map(|call| Some((call, call.contract.as_ref()?, call.question.as_ref()?)));
        if let Some((call, contract, question)) = with_buf {
            writeln!(f, "The same from another client:\n\n{}\n", self.with_buf(call, contract, question))?;
        }
        writeln!(
            f,
            "A key that ends in {NOT_FOUND_ENDING} has no record. Metadata {}: DENY_QUOTA, or any other reason",
            sandbox::REASON
        )?;
        writeln!(f, "(docs/errors), gives that error. Ctrl-C ends the sandbox.")
    }
}

fn call(layout: &Layout, player: &Player, method: &CallableMethod, pool: &DescriptorPool) -> Result<Call> {
    let descriptor = client::method_of(pool, &method.path)?;
    let purposes: Vec<Purpose> =
        method.purposes.iter().filter_map(|granted| Purpose::try_from(granted.purpose).ok()).collect();
    let needs_dossier = purposes.first().is_some_and(|first| purpose::needs_dossier(*first));
    let question = serde_json::to_string(&client::message_to_json(&answer::example(&descriptor))?)?;
    let service = method.path.trim_start_matches('/').split('/').next().unwrap_or_default();
    Ok(Call {
        path: method.path.clone(),
        provider: method.provider.clone(),
        // Open data has no purpose of its own: any may be stated, so one that people know.
        purposes: purposes
            .into_iter()
            .map(|granted| {
                purpose::word(if granted == Purpose::Unspecified { Purpose::Statistics } else { granted })
            })
            .collect(),
        dossier: needs_dossier.then(|| format!("{}-261121-0001", player.agency)),
        question: (!descriptor.is_client_streaming()).then_some(question),
        contract: layout.contract_of(service).cloned(),
    })
}
