//! Revocation lists of the node's own files.

use std::path::PathBuf;

use lienthong_certs::RevocationLists;
use lienthong_transport::TlsMaterial;

use super::{NodeTrustError, Trust};

impl Trust {
    /// Reads the configured lists again and uses those that are newer than what is held, from the broker or from before.
    /// Returns whether there were any; connections that they refuse are then for the caller to cut.
    ///
    /// # Errors
    /// [`NodeTrustError`] naming the file; nothing of them is used then.
    pub fn take_list_files(&self, files: &[PathBuf]) -> Result<bool, NodeTrustError> {
        let mut kept = self.held();
        let mesh = self.mesh.load();
        let anchors = mesh.trust().anchors();
        let (read, left_out) = RevocationLists::load_known(files, anchors)?;
        for error in left_out {
            tracing::warn!(%error, "a configured revocation list is left out");
        }
        let newest = kept.lists.newest(&read);
        if newest.same(&kept.lists) {
            return Ok(false);
        }
        let judge = self.judge(anchors, &newest)?;
        self.material.replace(TlsMaterial::new(&kept.credentials, judge)?);
        kept.lists = newest;
        Ok(true)
    }
}
