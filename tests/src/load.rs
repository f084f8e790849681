//! Calls that run while something changes: each must be answered.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use anyhow::{Context, Result, ensure};
use lienthong::{
    client::{self, Client, Stated},
    commands::call,
};
use tokio::task::JoinSet;

use crate::{GET_CITIZEN, OFFICE, PERSON, TestMesh, eventually, handling};

/// Clients that call without a pause; half of them connect anew for every call.
const CALLERS: usize = 4;

/// Calls that run meanwhile.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    callers: JoinSet<Result<()>>,
}

impl Load {
    /// The one-stop shop asks for its person.
    pub fn of_office(mesh: &TestMesh) -> Result<Self> {
        let profile = mesh.mesh.layout.profiles.get(OFFICE).context("no profile")?;
        Self::start(profile, &handling())
    }

    /// Whoever has this client profile asks for the person of the story.
    pub fn start(profile: &Path, stated: &Stated) -> Result<Self> {
        let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let client = || -> Result<Client> { Client::new(&client::profile(profile)?) };
            let lasting = client()?;
            let (profile, stated) = (profile.to_owned(), stated.clone());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            callers.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    let fresh =
                        (number % 2 == 0).then(|| Client::new(&client::profile(&profile)?)).transpose()?;
                    let client = fresh.as_ref().unwrap_or(&lasting);
                    let outcome = call::call(client, GET_CITIZEN, PERSON, &stated).await?;
                    ensure!(outcome.error.is_none(), "a call failed: {:?}", outcome.error);
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                Ok(())
            });
        }
        Ok(Self { stop, answered, callers })
    }

    /// Waits until some more calls were answered. An error if a single call failed.
    pub async fn goes_on(&mut self) -> Result<()> {
        let before = self.answered.load(Ordering::Relaxed);
        let (answered, callers) = (&self.answered, &mut self.callers);
        let more =
            eventually("calls go on", async || Ok(answered.load(Ordering::Relaxed) > before + 2 * CALLERS));
        tokio::select! {
            more = more => more,
            Some(ended) = callers.join_next() => ended?.and(Err(anyhow::anyhow!("a caller ended early"))),
        }
    }

    /// Stops; an error if a single call failed.
    pub async fn end(mut self) -> Result<usize> {
        self.stop.store(true, Ordering::Relaxed);
        while let Some(caller) = self.callers.join_next().await {
            caller??;
        }
        Ok(self.answered.load(Ordering::Relaxed))
    }
}
