//! Revocation lists of the node's own files.

use std::{path::PathBuf, sync::Arc};

use lienthong_certs::RevocationLists;

use super::{NodeTrustError, Trust};

impl Trust {
    /// Reads the configured lists again and uses those that are newer than what is held, from the broker or from before.
    /// Returns whether there were any; connections that they refuse are then for the caller to cut.
    ///
    /// # Errors
    /// [`NodeTrustError`] of the first file that cannot be used, which takes away nothing of the others: they are in use
    /// then all the same, and the first value says so.
    pub fn take_list_files(&self, files: &[PathBuf]) -> (bool, Result<(), NodeTrustError>) {
        let mut kept = self.held();
        let mesh = self.mesh.load();
        let anchors = mesh.trust().anchors();
        let (mut newest, mut problem) = (kept.lists.clone(), Ok(()));
        for file in files {
            match RevocationLists::load_known(std::slice::from_ref(file), anchors) {
                Ok((read, left_out)) => {
                    for error in left_out {
                        tracing::warn!(%error, "a configured revocation list is left out");
                    }
                    newest = newest.newest(&read);
                }
                Err(error) => {
                    tracing::error!(%error, "a configured revocation list cannot be used; the others are");
                    problem = problem.and(Err(error.into()));
                }
            }
        }
        if newest.same(&kept.lists) {
            return (false, problem);
        }
        match self.judge(anchors, &newest) {
            Ok(judge) => {
                self.material.judge_by(&Arc::new(judge));
                kept.lists = newest;
                (true, problem)
            }
            Err(error) => (false, Err(error.into())),
        }
    }
}
